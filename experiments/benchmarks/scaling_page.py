"""SCALING.md and its plots, from recorded figures alone: how steeply each piece of the work grows, and why.

`experiments.benchmarks.scaling` measures them and writes the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

NAME, PAGE, PLOTS = "scaling", "SCALING.md", "scaling"
MEMBERS = 5_000  # images of a timed epoch at most: an epoch is so many steps, each as long as the next
AT_ONCE = 0.3  # seconds: what is shorter is run five times
UNCLEAR = 0.01  # seconds: a slope through less is of calls, not of work
STEEP = 1.1

PIECES = {
    "joint_epoch": "joint epoch",
    "joint_compile": "compiling the joint epoch",
    "predict": "prediction",
    "acpic": "AC-PIC",
    "neighbors": "of it, the neighbour search",
    "kmeans": "k-means, 20 restarts",
    "squared": "Q-step, squared",
    "closed_form": "Q-step, closed form",
    "exact": "Q-step, exact",
    "check_job": "check of the job",
    "content_hash": "hash of the images",
}

_TABLE = "likely, the N x K table no longer fits the processor's cache; and at small N a call's fixed cost counts."

# Why a piece may grow faster than in proportion, by piece and the field that grows. Said only where it does.
REASONS = {
    ("acpic", "images"): "its neighbour search does (next line); without it the merges remain, each in proportion to "
    "its two groups' edges: N log N where groups of like size merge, N^2 at worst, where one swallows the others.",
    ("neighbors", "images"): "it is exact, by a k-d tree; in as many as ten dimensions a tree can leave out few of its "
    "leaves before N is very large, so that the cost lies between N log N and the N^2 of comparing every pair.",
    ("kmeans", "images"): "a round is in proportion to N, but the rounds until nothing moves become more, up to "
    "scikit-learn's 300; a sort (the count of distinct embeddings) adds N log N.",
    ("exact", "images"): "a round is in proportion to N, and how many rounds Sinkhorn takes depends on P, not on N; "
    "likely, once the N x K table no longer fits the processor's cache, every round waits for memory.",
    ("squared", "images"): _TABLE,
    ("closed_form", "images"): _TABLE,
    ("acpic", "clusters"): "the embedding is as wide as K; from 16 dimensions on scikit-learn compares every pair "
    "of samples (N^2 K) instead of using a tree.",
    ("kmeans", "clusters"): "K means of K numbers each: a round is in proportion to N K^2.",
    ("joint_epoch", "side"): "work is in proportion to the pixels, the square of the side: a slope of 2 is linear.",
    ("predict", "side"): "work is in proportion to the pixels; likely, the maps of the hundred images of a call no "
    "longer fit the processor's cache at the largest size.",
    ("content_hash", "side"): "work is in proportion to the pixels, the square of the side: a slope of 2 is linear.",
    ("check_job", "clusters"): "it looks at images until K of them differ.",
}


# --- what the figures say --------------------------------------------------------------------------------------------


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Of the least-squares line through (log x, log y): the power of x that y grows with."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def upper_half(x: np.ndarray) -> np.ndarray:
    """Which x lie in the upper half of their range, on a log scale; the last two at least."""
    mask = x >= np.sqrt(x.min() * x.max()) * (1 - 1e-9)
    mask[-2:] = True
    return mask


def series(axis: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """x, seconds of each piece, and bytes at the peak."""
    points = axis["points"]
    x = np.array([point["x"] for point in points], float)
    times = {piece: np.array([point["seconds"][piece] for point in points]) for piece in PIECES}
    return x, times, np.array([max(point["peak_bytes"].values()) for point in points], float)


def _upper_slope(x: np.ndarray, y: np.ndarray) -> float:
    return slope(x[upper_half(x)], y[upper_half(x)])


def rows_of(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures for people: the slopes in N, and the largest N's memory."""
    x, times, peak = series(figures["axes"][0])
    pieces = ("joint_epoch", "predict", "acpic", "kmeans", "squared", "exact")
    slopes = ", ".join(f"{PIECES[piece]} {_upper_slope(x, times[piece]):.2f}" for piece in pieces)
    start, each = _line(x, peak)
    return [
        (f"slope of time in N, {x[upper_half(x)][0]:,.0f} to {x[-1]:,.0f} images, one run each", slopes),
        (
            f"peak memory at N = {x[-1]:,.0f}, all pieces, one run",
            f"{peak[-1] / 1e9:.2f} GB ({start / 1e6:.0f} MB and {each / 1e3:.1f} kB an image)",
        ),
    ]


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The line y = start + each * x of least squares."""
    each, start = np.polyfit(x, y, 1)
    return float(start), float(each)


def verdict(piece: str, field: str, x: np.ndarray, y: np.ndarray) -> str:
    """Words for one piece's growth."""
    if y.max() < UNCLEAR:
        return f"below {UNCLEAR * 1000:.0f} ms throughout: too short for a slope to mean much"
    found = _upper_slope(x, y)
    linear = 2.0 if field == "side" else 1.0  # pixels, the square of the side, are what counts
    of = "the pixels" if field == "side" else {"images": "N", "clusters": "K", "batch": "the batch"}[field]
    if found < 0.1:
        return "hardly grows" if found > -0.1 else "falls"
    if found < linear * 0.9:
        return f"slower than in proportion to {of}"
    if found <= linear * STEEP:
        return f"in proportion to {of}"
    reason = REASONS.get((piece, field))
    return f"**faster than in proportion to {of}**: " + (reason or "not explained yet.")


