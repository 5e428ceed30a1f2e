"""AC-PIC: time for 10,000 and 70,000 samples, peak memory, growth with N, labels beside the authors'.

make bench-acpic

The real samples are MNIST's, embedded by the authors' pretrained autoencoder: MNIST-test (the last 10,000 rows) and
MNIST-full. Where these do not lie in ../shared (or $DEPICT_SHARED), the parts that need them are left
out. Every time is of `path_integral_clustering` alone, in a process that has already
clustered something; nothing is compiled. Memory is measured in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from depict_jax.agglomerative import path_integral_clustering
from depict_jax.metrics import clustering_accuracy
from experiments.benchmarks import record

N_CLUSTERS = 10
SIZES = (1_250, 2_500, 5_000, 10_000, 20_000, 40_000, 80_000)
# Where one group swallows all samples one by one: the worst growth, so the sizes are small.
SWALLOWED = {"line": (1_250, 2_500, 5_000, 10_000), "hub in 200 dimensions": (500, 1_000, 2_000)}


def mixture(n_samples: int) -> np.ndarray:
    """(n, 10): fifteen Gaussians of unequal width that overlap, always the same ones."""
    rng = np.random.default_rng(0)
    means, widths = rng.normal(0.0, 2.0, (15, 10)), rng.uniform(0.5, 1.5, 15)
    component = rng.integers(0, 15, n_samples)
    return means[component] + widths[component, None] * rng.standard_normal((n_samples, 10))


def line(n_samples: int) -> np.ndarray:
    """(n, 1): ever wider gaps, so that every sample's nearest is the one before it."""
    return np.arange(1.0, n_samples + 1.0)[:, None] ** 1.5


def hub(n_samples: int) -> np.ndarray:
    """(n, 200): Gaussian noise and its centre, which is everyone's nearest."""
    x = np.random.default_rng(0).standard_normal((n_samples, 200))
    x[0] = 0.0
    return x


def embeddings() -> tuple[np.ndarray, np.ndarray] | None:
    """MNIST-full's embeddings (70000, 10) and the authors' labels (10000,) of MNIST-test, or None without the files."""
    weights, images = record.SHARED / "reference/depict_mnist_test.npz", record.SHARED / "data/mnist_full.npz"
    for path in (weights, images):
        if not path.exists():
            record.missing(f"MNIST's embeddings ({path.name} is absent)", "DEPICT_SHARED=folder names where it lies")
            return None
    from depict_jax.networks import Depict
    from depict_jax.reference import load_lasagne
    from depict_jax.training import predict

    with np.load(weights) as released, np.load(images) as mnist:
        architecture, variables = load_lasagne(released)
        found, _ = predict(Depict(architecture), variables, mnist["x"].reshape(-1, 28, 28, 1))
        return found, released["acpic_labels"]


def seconds(x: np.ndarray, repeats: int) -> tuple[dict[str, Any], np.ndarray]:
    """The spread of repeated times in seconds, and the labels."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        labels = clustered(x)
        times.append(time.perf_counter() - start)
    return {**record.spread(times), "repeats": repeats}, labels


def clustered(x: np.ndarray) -> np.ndarray:
    """Labels (N,)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # merges of unlinked groups, which far outliers may need
        return path_integral_clustering(x, N_CLUSTERS)


def growth(make: Callable[[int], np.ndarray], sizes: Sequence[int], repeats: Callable[[int], int]) -> dict[str, Any]:
    """Times for each size, and the exponent a of time ~ N^a: over all sizes, over the upper half, at each doubling."""
    times = {n: seconds(make(n), repeats(n))[0] for n in sizes}
    medians = [times[n]["median"] for n in sizes]
    half = len(sizes) // 2
    steps = [slope(sizes[i : i + 2], medians[i : i + 2]) for i in range(len(sizes) - 1)]
    return {
        "seconds": times,
        "exponent": slope(sizes, medians),
        "exponent_upper_half": slope(sizes[half:], medians[half:]),
        "exponent_of_each_step": steps,
    }


