"""Pictures sorted into clusters' folders: all and only they, nothing half, nothing outside, the originals as before."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depict_jax import sorting
from depict_jax.data import cache, load
from depict_jax.sorting import check_target, sort_pictures

HOSTILE = [
    b"...",
    b"..png",
    b"~",
    b"-rf",
    b"C:\\a.png",
    b"a\nb.png",
    b"c\rd.png",
    b"\xff\xfe.png",
    b"\x1b[2J.png",
    b"n" * 255,
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(cache, "user_cache_path", lambda name: folder)


@pytest.fixture
def source(tmp_path):
    """Digits whose names meet in their subfolders, read-only, a minute old."""
    digits = load("digits").pixels[..., 0]
    for number, name in enumerate(["a.png", "x/a.png", "x/y/a.png", "z/a.png", "z/b.png", "x.png"]):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits[number]).save(path)
        path.chmod(0o444)
        os.utime(path, ns=(10**18 + number, 10**18 + number))
    return tmp_path / "pictures"


def state_of(folder: Path) -> dict[str, tuple]:
    """All that a file may lose: its name, contents, times, permissions and kind."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        times = () if path.is_dir() else (status.st_mtime_ns, status.st_mode)
        found[str(path.relative_to(folder))] = (content, *times)
    return found


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


CLUSTERS = np.array([0, 2, 2, 11, 0, 11])  # in the order of the names: a, x.png, x/a, x/y/a, z/a, z/b


@pytest.mark.parametrize("link", [False, True])
def test_each_picture_is_in_its_clusters_folder_and_the_originals_as_they_were(source, tmp_path, link):
    names, before, target = load(source).names, state_of(source), tmp_path / "new" / "sorted"
    check_target(str(source), target, link, tmp_path / "run")
    assert sort_pictures(source, names, CLUSTERS, target, link) == []
    assert files(target) == {f"cluster-{cluster:02}/{name}" for name, cluster in zip(names, CLUSTERS, strict=True)}
    for name, cluster in zip(names, CLUSTERS, strict=True):
        path, original = target / f"cluster-{cluster:02}" / name, source / name
        assert path.is_symlink() == link and path.read_bytes() == original.read_bytes()
        assert path.stat().st_mtime_ns == original.stat().st_mtime_ns
        assert not link or path.readlink() == original.resolve()
    assert state_of(source) == before
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "new"}  # no temporary folder is left
    assert target.stat().st_mode & 0o777 == (tmp_path / "new").stat().st_mode & 0o777


def test_with_many_clusters_the_folders_sort_by_number(source, tmp_path):
    sort_pictures(source, load(source).names, CLUSTERS * 20, tmp_path / "sorted", False)
    assert {path.name for path in (tmp_path / "sorted").iterdir()} == {"cluster-000", "cluster-040", "cluster-220"}


def test_a_clusters_copies_may_be_changed_and_the_originals_stay(source, tmp_path):
    before = state_of(source)
    sort_pictures(source, load(source).names, CLUSTERS, tmp_path / "sorted", False)
    for path in (tmp_path / "sorted").rglob("*.png"):
        path.chmod(0o644)
        path.write_bytes(b"mine")
    shutil.rmtree(tmp_path / "sorted")
    assert state_of(source) == before


@pytest.mark.parametrize("link", [False, True])
def test_hostile_names_stay_in_the_target(tmp_path, link):
    source, target = tmp_path / "pictures", tmp_path / "deep" / "sorted"
    digits = load("digits").pixels[..., 0]
    for number, name in enumerate(HOSTILE):
        for folder in (b"", b"s\xff/" + b"d" * 255 + b"/"):
            path = Path(os.fsdecode(os.fsencode(source) + b"/" + folder + name))
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(digits[number]).save(path, "PNG")
    found = load(source)
    assert len(found.names) == 2 * len(HOSTILE) - 4  # hidden ones are no pictures
    assert all(name.isprintable() for name in found.names)  # a line of the CSV each, and harmless on a terminal
    clusters = np.arange(len(found.names)) % 3
    assert sort_pictures(source, found.names, clusters, target, link) == []
    made = {Path(*path.relative_to(target).parts[1:]): path for path in target.rglob("*") if path.is_file()}
    assert set(made) == {
        path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.name[0] != "."
    }
    assert all(path.read_bytes() == (source / name).read_bytes() for name, path in made.items())
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "deep"}


