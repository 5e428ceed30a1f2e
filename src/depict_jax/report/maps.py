"""The embedding in two dimensions: PCA, t-SNE or UMAP, and a figure of the points."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import get_args

import matplotlib
import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from ..settings import Map
from .confusion import shortened
from .mosaics import DPI

POINTS = 5_000  # most points on a map: enough to see its shape, few enough for t-SNE
NAMED = 100  # most groups whose names stand on the map
LEFT_OVER = (0.5, 0.5, 0.5)  # colour of a label without a cluster
TITLES: dict[Map, str] = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


def check_map(method: str) -> None:
    """Refuse a map that cannot be drawn, before anything is computed.

    Raises:
        ValueError: an unknown method, or UMAP without umap-learn.
    """
    if method not in get_args(Map):
        raise ValueError(f"map is {method!r}: expected one of {', '.join(get_args(Map))}")
    if method == "umap" and find_spec("umap") is None:
        raise ValueError(
            "map is 'umap', and umap-learn is not installed: install it by `pip install umap-learn`, or choose tsne"
        )


def sample(n: int, most: int = POINTS) -> np.ndarray:
    """At most `most` of n indices, rising, drawn at random and always the same: int64."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(0).choice(n, most, replace=False))


def two_dimensions(embeddings: np.ndarray, method: Map = "pca", seed: int = 0) -> np.ndarray:
    """Embeddings laid out in the plane.

    Args:
        embeddings: (N, D), N and D at least 2. t-SNE and UMAP take time with N: give them a `sample`.
        method: "pca"; "tsne", scikit-learn's, started from PCA; "umap", umap-learn's. Fewer than 10 embeddings
            are too few for the last two and get PCA.
        seed: for t-SNE and UMAP; the same one gives the same map on the same kind of machine.

    Returns:
        float (N, 2). PCA's are the embeddings' own units, along the directions of the largest variance.

    Raises:
        ValueError: see `check_map`.
    """
    check_map(method)
    if method == "pca" or len(embeddings) < 10:
        with np.errstate(invalid="ignore"):  # embeddings that are all the same have no variance to share out
            return PCA(2, svd_solver="full").fit_transform(embeddings)
    with threadpool_limits(1), warnings.catch_warnings():  # threads add up in any order
        if method == "tsne":
            from sklearn.manifold import TSNE

            perplexity = min(30, (len(embeddings) - 1) / 3)
            return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(embeddings)
        warnings.simplefilter(
            "ignore"
        )  # umap-learn warns of its own use of scikit-learn, and that a seed costs threads
        from umap import UMAP

        return UMAP(n_neighbors=min(15, len(embeddings) - 1), random_state=seed).fit_transform(embeddings)


def group_colours(n: int) -> list[tuple[float, ...]]:
    """A colour for each of n groups: tab10's; beyond 10, hues in an order that parts neighbours.

    None is so pale or so dark that it is lost on a white or, with brightness inverted, on a black page.
    """
    if n <= 10:
        return list(matplotlib.colormaps["tab10"].colors[:n])  # type: ignore[attr-defined]
    hues = (np.arange(n) * 0.618034) % 1
    return [tuple(hsv_to_rgb((hue, 0.75, (0.8, 0.55)[k % 2]))) for k, hue in enumerate(hues)]


def embedding_map(
    points: np.ndarray, groups: np.ndarray, colours: Sequence[tuple[float, ...]] | None = None, title: str = ""
) -> Figure:
    """Points in the plane, coloured by group, with each group's name at its median.

    Args:
        points: (N, 2), see `two_dimensions`.
        groups: (N,), each point's cluster or label.
        colours: one for each different group, in sorted order; None is `group_colours`.
        title: above the map.
    """
    names, group = np.unique(groups, return_inverse=True)
    palette = np.array(group_colours(len(names)) if colours is None else colours)
    figure = Figure(figsize=(5, 5), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    size = float(np.clip(6_000 / len(points), 2, 14))
    axes.scatter(points[:, 0], points[:, 1], s=size, c=palette[group], linewidths=0, alpha=0.7, rasterized=True)
    for k, name in enumerate(names if len(names) <= NAMED else ()):
        x, y = np.median(points[group == k], axis=0)
        halo = [withStroke(linewidth=2.5, foreground="white")]
        axes.text(
            x, y, shortened(name, 10), ha="center", va="center", size=10 if len(names) <= 12 else 7, weight="bold",
            path_effects=halo, parse_math=False,
        )  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.margins(0.02)
    return figure