def slope(sizes: Sequence[int], times: Sequence[float]) -> float:
    """Of log time against log size, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def memory(x: np.ndarray) -> dict[str, float]:
    """Peak memory in GB of a fresh process that loads and clusters `x`: in all, and what the call added."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        np.save(path, x)
        command = [sys.executable, "-m", "experiments.benchmarks.acpic", "--memory-of", str(path)]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def print_memory(path: Path) -> None:
    """The child's side of `memory`."""
    x = np.load(path)
    clustered(x[:1_000])  # what is loaded at first use
    before = record.peak_bytes()
    clustered(x)
    after = record.peak_bytes()
    print(json.dumps({"peak_gb": after / 1e9, "added_gb": (after - before) / 1e9}))


def main() -> None:
    """Measure, save results/acpic.json, print its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only N up to 10,000, two repeats")
    parser.add_argument("--memory-of", type=Path, metavar="FILE.npy", help="only print the memory that this file needs")
    arguments = parser.parse_args()
    if arguments.memory_of:
        print_memory(arguments.memory_of)
        return

    def repeats(n_samples: int) -> int:
        return 2 if arguments.quick else 5 if n_samples <= 20_000 else 3

    sizes = [n for n in SIZES if n <= 10_000 or not arguments.quick]
    clustered(mixture(1_000))  # what is loaded at first use
    figures: dict[str, Any] = {}
    rows = []

    real = embeddings()
    if real:
        full, theirs = real
        test = full[60_000:]
        figures["mnist_test"], labels = seconds(test, 2 if arguments.quick else 5)
        same = round(clustering_accuracy(theirs, labels) * len(theirs))
        figures["equal_labels"] = {"equal": same, "of": len(theirs)}
        rows += [
            ("AC-PIC, MNIST-test's embeddings (10,000)", shown(figures["mnist_test"])),
            ("AC-PIC, MNIST-test: labels equal to the authors'", f"{same:,} of {len(theirs):,}"),
        ]
        if not arguments.quick:
            figures["mnist_full"], _ = seconds(full, 5)
            rows.append(("AC-PIC, MNIST-full's embeddings (70,000)", shown(figures["mnist_full"])))
            figures["memory_mnist_full"] = found = memory(full)
            what = "AC-PIC, MNIST-full: peak memory of the process, and what the call added"
            rows.append((what, f"{found['peak_gb']:.2f} GB, {found['added_gb']:.2f} GB"))
        order = np.random.default_rng(0).permutation(len(full))
        figures["growth_mnist"] = found = growth(
            lambda n: full[order[:n]], [n if n < 80_000 else len(full) for n in sizes], repeats
        )
        rows.append(grown("random subsets of MNIST's embeddings", found))

    figures["growth_mixture"] = growth(mixture, sizes, repeats)
    rows.append(grown("mixture of 15 Gaussians in 10 dimensions", figures["growth_mixture"]))
    for (name, its_sizes), make in zip(SWALLOWED.items(), (line, hub), strict=True):
        figures[f"growth_{name.split()[0]}"] = found = growth(
            make, its_sizes[:2] if arguments.quick else its_sizes, lambda _: 2
        )
        rows.append(grown(f"one group swallows all: {name}", found))
    record.save("acpic", figures, rows)


def shown(found: dict[str, Any]) -> str:
    """Median and range in seconds."""
    return f"{found['median']:.2f} s (median of {found['repeats']}, {found['min']:.2f} to {found['max']:.2f})"


def grown(what: str, found: dict[str, Any]) -> tuple[str, str]:
    """The row of a growth."""
    sizes = list(found["seconds"])
    medians = [found["seconds"][n]["median"] for n in sizes]
    exponents = f"time ~ N^{found['exponent']:.2f} (upper half N^{found['exponent_upper_half']:.2f})"
    return f"AC-PIC, {what}, N = {sizes[0]:,} to {sizes[-1]:,}", f"{exponents}; {medians[0]:.2f} to {medians[-1]:.1f} s"


if __name__ == "__main__":
    main()
