"""From what a user names to its reader: `Images` whole, or a `Stream` of pixels."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..reading import Reading
from . import arrays, cache, folders, hdf5, idx, matlab, numbers, tables
from .images import Images, Stream, cut
from .named import is_name, load_named

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
COPY = "file 1"  # what a cache entry of a file is of, and its layout
OF_FILES = {"image_shape"}  # options that only flattened images have a use for,
OF_NAMES = {"data_dir", "manual_dir"}  # and only named sets


def load(source: str | Path, reading: Reading | None = None, console: Console | None = None) -> Images:
    """The images that `source` names.

    Args:
        source: the name of a set (`depict-jax data list`), which goes before a file or folder that is called the same
            (./digits names that one); or the path of a folder of pictures, or of a file: .npz (x or images, and
            optionally y or labels), .npy, HDF5 (.h5, .hdf5), MATLAB (.mat), idx (plain or .gz), .csv (or .csv.gz) or
            .parquet.
        reading: what else the user says of the source.
        console: where a bar is shown while pictures are decoded or a set is downloaded, if it is a terminal.

    Raises:
        ValueError: a source of unknown kind, a file that is missing, unreadable, or without usable images, options
            that the source has no use for.
        TypeError: images of a dtype that cannot be images.
    """
    reading = reading or Reading()
    if is_name(str(source)):
        _refuse_others(source, reading, OF_NAMES)
        shown = sys.stderr.isatty() if console is None else console.is_terminal and not console.quiet
        return load_named(str(source), reading.data_dir, reading.manual_dir, shown)
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
    if is_name(str(source)):
        images = load(source, reading, console)
        return Stream(cut(images.pixels), images.names, images.skipped, images.notes)
    path = _checked(source, reading)
    if path.is_dir():
        return folders.stream(path, reading, console)
    if path.suffix.lower() in ARRAYS:
        return arrays.stream(path, reading.image_shape)
    return numbers.stream(_reader(path)(path), str(path), reading.image_shape)


def mapped(source: str | Path, reading: Reading | None = None, console: Console | None = None) -> Images:
    """As `load`, of more images than memory holds: pixels are a read-only memory map; only what is used is read.

    It is of the file itself where that is a .npy of uint8; else of a copy in the user's cache folder, made the first
    time. (Named sets, which are small, are in memory.)

    Args:
        source: as for `load`; so the rest.
        reading: see there.
        console: see there.

    Raises:
        ValueError, TypeError: as `load`; and a cache that cannot be written.
    """
    reading = reading or Reading()
    if is_name(str(source)) or Path(source).is_dir():
        return load(source, reading, console)
    path = _checked(source, reading)
    pixels = arrays.mapped(path, reading.image_shape)
    if pixels is not None:
        return Images(pixels, None, str(path))
    found = stream(path, reading, console)

    def make(folder: Path) -> None:
        writer = None
        try:
            for piece in found:
                writer = writer or cache.Writer(folder, piece.shape[1:3], piece.shape[3])
                writer.extend(piece)
            assert writer is not None  # no source is without images
            writer.finish({})
        finally:
            if writer is not None:
                writer.close()

    status = path.stat()
    what = [COPY, str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns, reading.image_shape]
    pixels, _ = cache.entry(hashlib.sha256(json.dumps(what).encode()).hexdigest(), make)
    return Images(pixels, found.labels(len(pixels)), str(path), notes=found.notes)


def _checked(source: str | Path, reading: Reading) -> Path:
    path = Path(source)
    if path.is_dir():
        _refuse_others(source, reading, reading.given - OF_FILES - OF_NAMES)
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
    expected = (
        "expected a name that `depict-jax data list` shows, a folder of pictures, or a file .npz, .npy, .h5, .mat, "
        ".csv, .parquet or idx"
    )
    if not path.exists():
        raise ValueError(f"source {str(path)!r} is not there: {expected}")
    from PIL import Image

    if path.suffix.lower() in Image.registered_extensions():
        raise ValueError(f"source {str(path)!r} is a single picture: expected a folder of pictures; put it into one")
    raise ValueError(f"source {str(path)!r} is of unknown kind: {expected}")


def _refuse_others(source: str | Path, reading: Reading, used: set[str]) -> None:
    others = sorted(reading.given - used)
    if others:
        option = f"--{others[0].replace('_', '-')}"
        kinds = {**dict.fromkeys(OF_FILES, "flattened images in a file"), **dict.fromkeys(OF_NAMES, "named sets")}
        kind = kinds.get(others[0], "folders of pictures")
        raise ValueError(f"{option} is for {kind}, and {str(source)!r} is none: leave it out")
