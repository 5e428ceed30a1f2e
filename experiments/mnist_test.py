"""MNIST-test (the 10,000 t10k images) from pixels, default settings, one seed.

make mnist-test MNIST=mnist_full.npz

The file holds x, uint8 (70000, 28, 28, 1), and y, the 10,000 test images last; y is read for the scores only.
"""

import sys
import time
from pathlib import Path

from rich.console import Console

from depict_jax.data import Images, load
from depict_jax.progress import Display, table_of
from depict_jax.runner import run_into_folder
from depict_jax.settings import Settings
from depict_jax.stages import check_job


def main(path: str, seed: int = 0) -> None:
    """Cluster the last 10,000 images of the file and print scores and seconds."""
    everything = load(path)
    if len(everything.pixels) != 70_000 or everything.labels is None:
        raise SystemExit(f"{path} holds {len(everything.pixels)} images: expected MNIST's 70,000 with labels")
    images = Images(everything.pixels[60_000:], everything.labels[60_000:], "mnist-test")
    settings = Settings(seed=seed)
    console = Console()
    start = time.perf_counter()
    with Display(console) as watch:
        architecture = check_job(images.pixels, 10, settings)
        scores = run_into_folder(images, architecture, settings, Path("runs/mnist-test"), overwrite=True, watch=watch)
    seconds = time.perf_counter() - start
    console.print(table_of(scores))
    console.print(
        f"MNIST-test, seed {seed}: ACC {scores['joint']['acc']:.4f} after {seconds / 60:.1f} minutes, all told"
    )


if __name__ == "__main__":
    main(sys.argv[1], *(int(seed) for seed in sys.argv[2:3]))
