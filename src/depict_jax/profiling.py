"""Traces of single epochs by jax.profiler: a consumer of the stages' events."""

from __future__ import annotations

from pathlib import Path

import jax

from .stages import EpochEnd, StageEnd


class Profile:
    """Trace the second epoch of every training stage; the first one compiles. Use as a context manager.

    Each trace goes to its stage's own folder, under plugins/profile/<date>/: a .trace.json.gz that ui.perfetto.dev
    opens, and an .xplane.pb for xprof.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._tracing = False

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def __call__(self, event: EpochEnd | StageEnd) -> None:
        """Take one event: the end of a stage's first epoch starts the trace, whatever follows ends it."""
        self._stop()
        if isinstance(event, EpochEnd) and event.epoch == 1:
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # the epoch is one device call: Python's own calls would only bury it
            jax.profiler.start_trace(self.folder / event.stage, profiler_options=options)
            self._tracing = True

    def _stop(self) -> None:
        if self._tracing:
            self._tracing = False
            jax.profiler.stop_trace()
