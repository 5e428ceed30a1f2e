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
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors

from .path_integrals import Edges, Floats, Groups, Ints, sum_by


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
    groups = Groups(_transition_graph(neighbors, distances), first_groups, float(z))
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


def _transition_graph(neighbors: Ints, distances: Floats) -> Edges:
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
    return Edges(src[present], dst[present], p[present])


class _LinkedPairs:
    """The linked pairs in order of affinity, of which only those that come near the top are computed.

    The heap holds upper bounds and exact affinities. An exact one that reaches the top is the largest, since every
    other pair's bound is below it; so is one whose lower bound exceeds the next upper one. A pair at the top of which
    neither is known is looked at more closely. Of each group only the best bound not yet used is in the heap, so it
    stays small.
    """

    def __init__(self, groups: Groups):
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

    def __init__(self, groups: Groups, x: Floats):
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


def _merge_until(groups: Groups, x: Floats, n_clusters: int, smallest: int) -> tuple[Ints, int]:
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
    means = np.stack([sum_by(which, column, len(sizes)) for column in x.T], axis=1) / sizes[:, None]
    small, large = np.flatnonzero(sizes < smallest), np.flatnonzero(sizes >= smallest)
    home = np.arange(len(sizes))
    home[small] = large[pairwise_distances_argmin(means[small], means[large])]
    return home[which]


def _by_first_appearance(group: Ints) -> NDArray[np.int32]:
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[inverse]