# --- the page --------------------------------------------------------------------------------------------------------


def write_page(found: dict[str, Any], folder: Path) -> None:
    """SCALING.md and its plots, from recorded figures and nothing else."""
    (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    for axis in found["figures"]["axes"]:
        plot(axis, folder / PLOTS / f"{axis['field']}.svg")
    partial = folder / f"{PAGE}.partial"
    partial.write_text(page(found), encoding="utf-8")
    partial.replace(folder / PAGE)
    print(f"page: {folder / PAGE}")


def page(found: dict[str, Any]) -> str:
    """The page's text."""
    figures, where = found["figures"], found["provenance"]
    versions = ", ".join(f"{package} {number}" for package, number in where["versions"].items())
    authors = figures["axes"][0]["fixed"]["embedding"] == "authors"
    parts = [
        "# How time and memory grow",
        "",
        f"Generated by `{found['command']}`; do not edit. **One run each**: a figure may be off by what else the "
        "machine did.",
        "",
        f"Commit {where['commit']}, {where['date']}; {where['processor']}, {where['cores']} cores; Python "
        f"{where['python']}, {versions}.",
        "",
        *_steep(figures),
        "",
        "## How it was measured",
        "",
        f"- Each setting in a process of its own, on {figures['data']}"
        + (" (the last N of the 70,000; other sizes resized)." if figures["data"] == "MNIST" else "."),
        "- A time is one call's, after a first one where something is compiled; the median of five where a call takes "
        f"less than {AT_ONCE} s.",
        f"- A joint epoch is its steps times the time of a step: the median over epochs of at most {MEMBERS:,} of the "
        f"N images, all N lying in memory. Beyond {MEMBERS:,} images the epoch is therefore computed, not timed whole.",
        "- AC-PIC and k-means see "
        + (
            "the authors' pretrained encoder's embeddings where N grows, and elsewhere those "
            if authors
            else "the embeddings "
        )
        + "of an encoder that is hardly trained.",
        "- The Q-steps see an N x K table of soft-max rows of random numbers, about as sure as halfway through a "
        "training.",
        "- Peak memory is the whole process's: Python, the libraries, the images, the compiler, and every piece one "
        "after the other.",
        "- A slope is that of the least-squares line through the logarithms: 1 is growth in proportion. The second one "
        "is fitted to the upper half of the range (on the log scale), where fixed costs weigh less; the words go by "
        "it.",
    ]
    for axis in figures["axes"]:
        parts += ["", *_section(axis)]
    return "\n".join(parts) + "\n"


def _steep(figures: dict[str, Any]) -> list[str]:
    """The page's first lines: what grows faster than in proportion to N."""
    x, times, peak = series(figures["axes"][0])
    steep = {
        piece: _upper_slope(x, y)
        for piece, y in times.items()
        if y.max() >= UNCLEAR and _upper_slope(x, y) > STEEP and piece != "joint_compile"
    }
    start, each = _line(x, peak)
    memory = (
        f"Peak memory is about {start / 1e6:.0f} MB and {each / 1e3:.1f} kB an image: {peak[-1] / 1e9:.2f} GB with "
        f"{x[-1]:,.0f} images of {figures['axes'][0]['fixed']['side']} x {figures['axes'][0]['fixed']['side']}."
    )
    if not steep:
        return [f"Nothing grows faster than N to the {STEEP} over the upper half of its range. {memory}"]
    listed = "; ".join(f"{PIECES[piece]} (N to the {power:.2f})" for piece, power in steep.items())
    return [
        f"Faster than N to the {STEEP} over the upper half of its range: {listed}. The reasons stand below the "
        f"first table. {memory}"
    ]


def _section(axis: dict[str, Any]) -> list[str]:
    x, times, peak = series(axis)
    field, fixed = axis["field"], axis["fixed"]
    names = {"images": "N = {:,}", "clusters": "K = {}", "side": "{0} x {0} pixels", "batch": "batches of {}"}
    held = ", ".join(text.format(fixed[name]) for name, text in names.items() if name != field)
    half = x[upper_half(x)]
    columns = [f"{value:,.0f}" for value in x]
    described = ", ".join(
        f"{PIECES[piece]} {_time(times[piece][0])} to {_time(times[piece][-1])}"
        for piece in ("joint_epoch", "acpic", "kmeans")
    )
    alt = (
        f"Time of each piece and peak memory against {axis['unit']}, both axes logarithmic: {described}; memory "
        f"{_size(peak[0])} to {_size(peak[-1])}"
    )
    lines = [
        f"## {axis['title']}",
        "",
        f"With {held}. The upper half is {half[0]:,.0f} to {half[-1]:,.0f} {axis['unit']}."
        + (" A slope of 2 is growth in proportion to the pixels." if field == "side" else ""),
        "",
        f"![{alt}]({PLOTS}/{field}.svg)",
        "",
        "| " + " | ".join(["", *columns, "slope", "upper half"]) + " |",
        "|---|" + "---:|" * (len(columns) + 2),
    ]
    for piece, y in times.items():
        lines.append(_row(PIECES[piece], [_time(value) for value in y], x, y))
    step = np.array([point["seconds"]["joint_step"] for point in axis["points"]])
    trained = np.array([point["peak_bytes"]["joint_epoch"] for point in axis["points"]], float)
    lines += [
        _row("a joint step", [_time(value) for value in step], x, step),
        _row("peak memory, joint epochs done", [_size(value) for value in trained], x, trained),
        _row("peak memory, all pieces done", [_size(value) for value in peak], x, peak),
        "",
    ]
    lines += [f"- {PIECES[piece]}: {verdict(piece, field, x, y)}" for piece, y in times.items()]
    lines.append(f"- peak memory: {_memory_words(field, x, peak, trained)}")
    return lines


def _row(name: str, cells: list[str], x: np.ndarray, y: np.ndarray) -> str:
    return "| " + " | ".join([name, *cells, f"{slope(x, y):.2f}", f"{_upper_slope(x, y):.2f}"]) + " |"


def _memory_words(field: str, x: np.ndarray, peak: np.ndarray, trained: np.ndarray) -> str:
    after = f"{(peak[-1] - trained[-1]) / 1e6:.0f} MB of the largest one's come after the joint epochs"
    power = _upper_slope(x, peak)
    if field == "images":
        start, each = _line(x, peak)
        growth = f"about {start / 1e6:.0f} MB and {each / 1e3:.1f} kB an image"
    else:
        growth = f"{_size(peak.min())} to {_size(peak.max())}"
    linear = 2.0 if field == "side" else 1.0
    return f"{growth}; {after}" + (
        "; **faster than in proportion**: not explained yet" if power > linear * STEEP else ""
    )


def _time(seconds: float) -> str:
    if seconds >= 100:
        return f"{seconds:.0f} s"
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.2f} GB"


