"""Groups of samples on a weighted graph, their path integrals, and the affinity of two of them: what AC-PIC merges by.

The equations stand in `agglomerative.path_integral_clustering`. Nothing here is dense: a path integral is a series
along the group's edges, and the affinity of two groups sums over paths that cross between them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

_EPS = float(np.finfo(np.float64).eps)
# A bound computed in floating point may fall below the affinity it bounds by rounding alone; this covers it.
_BOUND_SLACK = 1.0 + 1e-9
# In pairs of so few samples all paths are looked at; finding those near the crossing edges would take longer.
_FEW = 256


class Edges(NamedTuple):
    """The graph's edges, each array (E,): edge e runs from sample src[e] to dst[e] with P_ij = p[e]."""

    src: Ints
    dst: Ints
    p: Floats


class Groups:
    """The groups and what their affinities need.

    Groups are numbered in order of birth; a merged group gets a new number, so a number names one set for ever.

    `alive` are the numbers of the present groups, `group` (N,) is each sample's group. `left` and `right` (N,) hold, on
    the members of each group C, the row vector 1^T (I - z P_CC)^-1 and the column vector (I - z P_CC)^-1 1. `members`,
    `outgoing` and `incoming` are lists by group: its samples, and the numbers of the edges that leave and enter it.
    """

    def __init__(self, edges: Edges, group: Ints, z: float):
        self.src, self.dst = edges.src, edges.dst
        self.zp = z * edges.p
        self.z = z
        self.group = group
        n_groups = int(group.max()) + 1
        self.n_born = n_groups
        self.alive = set(range(n_groups))
        from_group, to_group = group[self.src], group[self.dst]
        is_within = from_group == to_group
        within, across = np.flatnonzero(is_within), np.flatnonzero(~is_within)
        self.members = _split_by(group, np.arange(len(group)), n_groups)
        self.outgoing = _split_by(from_group[across], across, n_groups)
        self.incoming = _split_by(to_group[across], across, n_groups)
        ones = np.ones(len(group))
        self.right = _path_series(self.src[within], self.dst[within], self.zp[within], ones, z)
        self.left = _path_series(self.dst[within], self.src[within], self.zp[within], ones, z)
        # The edges out of and into each sample, for `_gathered`.
        self._out, self._in = _grouped(self.src, len(group)), _grouped(self.dst, len(group))
        # Scratch: a sample's place in the pair at hand, or -1; all -1 between calls.
        self._place = np.full(len(group), -1, dtype=np.intp)

    def first_bounds(self) -> tuple[Ints, Ints, Floats]:
        """`_bounds` for all linked pairs, each owned by its younger group."""
        from_group, to_group = self.group[self.src], self.group[self.dst]
        return self._bounds(np.flatnonzero(from_group > to_group), np.flatnonzero(from_group < to_group))

    def bounds(self, c: int) -> tuple[Ints, Ints, Floats]:
        """`_bounds` for all groups linked to `c`, with `c` as the owner."""
        return self._bounds(self.outgoing[c], self.incoming[c])

    def _bounds(self, outgoing: Ints, incoming: Ints) -> tuple[Ints, Ints, Floats]:
        """Upper bounds of the affinity of linked pairs: owners, others and bounds, sorted by owner, then by bound.

        `outgoing` are the edges from owner to other, `incoming` those from other to owner.

        With w = z left_a P_ab and v = z P_ba right_a, block elimination of b gives
            1_a^T M 1_a - |a|^2 S_a = w (I - A)^-1 v,    A = z P_bb + z^2 P_ba (I - z P_aa)^-1 P_ab,
        where every term is non-negative and no row of A sums to more than z. So it is at most
            w v + z/(1-z) |w|_1 max(v).
        """
        n_ids = self.n_born
        pair_out = self.group[self.src[outgoing]] * n_ids + self.group[self.dst[outgoing]]
        pair_in = self.group[self.dst[incoming]] * n_ids + self.group[self.src[incoming]]
        pairs = np.intersect1d(pair_out, pair_in)
        outgoing, pair_out = _keep_linked(outgoing, pair_out, pairs)
        incoming, pair_in = _keep_linked(incoming, pair_in, pairs)
        owner, other = pairs // n_ids, pairs % n_ids
        n_pairs, n, z = len(pairs), len(self.group), self.z
        key_out, left_out, right_out = pair_out * n, *self._step(outgoing)
        key_in, left_in, right_in = pair_in * n, *self._step(incoming)
        in_other = key_out + self.dst[outgoing], left_out, key_in + self.src[incoming], right_in
        in_owner = key_in + self.dst[incoming], left_in, key_out + self.src[outgoing], right_out
        gain_owner = _gain_bounds(*in_other, n, n_pairs, z)
        gain_other = _gain_bounds(*in_owner, n, n_pairs, z)
        size_owner = np.array([len(self.members[c]) for c in owner.tolist()], dtype=np.float64)
        size_other = np.array([len(self.members[c]) for c in other.tolist()], dtype=np.float64)
        bound = (gain_owner / size_owner**2 + gain_other / size_other**2) * _BOUND_SLACK
        order = np.lexsort((other, -bound, owner))
        return owner[order], other[order], bound[order]

    def _step(self, edges: Ints) -> tuple[Floats, Floats]:
        """The addends z left_i P_ij and z P_ij right_j of each edge."""
        return self.left[self.src[edges]] * self.zp[edges], self.zp[edges] * self.right[self.dst[edges]]

    def affinity(self, a: int, b: int, hops: int) -> tuple[float, float]:
        """A lower and an upper bound of affinity(a, b), free of the cancellation in its definition.

        Equal, and the affinity to machine precision, where all paths that matter stay within `hops` edges of the
        samples at which edges cross between the groups. A path that goes further and returns has at least
        2 (hops + 1) steps more, so all of these together are at most z^(2 hops + 2) / (1 - z) |w|_1 max(v).
        """
        pair, z = self._pair(a, b, hops), self.z
        in_b = self.group[pair.samples] == b
        total = beyond = 0.0
        for c, other in ((a, in_b), (b, ~in_b)):
            w, v = np.where(other, pair.left, 0.0), np.where(other, pair.right, 0.0)
            size = len(self.members[c])
            total += _paths_between(pair, w, v, z) / size**2
            beyond += z ** (2 * hops + 2) / (1.0 - z) * float(w.sum() * v.max()) / size**2
        if pair.is_whole or beyond <= _EPS * total:
            return total, total
        return total / _BOUND_SLACK, (total + beyond) * _BOUND_SLACK

    def merge(self, a: int, b: int) -> int:
        """Replace groups a and b by their union and return its number."""
        pair = self._pair(a, b)
        members, c = np.concatenate([self.members[a], self.members[b]]), self.n_born
        self.n_born += 1
        self.alive -= {a, b}
        self.alive.add(c)
        # (I - z P_UU) r = 1 holds for the old r but for what crosses between a and b, which is the source of the rest.
        self.right[pair.samples] += _path_series(pair.src, pair.dst, pair.zp, pair.right, self.z)
        self.left[pair.samples] += _path_series(pair.dst, pair.src, pair.zp, pair.left, self.z)
        self.group[members] = c
        self.members.append(members)
        outgoing = np.concatenate([self.outgoing[a], self.outgoing[b]])
        incoming = np.concatenate([self.incoming[a], self.incoming[b]])
        self.outgoing.append(outgoing[self.group[self.dst[outgoing]] != c])
        self.incoming.append(incoming[self.group[self.src[incoming]] != c])
        nothing = np.empty(0, dtype=np.intp)
        for lists in (self.members, self.outgoing, self.incoming):
            lists[a] = lists[b] = nothing
        return c

    def _pair(self, a: int, b: int, hops: int | None = None) -> _Pair:
        """What lies within `hops` edges of the ends of the crossing edges, or all of it if that is little more.

        By default as far as what crosses changes any `left` or `right`: these are at least 1, and z^k of it goes k far.
        """
        crossing = np.concatenate([self._crossing(a, b), self._crossing(b, a)])
        left_step, right_step = self._step(crossing)
        if hops is None:
            source = max(float(left_step.sum()), float(right_step.sum()), _EPS)
            hops = int(np.log(_EPS * (1.0 - self.z) / source) / np.log(self.z))
        samples, is_whole = self._samples_near(crossing, a, b, hops)
        self._place[samples] = np.arange(len(samples))
        edges = _gathered(*self._out, samples)
        edges = edges[self._place[self.dst[edges]] >= 0]
        src, dst = self._place[self.src[edges]], self._place[self.dst[edges]]
        left = sum_by(self._place[self.dst[crossing]], left_step, len(samples))
        right = sum_by(self._place[self.src[crossing]], right_step, len(samples))
        self._place[samples] = -1
        return _Pair(samples, is_whole, src, dst, self.zp[edges], left, right)

    def _crossing(self, a: int, b: int) -> Ints:
        """The edges from a to b, looked up at the end that has fewer."""
        if len(self.outgoing[a]) < len(self.incoming[b]):
            return self.outgoing[a][self.group[self.dst[self.outgoing[a]]] == b]
        return self.incoming[b][self.group[self.src[self.incoming[b]]] == a]

    def _samples_near(self, crossing: Ints, a: int, b: int, hops: int) -> tuple[Ints, bool]:
        """The samples of a and b within `hops` edges, either way, of the ends of `crossing`; are all connected found?

        All samples where they are few, or where it would be more than half.
        """
        n = len(self.members[a]) + len(self.members[b])
        found = [np.empty(0, dtype=np.intp)]
        n_found = 0 if n > _FEW else n
        ends = np.concatenate([self.src[crossing], self.dst[crossing]])
        for hop in range(hops + 1):
            if 2 * n_found > n:
                return np.concatenate([self.members[a], self.members[b]]), True
            if hop:
                out, into = (_gathered(*lists, found[-1]) for lists in (self._out, self._in))
                ends = np.concatenate([self.dst[out], self.src[into]])
            group = self.group[ends]
            fresh = np.unique(ends[((group == a) | (group == b)) & (self._place[ends] < 0)])
            if not fresh.size:
                return np.concatenate(found), True
            self._place[fresh] = 0
            found.append(fresh)
            n_found += len(fresh)
        return np.concatenate(found), False


