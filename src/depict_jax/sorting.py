"""Pictures sorted into a folder for each cluster, copied or linked; the originals are read and never touched.

A picture keeps the subfolders and the name that it has in its source, so that no two can meet: cluster-03/2019/a.jpg.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .data import Skipped
from .data.folders import files_by_name
from .data.named import is_name

if TYPE_CHECKING:
    from rich.console import Console


def check_target(source: str, target: Path, link: bool, written: Path) -> None:
    """Refuse, before any compute, what `sort_pictures` could not do after it.

    Args:
        source: what the user named as the pictures.
        target: the folder to make; it may be there if it is empty.
        link: whether symbolic links are to be made.
        written: what the command writes besides, a file or a folder.

    Raises:
        ValueError: a source that is no folder of pictures; a target that is a file or not empty, lies in the source
            or around it, or is taken by `written`; a place that cannot be written to, or cannot hold links.
    """
    option = "--link-into" if link else "--copy-into"
    if is_name(source) or Path(source).is_file():
        raise ValueError(
            f"{option} sorts the files of a folder of pictures, and {source!r} is none: leave it out; the CSV file has "
            "the cluster of each image"
        )
    pictures, whole = Path(source).resolve(), target.resolve()
    if whole.is_relative_to(pictures):
        raise ValueError(f"{option} {target} lies in {source}, among the originals: choose a folder outside of it")
    if pictures.is_relative_to(whole):
        raise ValueError(f"{option} {target} holds the originals, {source}: choose a new folder, or an empty one")
    if written.resolve().is_relative_to(whole):
        raise ValueError(f"{option} {target} is where {written} goes: choose another folder")
    if whole.exists() and not (whole.is_dir() and not any(whole.iterdir())):
        raise ValueError(f"{option} {target} is there and not empty: choose a new folder, or an empty one")
    if whole.is_mount():
        raise ValueError(f"{option} {target} is where a disk is mounted: choose a folder in it")
    with _workplace(whole) as trial:
        if link:
            _link(pictures, trial / "link")


def sort_pictures(
    source: Path, names: Sequence[str], clusters: np.ndarray, target: Path, link: bool, console: Console | None = None
) -> list[Skipped]:
    """Make `target`, with a folder cluster-00, cluster-01, ... for each cluster that has pictures.

    All is made in a hidden folder beside `target` and gets its name at the end: it is there whole, or not at all.

    Args:
        source: the folder of pictures.
        names: of N files in it, as `Images.names`.
        clusters: (N,) integers, not negative.
        target: as `check_target` lets pass.
        link: absolute symbolic links to the originals rather than copies.
        console: where a bar is shown, if it is a terminal.

    Returns:
        The files that could not be had any more, and why; the others are sorted all the same.

    Raises:
        ValueError: a target that cannot be written.
    """
    from rich.progress import track

    root, whole = source.resolve(), target.resolve()
    digits = max(2, len(str(int(clusters.max()))))
    shown = console is not None and console.is_terminal and not console.quiet
    pairs = track(
        zip(names, clusters, strict=True),
        "sorting pictures",
        total=len(names),
        console=console,
        disable=not shown,
        transient=True,
    )
    missing = []
    with _workplace(whole) as folder:
        made = folder / "made"  # unlike the temporary folder it has the permissions that new folders have
        made.mkdir()
        files = files_by_name(root)  # only what was found in the folder is read, and only its name is written
        for name, cluster in pairs:
            found = files.get(name, [])
            if len(found) == 1:
                place = made / f"cluster-{cluster:0{digits}}" / found[0]
                place.parent.mkdir(parents=True, exist_ok=True)
                reason = (_link if link else _copy)(root / found[0], place)
            else:
                reason = f"{len(found)} files have this name once it is text" if found else "not there any more"
            if reason:
                missing.append(Skipped(name, reason))
        whole.parent.mkdir(parents=True, exist_ok=True)
        made.replace(whole)
    return missing


@contextmanager
def _workplace(whole: Path) -> Iterator[Path]:
    """A temporary folder on the disk that `whole` will be on; an OSError becomes a sentence about `whole`."""
    try:
        parent = next(parent for parent in whole.parents if parent.exists())
        folder = Path(tempfile.mkdtemp(prefix=".sorting-", dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"{whole} cannot be made: {reason}; make room, or choose a folder elsewhere") from error


def _copy(original: Path, place: Path) -> str | None:
    """Copy contents and times; why not, where the original cannot be opened."""
    try:
        file = original.open("rb")
    except OSError as error:
        return f"cannot be opened: {error.strerror}"
    with file, place.open("xb") as copy:
        shutil.copyfileobj(file, copy)
    shutil.copystat(original, place)
    return None


def _link(original: Path, place: Path) -> None:
    try:
        place.symlink_to(original)
    except OSError as error:  # Windows without the right to make them, disks formatted as FAT
        raise ValueError(
            f"symbolic links cannot be made there: {error.strerror or error}; use --copy-into, or another disk"
        ) from error
