"""Checkpoints come back to the same bits or are named as damaged; the last few and the best stay; nothing is lost."""

import resource
import shutil
import signal
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from depict_jax.checkpoints import FORMAT, KEPT, PACKAGE, Checkpoints
from depict_jax.settings import Settings
from depict_jax.stages import JOINT, PRETRAIN, WARM, initial_state

N = 40

# Threads of orbax that fail, as they must here, leave exceptions that nobody can catch.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def first(small):
    return jax.tree.map(np.array, initial_state(small, Settings(), N))


@pytest.fixture
def like(small):
    return lambda: initial_state(small, Settings(), N)


def numbered(first, number, stage=PRETRAIN):
    """A state whose numbers tell it from others."""
    p = np.random.default_rng(number).dirichlet(np.ones(3), size=N).astype(np.float32)
    return first._replace(stage=np.int32(stage), epoch=np.int32(number), p=p)


def same(a, b) -> bool:
    leaves, others = jax.tree.leaves(a), jax.tree.leaves(b)
    return len(leaves) == len(others) and all(
        x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(leaves, others, strict=True)
    )


@pytest.fixture(scope="module")
def three(first, tmp_path_factory):
    folder = tmp_path_factory.mktemp("three") / "checkpoints"
    with Checkpoints(folder) as saved:
        for number in (1, 2, 3):
            saved.save(numbered(first, number))
    return folder


@pytest.fixture
def folder(three, tmp_path):
    return shutil.copytree(three, tmp_path / "checkpoints")


def test_a_state_comes_back_to_the_same_bits(folder, first, like):
    with Checkpoints(folder) as saved:
        assert same(saved.restore(like), numbered(first, 3))
        assert saved.newest == folder / "3"


def truncate(folder):
    path = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(folder):
    """One bit in the middle of every piece of data: neither orbax nor tensorstore would notice all of them."""
    for path in folder.rglob("d/*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)


def lose_the_data(folder):
    for path in list(folder.rglob("d")):
        shutil.rmtree(path)


def lose_the_description(folder):
    for path in folder.rglob("_METADATA"):
        path.unlink()


def lose_what_was_noted(folder):
    (folder / "_CHECKPOINT_METADATA").write_text("{")


def empty(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [truncate, flip, lose_the_data, lose_the_description, lose_what_was_noted, empty],
    ids=lambda f: f.__name__,
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(folder, first, like, damage, monkeypatch, caplog):
    beside = []  # what would be printed too, by reads that a failed one has left under way
    monkeypatch.setattr(sys, "unraisablehook", beside.append)
    damage(folder / "3")
    with Checkpoints(folder) as saved, pytest.warns(UserWarning, match=r"checkpoint .*/3 is damaged") as told:
        assert same(saved.restore(like), numbered(first, 2))
    assert (
        len(told) == 1 and "2, the one before it, is used" in str(told[0].message) and "\n" not in str(told[0].message)
    )
    assert beside == [] and [record for record in caplog.records if record.name == "asyncio"] == []


def test_no_whole_checkpoint_is_an_error_and_none_is_removed(folder, like):
    for number in (1, 2, 3):
        flip(folder / str(number))
    error = pytest.raises(ValueError, match=r"checkpoint .*/1 is damaged.* none before it is whole")
    with Checkpoints(folder) as saved, pytest.warns(UserWarning, match="damaged"), error:
        saved.restore(like)
    assert {path.name for path in folder.iterdir()} == {"1", "2", "3"}


def test_changed_contents_that_orbax_reads_are_noticed(folder, first, like, monkeypatch):
    """As if a bit had changed on its way to the disk."""
    with Checkpoints(folder) as saved:
        monkeypatch.setattr("depict_jax.checkpoints._checksum", lambda state: "of something else")
        saved.save(numbered(first, 4))
    monkeypatch.undo()
    with Checkpoints(folder) as saved, pytest.warns(UserWarning, match=r"/4 is damaged, its contents are not those"):
        assert same(saved.restore(like), numbered(first, 3))


def test_another_shape_is_told_from_damage(folder, small):
    with (
        Checkpoints(folder) as saved,
        pytest.raises(ValueError, match=r"/3 is of another shape .*\(40,\) among them, expected"),
    ):
        saved.restore(lambda: initial_state(small, Settings(), N + 1))


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"package": "another"}, f"is not of {PACKAGE}"),
        ({"package": PACKAGE, "format": FORMAT + 1}, f"is of format {FORMAT + 1}, this version reads {FORMAT}"),
    ],
)
def test_another_package_or_version_is_refused(tmp_path, first, like, about, sentence):
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        manager.save(1, args=ocp.args.StandardSave(first), custom_metadata=about)
    with Checkpoints(tmp_path / "checkpoints") as saved, pytest.raises(ValueError, match=sentence):
        saved.restore(like)


def test_checkpoints_of_before_there_were_checksums_are_read(tmp_path, first, like):
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        manager.save(1, args=ocp.args.StandardSave(first))
    with Checkpoints(tmp_path / "checkpoints") as saved:
        assert same(saved.restore(like), first)


def test_the_last_few_and_the_best_of_every_stage_stay(tmp_path, first):
    scores = {PRETRAIN: [3.0, 1.0, 2.0, None], WARM: [-0.5, -0.9, -0.8], JOINT: [1.0, 0.5, 0.7, 0.6, 0.8]}
    number = 0
    for stage, of_stage in scores.items():  # a new process for every stage: the best so far is read from the folder
        with Checkpoints(tmp_path / "checkpoints") as saved:
            for score in of_stage:
                number += 1
                saved.save(numbered(first, number, stage), score)
    assert {int(path.name) for path in (tmp_path / "checkpoints").iterdir()} == {2, 6, 9, *range(13 - KEPT, 13)}


def test_reading_makes_and_removes_nothing(folder, first, like):
    unfinished = folder / "4.orbax-checkpoint-tmp"
    unfinished.mkdir()
    before = sorted(folder.rglob("*"))
    with Checkpoints(folder, read_only=True) as saved:
        assert saved.restore(like) is not None
    assert sorted(folder.rglob("*")) == before
    with Checkpoints(folder) as saved:
        saved.save(numbered(first, 4))
    assert not unfinished.exists()


def test_a_full_disk_is_told_and_the_checkpoints_before_it_stay(folder, first, like):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = first._replace(assignment=np.random.default_rng(0).integers(2**31, size=1_000_000, dtype=np.int32))
    told = pytest.raises(OSError, match=r"could not be written to .*checkpoints .* go on with --resume")
    with told, Checkpoints(folder) as saved:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
            saved.save(large)
            _ = saved.newest  # waits for the save
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with Checkpoints(folder) as saved:
        assert same(saved.restore(like), numbered(first, 3))
        saved.save(numbered(first, 5))  # the next one is none the worse for it
    with Checkpoints(folder) as saved:
        assert same(saved.restore(like), numbered(first, 5))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_within_a_save_waits_for_its_beginning(number, first, monkeypatch, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    before = {kind: signal.signal(kind, stop) for kind in (signal.SIGINT, signal.SIGTERM)}
    begun = []

    def save(*_, **__):
        signal.raise_signal(number)
        begun.append(True)

    try:
        with Checkpoints(tmp_path) as saved:
            monkeypatch.setattr(saved._manager, "save", save)
            with pytest.raises(KeyboardInterrupt):
                saved.save(numbered(first, 1))
            assert begun
        with pytest.raises(KeyboardInterrupt):  # and afterwards they do what they did before
            signal.raise_signal(number)
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
