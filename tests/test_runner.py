"""A run into a folder: interrupted and resumed it ends on the same bytes; divergence names the last good checkpoint."""

import dataclasses
import json

import numpy as np
import pytest

from depict_jax import runner
from depict_jax.data import Images, load
from depict_jax.settings import Settings
from depict_jax.stages import DivergedError, StageEnd, check_job

QUICK = Settings(pretrain_epochs=2, warm_epochs=2, joint_epochs=2, initial="kmeans", batch_size=32)


class Interrupted(Exception):
    """What a signal would be."""


@pytest.fixture(scope="module")
def images() -> Images:
    digits = load("digits")
    return Images(digits.pixels[:205], digits.labels[:205], "some digits")


def fit(images, folder, settings=QUICK, **options):
    return runner.run_into_folder(images, check_job(images.pixels, 10, settings), settings, folder, **options)


def stop_at(event_number: int):
    seen = []

    def watch(event):
        seen.append(event)
        if len(seen) == event_number:
            raise Interrupted

    return watch


def outcome(folder):
    """What must not depend on interruptions: all but the wall times."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timeless = [{k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in records]
    files = [(folder / name).read_text() for name in ("assignments.csv", "scores.json", "config.json")]
    return timeless, files


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    fit(images, folder)
    return outcome(folder)


@pytest.mark.parametrize("every_epoch", [True, False])
@pytest.mark.parametrize("event_number", [1, 3, 6, 9])
def test_an_interrupted_run_resumes_to_the_same_result(images, whole, tmp_path, monkeypatch, event_number, every_epoch):
    monkeypatch.setattr(runner, "SECONDS_BETWEEN_SAVES", 0.0 if every_epoch else 1e9)
    with pytest.raises(Interrupted):
        fit(images, tmp_path / "run", watch=stop_at(event_number))
    fit(images, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == whole


def test_resuming_trains_only_what_is_left(images, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "SECONDS_BETWEEN_SAVES", 0.0)
    with pytest.raises(Interrupted):
        fit(images, tmp_path / "run", watch=stop_at(6))  # the warm start's second epoch
    seen = []
    fit(images, tmp_path / "run", resume=True, watch=seen.append)
    assert [(event.stage, isinstance(event, StageEnd)) for event in seen] == [
        ("warm", False), ("warm", True), ("joint", False), ("joint", False), ("joint", True),
    ]  # fmt: skip


def test_divergence_names_the_epoch_and_the_last_good_checkpoint(images, tmp_path):
    settings = dataclasses.replace(QUICK, joint_learning_rate=1e30)
    folder = tmp_path / "run"
    with pytest.raises(DivergedError, match=r"in joint epoch \d.*last good checkpoint is .*run/checkpoints/\d+"):
        fit(images, folder, settings)
    from depict_jax.checkpoints import Checkpoints
    from depict_jax.stages import JOINT, initial_state

    with Checkpoints(folder / "checkpoints") as saved:
        state = saved.restore(lambda: initial_state(check_job(images.pixels, 10, settings), settings, 205))
    assert state is not None and state.stage == JOINT and np.isfinite(np.asarray(state.p)).all()


def test_runs_with_and_without_labels_differ_in_their_scores_only(images, whole, tmp_path):
    scores = fit(Images(images.pixels, None, images.source), tmp_path / "run")
    assert scores == {} and not (tmp_path / "run/scores.json").exists()
    assert (tmp_path / "run/assignments.csv").read_text() == whole[1][0]
