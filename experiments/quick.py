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
from experiments.summary import NONE, table
from experiments.variants import VARIANTS, settings_of

FOLDER = results.PROJECT / "runs/table-quick"
PRETRAIN_STEPS, JOINT_STEPS = 1_500, 600
_MNIST = replace(presets.preset("mnist-test"), title="MNIST-test, rows 0 to 2,000", size=2_000)
SETS = {"digits": presets.preset("digits"), "mnist-test": _MNIST}
CAPTION = "Pretrained: ACC of k-means on the embeddings; start: of the initial assignment. Seed 0."
METHODS = {method: row.title for method, row in rows.ROWS.items() if row.kind == "pixels"}
HEAD = ("method", "ACC", "NMI", "ARI", "pretrained", "start", "seconds")


def main() -> None:
    """Compute what is missing, print the table, and write it."""
    jobs = [Job(method, rows.DEFAULT, 0) for method in METHODS] + [Job("depict", variant, 0) for variant in VARIANTS]
    for name, preset in SETS.items():
        run_missing(name, preset, jobs, compute, FOLDER)
    console, page = Console(), [f"DEPICT cut to {PRETRAIN_STEPS:,} + {JOINT_STEPS} steps. {CAPTION}"]
    for name, preset in SETS.items():
        lines = [line(path) for job in jobs if (path := results.path_of(name, *job, folder=FOLDER)).exists()]
        if not lines:
            continue
        shown = Table(*HEAD, title=preset.title)
        for cells in lines:
            shown.add_row(*cells)
        console.print(shown)
        page += [f"## {preset.title}", "\n".join(table(HEAD, lines))]
    console.print(page[0])
    path = FOLDER / "table.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(page) + "\n", encoding="utf-8")
    print(path)


def compute(job: Job, preset: Preset, images: Images, watch: Watch) -> Found:
    """One line."""
    if job.method != "depict":
        return rows.compute(job, preset, images, watch)
    settings = shortened(settings_of(job.variant, preset.initial, job.seed), len(images.pixels))
    return depict(images, check_job(images.pixels, preset.clusters, settings), settings, watch)


def shortened(settings: Settings, n_images: int) -> Settings:
    """With fewer epochs of both long stages, in all rounds together."""
    steps = n_images / settings.batch_size
    return replace(
        settings,
        pretrain_epochs=math.ceil(PRETRAIN_STEPS / steps),
        joint_epochs=math.ceil(JOINT_STEPS / settings.rounds / steps),
    )


def line(path: Path) -> list[str]:
    """A line of the table."""
    found = results.read(path)
    scored = found["scores"]
    final = [f"{scored['final'][score]:.3f}" for score in ("acc", "nmi", "ari")]
    before = [f"{scored[stage]['acc']:.3f}" if stage in scored else NONE for stage in ("pretrain", "initial")]
    title = METHODS.get(found["method"], f"DEPICT ({found['variant']})")
    return [title, *final, *before, f"{found['seconds']['final']:.1f}"]


if __name__ == "__main__":
    main()
