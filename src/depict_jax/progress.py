"""What a person sees while a run goes on: a consumer of the stages' events."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from .stages import EpochEnd, StageEnd

TITLES = {
    "pretrain": "pretrain",
    "initial": "initial assignment",
    "warm": "warm start",
    "joint": "joint training",
}
SCORED = {
    "pretrain": "pretrain (k-means on the embedding)",
    "initial": "initial assignment",
    "warm": "warm start",
    "joint": "joint training",
}


class Display:
    """Rich bars on a terminal, a plain line for each tenth of a stage elsewhere. Use as a context manager."""

    def __init__(self, console: Console):
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description:<18}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: EpochEnd | StageEnd) -> None:
        """Show one event."""
        if self.console.is_terminal:
            self._show_bar(event)
        elif isinstance(event, StageEnd):
            self.console.print(f"{TITLES[event.stage]}: done")
        elif event.epoch == 1 or event.epoch % max(1, event.epochs // 10) == 0:
            left = (event.epochs - event.epoch) * event.seconds
            self.console.print(
                f"{TITLES[event.stage]} {event.epoch}/{event.epochs}  {_losses(event)}  "
                f"{event.images_per_second:.0f} images/s  at most {left:.0f} s left",
                soft_wrap=True,
            )

    def _show_bar(self, event: EpochEnd | StageEnd) -> None:
        name = TITLES[event.stage]
        if name not in self._tasks:
            total = event.epochs if isinstance(event, EpochEnd) else 1
            self._tasks[name] = self._progress.add_task(name, total=total, losses="")
        task = self._tasks[name]
        if isinstance(event, EpochEnd):
            speed = f"  {event.images_per_second:.0f} images/s"
            self._progress.update(task, completed=event.epoch, losses=_losses(event) + speed)
        else:  # a stage may end before its limit
            done = max(1, int(self._progress.tasks[task].completed))
            self._progress.update(task, total=done, completed=done)


def table_of(scores: dict[str, dict[str, float]]) -> Table:
    """ACC, NMI and ARI after each stage."""
    table = Table(title="Scores against the labels, which training never saw")
    table.add_column("after")
    for name in ("ACC", "NMI", "ARI"):
        table.add_column(name, justify="right")
    for stage, title in SCORED.items():
        if stage in scores:
            table.add_row(title, *(f"{scores[stage][name]:.4f}" for name in ("acc", "nmi", "ari")))
    return table


def _losses(event: EpochEnd) -> str:
    return "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in event.losses.items())
