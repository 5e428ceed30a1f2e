"""From what a user names to its reader: `Images` whole, or a `Stream` of pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..reading import Reading
from . import arrays, folders, hdf5, idx, matlab, numbers, tables
from .images import Images, Stream, as_pixels, piece_starts

if TYPE_CHECKING:
    from rich.console import Console

ARRAYS = (".npz", ".npy")
FILES = {
    ".h5": hdf5.read,
    ".hdf5": hdf5.read,
    ".mat": matlab.read,
    ".csv": tables.read_csv,
    ".csv.gz": tables.read_csv,
    ".parquet": tables.read_parquet,
    **dict.fromkeys(("idx", "idx.gz", "idx3-ubyte", "idx3-ubyte.gz", "idx1-ubyte", "idx1-ubyte.gz"), idx.read),
}
OF_FILES = {"image_shape"}  # options that only flattened images have a use for


def load(source: str | Path, reading: Reading | None = None, console: Console | None = None) -> Images:
    """The images that `source` names.

    Args:
        source: a name in `NAMED`; or the path of a folder of pictures, or of a file: .npz (x or images, and
            optionally y or labels), .npy, HDF5 (.h5, .hdf5), MATLAB (.mat), idx (plain or .gz), .csv (or .csv.gz) or
            .parquet.
        reading: what else the user says of the source.
        console: where a bar is shown while pictures are decoded, if it is a terminal.

    Raises:
        ValueError: a source of unknown kind, a file that is missing, unreadable, or without usable images, options
            that the source has no use for.
        TypeError: images of a dtype that cannot be images.
    """
    reading = reading or Reading()
    if source in NAMED:
        _refuse_others(source, reading, set())
        return NAMED[str(source)]()
    path = _checked(source, reading)
    if path.is_dir():
        return folders.load(path, reading, console)
    if path.suffix.lower() in ARRAYS:
        return arrays.load(path, reading.image_shape)
    return numbers.load(_reader(path)(path), str(path), reading.image_shape)


def stream(source: str | Path, reading: Reading | None = None, console: Console | None = None) -> Stream:
    """The images that `source` names, a few thousand at a time, so that memory does not grow with their number.

    (MATLAB's files and arrays in Fortran order are read whole: their images do not lie one after another.)

    Args:
        source: as for `load`; so the rest.
        reading: see there.
        console: see there.

    Raises:
        ValueError, TypeError: as `load`; for a value that is no pixel, perhaps only when its turn comes.
    """
    reading = reading or Reading()
    if source in NAMED:
        images = load(source, reading)
        starts = piece_starts(len(images.pixels), images.pixels[0].nbytes)
        return Stream(
            (images.pixels[start : start + starts.step] for start in starts), images.names, images.skipped, images.notes
        )
    path = _checked(source, reading)
    if path.is_dir():
        return folders.stream(path, reading, console)
    if path.suffix.lower() in ARRAYS:
        return arrays.stream(path, reading.image_shape)
    return numbers.stream(_reader(path)(path), reading.image_shape)


def _digits() -> Images:
    from sklearn.datasets import load_digits  # heavy, and only this source needs it

    digits = load_digits()
    return Images(as_pixels(digits.images / 16), digits.target.astype(np.int32), "digits")


# A name goes before a file or folder that is called the same (./digits names that one).
NAMED: dict[str | Path, Callable[[], Images]] = {"digits": _digits}


def _checked(source: str | Path, reading: Reading) -> Path:
    path = Path(source)
    if path.is_dir():
        _refuse_others(source, reading, {field for field in reading.given if field not in OF_FILES})
        return path
    if path.suffix.lower() not in ARRAYS:
        _reader(path)
    if not path.is_file():
        raise ValueError(f"source {str(source)!r} is not there, or is not a file: check the path")
    _refuse_others(source, reading, OF_FILES)
    return path


def _reader(path: Path) -> Callable[[Path], numbers.Numbers]:
    name = path.name.lower()
    for ending, read in FILES.items():
        if name.endswith(ending):
            return read
    raise ValueError(
        f"source {str(path)!r} is of unknown kind: expected {', '.join(map(repr, NAMED))}, a folder of pictures, or a "
        "file .npz, .npy, .h5, .mat, .csv, .parquet or idx"
    )


def _refuse_others(source: str | Path, reading: Reading, used: set[str]) -> None:
    others = sorted(reading.given - used)
    if others:
        option = f"--{others[0].replace('_', '-')}"
        kind = "flattened images in a file" if others[0] in OF_FILES else "folders of pictures"
        raise ValueError(f"{option} is for {kind}, and {str(source)!r} is none: leave it out")
