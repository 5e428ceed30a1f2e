"""Where every benchmark's figures go: results/NAME.json with provenance, and the table that shows them all.

python -m experiments.benchmarks.record    # print the table from the results that are there, and renew the README's
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
README = PROJECT / "README.md"
RESULTS = HERE / "results"
MARKS = "<!-- benchmarks: make bench renews what stands between these marks -->", "<!-- end of benchmarks -->"
SHARED = Path(os.environ.get("DEPICT_SHARED", PROJECT.parent / "shared"))  # data and reference; may be absent


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, smallest and largest of repeated measurements, with the measurements."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": list(values)}


def save(name: str, figures: dict[str, Any], rows: Sequence[tuple[str, str]]) -> None:
    """Write results/NAME.json and print its rows.

    Args:
        name: of the benchmark; `make bench-NAME` runs it.
        figures: all that was measured, as JSON.
        rows: (what, figure) pairs for people, as the table shows them.
    """
    found = {"command": f"make bench-{name}", "rows": [list(row) for row in rows], "figures": figures}
    RESULTS.mkdir(exist_ok=True)
    partial = RESULTS / f"{name}.json.partial"
    partial.write_text(json.dumps({**found, "provenance": provenance()}, indent=1) + "\n")
    partial.replace(RESULTS / f"{name}.json")
    show([found])


def show(found: Sequence[dict[str, Any]]) -> None:
    """The table: what, figure, command."""
    table = Table("what", "figure", "command")
    for result in found:
        for what, figure in result["rows"]:
            table.add_row(what, figure, result["command"])
    Console().print(table)


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """The same table for the README, with the machine it was measured on."""
    machines = sorted({machine(result["provenance"]) for result in found})
    lines = []
    for one in machines:  # figures of different machines are not to be compared: each has a table of its own
        lines += [f"Measured on: {one} (shared, and noisy).", "", "| what | figure | command |", "|---|---|---|"]
        for result in found:
            if machine(result["provenance"]) == one:
                lines += [f"| {what} | {figure} | `{result['command']}` |" for what, figure in result["rows"]]
        lines.append("")
    return "\n".join(lines[:-1])


def renewed(text: str, body: str, marks: tuple[str, str] = MARKS) -> str:
    """A page with `body` between its two marks.

    Raises:
        ValueError: a page without the marks.
    """
    begin, end = marks
    before, mark, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not mark or not found:
        raise ValueError(f"the page has no place for the table: expected {begin} and {end}")
    return f"{before}{begin}\n{body}\n{end}{after}"


def results() -> list[dict[str, Any]]:
    """All results that are there, by name."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]


def peak_bytes() -> int:
    """The most memory that this process has held at once.

    On Linux not by getrusage, whose figure begins at what the parent held when it started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource  # where there is neither, as on Windows, there is no figure

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others KiB


def missing(what: str, remedy: str) -> None:
    """One line on stderr about a part that cannot run here; the rest goes on."""
    print(f"skipped: {what}; {remedy}", file=sys.stderr)


def provenance() -> dict[str, Any]:
    """What the figures depend on: commit, date, machine, versions."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True)
    changed = subprocess.run(["git", "status", "--porcelain", "src"], cwd=PROJECT, capture_output=True, text=True)
    return {
        "commit": commit.stdout.strip() + ("+changes" if changed.stdout.strip() else ""),
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in ("jax", "jaxlib", "flax", "numpy", "scikit-learn")},
    }


def machine(provenance: dict[str, Any]) -> str:
    """The machine that a result was measured on, in words."""
    return f"{provenance['processor']}, {provenance['cores']} cores"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    """Print the table and put it into the README."""
    found = results()
    if not found:
        raise SystemExit("no results yet: run make bench")
    show(found)
    README.write_text(renewed(README.read_text(), markdown(found)))


if __name__ == "__main__":
    main()
