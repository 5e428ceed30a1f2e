"""What --microbatches costs: a joint step in so many parts beside the whole batch at once, on one device.

make bench-microbatches

Both are the training's own epochs, of MNIST's shapes, and alternate, so that both meet the same minutes of a shared
machine.
"""

from __future__ import annotations

import argparse

from experiments.benchmarks.record import save, spread
from experiments.benchmarks.step import CASES, Ours

CASE = CASES[0]
COUNTS = (1, 2, 4, 8)


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=25)
    turns = parser.parse_args().turns
    sides = {count: Ours(CASE, count) for count in COUNTS}
    times = [{count: side.epoch() for count, side in sides.items()} for _ in range(turns)]
    found = {
        count: {
            "ms_per_step": spread([turn[count] for turn in times]),
            "ratio": spread([turn[count] / turn[1] for turn in times]),
        }
        for count in COUNTS
    }
    rows = [
        (
            f"joint step, {CASE.name}, batch {CASE.batch_size} in {count} microbatches: time, as a multiple of at once",
            f"{one['ratio']['median']:.2f} ({one['ratio']['min']:.2f} to {one['ratio']['max']:.2f})",
        )
        for count, one in found.items()
        if count > 1
    ]
    save("microbatches", {str(count): one for count, one in found.items()}, rows)


if __name__ == "__main__":
    main()
