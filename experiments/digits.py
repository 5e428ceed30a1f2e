"""The 1,797 digits inside scikit-learn: DEPICT with three seeds beside k-means and AC-PIC on the pixels.

make digits-table
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.cluster import KMeans

from depict_jax import DEPICT
from depict_jax.agglomerative import path_integral_clustering
from depict_jax.data import load
from depict_jax.metrics import scores

SEEDS = (0, 1, 2)


def main() -> None:
    """Print ACC, NMI, ARI and seconds of each method."""
    images = load("digits")
    assert images.labels is not None
    flat = images.pixels.reshape(len(images.pixels), -1).astype(np.float64)
    methods: dict[str, Callable[[], np.ndarray]] = {
        "k-means on pixels": lambda: KMeans(10, n_init=20, random_state=0).fit_predict(flat),
        "AC-PIC on pixels": lambda: path_integral_clustering(flat, 10),
    }
    for seed in SEEDS:
        methods[f"DEPICT, seed {seed}"] = partial(DEPICT(10, random_state=seed).fit_predict, images.pixels)
    table = Table(title="1,797 digits, 8 x 8")
    for column in ("method", "ACC", "NMI", "ARI", "seconds"):
        table.add_column(column, justify="left" if column == "method" else "right")
    found = {}
    for name, method in methods.items():
        start = time.perf_counter()
        found[name] = scores(images.labels, method())
        values = [f"{found[name][score]:.3f}" for score in ("acc", "nmi", "ari")]
        table.add_row(name, *values, f"{time.perf_counter() - start:.1f}")
    ours = [found[f"DEPICT, seed {seed}"] for seed in SEEDS]
    means = [f"{np.mean([one[score] for one in ours]):.3f}" for score in ("acc", "nmi", "ari")]
    table.add_row("DEPICT, mean of the seeds", *means, "")
    Console().print(table)


if __name__ == "__main__":
    main()
