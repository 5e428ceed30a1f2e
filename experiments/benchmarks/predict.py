"""Images per second of `depict-jax predict` on 70,000 images of MNIST's shape, and its memory against their number.

make bench-predict

The command as a user runs it, from a .npz file to the CSV with all probabilities. Start-up is the same command on a
single image; without it, the rest divides the images. Five runs each. Real images where ../shared/data has them, random
ones elsewhere: the cost is the same.
"""

import tempfile
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from depict_jax.data import load
from experiments.benchmarks.command import DEPICT_JAX, SHORT, Run, run
from experiments.benchmarks.record import SHARED, missing, save, spread

RUNS = 5
N = 70_000
SIZES = (1, 7_000, N, 4 * N)


def pixels_of(path: Path) -> np.ndarray:
    """(70000, 28, 28, 1) uint8."""
    if path.exists():
        return load(path).pixels
    missing(f"{path.name} is not there", "random images stand in for it")
    return np.random.default_rng(0).integers(256, size=(N, 28, 28, 1), dtype=np.uint8)


def write_files(folder: Path) -> None:
    """SIZES.npz with that many images each, and train.npz."""
    pixels = pixels_of(SHARED / "data/mnist_full.npz")
    for n in SIZES:
        np.savez(folder / f"{n}.npz", x=np.resize(pixels, (n, *pixels.shape[1:])))
    np.savez(folder / "train.npz", x=pixels[:500])


def main() -> None:
    """Measure, print and record."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # in a process of its own: the peak that the system tells of a command begins at what its parent has held
        writer = get_context("spawn").Process(target=write_files, args=(folder,))
        writer.start()
        writer.join()
        if writer.exitcode:
            raise SystemExit("the images could not be written; the message stands above")
        run([DEPICT_JAX, "fit", folder / "train.npz", "--clusters", "10", "--out", folder / "run", *SHORT])

        def predict(n: int) -> Run:
            words: list[str | Path] = [DEPICT_JAX, "predict", folder / "run", folder / f"{n}.npz"]
            return run([*words, "--out", folder / "out.csv", "--overwrite"])

        predict(1)  # compiles, for all that follow
        whole, start_up = [], []
        for _ in range(RUNS):  # turn by turn, so that both meet the same minutes of a shared machine
            start_up.append(predict(1).seconds)
            whole.append(predict(N).seconds)
        memory = {n: predict(n).peak_bytes for n in SIZES}
    included = spread([N / seconds for seconds in whole])
    excluded = spread([N / (seconds - start) for seconds, start in zip(whole, start_up, strict=True)])
    save(
        "predict",
        {
            "images": N,
            "seconds": spread(whole),
            "start_up_seconds": spread(start_up),
            "images_per_second_start_up_included": included,
            "images_per_second_start_up_excluded": excluded,
            "peak_bytes_by_images": memory,
        },
        [
            (
                f"depict-jax predict, {N:,} images of 28 x 28: images a second, start-up included / excluded",
                f"{included['median']:,.0f} ({included['min']:,.0f} to {included['max']:,.0f}) / "
                f"{excluded['median']:,.0f} ({excluded['min']:,.0f} to {excluded['max']:,.0f})",
            ),
            (
                "its peak memory for " + ", ".join(f"{n:,}" for n in memory) + " images",
                ", ".join(f"{peak / 2**20:.0f}" for peak in memory.values()) + " MiB",
            ),
        ],
    )


if __name__ == "__main__":
    main()
