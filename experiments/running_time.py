"""How long each method takes: a table, and a figure whose numbers are the table's."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from experiments import presets, results
from experiments.rows import DEFAULT, ROWS
from experiments.summary import NONE, Result, runs_of, seconds, table
from experiments.variants import VARIANTS

FIGURE = results.PROJECT / "experiments/running_time.svg"
METHODS = [  # title, method, variant
    *((row.title, method, DEFAULT) for method, row in ROWS.items()),
    *((f"DEPICT ({variant})", "depict", variant) for variant in VARIANTS),
]
HEAD = """\
## Running time

Mean minutes of a whole run, from pixels to clusters, reading and compiling included where a method does either; methods
on features include the autoencoder's pretraining. Wall times on machines that other work shared: good for orders of
magnitude.

![Running time of each method on each data set, logarithmic](running_time.svg)
"""


def times(found: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Mean seconds of each method on each data set, where there are at least two methods to compare."""
    taken = {
        name: {
            title: seconds(runs)
            for title, method, variant in METHODS
            if (runs := runs_of(found, name, method, variant))
        }
        for name in presets.NAMES
    }
    return {name: of for name, of in taken.items() if len(of) > 1}


def section(found: Sequence[Result]) -> list[str]:
    """The table, a column for each data set."""
    taken = times(found)
    if not taken:
        return []
    titles = [title for title, *_ in METHODS if any(title in of for of in taken.values())]
    rows = [[title, *(_minutes(of.get(title)) for of in taken.values())] for title in titles]
    return [HEAD, *table(["method", *(presets.preset(name).title for name in taken)], rows)]


def draw(found: Sequence[Result], path: Path = FIGURE) -> None:
    """The figure, one panel for each data set; its numbers stand in its description too."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    taken = times(found)
    if not taken:
        return
    titles = [title for title, *_ in METHODS if any(title in of for of in taken.values())]
    columns = min(2, len(taken))
    rows = math.ceil(len(taken) / columns)
    figure = Figure(figsize=(2.5 + 3.5 * columns, rows * (1.0 + 0.22 * len(titles))), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
    least, most = (pick(s for of in taken.values() for s in of.values()) for pick in (min, max))
    decades = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    for panel, (name, of) in zip(panels, taken.items(), strict=False):
        places = [titles.index(title) for title in of]
        colours = ["tab:orange" if title.startswith("DEPICT") else "tab:blue" for title in of]
        panel.scatter(list(of.values()), places, color=colours)
        panel.set(xscale="log", xlabel="seconds", title=presets.preset(name).title)
        panel.set_xlim(10 ** (decades[0] - 0.1), 10 ** (decades[-1] + 0.1))
        panel.set_xticks([10.0**n for n in decades], [f"{10.0**n:g}" for n in decades])
        panel.tick_params(labelbottom=True)
        panel.set_yticks(range(len(titles)), titles, fontsize=8)
        panel.grid(alpha=0.3)
    panels[0].invert_yaxis()
    for panel in panels[len(taken) :]:
        panel.remove()
    with rc_context({"svg.hashsalt": "running time", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None, "Description": description(found)})


def description(found: Sequence[Result]) -> str:
    """The figure's numbers: by them one sees whether it is of these results."""
    return json.dumps({name: {title: round(s, 1) for title, s in of.items()} for name, of in times(found).items()})


def _minutes(taken: float | None) -> str:
    if taken is None:
        return NONE
    minutes = taken / 60
    return f"{minutes:.1f}" if minutes >= 1 else f"{minutes:.2f}" if minutes >= 0.01 else f"{minutes:.1g}"
