"""Checkpoints of a run's state, by orbax: saved in the background, a few kept, restored to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from . import run_folder
from .run_folder import Config
from .stages import FINISHED, RunState, initial_state

KEPT = 3


class Checkpoints:
    """The checkpoints in one folder; use as a context manager, which waits for the last save."""

    def __init__(self, folder: Path):
        self.folder = folder
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, create=True)
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    def save(self, state: RunState) -> None:
        """Copy the state and write it in the background, under the next number."""
        step = (self._manager.latest_step() or 0) + 1
        # A copy: the next epoch uses the state's buffers again while this save is still being written.
        self._manager.save(step, args=ocp.args.StandardSave(jax.tree.map(np.array, state)))

    @property
    def newest(self) -> Path | None:
        """The folder of the newest checkpoint; None where there is none."""
        self._manager.wait_until_finished()
        step = self._manager.latest_step()
        return None if step is None else self.folder / str(step)

    def restore(self, like: Callable[[], RunState]) -> RunState | None:
        """The newest state, or None where there is none.

        Args:
            like: makes a state of the same shapes; traced, never run.

        Raises:
            ValueError: a checkpoint that cannot be read, or of another shape.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        shapes = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), jax.eval_shape(like))
        try:
            restored = self._manager.restore(step, args=ocp.args.StandardRestore(shapes))
        except Exception as error:  # orbax raises many kinds; all mean the same to the user
            raise ValueError(f"checkpoint {self.folder / str(step)} cannot be restored: {error}") from error
        return restored


def present(folder: Path) -> bool:
    """Whether `folder` holds a finished checkpoint."""
    return folder.is_dir() and any(child.name.isdigit() for child in folder.iterdir())


def load_finished(folder: Path) -> tuple[Config, RunState]:
    """The config and final state of the run in `folder`.

    Raises:
        ValueError: a folder that is no run, or holds one that has not come to its end.
    """
    config = Config.read(folder)
    state = None
    if present(folder / run_folder.CHECKPOINTS):
        with Checkpoints(folder / run_folder.CHECKPOINTS) as saved:
            state = saved.restore(lambda: initial_state(config.architecture, config.settings, config.n_images))
    if state is None or state.stage != FINISHED:
        raise ValueError(f"{folder} holds a run that is not finished: end it with `depict-jax fit ... --resume` first")
    return config, state
