"""What tables, figure and claims say of results: which there are, their means and spreads."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Result = dict[str, Any]
NONE = "–"  # a cell that no result stands behind


def runs_of(found: Iterable[Result], dataset: str, method: str, variant: str) -> list[Result]:
    """The results of one cell, by seed."""
    chosen = [one for one in found if (one["dataset"], one["method"], one["variant"]) == (dataset, method, variant)]
    return sorted(chosen, key=lambda one: one["seed"])


def values(runs: Iterable[Result], score: str, stage: str = "final") -> list[float]:
    """One score of each run."""
    return [run["scores"][stage][score] for run in runs]


def mean(runs: Iterable[Result], score: str, stage: str = "final") -> float:
    """Of one score."""
    return statistics.mean(values(runs, score, stage))


def seconds(runs: Iterable[Result]) -> float:
    """Mean wall time of a whole run."""
    return statistics.mean(run["seconds"]["final"] for run in runs)


def chosen(runs: Iterable[Result]) -> Result:
    """The run of the lowest objective: what one would choose without labels."""
    return min(runs, key=lambda one: one["objective"])


def differences(runs: Iterable[Result], others: Iterable[Result]) -> list[float]:
    """How far the ACC of runs is above that of others, for each seed that both have."""
    acc = [{run["seed"]: run["scores"]["final"]["acc"] for run in of} for of in (runs, others)]
    return [acc[0][seed] - acc[1][seed] for seed in sorted(set.intersection(*map(set, acc)))]


def on_same_seeds(of: Mapping[Any, Sequence[Result]]) -> dict[Any, list[Result]]:
    """The runs to compare with each other: of the seeds that everyone has who has runs at all."""
    seeds = [{run["seed"] for run in runs} for runs in of.values() if runs]
    shared = set.intersection(*seeds) if seeds else set()
    return {key: [run for run in runs if run["seed"] in shared] for key, runs in of.items()}


def spread(numbers: Sequence[float], digits: int = 3) -> str:
    """Mean ± standard deviation; the value alone where there is one."""
    mean = f"{statistics.mean(numbers):z.{digits}f}"  # no minus before what rounds to zero
    return mean if len(numbers) == 1 else f"{mean} ± {statistics.stdev(numbers):.{digits}f}"


def acc_nmi(runs: Sequence[Result]) -> str:
    """ACC and NMI of a cell, ACC with its spread, and how many runs they are of."""
    if not runs:
        return NONE
    return f"{spread(values(runs, 'acc'))} / {mean(runs, 'nmi'):.3f} ({len(runs)})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """Lines of markdown; the first `left` columns are words, the others figures."""
    ruler = "|" + "---|" * left + "---:|" * (len(head) - left)
    return [_line(head), ruler, *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
