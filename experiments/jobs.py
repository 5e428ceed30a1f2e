"""What the runners here share: results that are missing are computed one after the other, scored, and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from depict_jax.data import Images
from depict_jax.metrics import scores
from depict_jax.progress import Display
from depict_jax.stages import EpochEnd, StageEnd
from experiments import results
from experiments.presets import Preset

STORE = results.PROJECT / "runs/store"
CONSOLE = Console()

Watch = Callable[[EpochEnd | StageEnd], None]


class Job(NamedTuple):
    """What a result is of, beside its data set."""

    method: str
    variant: str
    seed: int


@dataclass(frozen=True)
class Found:
    """What a job gives."""

    answers: dict[str, np.ndarray]  # clusters (N,) of all images after each stage, "final" at least
    seconds: dict[str, float]  # from the beginning to each stage's end
    provenance: dict[str, Any]
    more: dict[str, Any] = field(default_factory=dict)  # further entries of the result


class Unavailable(Exception):
    """A method cannot be run here; says what lacks and what to do."""


Compute = Callable[[Job, Preset, Images, Watch], Found]  # the images without their labels


def run_missing(
    dataset: str, preset: Preset, jobs: Iterable[Job], compute: Compute, folder: Path = results.FOLDER
) -> None:
    """Compute, score and write what `folder` does not hold yet; what cannot be done here is skipped with a word.

    Labels are read here, after `compute` has answered, for the scores alone.
    """
    wanted = missing(dataset, jobs, folder)
    images = images_for(preset, wanted)
    if images is None:
        return
    assert images.labels is not None
    unlabelled = replace(images, labels=None)
    lacking: set[str] = set()  # methods; each is told of once
    try:
        for job in wanted:
            if job.method in lacking:
                continue
            CONSOLE.print(f"{preset.title}, {job.method}, {job.variant}, seed {job.seed}")
            try:
                with Display(CONSOLE) as display:
                    found = compute(job, preset, unlabelled, display)
            except Unavailable as error:
                CONSOLE.print(f"  skipped: {error}", soft_wrap=True)
                lacking.add(job.method)
                continue
            except (ValueError, FloatingPointError) as error:  # the others of a long table go on
                CONSOLE.print(f"  failed: {error}", soft_wrap=True)
                continue
            scored = {stage: scores(images.labels, answer) for stage, answer in found.answers.items()}
            keep(dataset, job, scored, found, folder)
    except KeyboardInterrupt:
        raise SystemExit("interrupted; the same command goes on where it stopped") from None


def missing(dataset: str, jobs: Iterable[Job], folder: Path = results.FOLDER) -> list[Job]:
    """The jobs without a result."""
    return [job for job in jobs if not results.path_of(dataset, *job, folder=folder).exists()]


def images_for(preset: Preset, wanted: list[Job]) -> Images | None:
    """The data set with its labels; None, with a word, where nothing is wanted of it or it is not at hand."""
    if not wanted:
        CONSOLE.print(f"{preset.title}: nothing to do, all results are there")
        return None
    try:
        images = preset.images()
        if images.labels is None:
            raise ValueError(f"{images.source} has no labels to score by")
    except ValueError as error:
        CONSOLE.print(f"skipped: {preset.title}: {error}", soft_wrap=True)
        return None
    return images


def keep(dataset: str, job: Job, scored: dict[str, Any], found: Found, folder: Path = results.FOLDER) -> None:
    """Write a result, and say what it is."""
    results.write(
        {
            "dataset": dataset,
            **job._asdict(),
            "scores": scored,
            "seconds": found.seconds,
            **found.more,
            "provenance": found.provenance,
        },
        folder,
    )
    final, seconds = scored["final"], found.seconds["final"]
    CONSOLE.print(f"  ACC {final['acc']:.4f}  NMI {final['nmi']:.4f}  {seconds / 60:.1f} min")
