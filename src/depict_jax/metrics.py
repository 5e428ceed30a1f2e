"""Scores against labels, and indicators that need none."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix


def clustering_accuracy(labels_true: np.ndarray, labels_pred: np.ndarray) -> float:
    """ACC: the share of samples whose cluster is matched to their label, under the best one-to-one matching.

    Args:
        labels_true: (N,), any labels.
        labels_pred: (N,), any cluster names; their number may differ from the labels'.

    Returns:
        A float in [0, 1]; the matching is Hungarian (scipy's linear_sum_assignment).

    Raises:
        ValueError: not two 1-D arrays of the same length, or empty ones.
    """
    labels_true, labels_pred = _checked(labels_true, labels_pred)
    counts = contingency_matrix(labels_true, labels_pred)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(labels_true))


def scores(labels_true: np.ndarray, labels_pred: np.ndarray) -> dict[str, float]:
    """{"acc": ..., "nmi": ..., "ari": ...} of an assignment; arguments and errors as `clustering_accuracy`.

    NMI is normalised by the arithmetic mean of the two entropies, scikit-learn's default.
    """
    labels_true, labels_pred = _checked(labels_true, labels_pred)
    return {
        "acc": clustering_accuracy(labels_true, labels_pred),
        "nmi": float(normalized_mutual_info_score(labels_true, labels_pred)),
        "ari": float(adjusted_rand_score(labels_true, labels_pred)),
    }


def indicators(p: np.ndarray, previous: np.ndarray | None = None) -> dict[str, float]:
    """What can be said of an assignment without labels.

    Args:
        p: soft-max probabilities, (N, K).
        previous: (N,) the assignment an epoch before, or None.

    Returns:
        clusters_in_use, smallest_share and largest_share of the images, confidence (mean of max_k p_ik) and, with
        `previous`, changed (share of the images that moved to another cluster).
    """
    assignment = p.argmax(axis=1)
    shares = np.bincount(assignment, minlength=p.shape[1]) / len(p)
    found = {
        "clusters_in_use": int((shares > 0).sum()),
        "smallest_share": float(shares.min()),
        "largest_share": float(shares.max()),
        "confidence": float(p.max(axis=1).mean()),
    }
    if previous is not None:
        found["changed"] = float((assignment != previous).mean())
    return found


def _checked(labels_true: np.ndarray, labels_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels_true, labels_pred = np.asarray(labels_true), np.asarray(labels_pred)
    if labels_true.ndim != 1 or labels_true.shape != labels_pred.shape or not len(labels_true):
        raise ValueError(
            f"labels have shape {labels_true.shape} and clusters {labels_pred.shape}: "
            "expected two 1-D arrays of the same length, at least 1"
        )
    return labels_true, labels_pred
