"""AC-PIC: agglomerative clustering by path integral, the initial assignment DEPICT uses for small data sets.

W. Zhang, D. Zhao, X. Wang, "Agglomerative clustering via maximum incremental path integral", Pattern Recognition 46
(2013). The graph is sparse: memory grows with the number of its edges, and so does time, nearly, while groups grow
side by side.

Where one group swallows the samples one by one (which takes fewer first groups than clusters, so that single samples
start) a merge costs what lies near the edges that cross: paths that wander further into the group than a few edges
weigh less than rounding (z per edge), and are left out. Along a curve that is a constant, but for copying the list of
members. At worst, a hub in noise of many dimensions, the group borders on all samples left and every sample of it is
within a few edges of every other: bounds of all those pairs, and the sums over the whole group, come anew with each
merge, and more of the pairs lie too close together to be told apart by bounds. There time still grows with N^2.
"""

import heapq
import operator
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

_EPS = float(np.finfo(np.float64).eps)
# A bound computed in floating point may fall below the affinity it bounds by rounding alone; this covers it.
_BOUND_SLACK = 1.0 + 1e-9
# In pairs of so few samples all paths are looked at; finding those near the crossing edges would take longer.
_FEW = 256


def path_integral_clustering(
    features: Any, n_clusters: int, n_neighbors: int = 20, z: float = 0.01, smallest: int = 1
) -> NDArray[np.int32]:
    """Merge groups of samples by path-integral affinity until `n_clusters` remain (Zhang et al., AC-PIC).

    With d_ij the squared Euclidean distance, on the graph that links each sample to its `n_neighbors` nearest others
    (at most N - 1) and to itself:

        W_ij = exp(-d_ij / sigma2),   W_ii = 1,   P = W with every row divided by its sum
        sigma2 = mean of the neighbours' d_ij, doubled while any sample's nearest neighbour has W_ij < 1e-5
        S_C = (1/|C|^2) 1^T (I - z P_CC)^-1 1                                  the path integral of a group C
        affinity(a, b) = (1/|a|^2) 1_a^T M 1_a - S_a + (1/|b|^2) 1_b^T M 1_b - S_b,   M = (I - z P_UU)^-1,  U = a + b

    The first groups are the connected components of the graph that joins each sample to its single nearest neighbour,
    or the single samples if those are fewer than `n_clusters`. The linked pair (some edge runs a -> b and some edge
    b -> a) of the largest affinity merges, again and again. Where no linked pair is left, the two groups whose means
    are nearest merge instead. Among equal affinities or distances the groups' age decides, so the result is
    deterministic.

    A few strays, a pair of odd images for one, may stay a group of their own to the end, and cost a merge of two
    clusters each. With `smallest` they do not count: if fewer than `n_clusters` of the last groups are so large, those
    of the last moment are taken at which as many were, and every smaller group of that moment joins, whole, the one of
    them whose mean is nearest. If there was no such moment, nothing changes.

    Args:
        features: (N, D) real numbers, N >= 2, D >= 1: anything `np.asarray` takes. Computed in float64.
        n_clusters: K, the number of groups to return, 1 <= K <= N.
        n_neighbors: neighbours of each sample in the graph, at least 1.
        z: weight of each further step of a path, 0 < z < 1. The cost grows as 1 / (1 - z).
        smallest: samples that a group must have to count as a cluster, from 1, the method as published, to N / K.

    Returns:
        (N,) int32 labels 0..K-1, none of them empty, numbered by first appearance: `labels[0]` is 0.

    Raises:
        TypeError: if an argument is not of the kind named above.
        ValueError: if an argument is out of its range, a feature is NaN or infinite, or all neighbours are identical.

    Warns:
        UserWarning: once, with the number of merges, if unlinked groups had to be merged.
    """
    x = _checked_features(features)
    n_samples = len(x)
    n_clusters = _checked_integer("n_clusters", n_clusters)
    n_neighbors = _checked_integer("n_neighbors", n_neighbors)
    if not 1 <= n_clusters <= n_samples:
        raise ValueError(
            f"n_clusters is {n_clusters}, but must be from 1 to the number of samples, {n_samples}: choose it there."
        )
    if n_neighbors < 1:
        raise ValueError(f"n_neighbors is {n_neighbors}, but must be at least 1: the usual choice is 20.")
    if np.ndim(z) or not _is_real(np.asarray(z).dtype):
        raise TypeError(f"z is {z!r}, but must be a number between 0 and 1: the usual choice is 0.01.")
    if not 0.0 < z < 1.0:
        raise ValueError(f"z is {z}, but must lie strictly between 0 and 1: the usual choice is 0.01.")
    smallest = _checked_integer("smallest", smallest)
    if not 1 <= smallest <= n_samples / n_clusters:
        raise ValueError(
            f"smallest is {smallest}, but must be from 1 to the mean size of {n_clusters} clusters of {n_samples} "
            "samples: choose a fraction of that mean, or 1 to let every group count."
        )
    if n_clusters == n_samples:  # needs no distances, so here even identical samples will do
        return np.arange(n_samples, dtype=np.int32)

    neighbors, distances = _nearest_neighbors(x, min(n_neighbors, n_samples - 1))
    first_groups = _nearest_neighbor_components(neighbors[:, 0])
    if first_groups.max() + 1 < n_clusters:
        first_groups = np.arange(n_samples)
    groups = _Groups(_transition_graph(neighbors, distances), first_groups, float(z))
    group, n_unlinked = _merge_until(groups, x, n_clusters, smallest)
    if n_unlinked:
        warnings.warn(
            f"{n_unlinked} of the merges joined the groups of the nearest means, because no linked pair was left while "
            f"more than n_clusters = {n_clusters} groups remained: a larger n_neighbors than {n_neighbors} links more.",
            UserWarning,
            stacklevel=2,
        )
    return _by_first_appearance(group)


