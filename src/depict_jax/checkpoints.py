"""Checkpoints of a run's state, by orbax: saved in the background, the last few and the best kept, restored to the same
bits or not at all."""

from __future__ import annotations

import gc
import hashlib
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, LatestN

from . import run_folder
from .run_folder import Config
from .sentences import in_a_line
from .stage_names import FINISHED
from .stages import RunState, initial_state, stage_under_way

KEPT = 3  # the last few; with them the best of every stage
PACKAGE, FORMAT = "depict-jax", 2


@contextmanager
def _late_words_held_back() -> Iterator[None]:
    """A failed read is one error: orbax leaves the reads beside it under way, and pages of them would be printed."""
    before, log = sys.unraisablehook, logging.getLogger("asyncio")

    def hook(told: Any) -> None:
        if str(told.exc_value) != "Event loop is closed":
            before(told)

    def is_news(record: logging.LogRecord) -> bool:
        return "exception was never retrieved" not in record.getMessage()

    sys.unraisablehook = hook
    log.addFilter(is_news)
    try:
        yield
    finally:
        sys.unraisablehook = before
        log.removeFilter(is_news)


class Checkpoints:
    """The checkpoints in one folder; use as a context manager, which waits for the last save.

    A checkpoint is whole or not there: orbax writes it beside the others and renames it. It carries a checksum of the
    state, since what a disk changes later nothing else would notice.

    Args:
        folder: made where it is not there.
        read_only: make and remove nothing, so that a run that another process has under way is not disturbed.
    """

    def __init__(self, folder: Path, read_only: bool = False):
        self.folder = folder
        self._best = _BestOfEveryStage()
        several = jax.process_count() > 1  # then the first alone is here; orbax would wait for the others
        if several and not read_only:
            folder.mkdir(parents=True, exist_ok=True)
        whose = ocp.options.MultiprocessingOptions(active_processes={0} if several else None)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=AnyPreservationPolicy([LatestN(KEPT), self._best]),
            create=not read_only and not several,
            cleanup_tmp_directories=not read_only,  # what a kill during a save has left
            multiprocessing_options=whose,
        )
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=options,
            item_handlers=ocp.StandardCheckpointHandler(multiprocessing_options=whose),
        )
        for number in self._manager.all_steps():
            self._best.note(number, self._about(number))

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            self._finish()
        except OSError:
            if error is None:  # else the first error is the one to tell
                raise
        finally:
            self._manager.close()

    @property
    def busy(self) -> bool:
        """Whether a save is still being written; the next one would wait for it."""
        try:
            self._manager.check_for_errors()
        except Exception as error:
            raise self._unwritten(error) from error
        return self._manager.is_saving_in_progress()

    def save(self, state: RunState, score: float | None = None) -> None:
        """Copy the state and write it in the background, under the next number.

        Args:
            state: between two epochs.
            score: of its last epoch; the lowest of a stage is kept. None where there is nothing to compare.

        Raises:
            OSError: this one or the one before it cannot be written, for want of space, say; those before it stay.
        """
        # A copy: the next epoch uses the state's buffers again while this save is still being written.
        copy = jax.tree.map(np.array, state)
        about = {
            "package": PACKAGE,
            "format": FORMAT,
            "sha256": _checksum(copy),
            "stage": stage_under_way(state),
            "score": score,
        }
        with _signals_held_back():
            self._finish()
            number = (self._manager.latest_step() or 0) + 1
            self._best.note(number, about)
            try:
                self._manager.save(number, args=ocp.args.StandardSave(copy), custom_metadata=about)
            except Exception as error:
                raise self._unwritten(error) from error

    @property
    def newest(self) -> Path | None:
        """The folder of the newest checkpoint; None where there is none."""
        self._finish()
        step = self._manager.latest_step()
        return None if step is None else self.folder / str(step)

    @_late_words_held_back()
    def restore(self, like: Callable[[], RunState]) -> RunState | None:
        """The newest state that is whole, or None where there is no checkpoint.

        Args:
            like: makes a state of the same shapes; traced, never run.

        Raises:
            ValueError: checkpoints of which none is whole, or one of another version, package or shape.

        Warns:
            UserWarning: naming each damaged checkpoint that is passed over.
        """
        shapes = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), jax.eval_shape(like))
        numbers = sorted(self._manager.all_steps(), reverse=True)
        for n, number in enumerate(numbers):
            path = self.folder / str(number)
            about = self._about(number)
            self._check_kind(path, about)
            self._check_shapes(number, shapes)  # orbax itself would cut or pad
            try:
                restored = self._manager.restore(number, args=ocp.args.StandardRestore(shapes))
            except Exception as error:  # orbax raises many kinds; all mean the same to the user
                gc.collect()  # while words are held back: reads that failed beside it speak when they go
                damage = f"it cannot be read ({in_a_line(error)})"
            else:
                if about == {} or (about and about.get("sha256") == _checksum(restored)):
                    return restored
                damage = "its contents are not those that were saved"
            if number == numbers[-1]:
                raise ValueError(
                    f"checkpoint {path} is damaged, {damage}, and none before it is whole: bring the folder back from "
                    "a copy, or start anew with --overwrite"
                )
            before = f"{numbers[n + 1]}, the one before it, is used"
            warnings.warn(f"checkpoint {path} is damaged, {damage}: {before}", stacklevel=3)
        return None

    def _about(self, number: int) -> dict[str, Any] | None:
        """What `save` noted of a checkpoint; {} where an older version saved it, None where that cannot be read."""
        try:
            found = self._manager.metadata(number)
        except Exception:  # of many kinds, as above
            return None
        return None if found.init_timestamp_nsecs is None else dict(found.custom_metadata or {})

    def _check_kind(self, path: Path, about: dict[str, Any] | None) -> None:
        if about and about.get("package") != PACKAGE:
            raise ValueError(f"checkpoint {path} is not of {PACKAGE}: expected a folder that `depict-jax fit` made")
        if about and about.get("format") != FORMAT:
            raise ValueError(
                f"checkpoint {path} is of format {about.get('format')}, this version reads {FORMAT}: use the version "
                "of depict-jax that made it"
            )

    def _check_shapes(self, number: int, shapes: RunState) -> None:
        try:
            stored = jax.tree.leaves(self._manager.item_metadata(number).tree)
            found = sorted(tuple(leaf.shape) for leaf in stored)
        except Exception:
            return
        expected = sorted(leaf.shape for leaf in jax.tree.leaves(shapes))
        if found != expected:
            raise ValueError(
                f"checkpoint {self.folder / str(number)} is of another shape than the run's images, clusters and "
                f"network: it has {len(found)} arrays, {_apart(found, expected)}, expected {len(expected)}, "
                f"{_apart(expected, found)}; give the folder that it came from"
            )

    def _finish(self) -> None:
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: Exception) -> OSError:
        return OSError(
            f"a checkpoint could not be written to {self.folder} ({in_a_line(error)}): those before it are kept; make "
            "room or mend the folder, then go on with --resume"
        )


