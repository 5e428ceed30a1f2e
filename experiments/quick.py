"""A real table in five minutes on two cores: digits and 2,000 images of MNIST-test, one seed.

python -m experiments.quick

Every figure is of real training on real images, but DEPICT's training is cut to a third of its usual steps: what it
reaches in full is in RESULTS.md. The table is printed, and stands in runs/table-quick/ with a JSON for each of its
lines; a line that is there is not computed again.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from depict_jax.data import Images
from depict_jax.settings import Settings
from depict_jax.stages import check_job
from experiments import presets, results, rows
from experiments.jobs import Found, Job, Watch, run_missing
from experiments.presets import Preset
from experiments.run import depict
from experiments.summary import NONE, Result, table
from experiments.variants import VARIANTS, settings_of

FOLDER = results.PROJECT / "runs/table-quick"
PRETRAIN_STEPS, JOINT_STEPS = 1_500, 600
_MNIST = replace(presets.preset("mnist-test"), title="MNIST-test, rows 0 to 2,000", size=2_000)
SETS = {"digits": presets.preset("digits"), "mnist-test": _MNIST}
METHODS = {method: row.title for method, row in rows.ROWS.items() if row.kind == "pixels"}
HEAD = ("data set", "method", "ACC", "NMI", "ARI", "ACC after pretraining", "ACC at the start", "seconds")


def main() -> None:
    """Compute what is missing, print the table, and write it."""
    jobs = [Job(method, rows.DEFAULT, 0) for method in METHODS] + [Job("depict", variant, 0) for variant in VARIANTS]
    for name, preset in SETS.items():
        run_missing(name, preset, jobs, compute, FOLDER)
    found = [line(name, job) for name in SETS for job in jobs if path_of(name, job).exists()]
    shown = Table(*HEAD, title=f"Seed 0, DEPICT cut to {PRETRAIN_STEPS:,} + {JOINT_STEPS} steps")
    for cells in found:
        shown.add_row(*cells)
    Console().print(shown)
    path = FOLDER / "table.md"
    path.write_text("\n".join(table(HEAD, found, left=2)) + "\n", encoding="utf-8")
    print(path.relative_to(results.PROJECT))


def compute(job: Job, preset: Preset, images: Images, watch: Watch) -> Found:
    """One line."""
    if job.method != "depict":
        return rows.compute(job, preset, images, watch)
    settings = shortened(settings_of(job.variant, preset.initial, job.seed), len(images.pixels))
    return depict(images, check_job(images.pixels, preset.clusters, settings), settings, watch)


def shortened(settings: Settings, n_images: int) -> Settings:
    """With fewer epochs of both long stages."""
    steps = n_images / settings.batch_size
    return replace(
        settings, pretrain_epochs=math.ceil(PRETRAIN_STEPS / steps), joint_epochs=math.ceil(JOINT_STEPS / steps)
    )


def path_of(dataset: str, job: Job) -> Path:
    """The file of one line's result."""
    return results.path_of(dataset, *job, folder=FOLDER)


def line(dataset: str, job: Job) -> list[str]:
    """A line of the table."""
    found: Result = results.read(path_of(dataset, job))
    scored = found["scores"]
    before = [f"{scored[stage]['acc']:.3f}" if stage in scored else NONE for stage in ("pretrain", "initial")]
    final = [f"{scored['final'][score]:.3f}" for score in ("acc", "nmi", "ari")]
    title = METHODS.get(job.method, f"DEPICT ({job.variant})")
    return [SETS[dataset].title, title, *final, *before, f"{found['seconds']['final']:.1f}"]


if __name__ == "__main__":
    main()
