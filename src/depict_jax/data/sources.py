"""From what a user names to `Images`. A new kind of source is one more reader in `load`."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .images import Images, as_pixels


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
    path = Path(source)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"source {str(source)!r} is of unknown kind: expected 'digits', or a .npz or .npy file")
    if not path.is_file():
        raise ValueError(f"source {str(source)!r} is not there, or is not a file: check the path")
    return reader(path)


def _digits() -> Images:
    from sklearn.datasets import load_digits  # heavy, and only this source needs it

    digits = load_digits()
    return Images(as_pixels(digits.images / 16), digits.target.astype(np.int32), "digits")


def _read_npz(path: Path) -> Images:
    with path.open("rb") as file:
        archive = _opened(file, path)
        images = _first(archive, path, ("x", "images"))
        labels = _first(archive, path, ("y", "labels"))
        if images is None:
            raise ValueError(f"{path} holds {', '.join(archive.files) or 'nothing'}: expected images under x or images")
    pixels = as_pixels(images)
    if labels is not None and labels.shape != (len(pixels),):
        raise ValueError(f"{path} has labels of shape {labels.shape} for {len(pixels)} images: expected one for each")
    return Images(pixels, labels, str(path))


def _read_npy(path: Path) -> Images:
    with path.open("rb") as file:
        return Images(as_pixels(_opened(file, path)), None, str(path))


_READERS = {".npz": _read_npz, ".npy": _read_npy}


def _opened(file: BinaryIO, path: Path):
    try:
        found = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read: {_reason(error)}") from error
    if isinstance(found, np.ndarray) != (path.suffix.lower() == ".npy"):
        raise ValueError(f"{path} cannot be read: it is not what its name says; rename it to .npy or .npz")
    return found


def _first(archive, path: Path, names: tuple[str, ...]) -> np.ndarray | None:
    name = next((name for name in names if name in archive.files), None)
    if name is None:
        return None
    try:
        return archive[name]
    except Exception as error:  # zlib, zip and numpy each have their own for a damaged member
        raise ValueError(f"{path}: {name} cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if "pickle" in str(error).lower():
        return "it holds Python objects or is no numpy file; expected plain numbers (objects are never loaded)"
    return " ".join(str(error).split()) or type(error).__name__
