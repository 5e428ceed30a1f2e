"""The numbers of metrics.jsonl for TensorBoard: a consumer of the stages' events."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .run_folder import TENSORBOARD, read_metrics
from .stages import EpochEnd, StageEnd

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter


class TensorBoard:
    """Write RUN/tensorboard/: scalars called STAGE/NAME, a point for each epoch. Use as a context manager.

    The folder is written anew whenever a run goes on, from metrics.jsonl, which knows what the checkpoint gone on from
    has behind it: no epoch is there twice or missing.

    Raises:
        ValueError: tensorboardX is not installed.
    """

    def __init__(self, run: Path):
        if find_spec("tensorboardX") is None:
            raise ValueError("--tensorboard needs the package tensorboardX: pip install tensorboardX, or leave it out")
        self.run = run
        self._writer: SummaryWriter | None = None

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._writer is None:  # a finished run, resumed, has no events
            self._open()
        if self._writer is not None:
            self._writer.close()

    def __call__(self, event: EpochEnd | StageEnd) -> None:
        """Take one event, before it is in metrics.jsonl."""
        writer = self._open() if self._writer is None else self._writer
        if isinstance(event, EpochEnd):
            _add(writer, event.record())
            writer.flush()

    def _open(self) -> SummaryWriter:
        from tensorboardX import SummaryWriter

        folder = self.run / TENSORBOARD
        shutil.rmtree(folder, ignore_errors=True)
        # a TensorBoard that is watching forgets the points that it knows from step 0 on
        self._writer = SummaryWriter(str(folder), purge_step=0)
        for record in read_metrics(self.run):
            _add(self._writer, record)
        return self._writer


def _add(writer: SummaryWriter, record: dict[str, Any]) -> None:
    for name, value in record.items():
        if name not in ("stage", "epoch"):
            writer.add_scalar(f"{record['stage']}/{name}", value, record["epoch"])
