"""Stages of training kept under the hash of all that went into them, so that runs which begin alike share them."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import depict_jax
from depict_jax.architecture import Architecture
from depict_jax.checkpoints import Checkpoints
from depict_jax.data import Images
from depict_jax.settings import Settings
from depict_jax.stage_names import FINISHED, INITIAL, JOINT, PRETRAIN, STAGES, place_of, stage_name
from depict_jax.stages import EpochEnd, RunState, StageEnd, initial_state, run

SECONDS = "seconds.json"
SECONDS_BETWEEN_SAVES = 30.0
# The settings that a stage is the first to read.
READ_BY = {
    "pretrain": (
        "seed",
        "batch_size",
        "microbatches",
        "precision",
        "pretrain_epochs",
        "pretrain_learning_rate",
        "final_learning_rate",
        "pretrain_patience",
        "dropout",
        "hidden_weight",
        "stop_gradient",
    ),
    # the prior: clusters are numbered as its shares are, and count if they have a part of the smallest
    "initial": ("initial", "smallest_cluster", "kmeans_restarts", "prior"),
    "warm": ("warm_epochs", "warm_learning_rate", "warm_patience", "clustering_weight", "affine", "brightness"),
    "joint": ("joint_epochs", "joint_learning_rate", "rule", "prior_weight", "sharpness", "rounds"),
}
# Modules that training does not depend on: their changes leave what is kept valid.
_APART = (
    "checkpoints",
    "cli",
    "doctor",
    "ensemble",
    "estimator",
    "fitting",
    "health",
    "progress",
    "profiling",
    "reference",
    "run_folder",
    "runner",
    "metrics",
    "options",
    "sentences",
    "sorting",
    "tensorboard",
)


class Trained(NamedTuple):
    """A run's stages, in order."""

    ends: dict[str, RunState]  # the state after each stage
    seconds: dict[str, float]  # wall time of each stage, whenever it was trained

    @property
    def final(self) -> RunState:
        """The state after the last of them."""
        return self.ends[list(self.ends)[-1]]


def trained(
    images: Images,
    architecture: Architecture,
    settings: Settings,
    store: Path,
    watch: Callable[[EpochEnd | StageEnd], None] = lambda event: None,
    last: str | None = None,
) -> Trained:
    """All stages, those that the store holds taken from it, the others trained and kept; goes on where it stopped.

    Args:
        images: what to cluster; their labels are not read.
        architecture: for such images.
        settings: the hyperparameters.
        store: folder of the kept stages.
        watch: called with each event.
        last: the stage to end with, see `stage_name`; None for the run's last.
    """
    ends: dict[str, RunState] = {}
    seconds: dict[str, float] = {}
    state = None
    for name in names(settings.rounds, last):
        place = place_of(name)
        folder = store / f"{name}-{stage_hash(name, images, architecture, settings)}"
        with Checkpoints(folder / "checkpoints") as saved:
            before, state = state, saved.restore(lambda: initial_state(architecture, settings, len(images.pixels)))
            spent = _read_seconds(folder) if state is not None else 0.0
            if state is None:
                state = before
            unsaved = 0.0
            if state is None or (state.round, state.stage) == place:
                for event in run(images.pixels, architecture, settings, state):
                    watch(event)
                    is_over = isinstance(event, StageEnd)
                    # a copy: the next stage's first epoch would use the buffers again
                    state = jax.tree.map(np.array, event.state) if is_over else event.state
                    unsaved += event.seconds
                    if is_over or unsaved > SECONDS_BETWEEN_SAVES:
                        spent, unsaved = spent + unsaved, 0.0
                        saved.save(state)
                        (folder / SECONDS).write_text(json.dumps(spent))
                    if is_over:
                        break
        assert state is not None and (state.round, state.stage) > place
        ends[name], seconds[name] = state, spent
    return Trained(ends, seconds)


def names(rounds: int, last: str | None = None) -> list[str]:
    """The stages of a run of so many rounds, in order, up to the one called `last`."""
    found = [STAGES[PRETRAIN], *(stage_name(r, stage) for r in range(rounds) for stage in range(INITIAL, FINISHED))]
    return found if last is None else found[: found.index(last) + 1]


def stage_hash(name: str, images: Images, architecture: Architecture, settings: Settings) -> str:
    """Of all that decides the state after stage `name`: images, network, settings read so far, and source."""
    round_, stage = place_of(name)
    so_far = STAGES[: FINISHED if round_ else stage + 1]
    read = {field: getattr(settings, field) for stage in so_far for field in READ_BY[stage]}
    parts = [images.content_hash, asdict(architecture), read, round_, source_hash()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@functools.cache
def source_hash() -> str:
    """Of the modules that training runs through, their comments and docstrings left out."""
    digest = hashlib.sha256()
    for path in sorted(Path(depict_jax.__file__).parent.glob("*.py")):
        if path.stem not in _APART:
            digest.update(f"{path.name}\n{code_of(path.read_text(encoding='utf-8'))}\n".encode())
    return digest.hexdigest()


def code_of(source: str) -> str:
    """What a module's source says to Python: its syntax tree without docstrings, by which no run is changed."""
    return ast.dump(_WithoutDocstrings().visit(ast.parse(source)))


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node


def _read_seconds(folder: Path) -> float:
    path = folder / SECONDS
    return float(json.loads(path.read_text())) if path.exists() else 0.0


assert tuple(READ_BY) == STAGES[PRETRAIN : JOINT + 1]