def _checked_features(features: Any) -> Floats:
    try:
        x = np.asarray(features)
    except ValueError as error:
        raise ValueError("features is ragged, but must be 2-D (samples, features): give rows of one length.") from error
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(
            f"features has shape {x.shape}, but must be 2-D (samples, features) with at least one feature: reshape it."
        )
    if not _is_real(x.dtype):
        raise TypeError(f"features has dtype {x.dtype}, but must hold real numbers: convert it to a float array.")
    if len(x) < 2:
        raise ValueError(f"features has {len(x)} sample(s), but clustering needs at least 2: give more samples.")
    x = x.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if bad.size:
        raise ValueError(
            f"features holds NaN or infinity in {bad.size} sample(s), the first in row {bad[0]}, but must be finite: "
            "remove or repair these."
        )
    return _scaled(x)


def _is_real(dtype: Any) -> bool:
    # Asked of the cast because bfloat16, which jax arrays may have, is no subtype of numpy's own floats.
    return np.can_cast(dtype, np.float64, "same_kind")


def _scaled(x: Floats) -> Floats:
    # The method does not see scale or origin; squares of the numbers do. A power of two keeps the scaling exact.
    _, exponent = np.frexp(np.abs(x).max())
    x = np.ldexp(x, -exponent)
    return x - x.mean(axis=0)


