"""A million images that stay in their file: images a second beside images in memory, and the memory of a whole run.

make bench-stream    # python -m experiments.benchmarks.stream: some 40 minutes on two cores; resumes

The images are synthetic, 28 x 28: scikit-learn's digits, enlarged, moved, dimmed and strewn with noise, 784 MB in
runs/stream/images.npy. Two parts:

- the joint epoch of 20,000 of them drawn at random, streamed and in memory in turn, so that both meet the same minutes
  of a shared machine;
- `depict-jax fit --stream` on all of them, one epoch of each training stage, k-means between
  them (AC-PIC would need 4 GB by itself), from the file to the report.
"""

from __future__ import annotations

import argparse
import json
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from experiments.benchmarks.command import DEPICT_JAX, SHORT, run
from experiments.benchmarks.record import PROJECT, save, spread

N, CLUSTERS, BATCH_SIZE = 1_000_000, 10, 100
IN_TURN = 20_000  # images of an epoch of the comparison
FOLDER = PROJECT / "runs/stream"


def write_images(path: Path) -> None:
    """The synthetic images, uint8 (N, 28, 28), where they are not there yet."""
    from sklearn.datasets import load_digits

    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    digits = np.kron(load_digits().images * (255 / 16), np.ones((3, 3)))
    partial = path.with_suffix(".partial")
    images = open_memmap(partial, "w+", np.uint8, (N, 28, 28))
    for start in range(0, N, 10_000):
        piece = np.zeros((10_000, 28, 28))
        down, right = rng.integers(0, 5, (2, 10_000))
        for dy in range(5):
            for dx in range(5):
                some = np.flatnonzero((down == dy) & (right == dx))
                piece[some, dy : dy + 24, dx : dx + 24] = digits[rng.integers(0, len(digits), len(some))]
        piece = piece * rng.uniform(0.5, 1, (10_000, 1, 1)) + rng.normal(0, 10, piece.shape)
        images[start : start + 10_000] = piece.clip(0, 255)
    images.flush()
    del images
    partial.rename(path)


def in_turn(path: Path, turns: int) -> dict[str, Any]:
    """Images a second of a joint epoch both ways, and their ratio turn by turn."""
    import jax
    import jax.numpy as jnp

    from depict_jax.architecture import Architecture
    from depict_jax.epochs import steps_per_epoch, stream_epoch, train_epoch
    from depict_jax.networks import Depict
    from depict_jax.training import Loss, fresh_state

    mapped = np.load(path, mmap_mode="r")[..., None]
    in_memory = jnp.asarray(np.array(mapped))
    model = Depict(Architecture.for_image((28, 28, 1), CLUSTERS))
    rng = np.random.default_rng(1)
    targets = jnp.asarray(rng.dirichlet(np.ones(CLUSTERS), N), jnp.float32)
    rates = np.full(steps_per_epoch(IN_TURN, BATCH_SIZE), 1e-4, np.float32)
    variables = jax.jit(lambda key: model.init(key, jnp.zeros((1, 28, 28, 1)), noisy=False))(jax.random.key(0))

    def images_per_second(epoch: Any, pixels: Any, members: np.ndarray) -> float:
        state = jax.block_until_ready(fresh_state(jax.tree.map(jnp.copy, variables)))
        loss = Loss((1.0, 0.1, 0.1), 1.0)
        start = time.perf_counter()
        found = epoch(model, loss, state, pixels, targets, members, rates, jax.random.key(2), batch_size=BATCH_SIZE)
        jax.block_until_ready((found.state, found.p, found.losses))
        return IN_TURN / (time.perf_counter() - start)

    both = []
    for turn in range(turns + 1):
        members = rng.choice(N, IN_TURN, replace=False).astype(np.int32)
        pair = images_per_second(stream_epoch, mapped, members), images_per_second(train_epoch, in_memory, members)
        if turn:  # the first compiles
            both.append(pair)
    streamed, whole = zip(*both, strict=True)
    return {
        "streamed": spread(streamed),
        "in_memory": spread(whole),
        "ratio": spread([one / other for one, other in both]),
    }


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    turns = parser.parse_args().turns
    path, partly = FOLDER / "images.npy", FOLDER / "in_turn.json"
    spawn = get_context("spawn")  # the peak that the system tells of a command begins at what its parent has held
    with spawn.Pool(1) as pool:
        pool.apply(write_images, (path,))
        if not partly.exists():
            partly.write_text(json.dumps(pool.apply(in_turn, (path, turns))))
    ratio = json.loads(partly.read_text())
    out = FOLDER / "run"
    words = [DEPICT_JAX, "fit", path, "--clusters", CLUSTERS, "--out", out, *SHORT, "--stream", "--resume"]
    whole = run([str(word) for word in words])
    epochs = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    save(
        "stream",
        {
            "images": N,
            "bytes": path.stat().st_size,
            "epoch_of": IN_TURN,
            **ratio,
            "run": {
                "seconds": whole.seconds,
                "peak_bytes": whole.peak_bytes,
                "images_per_second": {epoch["stage"]: epoch["images_per_second"] for epoch in epochs},
            },
        },
        [
            (
                f"{N:,} images of 28 x 28, streamed from their file: images a second of training, and as a multiple of "
                "images in memory",
                f"{ratio['streamed']['median']:,.0f}, {ratio['ratio']['median']:.2f} ({ratio['ratio']['min']:.2f} to "
                f"{ratio['ratio']['max']:.2f})",
            ),
            (
                "the whole run on them, one epoch a stage, k-means at first: peak memory, and time",
                f"{whole.peak_bytes / 1e9:.2f} GB, {whole.seconds / 60:.0f} min",
            ),
        ],
    )


if __name__ == "__main__":
    main()