class _Pair(NamedTuple):
    """Two groups a and b side by side, or the part of them near the edges that cross between them.

    `samples` (n,); `is_whole` if no path from them leads to others of a and b; `src`, `dst` and `zp` (e,) are the edges
    among them, with their ends as places in `samples`. `left` (n,) is z left_b P_ba on a and z left_a P_ab on b;
    `right` (n,) is z P_ab right_b on a and z P_ba right_a on b.
    """

    samples: Ints
    is_whole: bool
    src: Ints
    dst: Ints
    zp: Floats
    left: Floats
    right: Floats


def sum_by(places: Ints, values: Floats, n_places: int) -> Floats:
    """(n_places,) sums of the values (n,) at each place."""
    # bincount answers in integers where there is nothing to sum.
    return np.bincount(places, values, minlength=n_places).astype(np.float64, copy=False)


def _split_by(keys: Ints, values: Ints, n_keys: int) -> list[Ints]:
    order = np.argsort(keys, kind="stable")
    return np.split(values[order], np.cumsum(np.bincount(keys, minlength=n_keys))[:-1])


def _grouped(keys: Ints, n_keys: int) -> tuple[Ints, Ints]:
    """The indices of `keys` sorted by key, and where each key's begin, with the end: (n_keys + 1,)."""
    start = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=n_keys))])
    return np.argsort(keys, kind="stable"), start