def test_names_that_are_not_in_the_folder_are_not_reached_for(source, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "secrets").mkdir()
    (source / "link").symlink_to(tmp_path)
    names = ["../secret.png", str(tmp_path / "secret.png"), "x/../../secret.png", "link/secret.png", "", ".", "..", "x"]
    missing = sort_pictures(source, [*names, "a.png"], np.zeros(9, int), tmp_path / "sorted", False)
    assert [entry.name for entry in missing] == names
    assert files(tmp_path / "sorted") == {"cluster-00/a.png"}
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "secret.png", "secrets", "sorted"}


def test_what_is_gone_by_then_is_told_and_the_rest_sorted(source, tmp_path):
    names = load(source).names
    (source / "z" / "b.png").unlink()
    missing = sort_pictures(source, names, CLUSTERS, tmp_path / "sorted", False)
    assert missing == [("z/b.png", "not there any more")]
    assert len(files(tmp_path / "sorted")) == 5


def test_two_files_that_one_name_may_mean_are_not_guessed(source, tmp_path):
    content = (source / "a.png").read_bytes()
    for name in (b"/b\xff.png", b"/b\\xff.png"):
        Path(os.fsdecode(os.fsencode(source) + name)).write_bytes(content)
    missing = sort_pictures(source, load(source).names, np.zeros(8, int), tmp_path / "sorted", False)
    assert [entry.name for entry in missing] == ["b\\xff.png"] * 2 and "2 files have this name" in missing[0].reason


@pytest.mark.parametrize(
    ("kind", "raised"),
    [
        (KeyboardInterrupt(), pytest.raises(KeyboardInterrupt)),
        (OSError(28, "No space left on device"), pytest.raises(ValueError, match="sorted cannot be made: No space")),
    ],
)
def test_interrupted_or_out_of_room_it_leaves_nothing(source, tmp_path, monkeypatch, kind, raised):
    whole, calls, names = sorting._copy, [], load(source).names

    def stop(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise kind
        return whole(*arguments)

    monkeypatch.setattr(sorting, "_copy", stop)
    (tmp_path / "sorted").mkdir()
    with raised:
        sort_pictures(source, names, CLUSTERS, tmp_path / "sorted", False)
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "sorted"} and not files(tmp_path / "sorted")
    monkeypatch.setattr(sorting, "_copy", whole)
    assert sort_pictures(source, names, CLUSTERS, tmp_path / "sorted", False) == []
    assert len(files(tmp_path / "sorted")) == 6


def test_a_target_filled_meanwhile_is_not_overwritten(source, tmp_path):
    target = tmp_path / "sorted"
    check_target(str(source), target, False, tmp_path / "run")
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="sorted cannot be made"):
        sort_pictures(source, load(source).names, CLUSTERS, target, False)
    assert files(target) == {"thesis.tex"} and {path.name for path in tmp_path.iterdir()} == {"pictures", "sorted"}


def test_bad_targets_are_refused_before_any_work(source, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "into").symlink_to(source)
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8), np.uint8))
    monkeypatch.chdir(tmp_path)
    before = state_of(tmp_path)
    for pictures, target, written, sentence in (
        ("pictures", "full", "run", "there and not empty"),
        ("pictures", "file", "run", "there and not empty"),
        ("pictures", "file/new", "run", "cannot be made: Not a directory"),
        ("pictures", "pictures", "run", "among the originals"),
        ("pictures", "pictures/new", "run", "among the originals"),
        ("pictures", "new/../pictures/new", "run", "among the originals"),
        ("pictures", "into/new", "run", "among the originals"),
        ("into", "pictures/new", "run", "among the originals"),
        ("pictures", ".", "run", "holds the originals"),
        ("pictures", "new", "new", "is where new goes"),
        ("pictures", "new", "new/run", "is where new/run goes"),
        ("x.npy", "new", "run", "sorts the files of a folder of pictures, and 'x.npy' is none"),
        ("digits", "new", "run", "sorts the files of a folder of pictures, and 'digits' is none"),
    ):
        with pytest.raises(ValueError, match=sentence):
            check_target(pictures, Path(target), False, Path(written))
    assert state_of(tmp_path) == before


def test_links_that_the_system_cannot_make_are_refused_before_any_work(source, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(ValueError, match=r"links cannot be made there: Operation not permitted; use --copy-into"):
        check_target(str(source), tmp_path / "sorted", True, tmp_path / "run")
    check_target(str(source), tmp_path / "sorted", False, tmp_path / "run")
    assert {path.name for path in tmp_path.iterdir()} == {"pictures"}
