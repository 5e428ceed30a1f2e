"""One run over several processes, on this machine: the same as one process's, whatever becomes of them."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from depict_jax import processes
from depict_jax.checkpoints import load_finished
from depict_jax.cli import main
from depict_jax.data import load

# N, the batches and the tenth held out are such that no number of devices divides them.
N, WORDS = 205, ["--clusters", "10", "--preset", "plain", "--batch-size", "50", "--rule", "exact", "--affine", "0.1"]
EPOCHS = {"pretrain": 3, "warm": 2, "joint": 3}
CHILD = "import sys; from depict_jax import cli; sys.exit(cli.main())"


@pytest.fixture(scope="module")
def some_digits(tmp_path_factory) -> Path:
    """A compressed file, whose images have to be copied before they can be mapped into memory."""
    digits = load("digits")
    path = tmp_path_factory.mktemp("data") / "some.npz"
    np.savez_compressed(path, x=digits.pixels[:N], y=digits.labels[:N])
    return path


def words(source: Path, folder: Path, **epochs: int) -> list[str]:
    found = ["fit", str(source), "--out", str(folder), "--save-seconds", "0", *WORDS]
    for stage, n in (EPOCHS | epochs).items():
        found += [f"--{stage}-epochs", str(n)]
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def environment(devices: int) -> dict[str, str]:
    """For a process of so many devices."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    return {**os.environ, **flags}


def started(arguments: list[str], count: int, devices: int = 1) -> list[subprocess.Popen]:
    """The command in `count` processes of so many devices each."""
    together = ["--coordinator", f"localhost:{free_port()}", "--num-processes", str(count)]
    return [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments, *together, "--process-id", str(i)],
            env=environment(devices),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]


def ended(started: list[subprocess.Popen], timeout: float = 300) -> list[tuple[int, str, str]]:
    """Exit codes and what was printed."""
    try:
        printed = [process.communicate(timeout=timeout) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(started, printed, strict=True)]


def outcome(folder: Path):
    """Losses, initial assignment, clusters, weights and scores of a finished run."""
    _, state = load_finished(folder)
    losses = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    with (folder / "assignments.csv").open() as file:
        clusters = [int(row["cluster"]) for row in csv.DictReader(file)]
    return (
        np.array(losses),
        state.assignment,
        np.array(clusters),
        state.p,
        json.loads((folder / "scores.json").read_text()),
    )


def check_same(found, expected) -> None:
    """To the rounding of sums over as many devices, one process's or many's: less than what their number does."""
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[2], expected[2])
    np.testing.assert_allclose(found[3], expected[3], rtol=0, atol=1e-5)
    assert found[4] == expected[4]


