"""TensorBoard's files hold what metrics.jsonl holds, each point once, whatever the run went through."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from depict_jax import runner
from depict_jax.cli import main
from depict_jax.data import load

QUICK = ["--preset", "plain", "--initial", "kmeans"]
QUICK += ["--pretrain-epochs", "2", "--warm-epochs", "2", "--joint-epochs", "2", "--quiet"]


def points(run: Path) -> list[tuple[str, int, float]]:
    """Every scalar in every event file, as TensorBoard's record format has them."""
    found = []
    for path in (run / "tensorboard").rglob("*"):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])  # and a checksum; behind the event another
            event = Event.FromString(data[12 : 12 + length])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            data = data[16 + length :]
    return found


def expected(run: Path) -> list[tuple[str, int, float]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        (f"{record['stage']}/{name}", record["epoch"], float(np.float32(value)))
        for record in records
        for name, value in record.items()
        if name not in ("stage", "epoch")
    ]


@pytest.fixture
def words(tmp_path):
    np.savez(tmp_path / "some.npz", x=load("digits").pixels[:205])  # as in test_cli: compiled once
    return ["fit", str(tmp_path / "some.npz"), "--clusters", "10", "--out", str(tmp_path / "run"), *QUICK]


def test_every_number_of_every_epoch_is_there_once(words, tmp_path, monkeypatch):
    run = tmp_path / "run"
    assert main([*words, "--tensorboard"]) == 0
    found = points(run)
    assert found == expected(run)
    assert {("pretrain/loss", 2), ("joint/clusters_in_use", 1), ("warm/agreement", 2)} <= {p[:2] for p in found}
    assert main([*words, "--resume", "--tensorboard"]) == 0  # nothing is left to train
    assert points(run) == found
    assert main([*words, "--overwrite"]) == 0
    assert not (run / "tensorboard").exists()
    assert main([*words, "--resume", "--tensorboard"]) == 0  # only now asked for
    assert points(run) == expected(run)


def test_an_interrupted_run_goes_on_without_a_gap_or_a_double(words, tmp_path, monkeypatch):
    words = [*words, "--save-seconds", "1e9"]  # epochs are lost
    whole = runner.run_folder.append_metrics

    def stop(folder, record):
        whole(folder, record)
        if (record["stage"], record["epoch"]) == ("joint", 1):
            raise KeyboardInterrupt

    monkeypatch.setattr(runner.run_folder, "append_metrics", stop)
    run = tmp_path / "run"
    assert main([*words, "--tensorboard"]) == 130
    assert [point[:2] for point in points(run)][-1][1] == 1
    monkeypatch.setattr(runner.run_folder, "append_metrics", whole)
    assert main([*words, "--resume", "--tensorboard"]) == 0
    assert points(run) == expected(run)
    assert len({point[:2] for point in points(run)}) == len(points(run))


def test_without_the_package_it_is_refused_before_any_work(words, tmp_path, monkeypatch, capsys):
    from depict_jax import tensorboard

    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    assert main([*words, "--tensorboard"]) == 2
    error = capsys.readouterr().err
    assert "pip install tensorboardX" in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
