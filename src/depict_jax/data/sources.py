"""From what a user names to `Images`, or to a stream of pixels. A new kind of source is one more reader in each."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from .images import Images, as_pixels

PIECE = 5_000  # images that a stream gives at a time
IMAGES, LABELS = ("x", "images"), ("y", "labels")  # names in a .npz file


def load(source: str | Path) -> Images:
    """The images that `source` names.

    Args:
        source: "digits" (the 1,797 digits inside scikit-learn), or the path of a .npz file (x or images, and
            optionally y or labels) or of a .npy file.

    Raises:
        ValueError: a source of unknown kind, a file that is missing, unreadable, or without usable images.
        TypeError: images of a dtype that cannot be images.
    """
    if source == "digits":
        return _digits()
    path = _checked(source)
    if path.suffix.lower() == ".npy":
        with _opened(path) as array:
            return Images(as_pixels(array), None, str(path))
    with _opened(path) as archive:
        images = _read(archive, path, _image_name(archive, path))
        label_name = _first(archive, LABELS)
        labels = None if label_name is None else _read(archive, path, label_name)
    pixels = as_pixels(images)
    if labels is not None and labels.shape != (len(pixels),):
        raise ValueError(f"{path} has labels of shape {labels.shape} for {len(pixels)} images: expected one for each")
    return Images(pixels, labels, str(path))


def stream(source: str | Path) -> Iterator[np.ndarray]:
    """The images that `source` names, a few thousand at a time, so that memory does not grow with their number.

    Args:
        source: as `load` takes it. (An array in Fortran order, whose images do not lie one after another, is read
            whole.)

    Yields:
        uint8 (n, H, W, C), in the source's order.

    Raises:
        ValueError, TypeError: as `load`; for a value that is no pixel, when its turn comes.
    """
    if source == "digits":
        yield from _pieces(_digits().pixels)
        return
    path = _checked(source)
    if path.suffix.lower() == ".npy":
        yield from _pieces(_mapped(path))
        return
    with _opened(path) as archive:
        name = _image_name(archive, path)
        with archive.zip.open(name if name in archive.zip.namelist() else f"{name}.npy") as member:
            header = _header(member)
            if header is None:
                yield from _pieces(_read(archive, path, name))
                return
            shape, dtype = header
            for start in range(0, shape[0], PIECE):
                rows = (min(PIECE, shape[0] - start), *shape[1:])
                size = int(np.prod(rows)) * dtype.itemsize
                try:
                    data = member.read(size)
                except Exception as error:  # as in `_read`
                    raise ValueError(f"{path}: {name} cannot be read: {_reason(error)}") from error
                if len(data) < size:
                    raise ValueError(f"{path}: {name} cannot be read: it ends before image {start + rows[0]}")
                yield as_pixels(np.frombuffer(data, dtype).reshape(rows))


def _digits() -> Images:
    from sklearn.datasets import load_digits  # heavy, and only this source needs it

    digits = load_digits()
    return Images(as_pixels(digits.images / 16), digits.target.astype(np.int32), "digits")


def _checked(source: str | Path) -> Path:
    path = Path(source)
    if path.suffix.lower() not in (".npz", ".npy"):
        raise ValueError(f"source {str(source)!r} is of unknown kind: expected 'digits', or a .npz or .npy file")
    if not path.is_file():
        raise ValueError(f"source {str(source)!r} is not there, or is not a file: check the path")
    return path


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """numpy's array or archive, open for as long as the context lasts."""
    with path.open("rb") as file:
        try:
            found = np.load(file, allow_pickle=False)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} cannot be read: {_reason(error)}") from error
        if isinstance(found, np.ndarray) != (path.suffix.lower() == ".npy"):
            raise ValueError(f"{path} cannot be read: it is not what its name says; rename it to .npy or .npz")
        yield found


def _mapped(path: Path) -> np.ndarray:
    try:
        return npy.open_memmap(path, mode="r")
    except (ValueError, OSError, EOFError):
        with _opened(path) as array:  # refuses it in the usual words, or reads what cannot be mapped
            return array


def _first(archive, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in archive.files), None)


def _image_name(archive, path: Path) -> str:
    name = _first(archive, IMAGES)
    if name is None:
        raise ValueError(f"{path} holds {', '.join(archive.files) or 'nothing'}: expected images under x or images")
    return name


def _read(archive, path: Path, name: str) -> np.ndarray:
    try:
        return archive[name]
    except Exception as error:  # zlib, zip and numpy each have their own for a damaged member
        raise ValueError(f"{path}: {name} cannot be read: {_reason(error)}") from error


def _header(member) -> tuple[tuple[int, ...], np.dtype] | None:
    """Shape and dtype of the .npy that `member` is at the start of; None where its images cannot be read in turn."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        shape, in_fortran_order, dtype = readers[npy.read_magic(member)](member)
    except Exception:  # reading it whole says what is wrong
        return None
    in_turn = not in_fortran_order and not dtype.hasobject and len(shape) in (3, 4) and 0 not in shape
    return (shape, dtype) if in_turn else None


def _pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    as_pixels(array[:1] if array.ndim in (3, 4) and array.size else array)  # refuses what holds no images at all
    for start in range(0, len(array), PIECE):
        yield as_pixels(array[start : start + PIECE])


def _reason(error: Exception) -> str:
    if "pickle" in str(error).lower():
        return "it holds Python objects or is no numpy file; expected plain numbers (objects are never loaded)"
    return " ".join(str(error).split()) or type(error).__name__