@pytest.fixture(scope="module")
def alone(some_digits, tmp_path_factory):
    """What one process of four devices gives; test_parallel has several devices beside one."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    command = [sys.executable, "-c", CHILD, *words(some_digits, folder), "--quiet"]
    subprocess.run(command, env=environment(4), check=True)
    return outcome(folder)


def test_two_processes_of_two_devices_give_what_one_gives(some_digits, alone, tmp_path):
    found = ended(started(words(some_digits, tmp_path / "run"), 2, devices=2))
    assert [code for code, *_ in found] == [0, 0], found
    check_same(outcome(tmp_path / "run"), alone)
    assert "Scores" in found[0][1]
    # the first alone speaks; Gloo's lines, "[Gloo] Rank 1 is connected to ...", may break into each other
    gloo = {"Gloo", "Rank", "is", "connected", "to", "peer", "ranks", "Expected", "number", "of"}
    assert set(re.findall(r"[A-Za-z]+", found[1][1])) <= gloo


@pytest.mark.slow
def test_four_processes_that_stream_give_what_one_gives(some_digits, alone, tmp_path):
    found = ended(started([*words(some_digits, tmp_path / "run"), "--stream"], 4))
    assert [code for code, *_ in found] == [0] * 4, found
    check_same(outcome(tmp_path / "run"), alone)


@pytest.mark.slow
def test_in_microbatches_four_processes_that_stream_give_one_s_bits(some_digits, alone, tmp_path):
    how = ["--microbatches", "4"]
    assert main([*words(some_digits, tmp_path / "alone"), *how, "--quiet"]) == 0
    found = ended(started([*words(some_digits, tmp_path / "run"), *how, "--stream"], 4))
    assert [code for code, *_ in found] == [0] * 4, found
    four, one = outcome(tmp_path / "run"), outcome(tmp_path / "alone")
    for ours, expected in zip(four[:4], one[:4], strict=True):
        np.testing.assert_array_equal(ours, expected)
    np.testing.assert_allclose(one[0][0], alone[0][0], rtol=1e-5)  # the training is that of whole batches
    np.testing.assert_array_equal(one[2], alone[2])


@pytest.mark.slow
@pytest.mark.parametrize(("killed", "then"), [(1, 1), (0, 2), (2, 4)])
def test_a_process_killed_ends_the_others_and_the_run_goes_on(some_digits, tmp_path, killed, then):
    """With another number of processes, of one too."""
    folder = tmp_path / "run"
    # joint epochs that would take minutes
    arguments = words(some_digits, folder, joint=2000)
    running = started(arguments, 3)
    metrics = folder / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (metrics.exists() and '"joint"' in metrics.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    running[killed].send_signal(signal.SIGKILL)
    start = time.monotonic()
    found = ended(running, timeout=60)
    assert time.monotonic() - start < 60
    for i, (code, _, printed) in enumerate(found):
        if i != killed:
            assert code == 3, found
            assert f"process {i} of 3 lost another one" in printed and "--resume" in printed
    before = len(metrics.read_text().splitlines())
    running = started([*arguments, "--resume"], then)
    deadline = time.monotonic() + 300
    while len(metrics.read_text().splitlines()) < before + 5 and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in running:
        process.terminate()
    assert {code for code, *_ in ended(running, timeout=60)} <= {143, 3}
    epochs = [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()[:-1] if '"joint"' in line]
    assert epochs == list(range(1, len(epochs) + 1)) and len(epochs) >= 5


def test_bad_input_ends_all_processes_with_the_first_s_sentence(some_digits, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "of-mine.txt").write_text("mine")
    found = ended(started(words(some_digits, tmp_path / "run"), 2))
    assert [code for code, *_ in found] == [2, 2], found
    assert "holds other files and no run" in found[0][2]
    assert "process 0 of this run stopped" in found[1][2] and "holds other files and no run" in found[1][2]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["of-mine.txt"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--num-processes", "2"], "expected --coordinator with them"),
        (["--process-id", "0"], "expected --coordinator with them"),
        (["--coordinator", "localhost:99"], "expected --num-processes and --process-id with it"),
        (["--coordinator", "localhost", "--num-processes", "2", "--process-id", "0"], "expected HOST:PORT"),
        (["--coordinator", "here:port", "--num-processes", "2", "--process-id", "0"], "expected HOST:PORT"),
        (["--coordinator", "localhost:99", "--num-processes", "2", "--process-id", "2"], "expected 0 to 1"),
        (["--coordinator", "auto", "--process-id", "0"], "leave them out"),
        (["--coordinator", "localhost:99", "--seeds", "2"], "--seeds and --coordinator"),
    ],
)
def test_what_does_not_say_where_the_others_are_is_refused(arguments, said, tmp_path, capsys):
    assert main(["fit", "digits", "--clusters", "10", "--out", str(tmp_path / "run"), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_one_process_is_the_first_and_has_only_itself():
    assert processes.is_first()
    tree = {"a": np.ones(3)}
    assert processes.of_first(tree) is tree
    with processes.together():
        pass
    with pytest.raises(OSError, match="mine"), processes.together():
        raise OSError("mine")
