"""How time and memory grow with N, K, image size and batch size: SCALING.md with plots. One run each.

make bench-scaling    # python -m experiments.benchmarks.scaling: some 15 minutes on two cores

Each setting is measured in a process of its own, so that its peak memory is its own, and kept as a file in
runs/scaling/: interrupted, the same command goes on. What was measured with the same source is not measured again;
remove runs/scaling to do so. The page says how each figure comes about.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks import record

NAME, PAGE, PLOTS = "scaling", "SCALING.md", "scaling"
MEMBERS = 5_000  # images of a timed epoch at most: an epoch is so many steps, each as long as the next
STEPS = 150  # at least so many are timed, in whole epochs
EPOCHS = 3
AT_ONCE = 0.3  # seconds: what is shorter is run five times
UNCLEAR = 0.01  # seconds: a slope through less is of calls, not of work
STEEP = 1.1


@dataclass(frozen=True)
class Setting:
    """What one process measures."""

    images: int = 10_000
    clusters: int = 10
    side: int = 28
    batch: int = 100
    embedding: str = "own"  # of the encoder after the timed epochs; "authors" for their pretrained one's

    @property
    def name(self) -> str:
        """Of its file."""
        return f"n{self.images}-k{self.clusters}-s{self.side}-b{self.batch}-{self.embedding}"


@dataclass(frozen=True)
class Axis:
    """One number that grows, the others held."""

    field: str
    title: str
    unit: str
    values: tuple[int, ...]
    fixed: Setting

    def settings(self) -> list[Setting]:
        """In order of the number."""
        return [Setting(**{**asdict(self.fixed), self.field: value}) for value in self.values]


def axes(is_try: bool) -> tuple[Axis, ...]:
    """All that is measured; a try is over in a minute or two and shows nothing but that all works."""
    n = (150, 300, 600) if is_try else (1_250, 2_500, 5_000, 10_000, 20_000, 40_000, 70_000)
    k = (2, 5) if is_try else (2, 5, 10, 20, 50, 100, 200)
    side = (8, 16) if is_try else (8, 16, 28, 32, 48, 64)
    batch = (25, 50) if is_try else (25, 50, 100, 200, 400)
    base = Setting(images=150) if is_try else Setting()
    small = base if is_try else replace(base, images=2_500)
    authors = replace(base, embedding="authors" if _weights().is_file() and _mnist().is_file() else "own")
    return (
        Axis("images", "Number of images N", "images", n, authors),
        Axis("clusters", "Number of clusters K", "clusters", k, base),
        Axis("side", "Image size", "pixels a side", side, small),
        Axis("batch", "Batch size", "images a step", batch, base),
    )


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


def main() -> None:
    """Measure what is not measured yet, then record the figures and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--try", dest="is_try", action="store_true", help="tiny settings; all into runs/scaling-try")
    parser.add_argument("--page", action="store_true", help="only write the page again, from the recorded figures")
    parser.add_argument("--measure", metavar="JSON", help=argparse.SUPPRESS)  # the child's: one setting, to stdout
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(Setting(**json.loads(arguments.measure)))))
        return

    folder = record.PROJECT / "runs" / (f"{NAME}-try" if arguments.is_try else NAME)
    if not arguments.page:
        figures = collected(axes(arguments.is_try), folder)
        if not arguments.is_try:
            record.save(NAME, figures, rows_of(figures))
    if arguments.is_try:
        write_page({"command": "a try", "figures": figures, "provenance": record.provenance()}, folder)
        return
    kept = record.RESULTS / f"{NAME}.json"
    if not kept.is_file():
        raise SystemExit("no recorded figures: run it without --page first")
    write_page(json.loads(kept.read_text()), record.HERE)


# --- measuring, in a process for each setting ------------------------------------------------------------------------


def collected(of: tuple[Axis, ...], folder: Path) -> dict[str, Any]:
    """All settings' measurements, the missing ones made now: {"axes": [{"field", ..., "points": [...]}, ...]}."""
    folder.mkdir(parents=True, exist_ok=True)
    source = _source()
    wanted = dict.fromkeys(setting for axis in of for setting in axis.settings())
    found: dict[Setting, dict[str, Any]] = {}
    for number, setting in enumerate(wanted, 1):
        path = folder / f"{setting.name}.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        if kept.get("source") != source:
            print(f"{number}/{len(wanted)} {setting.name} ...", end=" ", flush=True)
            start = time.perf_counter()
            command = [sys.executable, "-m", "experiments.benchmarks.scaling", "--measure", json.dumps(asdict(setting))]
            # a user's cache of compiled programs would hide what compiling takes, in time and memory
            environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
            child = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
            if child.returncode:
                raise SystemExit(f"failed; its own message stands above (exit {child.returncode})")
            kept = {"source": source, **json.loads(child.stdout.splitlines()[-1])}
            partial = path.with_name(path.name + ".partial")
            partial.write_text(json.dumps(kept, indent=1) + "\n")
            partial.replace(path)
            print(f"{time.perf_counter() - start:.0f} s")
        found[setting] = kept
    return {
        "data": "MNIST" if _mnist().is_file() else "random images",
        "axes": [
            {
                "field": axis.field,
                "title": axis.title,
                "unit": axis.unit,
                "fixed": asdict(axis.fixed),
                "points": [{"x": getattr(setting, axis.field), **found[setting]} for setting in axis.settings()],
            }
            for axis in of
        ],
    }


