"""Pictures of a clustering: mosaics of images as arrays, and figures made without pyplot."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image

from ..progress import TITLES

TILE = 56  # pixels that a small image's longer side is brought close to
GAP = 2  # transparent pixels between tiles
LARGEST = 64  # longer side of a thumbnail
LABELS = 170  # pixels for the text left of an overview's rows
DPI = 100
STAGE_COLOURS = {"pretrain": "#3b75c4", "warm": "#b27a00", "joint": "#c2456b"}  # legible on white, inverted on black
NOT_CURVES = {"stage", "epoch", "seconds", "images_per_second", "smallest_share", "largest_share"}
MEANINGS = {
    "validation": "validation loss",
    "agreement": "agreement with the initial assignment",
    "confidence": "mean confidence",
    "changed": "share of images that changed cluster",
    "target_change": "mean squared change of the targets",
}
DECADES = 1000  # a curve that spans more than this is drawn on a logarithmic axis


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


def contact_sheet(pixels: np.ndarray, columns: int = 10) -> np.ndarray:
    """A mosaic of images, row by row, with transparent gaps of 2 pixels.

    Small images are enlarged, each pixel to a square of s x s, s = max(1, round(56 / longer side)); none is shrunk.

    Args:
        pixels: uint8 (N, H, W, C), N at least 1. Of images with neither 1 nor 3 channels the first channel is shown.
        columns: images in a row, at least 1; with fewer images the row is shorter.

    Returns:
        RGBA, uint8 (rows (sH + 2) - 2, columns (sW + 2) - 2, 4). Image i begins at row (i // columns) (sH + 2) and
        column (i % columns) (sW + 2).

    Raises:
        ValueError: pixels of another shape or dtype, or without an image; columns below 1.
    """
    if columns < 1:
        raise ValueError(f"columns is {columns}: expected at least 1")
    shown = _shown(pixels)
    n, h, w, _ = shown.shape
    scale = max(1, round(TILE / max(h, w)))
    columns = min(columns, n)
    rows = -(-n // columns)
    tiles = np.zeros((rows * columns, h * scale + GAP, w * scale + GAP, 4), np.uint8)
    tiles[:n, :-GAP, :-GAP, :3] = shown.repeat(scale, axis=1).repeat(scale, axis=2)
    tiles[:n, :-GAP, :-GAP, 3] = 255
    grid = tiles.reshape(rows, columns, *tiles.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * tiles.shape[1], columns * tiles.shape[2], 4)[:-GAP, :-GAP]


def thumbnails(pixels: np.ndarray, largest: int = LARGEST) -> np.ndarray:
    """Images made small enough to show many of them; those that already are come back as they were.

    Args:
        pixels: uint8 (N, H, W, C), N at least 1. Of images with neither 1 nor 3 channels the first channel is kept.
        largest: the longer side's most pixels, at least 1.

    Returns:
        uint8 (N, h, w, 1 or 3) with max(h, w) at most `largest`, and h / w close to H / W.

    Raises:
        ValueError: pixels of another shape or dtype, or without an image.
    """
    shown = _shown(pixels)
    h, w = shown.shape[1:3]
    if max(h, w) <= largest:
        return shown
    height, width = (max(1, round(side * largest / max(h, w))) for side in (h, w))
    flat = shown[..., 0] if shown.shape[-1] == 1 else shown
    small = [Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS) for image in flat]
    return np.stack([np.asarray(image) for image in small]).reshape(len(shown), height, width, -1)


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
    if len(p) != len(pixels):
        raise ValueError(f"p has {len(p)} rows for {len(pixels)} images: expected one for each")
    if per_cluster < 1:
        raise ValueError(f"per_cluster is {per_cluster}: expected at least 1")
    members = ranked_members(p)
    rows = [contact_sheet(thumbnails(pixels[of[:per_cluster]]), per_cluster) for of in members if len(of)]
    height, width = rows[0].shape[0], max(row.shape[1] for row in rows)
    pitch = height + GAP
    total = (LABELS + width, pitch * len(members) - GAP)
    figure = Figure(figsize=(total[0] / DPI, total[1] / DPI), dpi=DPI, facecolor="none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-LABELS, width), ylim=(total[1], 0))
    axes.set_axis_off()
    filled = iter(rows)
    for k, of in enumerate(members):
        middle = k * pitch + height / 2
        axes.text(-LABELS, middle, f"cluster {k}", va="bottom", size=11, weight="bold")
        axes.text(-LABELS, middle + 2, _size(len(of), len(p)), va="top", size=9)
        if len(of):
            row = next(filled)
            box = (0, row.shape[1], k * pitch + height, k * pitch)
            axes.imshow(row, extent=box, interpolation="nearest", aspect="auto")
    axes.set(xlim=(-LABELS, width), ylim=(total[1], 0))  # each imshow moves them
    return figure


def training_curves(records: Sequence[dict[str, Any]], columns: int = 3) -> Figure:
    """A panel for each loss and indicator, against the epoch counted through the stages.

    The stages' colours are named above the panels; dashed lines mark where one stage gives way to the next.

    Args:
        records: lines of metrics.jsonl, in their order: `stage`, `epoch`, and numbers by name.
        columns: panels in a row, at least 1.
    """
    titles = curve_titles(records)
    columns = min(columns, max(1, len(titles)))
    rows = max(1, -(-len(titles) // columns))
    figure = Figure(figsize=(3.6 * columns, 2.1 * rows + 0.5), dpi=DPI, layout="constrained")
    if not titles:
        return figure
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, title) in zip(panels, titles.items(), strict=False):
        _draw_curve(axes, records, name)
        axes.set_title(title, loc="left", fontsize=10)
    for axes in panels[len(titles) :]:
        axes.remove()
    handles = [Line2D([], [], color=STAGE_COLOURS[stage], label=TITLES[stage]) for stage in _stages(records)]
    spacing = {"ncols": len(handles), "handlelength": 1.4, "columnspacing": 1.2}  # fits above a single panel
    figure.legend(handles=handles, loc="outside upper left", frameon=False, fontsize=9, **spacing)
    figure.supxlabel("epoch, counted through the stages", fontsize=9)
    return figure


def curve_titles(records: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What `training_curves` draws: the panels' titles by the records' names, in order of appearance."""
    names = dict.fromkeys(name for record in records for name in record if name not in NOT_CURVES)
    return {name: MEANINGS.get(name, name.replace("_", " ")) for name in names}


def _draw_curve(axes: Axes, records: Sequence[dict[str, Any]], name: str) -> None:
    for stage in _stages(records):
        points = [(x, r[name]) for x, r in enumerate(records, start=1) if r["stage"] == stage and name in r]
        if points:
            marker = "o" if len(points) == 1 else ""  # a lone point has no line
            axes.plot(*zip(*points, strict=True), color=STAGE_COLOURS[stage], marker=marker, markersize=3, lw=1.3)
    for x, (before, after) in enumerate(pairwise(records), start=1):
        if before["stage"] != after["stage"]:
            axes.axvline(x + 0.5, color="#888888", linestyle="--", lw=0.8)
    values = [record[name] for record in records if name in record]
    if min(values) > 0 and max(values) > DECADES * min(values):
        axes.set_yscale("log")
    else:
        axes.ticklabel_format(axis="y", scilimits=(-3, 5))
    if all(isinstance(value, int) for value in values):
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, len(records) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.tick_params(labelsize=8)
    axes.yaxis.get_offset_text().set_fontsize(8)
    axes.spines[["top", "right"]].set_visible(False)


def _stages(records: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(record["stage"] for record in records))


def _size(size: int, total: int) -> str:
    return f"{size:,} image{'' if size == 1 else 's'} ({size / total:.1%})" if size else "empty"


def _shown(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim != 4 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}: expected uint8 (N, H, W, C), N at least 1")
    return pixels if pixels.shape[-1] in (1, 3) else pixels[..., :1]
