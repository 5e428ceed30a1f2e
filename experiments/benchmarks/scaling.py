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
from experiments.benchmarks.scaling_page import AT_ONCE, MEMBERS, NAME, rows_of, write_page

STEPS = 150  # at least so many are timed, in whole epochs
EPOCHS = 3


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


if __name__ == "__main__":
    main()
