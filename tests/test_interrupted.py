"""Killed anywhere, by whatever signal, and resumed: the same bits as a run that was left alone."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from depict_jax.checkpoints import load_finished
from depict_jax.data import load

CHILD = "import sys; from depict_jax import cli; sys.exit(cli.main())"
EPOCHS = {"pretrain": 8, "warm": 5, "joint": 8}
STAGES = ("pretrain", "initial", "warm", "joint")


@pytest.fixture(scope="module")
def some_digits(tmp_path_factory) -> Path:
    digits = load("digits")
    path = tmp_path_factory.mktemp("data") / "some.npz"
    np.savez(path, x=digits.pixels[:205], y=digits.labels[:205])
    return path


def started(source: Path, folder: Path) -> subprocess.Popen:
    words = ["fit", str(source), "--clusters", "10", "--out", str(folder), "--quiet", "--resume", "--batch-size", "32"]
    words += ["--preset", "plain", "--save-seconds", "0"]  # every epoch, so that kills fall into saves too
    for stage, epochs in EPOCHS.items():
        words += [f"--{stage}-epochs", str(epochs)]
    return subprocess.Popen([sys.executable, "-c", CHILD, *words], stderr=subprocess.PIPE, text=True)


def reached(folder: Path, stage: str, epoch: int) -> bool:
    """Whether the run in `folder` is at least so far; the initial assignment begins as pretraining ends."""
    if stage == "initial":
        path = folder / "scores.json"
        return path.exists() and '"pretrain"' in path.read_text()
    path = folder / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return any((record["stage"], record["epoch"]) == (stage, epoch) for record in map(json.loads, lines))


def killed(source: Path, folder: Path, sign: signal.Signals, stage: str, epoch: int, delay: float) -> tuple[int, str]:
    """The exit code and what was printed of a run that got a signal so long after an epoch."""
    process = started(source, folder)
    while process.poll() is None and not reached(folder, stage, epoch):
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(sign)
    printed = process.communicate()[1]
    return process.returncode, printed


def outcome(folder: Path):
    """What must not depend on interruptions: weights and all else of the final state, and the files but for times."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timeless = [{k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in records]
    files = [(folder / name).read_text() for name in ("assignments.csv", "scores.json", "config.json")]
    state = [(leaf.dtype, leaf.shape, leaf.tobytes()) for leaf in jax.tree.leaves(load_finished(folder)[1])]
    return timeless, files, state


@pytest.fixture(scope="module")
def whole(some_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    process = started(some_digits, folder)
    assert process.communicate()[1] == "" and process.returncode == 0
    return outcome(folder)


def finish(source: Path, folder: Path):
    process = started(source, folder)
    printed = process.communicate()[1]
    assert process.returncode == 0, printed
    return outcome(folder)


HINT = "depict-jax: interrupted; the same command with --resume goes on from the newest checkpoint\n"


@pytest.mark.slow
def test_a_run_killed_thrice_ends_on_the_same_bits(some_digits, whole, tmp_path):
    folder = tmp_path / "run"
    kill = signal.SIGKILL, "pretrain", 3, 0.02
    assert killed(some_digits, folder, *kill) == (-signal.SIGKILL, "")
    assert killed(some_digits, folder, signal.SIGTERM, "warm", 2, 0.02) == (143, HINT)
    assert killed(some_digits, folder, signal.SIGINT, "joint", 3, 0.02) == (130, HINT)
    assert finish(some_digits, folder) == whole


@pytest.mark.slow
def test_a_run_killed_fifty_times_ends_on_the_same_bits(some_digits, whole, tmp_path):
    """At random in all four stages, by all three signals, again and again until it gets through."""
    chance, kills, during_saves, runs = random.Random(0), dict.fromkeys(STAGES, 0), 0, 0
    while sum(kills.values()) < 52:
        runs += 1
        folder = tmp_path / str(runs)
        for stage in STAGES:
            for epoch in sorted(chance.sample(range(1, EPOCHS.get(stage, 1) + 1), 1 if stage == "initial" else 2)):
                if reached(folder, stage, epoch):  # the kill before came late, and this one would come before main
                    continue
                sign = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
                code, printed = killed(some_digits, folder, sign, stage, epoch, chance.uniform(0, 0.1))
                if code == 0:  # it was faster
                    continue
                expected = {signal.SIGKILL: (-9, ""), signal.SIGTERM: (143, HINT), signal.SIGINT: (130, HINT)}
                assert (code, printed) == expected[sign]
                kills[stage] += 1
                during_saves += any("tmp" in path.name for path in (folder / "checkpoints").glob("*"))
        assert finish(some_digits, folder) == whole, folder
    print(f"kills {kills}, {during_saves} of them during a save, in {runs} runs")
    assert min(kills.values()) >= 5 and during_saves >= 5
