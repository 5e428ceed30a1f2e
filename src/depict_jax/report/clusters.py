"""Pictures of clusters: an overview of all, a sheet of one, and their sizes beside the prior."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..assignments import checked_prior
from .mosaics import DPI, Strip, contact_sheet, count, strips_figure, thumbnails
from .ranking import cluster_groups, ranked_members

BAR, EXPECTED = "#3b75c4", "#c2456b"


def cluster_overview(pixels: np.ndarray, p: np.ndarray, per_cluster: int = 12) -> Figure:
    """A row of most typical images for each cluster, the most confident first, beside the cluster's size.

    The background is transparent. At the figure's own 100 dots an inch small images are crisp: a pixel becomes a
    square of whole pixels.

    Args:
        pixels: uint8 (N, H, W, C), N at least 1. Of images with neither 1 nor 3 channels the first channel is shown.
        p: probabilities, (N, K).
        per_cluster: images in a row, at least 1.

    Raises:
        ValueError: pixels of another shape or dtype, or as many rows of p as there are not images; per_cluster below 1.
    """
    _check(pixels, p, per_cluster, "per_cluster")
    return strips_figure(
        [
            Strip(f"cluster {k}", _size(len(of), len(p)), _row(pixels, of[:per_cluster], per_cluster))
            for k, of in enumerate(ranked_members(p))
        ]
    )


def cluster_sheet(pixels: np.ndarray, p: np.ndarray, cluster: int, per_row: int = 12) -> Figure:
    """One cluster: a row of its most typical images, one of its least certain, one for each of three borders.

    A border's row has images whose second-highest p is the other cluster's, the nearest first; see `cluster_groups`.

    Args:
        pixels: as for `cluster_overview`.
        p: probabilities, (N, K).
        cluster: 0 .. K-1.
        per_row: images in a row, at least 1.

    Raises:
        ValueError: as `cluster_overview`, and a cluster that is none.
    """
    _check(pixels, p, per_row, "per_row")
    if not 0 <= cluster < p.shape[1]:
        raise ValueError(f"cluster is {cluster}: expected 0 to {p.shape[1] - 1}")
    groups = cluster_groups(p, per_row, per_row, per_row)[cluster]
    rows = [
        ("most typical", _size(groups.size, len(p)), groups.typical),
        ("least certain", _range(p[groups.uncertain, cluster]), groups.uncertain),
    ] + [(f"border to {b.other}", count(b.size, "image"), b.members) for b in groups.borders]
    return strips_figure([Strip(title, note, _row(pixels, of, per_row)) for title, note, of in rows])


def cluster_sizes(p: np.ndarray, prior: Sequence[float] | np.ndarray | None = None) -> Figure:
    """Each cluster's share of the images as a bar, and the share that the prior expects as a line across it.

    Args:
        p: probabilities, (N, K); an image counts for its most likely cluster.
        prior: u, K positive numbers, scaled to sum to 1; None is uniform.

    Raises:
        ValueError: a prior of another length or with entries that are not positive.
    """
    n_clusters = p.shape[1]
    expected = np.asarray(checked_prior(prior, n_clusters))
    shares = np.bincount(p.argmax(axis=1), minlength=n_clusters) / len(p)
    figure = Figure(figsize=(5, 3.2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    places = np.arange(n_clusters)
    axes.bar(places, shares, 0.8, color=BAR, label="found")
    axes.hlines(expected, places - 0.5, places + 0.5, color=EXPECTED, lw=2, label="expected by the prior")
    axes.set(xlabel="cluster", ylabel="share of the images", xlim=(-0.6, n_clusters - 0.4))
    axes.set_ylim(0, 1.15 * max(shares.max(), expected.max()))  # room for the legend
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if shares.max() > 0.1 else 1))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    return figure


def _check(pixels: np.ndarray, p: np.ndarray, row: int, name: str) -> None:
    if len(p) != len(pixels):
        raise ValueError(f"p has {len(p)} rows for {len(pixels)} images: expected one for each")
    if row < 1:
        raise ValueError(f"{name} is {row}: expected at least 1")


def _row(pixels: np.ndarray, of: np.ndarray, columns: int) -> np.ndarray | None:
    return contact_sheet(thumbnails(pixels[of]), columns) if len(of) else None


def _size(size: int, total: int) -> str:
    return f"{count(size, 'image')} ({size / total:.1%})" if size else "empty"


def _range(confidence: np.ndarray) -> str:
    return f"p {confidence.min():.2f} to {confidence.max():.2f}" if len(confidence) else "none"
