"""What a person sees while a run goes on: a consumer of the stages' events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.table import Column, Table
from rich.text import Text

from .stage_names import FINISHED, STAGES, place_of
from .stages import EpochEnd, StageEnd, stage_under_way

TITLES = dict(zip(STAGES, ("pretrain", "initial assignment", "warm start", "joint training", "end"), strict=True))


def title_of(stage: str) -> str:
    """What people read for a stage, by its name in events: "joint training", "joint training 2" in the second round."""
    round_, kind = place_of(stage)
    return TITLES[STAGES[kind]] + (f" {round_ + 1}" if round_ else "")


def scored_title_of(stage: str) -> str:
    """The same where scores after the stage follow."""
    return "pretrain (k-means on the embedding)" if stage == "pretrain" else title_of(stage)


class Display:
    """Rich bars on a terminal, a plain line for each tenth of a stage elsewhere. Use as a context manager."""

    def __init__(self, console: Console):
        self.console = console
        self._progress = Progress(
            SpinnerColumn("line"),
            TextColumn("{task.description:<20}"),
            BarColumn(None, table_column=Column(max_width=40)),
            _Figures(Column(no_wrap=True)),  # the bar takes what is left of the line
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None  # of the stage under way
        self._seconds: list[float] = []  # of its epochs

    def __enter__(self) -> Display:
        self._progress.start()
        self._begin("getting ready")
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: EpochEnd | StageEnd) -> None:
        """Show one event."""
        if isinstance(event, EpochEnd):
            self._seconds.append(event.seconds)
        if self.console.is_terminal:
            self._show_bar(event)
        else:
            self._show_line(event)
        if isinstance(event, StageEnd):
            self._seconds = []

    def _show_bar(self, event: EpochEnd | StageEnd) -> None:
        assert self._task is not None
        title = title_of(event.stage)
        if isinstance(event, EpochEnd):
            self._progress.update(
                self._task,
                description=title,  # before the first event it is not known where the run goes on
                total=event.epochs,
                completed=event.epoch,
                epochs=f"{event.epoch}/{event.epochs}",
                loss=f"loss {event.losses['loss']:.4f}",
                speed=f"{event.images_per_second:.0f} images/s",
                ends=self._progress.get_time() + self._left(event),
            )
            return
        done = max(1, int(self._progress.tasks[self._task].completed))  # a stage may end before its limit
        self._progress.update(self._task, description=title, total=done, completed=done)
        if event.state.stage != FINISHED:
            self._begin(title_of(stage_under_way(event.state)))

    def _begin(self, title: str) -> None:
        self._task = self._progress.add_task(title, total=None, epochs="", loss="", speed="", ends=None)

    def _show_line(self, event: EpochEnd | StageEnd) -> None:
        title = title_of(event.stage)
        if isinstance(event, StageEnd):
            seconds = sum(self._seconds) + event.seconds
            self.console.print(f"{title}: done in {seconds:.0f} s")
        elif event.epoch == 1 or event.epoch % max(1, event.epochs // 10) == 0:
            losses = "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in event.losses.items())
            self.console.print(
                f"{title} {event.epoch}/{event.epochs}  {losses}  {event.images_per_second:.0f} images/s  "
                f"at most {self._left(event):.0f} s left",
                soft_wrap=True,
            )

    def _left(self, event: EpochEnd) -> float:
        """Seconds to the stage's limit, by its latest epochs; the first one compiled, and counts only while alone."""
        latest = self._seconds[1:][-10:] or self._seconds
        return (event.epochs - event.epoch) * sum(latest) / len(latest)


class _Figures(ProgressColumn):
    """Epochs, time left (or taken, where there is no end or it is over), loss and speed; each stays in its place."""

    def render(self, task: Task) -> Text:
        field = task.fields
        if task.finished:
            time = _clock(task.finished_time or 0)
        elif field["ends"] is None:
            time = _clock(task.elapsed or 0)
        else:
            time = f"{_clock(max(0, field['ends'] - task.get_time()))} left"
        return Text(f"{field['epochs']:>9} {time:<13} {field['loss']:<12} {field['speed']:>15}", no_wrap=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    if minutes >= 100 * 60:
        return f"{minutes // (24 * 60)} days"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def table_of_seeds(
    seeds: Sequence[int], objectives: Sequence[float], stability: np.ndarray, scored: Sequence[dict[str, float]]
) -> Table:
    """A line for each seed, the one of the lowest objective marked; `scored` has ACC, NMI and ARI, or is empty."""
    table = Table(title="Seeds; * has the lowest objective, which needs no label")
    for title in ("seed", "objective", "agreement with the others", *(("ACC", "NMI", "ARI") if scored else ())):
        table.add_column(title, justify="right")
    best = int(np.argmin(objectives))
    for i, seed in enumerate(seeds):
        cells = [f"{seed}{' *' if i == best else '  '}", f"{objectives[i]:.4f}", f"{stability[i]:.4f}"]
        table.add_row(*cells, *(f"{scored[i][name]:.4f}" for name in ("acc", "nmi", "ari") if scored))
    return table


def table_of(scores: dict[str, dict[str, float]]) -> Table:
    """ACC, NMI and ARI after each stage."""
    table = Table(title="Scores against the labels, which training never saw")
    table.add_column("after")
    for name in ("ACC", "NMI", "ARI"):
        table.add_column(name, justify="right")
    for stage, found in scores.items():
        table.add_row(scored_title_of(stage), *(f"{found[name]:.4f}" for name in ("acc", "nmi", "ari")))
    return table
