"""NumPy's own files: .npz and .npy, read whole or in turn. Nothing is ever unpickled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from ..sentences import in_a_line
from .images import Images, Stream, as_pixels, cut, piece_starts
from .numbers import check_own_shape, labels_of, row_shape

IMAGES, LABELS = ("x", "images"), ("y", "labels")  # names in a .npz file


def load(path: Path, image_shape: tuple[int, ...] | None) -> Images:
    """The images in a .npz file (x or images, and optionally y or labels) or a .npy file.

    Args:
        path: of the file; its suffix says which of the two.
        image_shape: of the images that the rows of a 2-D array are; None for arrays that have a shape of their own.

    Raises:
        ValueError, TypeError: as `sources.load`.
    """
    if path.suffix.lower() == ".npy":
        with _opened(path) as array:
            return Images(_pixels(array, image_shape, path), None, str(path))
    with _opened(path) as archive:
        pixels = _pixels(_read(archive, path, _image_name(archive, path)), image_shape, path)
    return Images(pixels, _labels(path, len(pixels)), str(path))


def stream(path: Path, image_shape: tuple[int, ...] | None) -> Stream:
    """As `load`, in pieces. (An array in Fortran order, whose images do not lie one after another, is read whole.)"""
    return Stream(_pieces(path, image_shape), labels=lambda n_images: _labels(path, n_images))


def mapped(path: Path, image_shape: tuple[int, ...] | None) -> np.ndarray | None:
    """The images of a .npy file of uint8 as a read-only memory map of it; None where they cannot be had that way."""
    with path.open("rb") as file:
        header = _header(file, image_shape)
    if path.suffix.lower() != ".npy" or header is None or header[1] != np.uint8:
        return None
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # shorter than its header says: reading it in turn says so
        return None
    return _pixels(array, image_shape, path)


def _labels(path: Path, n_images: int) -> np.ndarray | None:
    if path.suffix.lower() == ".npy":
        return None
    with _opened(path) as archive:
        name = _first(archive, LABELS)
        return None if name is None else labels_of(_read(archive, path, name), n_images, path)


def _pieces(path: Path, image_shape: tuple[int, ...] | None) -> Iterator[np.ndarray]:
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            header = _header(file, image_shape)
            if header is not None:
                yield from _in_turn(file, *header, str(path))
                return
        with _opened(path) as array:
            yield from cut(_pixels(array, image_shape, path))
        return
    with _opened(path) as archive:
        name = _image_name(archive, path)
        with _member(archive, path, name) as member:
            header = _header(member, image_shape)
            if header is not None:
                yield from _in_turn(member, *header, f"{path}: {name}")
                return
        yield from cut(_pixels(_read(archive, path, name), image_shape, path))


def _in_turn(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype, where: str) -> Iterator[np.ndarray]:
    starts = piece_starts(shape[0], math.prod(shape[1:]) * dtype.itemsize)
    for start in starts:
        rows = (min(starts.step, shape[0] - start), *shape[1:])
        size = math.prod(rows) * dtype.itemsize
        try:
            data = file.read(size)
        except Exception as error:  # as in `_read`
            raise ValueError(f"{where} cannot be read: {_reason(error)}") from error
        if len(data) < size:
            raise ValueError(f"{where} cannot be read: it ends before image {start + rows[0]}")
        yield as_pixels(np.frombuffer(data, dtype).reshape(rows))


def _pixels(array: np.ndarray, image_shape: tuple[int, ...] | None, path: Path) -> np.ndarray:
    if image_shape is None or array.ndim != 2:
        pixels = as_pixels(array)
        check_own_shape(pixels.shape[1:], image_shape, str(path))
        return pixels
    return as_pixels(array.reshape(len(array), *row_shape(array.shape[1], image_shape, str(path))))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """numpy's array or archive, open for as long as the context lasts."""
    with path.open("rb") as file:
        try:
            found = np.load(file, allow_pickle=False)
        except Exception as error:  # numpy's reader of headers has some of its own for a damaged file
            raise ValueError(f"{path} cannot be read: {_reason(error)}") from error
        if isinstance(found, np.ndarray) != (path.suffix.lower() == ".npy"):
            raise ValueError(f"{path} cannot be read: it is not what its name says; rename it to .npy or .npz")
        yield found


def _first(archive, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in archive.files), None)


def _image_name(archive, path: Path) -> str:
    name = _first(archive, IMAGES)
    if name is None:
        raise ValueError(f"{path} holds {', '.join(archive.files) or 'nothing'}: expected images under x or images")
    return name


def _read(archive, path: Path, name: str) -> np.ndarray:
    try:
        found = archive[name]
    except Exception as error:  # zlib, zip and numpy each have their own for a damaged member
        raise ValueError(f"{path}: {name} cannot be read: {_reason(error)}") from error
    if not isinstance(found, np.ndarray):  # numpy hands out a member as bytes that does not begin as an array does
        raise ValueError(f"{path}: {name} cannot be read: it is no array of numpy's")
    return found


def _member(archive, path: Path, name: str) -> IO[bytes]:
    try:
        return archive.zip.open(name if name in archive.zip.namelist() else f"{name}.npy")
    except Exception as error:
        raise ValueError(f"{path}: {name} cannot be read: {_reason(error)}") from error


def _header(file: IO[bytes], image_shape: tuple[int, ...] | None) -> tuple[tuple[int, ...], np.dtype] | None:
    """Shape and dtype of the .npy that `file` is at the start of; None where its images cannot be read in turn."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        shape, in_fortran_order, dtype = readers[npy.read_magic(file)](file)
        if image_shape is not None and len(shape) == 2:
            shape = (shape[0], *row_shape(shape[1], image_shape, ""))
        check_own_shape(shape[1:], image_shape, "")
    except Exception:  # reading it whole says what is wrong
        return None
    in_turn = not in_fortran_order and not dtype.hasobject and len(shape) in (3, 4) and 0 not in shape
    return (shape, dtype) if in_turn else None


def _reason(error: Exception) -> str:
    if "pickle" in str(error).lower():
        return "it holds Python objects or is no numpy file; expected plain numbers (objects are never loaded)"
    return in_a_line(error)
