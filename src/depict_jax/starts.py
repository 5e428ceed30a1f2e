"""The assignment that a round of warm start and joint training starts from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import rel_entr
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from .agglomerative import path_integral_clustering
from .assignments import checked_prior
from .settings import Settings


def initial_assignment(embeddings: np.ndarray, n_clusters: int, settings: Settings) -> np.ndarray:
    """AC-PIC or k-means on embeddings (N, D): int32 (N,), 0 .. K-1, none empty.

    Raises:
        ValueError: embeddings too alike to give n_clusters clusters.
    """
    if np.ptp(embeddings, axis=0).max() < 1e-3:
        raise ValueError(
            "the autoencoder gives all images the same embedding, its units being saturated: try a smaller "
            "--pretrain-learning-rate (1e-4), or smaller images (32 x 32)"
        )
    if settings.initial == "acpic":
        try:
            return _acpic(embeddings, n_clusters, settings)
        except ValueError:  # images so often repeated that all neighbours of each are itself: then each counts once
            distinct, which = np.unique(embeddings, axis=0, return_inverse=True)
            if not n_clusters <= len(distinct) < len(embeddings):
                raise
            return _acpic(distinct, n_clusters, settings)[which]
    return kmeans(embeddings, n_clusters, settings)


def _acpic(embeddings: np.ndarray, n_clusters: int, settings: Settings) -> np.ndarray:
    of_the_rarest = np.asarray(checked_prior(settings.prior, n_clusters)).min() * len(embeddings)
    smallest = max(1, int(settings.smallest_cluster * of_the_rarest))
    return path_integral_clustering(embeddings, n_clusters, smallest=smallest)


def kmeans(embeddings: np.ndarray, n_clusters: int, settings: Settings) -> np.ndarray:
    """scikit-learn's k-means with the settings' restarts and seed: int32 (N,), 0 .. K-1, none empty.

    Raises:
        ValueError: fewer distinct embeddings than clusters.
    """
    if len(np.unique(embeddings, axis=0)) < n_clusters:
        raise ValueError(f"fewer than {n_clusters} distinct embeddings: choose fewer clusters, or more varied images")
    estimator = KMeans(n_clusters, n_init=settings.kmeans_restarts, random_state=settings.seed)
    with threadpool_limits(1):  # threads add up in any order; one gives the same bits every time
        return estimator.fit_predict(embeddings).astype(np.int32)


def next_start(embeddings: np.ndarray, p: np.ndarray, start: np.ndarray, settings: Settings) -> np.ndarray:
    """The start of a round after the first: int32 (N,), 0 .. K-1.

    The initial assignment of the embeddings that the round before has trained, if the sizes of its clusters are nearer
    to the prior than those of that round's start: then it has parted what was merged. Otherwise the clusters that are
    there: embeddings in tight, far-apart groups may have a few strays for a group of their own, for which AC-PIC then
    merges two others. So here strays count, whatever the settings say: without them the new sizes would hardly ever be
    further from the prior, even where the clusters that are there are better.

    Args:
        embeddings: (N, D), clean.
        p: (N, K), clean predictions.
        start: (N,) int, the assignment that the round before started from.
        settings: the hyperparameters.
    """
    n_clusters = p.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of merges that are far-fetched: such an assignment is not taken
        try:
            found = initial_assignment(embeddings, n_clusters, replace(settings, smallest_cluster=0.0))
        except ValueError:  # embeddings of a cluster have become one and the same
            return p.argmax(axis=1).astype(np.int32)
    u = np.asarray(checked_prior(settings.prior, n_clusters))
    is_nearer = divergence(found, u) < divergence(start, u)
    return found if is_nearer else p.argmax(axis=1).astype(np.int32)


def named_by_size(assignment: np.ndarray, prior: Sequence[float] | None) -> np.ndarray:
    """The same clusters, int32 (N,), numbered so that the larger of two is the larger by the prior, (K,), too.

    What a cluster is called means nothing until a prior says how large the cluster of each number is to be: that of
    another kind would cut it in two, or fill it with strangers. Without a prior nothing is renamed.
    """
    if prior is None:
        return assignment
    name_of = np.empty(len(prior), np.int32)
    sizes = np.bincount(assignment, minlength=len(prior))
    name_of[np.argsort(sizes, kind="stable")] = np.argsort(prior, kind="stable")
    return name_of[assignment]


def divergence(assignment: np.ndarray, prior: np.ndarray) -> float:
    """KL(f||u) of an assignment's shares f from the prior u, (K,), both by size: which cluster is which is not said."""
    shares = np.bincount(assignment, minlength=len(prior)) / len(assignment)
    return float(rel_entr(np.sort(shares), np.sort(prior)).sum())