def _checked_integer(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, but must be an integer: give a whole number.") from None


def _nearest_neighbors(x: Floats, k: int) -> tuple[Ints, Floats]:
    """Indices and squared distances, both (N, k), of each sample's nearest others, nearest first."""
    # Without an argument kneighbors leaves out the sample itself by index, so duplicates stay.
    search = NearestNeighbors(n_neighbors=k, n_jobs=-1).fit(x)
    neighbors = search.kneighbors(return_distance=False).astype(np.intp)
    # Computed again because kneighbors may expand the square, which loses small distances and exact zeros.
    distances = np.empty(neighbors.shape)
    for j in range(k):
        distances[:, j] = np.square(x - x[neighbors[:, j]]).sum(axis=1)
    order = np.lexsort((neighbors, distances), axis=1)
    return np.take_along_axis(neighbors, order, axis=1), np.take_along_axis(distances, order, axis=1)


def _nearest_neighbor_components(nearest: Ints) -> Ints:
    n = len(nearest)
    joined = coo_array((np.ones(n, dtype=np.int8), (np.arange(n), nearest)), shape=(n, n))
    return connected_components(joined, directed=False)[1].astype(np.intp)


class _Edges(NamedTuple):
    """The graph's edges, each array (E,): edge e runs from sample src[e] to dst[e] with P_ij = p[e]."""

    src: Ints
    dst: Ints
    p: Floats


def _transition_graph(neighbors: Ints, distances: Floats) -> _Edges:
    n = len(neighbors)
    sigma2 = distances.mean()
    if sigma2 == 0.0:
        raise ValueError(
            "features has the same values for every sample and its neighbours, but the affinity needs distances: "
            "remove the duplicates or raise n_neighbors."
        )
    while np.exp(-distances[:, 0].max() / sigma2) < 1e-5:
        sigma2 *= 2.0
    samples = np.arange(n)[:, None]
    weights = np.hstack([np.ones((n, 1)), np.exp(-distances / sigma2)])
    p = weights / weights.sum(axis=1, keepdims=True)
    src = np.broadcast_to(samples, p.shape)
    dst = np.hstack([samples, neighbors])
    present = p > 0.0
    return _Edges(src[present], dst[present], p[present])


class _Groups:
    """The groups and what their affinities need.

    Groups are numbered in order of birth; a merged group gets a new number, so a number names one set for ever.

    `alive` are the numbers of the present groups, `group` (N,) is each sample's group. `left` and `right` (N,) hold, on
    the members of each group C, the row vector 1^T (I - z P_CC)^-1 and the column vector (I - z P_CC)^-1 1. `members`,
    `outgoing` and `incoming` are lists by group: its samples, and the numbers of the edges that leave and enter it.
    """

    def __init__(self, edges: _Edges, group: Ints, z: float):
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

    def _pair(self, a: int, b: int, hops: int | None = None) -> "_Pair":
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
        left = _sum_by(self._place[self.dst[crossing]], left_step, len(samples))
        right = _sum_by(self._place[self.src[crossing]], right_step, len(samples))
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


def _sum_by(places: Ints, values: Floats, n_places: int) -> Floats:
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
    w_sums = _sum_by(places[: len(w)], w, len(keys))
    v_sums = _sum_by(places[len(w) :], v, len(keys))
    pair = keys // n
    v_max = np.zeros(n_pairs)
    np.maximum.at(v_max, pair, v_sums)
    return _sum_by(pair, w_sums * v_sums, n_pairs) + z / (1.0 - z) * _sum_by(pair, w_sums, n_pairs) * v_max


def _path_series(src: Ints, dst: Ints, zp: Floats, start: Floats, z: float) -> Floats:
    """(I - zP)^-1 start, by the series start + zP start + (zP)^2 start + ..., to machine precision.

    With src and dst exchanged it is the row vector start (I - zP)^-1.
    """
    total, term = start.copy(), start
    # What is left is at most the term's sum * z / (1 - z), in the row form anywhere, while `left` and `right` are >= 1.
    while term.sum() * z > _EPS * (1.0 - z):
        term = _sum_by(src, zp * term[dst], len(start))
        total += term
    return total


def _paths_between(pair: _Pair, w: Floats, v: Floats, z: float) -> float:
    """The number w (I - z P_UU)^-1 v, to machine precision."""
    total, term, steps = float(w @ v), v, 0
    # Relative, as gains may be tiny; while nothing has arrived, as many steps as the longest path could need.
    while (total == 0.0 and steps < len(v)) or w.sum() * term.max() * z / (1.0 - z) > _EPS * total > 0.0:
        term = _sum_by(pair.src, pair.zp * term[pair.dst], len(v))
        total += float(w @ term)
        steps += 1
    return total


class _LinkedPairs:
    """The linked pairs in order of affinity, of which only those that come near the top are computed.

    The heap holds upper bounds and exact affinities. An exact one that reaches the top is the largest, since every
    other pair's bound is below it; so is one whose lower bound exceeds the next upper one. A pair at the top of which
    neither is known is looked at more closely. Of each group only the best bound not yet used is in the heap, so it
    stays small.
    """

    def __init__(self, groups: _Groups):
        self._groups = groups
        # (-upper bound, is exact, older group, younger group, lower bound, hops looked at, -1 for none): of equal
        # values bounds come first, then older groups.
        self._heap: list[tuple[float, bool, int, int, float, int]] = []
        self._candidates: dict[int, Iterator[tuple[int, float]]] = {}

    def add(self, owners: Ints, others: Ints, bounds: Floats) -> None:
        """Take in new pairs: each owner, a group born after the others, comes with all its pairs at once."""
        first = np.flatnonzero(np.diff(owners, prepend=-1))
        for begin, end in pairwise([*first.tolist(), len(owners)]):
            owner = int(owners[begin])
            self._candidates[owner] = zip(others[begin:end], bounds[begin:end], strict=True)
            self._push_next(owner)

    def pop(self) -> tuple[int, int] | None:
        """The linked pair of the largest affinity, or None if no pair is linked."""
        alive = self._groups.alive
        while self._heap:
            _, is_exact, older, younger, lower, hops = heapq.heappop(self._heap)
            if younger not in alive:
                continue
            if hops < 0:
                self._push_next(younger)
            if older not in alive:
                continue
            if is_exact or (hops >= 0 and (not self._heap or lower > -self._heap[0][0])):
                return older, younger
            hops = 2 * hops + 1 if hops >= 0 else 0
            lower, upper = self._groups.affinity(older, younger, hops)
            heapq.heappush(self._heap, (-upper, lower == upper, older, younger, lower, hops))
        return None

    def forget(self, *dead: int) -> None:
        """Free the unused bounds of groups that are no more."""
        for owner in dead:
            self._candidates.pop(owner, None)

    def _push_next(self, owner: int) -> None:
        for other, bound in self._candidates[owner]:
            if other in self._groups.alive:
                heapq.heappush(self._heap, (-float(bound), False, int(other), owner, 0.0, -1))
                return


class _NearestMeans:
    """The two groups whose means are nearest, by each group's nearest other: memory is linear in the groups.

    A row is a group, oldest first; the rows of dead groups and those not born yet stand at infinity.
    """

    def __init__(self, groups: _Groups, x: Floats):
        alive = sorted(groups.alive)
        n_rows = 2 * len(alive)
        self._number = np.full(n_rows, np.iinfo(np.intp).max)
        self._number[: len(alive)] = alive
        self._means = np.full((n_rows, x.shape[1]), np.inf)
        for row, c in enumerate(alive):
            self._means[row] = x[groups.members[c]].mean(axis=0)
        # The row of the nearest other mean and its distance; where the row is not known (-1), a lower bound of it.
        self._nearest = np.full(n_rows, -1)
        self._distance = np.where(np.arange(n_rows) < len(alive), 0.0, np.inf)
        self._n_rows = len(alive)

    def pair(self) -> tuple[int, int]:
        while self._nearest[row := int(self._distance.argmin())] < 0:
            self._look_around(row)
        a, b = sorted((row, int(self._nearest[row])))
        return int(self._number[a]), int(self._number[b])

    def merge(self, a: int, b: int, c: int, mean: Floats) -> None:
        """Replace groups a and b by c."""
        dead = np.searchsorted(self._number, [a, b])
        self._means[dead] = self._distance[dead] = np.inf
        self._nearest[np.isin(self._nearest, dead)] = -1
        row = self._n_rows
        self._n_rows += 1
        self._number[row], self._means[row] = c, mean
        # No older row needs to hear of the new mean: where the two are nearest, the new row says so.
        self._look_around(row)

    def _look_around(self, row: int) -> None:
        distances = np.square(self._means - self._means[row]).sum(axis=1)
        distances[row] = np.inf
        self._nearest[row] = distances.argmin()
        self._distance[row] = distances[self._nearest[row]]


def _merge_until(groups: _Groups, x: Floats, n_clusters: int, smallest: int) -> tuple[Ints, int]:
    """Merge groups until `n_clusters` count; the group of each sample, and how many merges were of unlinked groups."""
    linked = _LinkedPairs(groups)
    linked.add(*groups.first_bounds())
    means: _NearestMeans | None = None
    n_unlinked = 0
    n_large = sum(len(groups.members[c]) >= smallest for c in groups.alive)
    enough: tuple[Ints, int] | None = None  # what is returned, of the last moment before too few groups were large
    while len(groups.alive) > n_clusters:
        pair = linked.pop()
        is_linked = pair is not None
        if pair is None:
            means = means or _NearestMeans(groups, x)
            pair = means.pair()
        a, b = pair
        sizes = len(groups.members[a]), len(groups.members[b])
        if n_large == n_clusters and min(sizes) >= smallest:
            enough = groups.group.copy(), n_unlinked
        n_large += (sum(sizes) >= smallest) - sum(size >= smallest for size in sizes)
        n_unlinked += not is_linked
        c = groups.merge(a, b)
        linked.forget(a, b)
        linked.add(*groups.bounds(c))
        if means:
            means.merge(a, b, c, x[groups.members[c]].mean(axis=0))
    if n_large == n_clusters or enough is None:
        return groups.group, n_unlinked
    group, n_unlinked = enough
    return _small_to_nearest(group, x, smallest), n_unlinked


def _small_to_nearest(group: Ints, x: Floats, smallest: int) -> Ints:
    """Every group of fewer than `smallest` samples joined to the larger one whose mean is nearest."""
    _, which, sizes = np.unique(group, return_inverse=True, return_counts=True)
    means = np.stack([_sum_by(which, column, len(sizes)) for column in x.T], axis=1) / sizes[:, None]
    small, large = np.flatnonzero(sizes < smallest), np.flatnonzero(sizes >= smallest)
    home = np.arange(len(sizes))
    home[small] = large[pairwise_distances_argmin(means[small], means[large])]
    return home[which]


def _by_first_appearance(group: Ints) -> NDArray[np.int32]:
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[inverse]
