"""Which images stand for a cluster: its most typical, its least certain, and those on the border to another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Border(NamedTuple):
    """The images of a cluster whose second choice is one other cluster."""

    other: int  # that cluster
    members: np.ndarray  # int64 indices, the nearest to the border first: by rising difference of their two highest p
    size: int  # how many there are, shown or not


class Groups(NamedTuple):
    """Indices into the N images, int64, of one cluster's images."""

    typical: np.ndarray  # by falling confidence, p of their own cluster
    uncertain: np.ndarray  # by rising confidence
    borders: tuple[Border, ...]  # the other clusters that most of the cluster's probability leaks to, largest first
    size: int  # the cluster's


def ranked_members(p: np.ndarray) -> list[np.ndarray]:
    """The images of each cluster, the most confident first; ties in the images' order.

    Args:
        p: probabilities, (N, K).

    Returns:
        K arrays of indices into the N images, int64, together each index once; empty ones for empty clusters.
    """
    cluster, confidence = p.argmax(axis=1), p.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    return [order[cluster[order] == k] for k in range(p.shape[1])]


def second_choices(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each image's cluster of second-highest p and that p: int64 (N,) and float (N,). Ties in the clusters' order.

    Args:
        p: probabilities, (N, K), K at least 2.
    """
    rows = np.arange(len(p))
    rest = p.copy()
    rest[rows, p.argmax(axis=1)] = -1
    second = rest.argmax(axis=1)
    return second, p[rows, second]


def cluster_groups(
    p: np.ndarray, typical: int = 30, uncertain: int = 10, border: int = 10, neighbours: int = 3
) -> list[Groups]:
    """The images to look at of each cluster; ties in the images' order.

    Args:
        p: probabilities, (N, K), K at least 2.
        typical: most typical images to give, at most.
        uncertain: least certain ones, at most; none that is among the typical ones already.
        border: images for each border, at most. An image is on the border to the cluster of its second-highest p,
            where that is above 0; the nearer its two highest p are to each other, the nearer the border.
        neighbours: borders for each cluster, at most.

    Returns:
        K groups, of empty clusters with no images.
    """
    second, p_second = second_choices(p)
    margin = p.max(axis=1) - p_second
    found = []
    for of in ranked_members(p):
        shown, last = of[:typical], of[typical:][::-1][:uncertain]
        near = of[p_second[of] > 0]
        leaks = np.bincount(second[near], weights=p_second[near], minlength=p.shape[1])
        borders = []
        for other in np.argsort(-leaks, kind="stable")[:neighbours]:
            there = near[second[near] == other]
            if len(there):
                nearest = there[np.lexsort((there, margin[there]))]
                borders.append(Border(int(other), nearest[:border], len(there)))
        found.append(Groups(shown, last, tuple(borders), len(of)))
    return found
