"""Training curves: losses and label-free indicators against the epoch, stage after stage."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..progress import title_of
from ..stage_names import STAGES, place_of
from .mosaics import DPI

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
    shown = dict.fromkeys(_kind(record["stage"]) for record in records)
    handles = [Line2D([], [], color=STAGE_COLOURS[kind], label=title_of(kind)) for kind in shown]
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
            colour = STAGE_COLOURS[_kind(stage)]
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=3, lw=1.3)
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


def _kind(stage: str) -> str:
    """The stage's name in the first round."""
    return STAGES[place_of(stage)[1]]
