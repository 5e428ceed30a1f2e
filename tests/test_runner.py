"""A run into a folder: interrupted and resumed it ends on the same bytes; divergence names the last good checkpoint."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from depict_jax import run_folder, runner
from depict_jax.checkpoints import Checkpoints, load_finished
from depict_jax.data import Images, load
from depict_jax.settings import Settings
from depict_jax.stages import FINISHED, DivergedError, StageEnd, check_job

QUICK = Settings(pretrain_epochs=2, warm_epochs=1, joint_epochs=1, rounds=2, initial="kmeans", batch_size=32)


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
@pytest.mark.parametrize("event_number", [1, 4, 7, 9, 12])
def test_an_interrupted_run_resumes_to_the_same_result(images, whole, tmp_path, event_number, every_epoch):
    with pytest.raises(Interrupted):
        fit(images, tmp_path / "run", watch=stop_at(event_number), save_seconds=0.0 if every_epoch else 1e9)
    fit(images, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == whole


def test_resuming_trains_only_what_is_left(images, tmp_path):
    with pytest.raises(Interrupted):
        fit(images, tmp_path / "run", watch=stop_at(5), save_seconds=0.0)  # the warm start's epoch
    seen = []
    fit(images, tmp_path / "run", resume=True, watch=seen.append)
    assert [(event.stage, isinstance(event, StageEnd)) for event in seen] == [
        ("warm", False), ("warm", True), ("joint", False), ("joint", True), ("initial-2", True),
        ("warm-2", False), ("warm-2", True), ("joint-2", False), ("joint-2", True),
    ]  # fmt: skip


def test_divergence_names_the_epoch_and_the_last_good_checkpoint(images, tmp_path):
    settings = dataclasses.replace(QUICK, joint_learning_rate=1e30)
    folder = tmp_path / "run"
    with pytest.raises(DivergedError, match=r"in joint epoch \d.*last good checkpoint is .*run/checkpoints/\d+"):
        fit(images, folder, settings)
    from depict_jax.stages import JOINT, initial_state

    with Checkpoints(folder / "checkpoints") as saved:
        state = saved.restore(lambda: initial_state(check_job(images.pixels, 10, settings), settings, 205))
    assert state is not None and state.stage == JOINT and np.isfinite(np.asarray(state.p)).all()


def test_runs_with_and_without_labels_differ_in_their_scores_only(images, whole, tmp_path):
    scores = fit(Images(images.pixels, None, images.source), tmp_path / "run")
    assert scores == {} and not (tmp_path / "run/scores.json").exists()
    assert (tmp_path / "run/assignments.csv").read_text() == whole[1][0]


def test_a_second_run_into_the_folder_is_refused_and_reading_is_not(images, whole, tmp_path):
    folder, refused = tmp_path / "run", []

    def watch(event):
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(ValueError, match=r"another run is writing to .*run: wait until it ends"):
                fit(images, folder, **options)
            refused.append(event.stage)
        assert run_folder.read_metrics(folder) is not None

    fit(images, folder, watch=watch)
    assert outcome(folder) == whole and len(refused) == 26
    with run_folder.claim(folder, run_folder.Config.read(folder), resume=True, overwrite=False):
        assert load_finished(folder)[1].stage == FINISHED


def test_a_folder_that_may_not_be_written_to_is_refused_before_training(images, tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir(mode=0o555)
    monkeypatch.chdir(tmp_path / "locked")  # another user may not walk there
    user = os.geteuid()
    seen = []
    try:
        if user == 0:  # who may write anywhere
            os.seteuid(65534)
        with pytest.raises(OSError, match=r"cannot be written to \(.*\): choose another folder"):
            fit(images, Path("run"), watch=seen.append)
    finally:
        os.seteuid(user)
    assert seen == [] and list((tmp_path / "locked").iterdir()) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of orbax's threads
def test_a_damaged_end_is_trained_again_to_the_same_result(images, whole, tmp_path):
    fit(images, tmp_path / "run")
    with Checkpoints(tmp_path / "run/checkpoints", read_only=True) as saved:
        newest = saved.newest
    for path in newest.rglob("d/*"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.warns(UserWarning, match="is damaged"), pytest.raises(ValueError, match="not finished"):
        load_finished(tmp_path / "run")
    with pytest.warns(UserWarning, match="is damaged"):
        fit(images, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == whole


@pytest.mark.parametrize("text", ["[]", '{"joint": 1}', '{"later": {"acc": 1.0}}', "{"])
def test_damaged_scores_are_named_and_lines_of_no_stage_end_the_metrics(tmp_path, text):
    (tmp_path / "scores.json").write_text(text)
    with pytest.raises(ValueError, match=r"scores\.json is damaged: remove it"):
        run_folder.read_scores(tmp_path)
    whole = [{"stage": stage, "epoch": 1} for stage in ("pretrain", "warm", "joint-2")]
    lines = [json.dumps(record) for record in whole] + ['{"stage": "joint-1", "epoch": 1}', json.dumps(whole[0])]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert run_folder.read_metrics(tmp_path) == whole