def measure(setting: Setting) -> dict[str, Any]:
    """Seconds of each piece, and peak memory after each, in the order in which a run meets them."""
    import jax
    import jax.numpy as jnp
    from sklearn.neighbors import NearestNeighbors

    from depict_jax.agglomerative import path_integral_clustering
    from depict_jax.assignments import target_distribution
    from depict_jax.data import Images
    from depict_jax.epochs import steps_per_epoch, train_epoch
    from depict_jax.networks import Depict
    from depict_jax.reference import load_lasagne
    from depict_jax.settings import Settings
    from depict_jax.stages import check_job, initial_state
    from depict_jax.starts import kmeans
    from depict_jax.training import Loss, predict
    from experiments.benchmarks.record import peak_bytes

    seconds: dict[str, float] = {}
    peaks: dict[str, int] = {}

    def time_it(piece: str, work: Callable[[], object]) -> None:
        seconds[piece] = _seconds(work)
        peaks[piece] = peak_bytes()

    images = _pixels(setting)
    peaks["start"] = peak_bytes()
    settings = Settings(batch_size=setting.batch)
    # a new Images each time: one keeps its hash
    time_it("content_hash", lambda: Images(images, None, NAME).content_hash)
    time_it("check_job", lambda: check_job(images, setting.clusters, settings))

    architecture = check_job(images, setting.clusters, settings)
    model, state = Depict(architecture), initial_state(architecture, settings, len(images)).train
    n_members = min(MEMBERS, len(images))
    n_steps = steps_per_epoch(n_members, setting.batch)
    weights = (1.0, *(settings.hidden_weight,) * len(architecture.convolutions))
    static = model, Loss(weights, settings.clustering_weight)
    data = (
        jnp.asarray(images),
        jnp.full((len(images), setting.clusters), 1 / setting.clusters, jnp.float32),
        jnp.asarray(np.random.default_rng(0).permutation(len(images))[:n_members].astype(np.int32)),
        # hardly any: a few hundred steps at a real rate leave large images' embeddings saturated, and all alike
        jnp.full(n_steps, 1e-6, jnp.float32),
    )
    start = time.perf_counter()
    epoch = train_epoch.lower(*static, state, *data, jax.random.key(0), batch_size=setting.batch).compile()
    seconds["joint_compile"] = time.perf_counter() - start
    epochs = []
    for number in range(1 + max(EPOCHS, -(-STEPS // n_steps))):
        start = time.perf_counter()
        state = jax.block_until_ready(epoch(state, *data, jax.random.key(number))).state
        epochs.append(time.perf_counter() - start)
    seconds["joint_step"] = statistics.median(epochs[1:]) / n_steps  # the first one touches its memory first
    seconds["joint_epoch"] = seconds["joint_step"] * steps_per_epoch(len(images), setting.batch)
    peaks["joint_epoch"] = peak_bytes()

    variables = state.variables
    if setting.embedding == "authors":
        with np.load(_weights()) as arrays:
            _, variables = load_lasagne(arrays)
    embeddings, _ = predict(model, variables, images)  # compiles
    time_it("predict", lambda: predict(model, variables, images))

    nearest = NearestNeighbors(n_neighbors=min(20, len(images) - 1), n_jobs=-1)
    time_it("acpic", lambda: path_integral_clustering(embeddings, setting.clusters))
    time_it("neighbors", lambda: nearest.fit(embeddings).kneighbors(return_distance=False))
    time_it("kmeans", lambda: kmeans(embeddings, setting.clusters, settings))

    logits = np.random.default_rng(1).normal(size=(len(images), setting.clusters)).astype(np.float32)
    p = jax.nn.softmax(4 * logits)  # about as sure as P is halfway through the training
    for rule in ("squared", "closed_form", "exact"):
        jax.block_until_ready(target_distribution(p, rule=rule))  # compiles
        time_it(rule, lambda rule=rule: jax.block_until_ready(target_distribution(p, rule=rule)))  # type: ignore[misc]
    return {
        "setting": asdict(setting),
        "timed_images": n_members,
        "timed_epochs": len(epochs) - 1,
        "seconds": seconds,
        "peak_bytes": peaks,
    }


def _seconds(work: Callable[[], object]) -> float:
    """Of one call; the median of five where one is short."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
        if times[0] > AT_ONCE:
            break
    return statistics.median(times)


def _pixels(setting: Setting) -> np.ndarray:
    """The last of MNIST's images (10,000 of them are MNIST-test), at the setting's size; random ones without MNIST."""
    if not _mnist().is_file():
        shape = setting.images, setting.side, setting.side, 1
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with np.load(_mnist()) as archive:
        images = archive["x"][-setting.images :].copy()
    if setting.side == images.shape[1]:
        return images
    from PIL import Image

    size = setting.side, setting.side
    resized = [Image.fromarray(image[..., 0]).resize(size, Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image) for image in resized])[..., None]


def _mnist() -> Path:
    return record.SHARED / "data/mnist_full.npz"


def _weights() -> Path:
    return record.SHARED / "reference/depict_mnist_test.npz"


def _source() -> str:
    """A digest of the library's source: figures of another source are measured anew."""
    digest = hashlib.sha256()
    for path in sorted((record.PROJECT / "src").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


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


if __name__ == "__main__":
    main()