class _BestOfEveryStage:
    """Keeps, of every stage, the checkpoint with the lowest score."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[str, float]] = {}

    def note(self, number: int, about: dict[str, Any] | None) -> None:
        if about and about.get("score") is not None:
            self._of[number] = (about["stage"], about["score"])

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        numbers = [checkpoint.step for checkpoint in checkpoints]
        best: dict[str, int] = {}
        for number in numbers:
            if number in self._of:
                stage, score = self._of[number]
                if stage not in best or score < self._of[best[stage]][1]:
                    best[stage] = number
        return [number in best.values() for number in numbers]


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
        with Checkpoints(folder / run_folder.CHECKPOINTS, read_only=True) as saved:
            state = saved.restore(lambda: initial_state(config.architecture, config.settings, config.n_images))
    if state is None or state.stage != FINISHED:
        raise ValueError(f"{folder} holds a run that is not finished: end it with `depict-jax fit ... --resume` first")
    return config, state


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Ctrl-C and SIGTERM take effect when the context is left: within orbax they would leave a save half begun."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler is not None}  # None: not Python's
    for number in before:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _checksum(state: RunState) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(state):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _apart(shapes: list[tuple[int, ...]], others: list[tuple[int, ...]]) -> str:
    return f"{next((shape for shape in shapes if shape not in others), 'none')} among them"