STYLES = {
    "joint_epoch": ("#1f4e9c", "o", "-"),
    "joint_compile": ("#1f4e9c", "s", ":"),
    "predict": ("#3c9dd0", "^", "-"),
    "acpic": ("#c0392b", "o", "-"),
    "kmeans": ("#e08e2b", "s", "-"),
    "squared": ("#2e7d4f", "v", "-"),
    "closed_form": ("#2e7d4f", "^", "--"),
    "neighbors": ("#c0392b", "x", ":"),
    "exact": ("#7cb342", "D", "-"),
    "check_job": ("#777777", "x", "-"),
    "content_hash": ("#777777", "+", "--"),
}


def plot(axis: dict[str, Any], path: Path) -> None:
    """Seconds of the pieces on the left, peak memory on the right, as SVG of the same bytes for the same figures."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    x, times, peak = series(axis)
    with rc_context({"svg.hashsalt": NAME, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        seconds, memory = figure.subplots(1, 2, width_ratios=(3, 2))
        for piece, y in times.items():
            colour, marker, line = STYLES[piece]
            seconds.plot(x, y, color=colour, marker=marker, linestyle=line, label=PIECES[piece], markersize=4)
        power = 2 if axis["field"] == "side" else 1
        guide = times["joint_epoch"][0] * 3 * (x / x[0]) ** power
        seconds.plot(x, guide, color="#bbbbbb", linewidth=4, alpha=0.5, zorder=0, label=f"slope {power}")
        seconds.set(ylabel="seconds, one run")
        seconds.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        trained = [point["peak_bytes"]["joint_epoch"] / 1e9 for point in axis["points"]]
        memory.plot(x, peak / 1e9, color="#6a3d9a", marker="o", markersize=4, label="all pieces done")
        memory.plot(x, trained, color="#6a3d9a", marker="s", linestyle=":", markersize=4, label="joint epochs done")
        memory.set(ylabel="GB at the peak, one run")
        memory.legend(fontsize=7, frameon=False)
        for axes_ in (seconds, memory):
            axes_.set(xscale="log", yscale="log", xlabel=axis["unit"])
            axes_.set_xticks(x, [f"{value:,.0f}" for value in x], rotation=45)
            axes_.xaxis.set_minor_formatter(NullFormatter())
            axes_.grid(color="#eeeeee")
        low, high = min(trained), peak.max() / 1e9
        ticks = [tick for tick in (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8) if low * 0.7 < tick < high * 1.4]
        memory.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        memory.yaxis.set_minor_formatter(NullFormatter())
        memory.set_ylim(low * 0.8, high * 1.25)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