def _gathered(values: Ints, start: Ints, keys: Ints) -> Ints:
    """The values of all `keys`, one key after the other, of what `_grouped` returned."""
    counts = start[keys + 1] - start[keys]
    ends = np.cumsum(counts)
    return values[np.arange(ends[-1] if len(ends) else 0) + np.repeat(start[keys] - ends + counts, counts)]


def _keep_linked(edges: Ints, pair: Ints, pairs: Ints) -> tuple[Ints, Ints]:
    """The edges whose pair is in the sorted `pairs`, and its place there."""
    if not len(pairs):
        return edges[:0], pair[:0]
    place = np.minimum(np.searchsorted(pairs, pair), len(pairs) - 1)
    linked = pairs[place] == pair
    return edges[linked], place[linked]


def _gain_bounds(w_key: Ints, w: Floats, v_key: Ints, v: Floats, n: int, n_pairs: int, z: float) -> Floats:
    """w v + z/(1-z) |w|_1 max(v) for each pair; a key is pair * n + sample."""
    keys, places = np.unique(np.concatenate([w_key, v_key]), return_inverse=True)
    w_sums = sum_by(places[: len(w)], w, len(keys))
    v_sums = sum_by(places[len(w) :], v, len(keys))
    pair = keys // n
    v_max = np.zeros(n_pairs)
    np.maximum.at(v_max, pair, v_sums)
    return sum_by(pair, w_sums * v_sums, n_pairs) + z / (1.0 - z) * sum_by(pair, w_sums, n_pairs) * v_max


def _path_series(src: Ints, dst: Ints, zp: Floats, start: Floats, z: float) -> Floats:
    """(I - zP)^-1 start, by the series start + zP start + (zP)^2 start + ..., to machine precision.

    With src and dst exchanged it is the row vector start (I - zP)^-1.
    """
    total, term = start.copy(), start
    # What is left is at most the term's sum * z / (1 - z), in the row form anywhere, while `left` and `right` are >= 1.
    while term.sum() * z > _EPS * (1.0 - z):
        term = sum_by(src, zp * term[dst], len(start))
        total += term
    return total


def _paths_between(pair: _Pair, w: Floats, v: Floats, z: float) -> float:
    """The number w (I - z P_UU)^-1 v, to machine precision."""
    total, term, steps = float(w @ v), v, 0
    # Relative, as gains may be tiny; while nothing has arrived, as many steps as the longest path could need.
    while (total == 0.0 and steps < len(v)) or w.sum() * term.max() * z / (1.0 - z) > _EPS * total > 0.0:
        term = sum_by(pair.src, pair.zp * term[pair.dst], len(v))
        total += float(w @ term)
        steps += 1
    return total
