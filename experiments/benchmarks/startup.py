"""What a user waits for before anything happens: --help, the import, and the start of a second fit.

make bench-startup

Medians of seven processes each, turn by turn. "Starts training" is the time from the command to the first epoch's work:
the moment its line is written to metrics.jsonl, less the seconds that the second epoch, which compiles and loads
nothing, takes. The compilation cache is one of the benchmark's own, empty at first.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments.benchmarks.command import DEPICT_JAX, run
from experiments.benchmarks.record import save, spread

RUNS = 7
HELP = ("--help", "fit --help")
IMPORTS = {
    "jax, flax": "import jax, flax",
    "depict_jax": "import depict_jax",
    "DEPICT": "from depict_jax import DEPICT",
}


def training_starts(folder: Path, cache: Path) -> float:
    """Seconds from `depict-jax fit digits` to the first epoch's work."""
    words = [DEPICT_JAX, "fit", "digits", "--clusters", "10", "--out", folder, "--quiet"]
    epochs = ["--pretrain-epochs", "3", "--warm-epochs", "1", "--joint-epochs", "1", "--initial", "kmeans"]
    start = time.perf_counter()
    process = subprocess.Popen(
        ["env", "--unset=JAX_COMPILATION_CACHE_DIR", f"XDG_CACHE_HOME={cache}", *map(str, words), *epochs]
    )
    metrics = folder / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().endswith("\n")):
        if process.poll() is not None:
            raise SystemExit("depict-jax fit ended before its first epoch did")
        time.sleep(0.005)
    first = time.perf_counter() - start
    if process.wait():
        raise SystemExit("depict-jax fit failed")
    second_epoch = json.loads(metrics.read_text().splitlines()[1])["seconds"]
    return first - second_epoch


def main() -> None:
    """Measure, print and record."""
    seconds: dict[str, list[float]] = {name: [] for name in [*HELP, *IMPORTS]}
    for turn in range(RUNS + 1):
        costs = {name: run([DEPICT_JAX, *name.split()]).seconds for name in HELP}
        costs |= {name: run([sys.executable, "-c", code]).seconds for name, code in IMPORTS.items()}
        if turn:  # the first turn reads the files from the disk
            for name, cost in costs.items():
                seconds[name].append(cost)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, *again = (training_starts(folder / f"run{n}", folder / "compiled") for n in range(RUNS))
    figures = {name: spread(values) for name, values in seconds.items()}
    second = spread(again)

    def shown(found: dict) -> str:
        return f"{found['median']:.2f} s ({found['min']:.2f} to {found['max']:.2f})"

    save(
        "startup",
        {"seconds": figures, "first_fit_starts_training": first, "second_fit_starts_training": second},
        [
            ("depict-jax --help / fit --help", " / ".join(shown(figures[name]) for name in HELP)),
            (
                "import depict_jax / import jax, flax / from depict_jax import DEPICT",
                " / ".join(shown(figures[name]) for name in ("depict_jax", "jax, flax", "DEPICT")),
            ),
            ("a second fit of the same shapes starts training after (the first)", f"{shown(second)} ({first:.2f} s)"),
        ],
    )


if __name__ == "__main__":
    main()
