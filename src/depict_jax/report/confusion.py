"""Clusters against labels: a table whose diagonal is the best one-to-one matching."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.optimize import linear_sum_assignment

from .mosaics import DPI, printable

NUMBERED = 12  # most rows and columns whose cells hold a number
NAMED = 40  # most rows or columns that are all named
LONGEST = 14  # letters of a label's name


class Confusion(NamedTuple):
    """How many images of each label lie in each cluster, ordered so that matched ones meet on the diagonal."""

    counts: np.ndarray  # int64 (labels, K)
    labels: np.ndarray  # (labels,) the rows' labels: matched ones in their own order, then those left over
    clusters: np.ndarray  # int64 (K,) the columns' clusters: the rows' partners, then those left over
    matched: int  # how many rows have a partner: min(labels, K)


def confusion(labels: np.ndarray, clusters: np.ndarray, n_clusters: int) -> Confusion:
    """The confusion matrix in Hungarian order: the diagonal's sum is the most that any matching gives.

    Args:
        labels: (N,), any labels.
        clusters: (N,) integers in 0 .. n_clusters-1.
        n_clusters: K; empty clusters have a column too.
    """
    names, rows = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(names), n_clusters), np.int64)
    np.add.at(counts, (rows, clusters), 1)
    row, column = linear_sum_assignment(counts, maximize=True)
    row = np.concatenate([row, np.setdiff1d(np.arange(len(names)), row)])
    column = np.concatenate([column, np.setdiff1d(np.arange(n_clusters), column)])
    return Confusion(counts[row][:, column], names[row], column, min(len(names), n_clusters))


def confusion_matrix(labels: np.ndarray, clusters: np.ndarray, n_clusters: int | None = None) -> Figure:
    """The shares of each label's images that lie in each cluster, in the order of `confusion`.

    Args:
        labels: (N,), any labels.
        clusters: (N,) integers in 0 .. n_clusters-1.
        n_clusters: K; None is the largest cluster's number and 1.
    """
    found = confusion(labels, clusters, int(clusters.max()) + 1 if n_clusters is None else n_clusters)
    shares = found.counts / found.counts.sum(axis=1, keepdims=True)
    figure = Figure(figsize=(5, 4.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    bar = figure.colorbar(drawn, shrink=0.6, format=PercentFormatter(1))
    bar.set_label("of the label's images", size=9)
    bar.ax.tick_params(labelsize=8)
    size = 9 if max(shares.shape) <= NUMBERED else 7 if max(shares.shape) <= NAMED / 2 else 5
    for ticks, names in ((axes.set_yticks, found.labels), (axes.set_xticks, found.clusters)):
        step = -(-len(names) // NAMED)
        places = np.arange(0, len(names), step)
        # A label's dollar signs are its own, no formula.
        ticks(places, [shortened(names[place]) for place in places], fontsize=size, parse_math=False)
    axes.set(xlabel="cluster", ylabel="label")
    if max(shares.shape) <= NUMBERED:
        for (row, column), number in np.ndenumerate(found.counts):
            if number:
                colour = "white" if shares[row, column] > 0.5 else "#1f2328"
                axes.text(column, row, f"{number:,}", ha="center", va="center", color=colour, fontsize=7)
    return figure


def shortened(name: object, longest: int = LONGEST) -> str:
    """A label's name, cut where it is long."""
    text = printable(str(name))
    return text if len(text) <= longest else text[: longest - 1] + "…"
