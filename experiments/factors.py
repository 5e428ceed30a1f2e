"""What a result hangs on: the variants `paper` and `best` with one factor of theirs, or two, at another value.

python -m experiments.factors digits usps --seeds 3

Everything but what a cell names is its variant's, and cells share the stages that they have in common. A variant whose
factor has that value already stands for the cell, and is not run twice.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from depict_jax.data import Images
from depict_jax.epochs import n_held_out, steps_per_epoch
from depict_jax.settings import Initial, Settings
from depict_jax.stages import check_job
from experiments import presets
from experiments.jobs import Found, Job, Watch, run_missing
from experiments.presets import Preset
from experiments.run import depict
from experiments.variants import VARIANTS, settings_of

SEEDS = 3

Change = Callable[[Settings, int], Settings]  # of a variant's settings, for so many images


def _set(**values: Any) -> Change:
    return lambda settings, n_images: replace(settings, **values)


def epochs_of(settings: Settings, n_images: int) -> dict[str, Any]:
    """Most epochs of each stage, by the settings' field that says them, for so many images."""
    size, rest = settings.batch_size, n_images - n_held_out(n_images)
    epochs = settings.stage_epochs(steps_per_epoch(rest, size), steps_per_epoch(n_images, size))
    return dict(zip(("pretrain_epochs", "warm_epochs", "joint_epochs"), epochs, strict=True))


def _as_long(stage: str, share: float) -> Change:
    """A stage, by the name of its epochs' field, of so many times the variant's epochs."""
    return lambda settings, n_images: replace(
        settings, **{stage: math.ceil(share * epochs_of(settings, n_images)[stage])}
    )


def _batches_of(size: int) -> Change:
    """Batches of so many images, and as many epochs as the variant has: fewer images a step are more steps."""
    return lambda settings, n_images: (
        settings if settings.batch_size == size else replace(settings, batch_size=size, **epochs_of(settings, n_images))
    )


def _strays(smallest: float) -> Change:
    """What AC-PIC does with groups of fewer images than this share of N / K; k-means does not ask."""
    return lambda settings, n_images: (
        settings if settings.initial == "kmeans" else replace(settings, smallest_cluster=smallest)
    )


# The values of each factor: those of the two variants, and what else is worth a try.
FACTORS: dict[str, dict[str, Change]] = {
    "pretraining": {
        "a third": _as_long("pretrain_epochs", 1 / 3),
        "as it is": _set(),
        "three times": _as_long("pretrain_epochs", 3),
    },
    "pretraining rate": {"0.001": _set(pretrain_learning_rate=1e-3), "0.002": _set(pretrain_learning_rate=2e-3)},
    "batches": {"of 100": _batches_of(100), "of 25": _batches_of(25)},
    "start": {"k-means": _set(initial="kmeans"), "AC-PIC": _set(initial="acpic")},
    "strays": {"kept": _strays(0.0), "joined": _strays(0.1)},
    "affine changes": {"none": _set(affine=0.0), "as allowed": _set(affine=None)},
    "brightness": {"none": _set(brightness=0.0), "as allowed": _set(brightness=None)},
    "Q-step": {"squared": _set(rule="squared"), "exact": _set(rule="exact")},
    "joint rate": {"0.001": _set(joint_learning_rate=1e-3), "0.002": _set(joint_learning_rate=2e-3)},
    "joint training": {"as it is": _set(), "three times": _as_long("joint_epochs", 3)},
    "rounds": {"1": _set(rounds=1), "3": _set(rounds=3)},
}

Value = tuple[str, str]  # a factor and one of its values

# Single values, and pairs of which neither alone does what both do.
TRIED: tuple[tuple[Value, ...], ...] = (
    *(((factor, value),) for factor, values in FACTORS.items() for value in values),
    (("pretraining", "three times"), ("strays", "joined")),
    (("batches", "of 25"), ("strays", "joined")),
    (("start", "AC-PIC"), ("strays", "joined")),
)


def _word(factor: str, value: str) -> str:
    """What a value is called in a cell's name."""
    return f"{factor}-{value}".replace(" ", "-")


CHANGES = {_word(factor, value): change for factor, values in FACTORS.items() for value, change in values.items()}


def main() -> None:
    """Run the cells that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=presets.NAMES, nargs="+")
    parser.add_argument("--factors", choices=FACTORS, nargs="+", default=list(FACTORS))
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, from 0 on")
    arguments = parser.parse_args()
    for name in arguments.dataset:
        preset = presets.preset(name)
        run_missing(name, preset, jobs(arguments.factors, preset.initial, arguments.seeds), compute)


def jobs(factors: list[str], initial: Initial, seeds: int) -> list[Job]:
    """Seed by seed; the variants themselves first."""
    wanted = [
        name
        for variant in VARIANTS
        for name, values in cells(variant, initial).items()
        if {factor for factor, _ in values} <= set(factors)
    ]
    return [Job("depict", variant, seed) for seed in range(seeds) for variant in (*VARIANTS, *wanted)]


def cells(variant: str, initial: Initial) -> dict[str, tuple[Value, ...]]:
    """What is tried of a variant beside itself: each cell's name, and the fewest values that lead to it."""
    found: dict[str, tuple[Value, ...]] = {}
    for values in TRIED:
        found.setdefault(cell(variant, values, initial), values)
    found.pop(variant, None)
    return found


def cell(variant: str, values: tuple[Value, ...], initial: Initial) -> str:
    """What the results of a variant with these values are called: by those that it has not already."""
    settings, words = settings_of(variant, initial, seed=0), [variant]
    for factor, value in values:
        changed = FACTORS[factor][value](settings, 1_000)  # whatever the number of images
        if changed != settings:
            settings, words = changed, [*words, _word(factor, value)]
    return "+".join(words)


def settings_in(name: str, initial: Initial, seed: int, n_images: int) -> Settings:
    """The hyperparameters of the cell called `name`, or of a variant, for so many images."""
    variant, *changed = name.split("+")
    settings = settings_of(variant, initial, seed)
    for word in changed:
        settings = CHANGES[word](settings, n_images)
    return settings


def compute(job: Job, preset: Preset, images: Images, watch: Watch) -> Found:
    """One cell, one seed."""
    settings = settings_in(job.variant, preset.initial, job.seed, len(images.pixels))
    return depict(images, check_job(images.pixels, preset.clusters, settings), settings, watch)


if __name__ == "__main__":
    main()
