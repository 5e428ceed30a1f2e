"""What a person sees of a run: on a terminal of any width nothing wraps or moves, times count down; elsewhere lines."""

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from depict_jax.progress import Display
from depict_jax.stage_names import place_of
from depict_jax.stages import EpochEnd, StageEnd


class Watched:
    """A display on a terminal of a width, with a clock that is set by hand."""

    def __init__(self, width: int = 80):
        self.now = 0.0
        self.console = Console(
            file=io.StringIO(), force_terminal=True, width=width, legacy_windows=False, get_time=lambda: self.now
        )
        self.display = Display(self.console)

    def lines(self) -> list[str]:
        """What stands on the screen."""
        rendered = self.console.render_lines(self.display._progress.get_renderable(), pad=False)
        return ["".join(segment.text for segment in line) for line in rendered]


def epoch(number, epochs, seconds=10.0, stage="pretrain", loss=0.25, speed=900.0):
    return EpochEnd(stage, number, epochs, {"loss": loss, "reconstruction": loss}, seconds, speed, {}, None)


def ended(stage, seconds, following):
    return StageEnd(stage, seconds, SimpleNamespace(**dict(zip(("round", "stage"), place_of(following), strict=True))))


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_no_line_wraps_and_no_column_moves(width):
    watched = Watched(width)
    with watched.display as show:
        places = set()
        order = ["pretrain", "initial", "warm", "joint", "initial-2", "warm-2", "joint-2", "finished"]
        for stage, epochs in (("pretrain", 4000), ("warm", 5), ("joint", 999), ("warm-2", 5), ("joint-2", 999)):
            for number, loss, speed, seconds in (
                (1, 12.34567, 9.4, 700),
                (epochs // 2, 0.0001, 123456.7, 0.001),
                (epochs, 1, 50, 20),
            ):
                show(epoch(number, epochs, seconds, stage, loss, speed))
                watched.now += seconds
                screen = watched.lines()
                assert all(len(line) <= width for line in screen)
                assert (" left " in screen[-1]) == (number < epochs)
                assert f"{number}/{epochs} " in screen[-1] and f"loss {loss:.4f} " in screen[-1]
                assert screen[-1].rstrip().endswith(f" {speed:.0f} images/s") and "…" not in screen[-1]
                places |= {(line.index("loss"), line.index("images/s")) for line in screen if "loss" in line}
            at = order.index(stage)
            show(ended(stage, 3.0, order[at + 1]))
            if order[at + 1].startswith("initial"):
                show(ended(order[at + 1], 3.0, order[at + 2]))
        assert len(places) == 1
        assert [line[2:22].strip() for line in watched.lines()] == [
            "pretrain", "initial assignment", "warm start", "joint training",
            "initial assignment 2", "warm start 2", "joint training 2",
        ]  # fmt: skip


def test_the_time_left_counts_down_by_the_latest_epochs():
    watched = Watched()
    with watched.display as show:
        watched.now = 30.0
        show(epoch(1, 5, 30.0))
        assert "2:00 left" in watched.lines()[0]
        watched.now = 40.0
        show(epoch(2, 5, 10.0))  # the first one compiled
        assert "0:30 left" in watched.lines()[0]
        watched.now = 52.0
        assert "0:18 left" in watched.lines()[0]
        watched.now = 99.0
        assert "0:00 left" in watched.lines()[0]
        show(ended("pretrain", 1.0, "initial"))
        assert "2/2" not in watched.lines()[0] and " 1:39 " in watched.lines()[0] and "left" not in watched.lines()[0]


def test_something_moves_before_the_first_epoch_and_during_the_initial_assignment():
    watched = Watched()
    with watched.display as show:
        for title, event in (("getting ready", epoch(1, 1)), (None, None), ("initial assignment", None)):
            if title is None:
                show(ended("pretrain", 1.0, "initial"))
                continue
            seen = set()
            for _ in range(8):
                watched.now += 0.13
                seen.add(watched.lines()[-1])
                assert title in watched.lines()[-1] and "left" not in watched.lines()[-1]
            assert len({line[0] for line in seen}) > 2
            if event:
                show(event)
                assert len(watched.lines()) == 1


def test_a_run_that_goes_on_in_a_later_stage_shows_that_stage():
    watched = Watched()
    with watched.display as show:
        show(epoch(7, 20, stage="joint"))
        assert [line[2:22].strip() for line in watched.lines()] == ["joint training"]
        show(ended("joint", 1.0, "finished"))
        assert len(watched.lines()) == 1


def test_elsewhere_plain_lines():
    file = io.StringIO()
    with Display(Console(file=file, width=40)) as show:
        for number in range(1, 41):
            show(epoch(number, 40, 1.5))
        show(ended("pretrain", 1.0, "initial"))
        show(ended("initial", 2.0, "warm"))
    lines = file.getvalue().splitlines()
    assert len(lines) == 13 and "\x1b" not in file.getvalue()
    assert re.fullmatch(
        r"pretrain 8/40  loss 0\.25  reconstruction 0\.25  900 images/s  at most 48 s left", lines[2]
    ), lines[2]
    assert lines[-2:] == ["pretrain: done in 61 s", "initial assignment: done in 2 s"]
