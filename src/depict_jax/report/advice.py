"""Warnings in words about what a run found, from quantities that need no labels, and what to try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from ..assignments import checked_prior
from ..settings import Settings
from .mosaics import count
from .ranking import second_choices

TINY = 0.2  # a cluster with less than this share of what the prior expects is tiny
SWALLOWING = 3.0  # one whose odds s / (1 - s), s its share of the images, are more than so many times the prior's
UNSURE = 0.7  # a cluster whose mean confidence is below this is unsure
# Ashman's D of a cluster's two halves beyond which it looks merged. A Gaussian cut in two has 2.7; the authors'
# clusters of MNIST-test have at most 3.3, and 38 of the 45 pairs of them have more than 4 (make test-reference).
LUMPS = 4.0
SMALLER_LUMP = 0.15  # the smaller half's least share: fewer are outliers
LOOKED_AT = 2_000  # most images of a cluster that are searched for two lumps, drawn evenly
FEWEST = 50  # images below which nothing can be said of lumps
LISTED = 8  # most clusters whose numbers are told
MOVING = 0.01  # share of images that changed cluster in the last epoch, beyond which the run was not at rest


class Warned(NamedTuple):
    """What stands out, and what to try."""

    kind: str  # empty, tiny, swallowing, merged, unsure or moving
    clusters: tuple[int, ...]  # those meant; none where all are
    text: str  # a sentence
    details: str  # numbers, cluster by cluster
    advice: str  # a sentence, with options of `depict-jax fit`


def warnings_in_words(
    p: np.ndarray,
    embeddings: np.ndarray,
    settings: Settings,
    records: Sequence[dict[str, Any]] = (),
) -> list[Warned]:
    """What stands out in a clustering, without labels.

    With s_k the share of images whose most likely cluster is k, and u the prior, a cluster is
    empty: s_k = 0;
    tiny: 0 < s_k < u_k / 5;
    swallowing: s_k / (1 - s_k) > 3 u_k / (1 - u_k);
    merged: its embeddings, laid on the line of their largest variance and cut in two there by 2-means, are two lumps:
        Ashman's D = |m1 - m2| / sqrt((v1 + v2) / 2), m and v the halves' means and variances, is above 4, and the
        smaller half has at least 15 % of at least 50 images;
    unsure: the mean over its images of their largest p is below 0.7.
    The run is moving where more than 1 % of the images changed cluster in its last epoch.

    Args:
        p: final predictions, (N, K).
        embeddings: clean, (N, D).
        settings: of the run: the prior, and what need not be advised since it was done.
        records: lines of metrics.jsonl.
    """
    n, n_clusters = p.shape
    cluster, confidence = p.argmax(axis=1), p.max(axis=1)
    members = [np.flatnonzero(cluster == k) for k in range(n_clusters)]
    sizes = np.array([len(of) for of in members])
    shares, u = sizes / n, np.asarray(checked_prior(settings.prior, n_clusters))
    second, p_second = second_choices(p)
    lumps = [lumps_of(embeddings[of]) for of in members]
    sure = np.array([confidence[of].mean() if len(of) else 1.0 for of in members])

    def leans_to(k: int) -> int:
        return int(np.bincount(second[members[k]], weights=p_second[members[k]], minlength=n_clusters).argmax())

    kinds = {
        "empty": [(k, "") for k in range(n_clusters) if not sizes[k]],
        "tiny": [
            (k, f"{count(int(sizes[k]), 'image')}, {u[k] * n:,.0f} expected")
            for k in range(n_clusters)
            if 0 < shares[k] < TINY * u[k]
        ],
        "swallowing": [
            (k, f"{shares[k]:.0%} of the images, {u[k]:.0%} expected")
            for k in range(n_clusters)
            if shares[k] * (1 - u[k]) > SWALLOWING * u[k] * (1 - shares[k])
        ],
        "merged": [
            (k, f"lumps of {1 - part:.0%} and {part:.0%}, Ashman's D {d:.1f}")
            for k, (d, part) in enumerate(lumps)
            if d > LUMPS and part >= SMALLER_LUMP
        ],
        "unsure": [
            (k, f"mean confidence {sure[k]:.2f}, leaning to {leans_to(k)}")
            for k in range(n_clusters)
            if sure[k] < UNSURE
        ],
    }
    found = []
    for kind, clusters in kinds.items():
        if clusters:
            names = tuple(k for k, _ in clusters)
            listed = [f"{k}: {detail}" for k, detail in clusters if detail]
            rest = [f"and {len(listed) - LISTED} more"] if len(listed) > LISTED else []
            details = "; ".join(listed[:LISTED] + rest)
            text = f"{_names(names)} {_WORDS[kind][len(names) > 1]}."
            found.append(Warned(kind, names, text, details and details + ".", _ADVICE[kind](settings)))
    changed = records[-1].get("changed", 0.0) if records else 0.0
    if changed > MOVING:
        details = f"{changed:.1%} of the images changed cluster in its last epoch."
        found.append(Warned("moving", (), "The run was not at rest.", details, "Try a larger --joint-epochs."))
    return found


_WORDS = {  # of one cluster, of several
    "empty": ("is empty: it is no image's most likely one", "are empty: they are no image's most likely ones"),
    "tiny": (
        "is tiny: less than a fifth of what the prior expects",
        "are tiny: less than a fifth of what the prior expects",
    ),
    "swallowing": (
        "swallows others: far more than the prior expects",
        "swallow others: far more than the prior expects",
    ),
    "merged": ("looks like two groups merged", "look like two groups merged in each"),
    "unsure": ("is unsure of its images", "are unsure of their images"),
}


def lumps_of(embeddings: np.ndarray) -> tuple[float, float]:
    """Ashman's D of one cluster's embeddings (n, D) cut in two, and the smaller half's share; (0, 0) for few or one."""
    if len(embeddings) < FEWEST:
        return 0.0, 0.0
    some = embeddings[:: -(-len(embeddings) // LOOKED_AT)].astype(np.float64)
    if np.ptp(some, axis=0).max() < 1e-6:
        return 0.0, 0.0
    # Along one line: in many dimensions, few points always fall apart along some other.
    place = PCA(1, svd_solver="full").fit_transform(some)
    with threadpool_limits(1):  # as in the stages: threads add up in any order
        side = KMeans(2, n_init=4, random_state=0).fit_predict(place)
    halves = [place[side == 0], place[side == 1]]
    spread = np.sqrt(max(float(np.mean([half.var() for half in halves])), 1e-12))
    return float(abs(halves[1].mean() - halves[0].mean()) / spread), min(map(len, halves)) / len(some)


def _keep_alive(settings: Settings) -> str:
    rule = "a larger --prior-weight" if settings.rule == "exact" else "--rule exact"
    prior = "If sizes do differ so, say what you expect by --prior."
    return (
        f"Try targets that keep clusters alive ({rule}), {_best(settings)}another --seed or other --clusters. {prior}"
    )


def _another_start(settings: Settings) -> str:
    other = "kmeans" if settings.initial == "acpic" else "acpic"
    start = f"--initial {other}, another --seed, a larger --pretrain-epochs"
    return f"What the start merges stays merged: try another start ({start}), {_best(settings)}or more --clusters."


def _sharper(settings: Settings) -> str:
    rule = "a larger --sharpness" if settings.rule == "exact" else "--rule exact"
    return f"Look at the borders below. Try a larger --joint-epochs, sharper targets ({rule}), or fewer --clusters."


def _best(settings: Settings) -> str:
    return "" if settings.rounds > 1 else "--preset best, "


_ADVICE: dict[str, Callable[[Settings], str]] = {
    "empty": _keep_alive,
    "tiny": _keep_alive,
    "swallowing": _keep_alive,
    "merged": _another_start,
    "unsure": _sharper,
}


def _names(clusters: tuple[int, ...]) -> str:
    if len(clusters) == 1:
        return f"Cluster {clusters[0]}"
    return f"Clusters {', '.join(map(str, clusters[:-1]))} and {clusters[-1]}"
