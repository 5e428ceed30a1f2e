"""HDF5: the layout that the authors of DEPICT used (data N, C, H, W and labels), and plain ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .images import piece_starts
from .numbers import LABELS, Numbers, find, find_images, in_a_sentence

DAMAGE = (OSError, RuntimeError, KeyError)  # what h5py raises for it


def read(path: Path) -> Numbers:
    """The numbers under data, x, images or fea, and the labels beside them.

    Raises:
        ValueError: a file that cannot be read, holds no such name, or labels that are objects.
    """
    import h5py

    with in_a_sentence(path, *DAMAGE), h5py.File(path) as file:
        arrays = datasets(file)
        name, labels = find_images(arrays, str(path)), find(arrays, LABELS, str(path))
        shape, dtype = file[name].shape, file[name].dtype
        if labels is not None and file[labels].dtype.hasobject:
            raise ValueError(f"{path}: {labels} holds objects, which are never loaded: save them as plain numbers")

    def pieces() -> Iterator[np.ndarray]:
        with in_a_sentence(path, *DAMAGE), h5py.File(path) as file:
            starts = piece_starts(shape[0], math.prod(shape[1:]) * dtype.itemsize)
            for start in starts:
                yield file[name][start : start + starts.step]

    def read_labels() -> np.ndarray | None:
        if labels is None:
            return None
        with in_a_sentence(path, *DAMAGE), h5py.File(path) as file:
            return file[labels][()]

    return Numbers(f"{path}: {name}", shape, dtype, pieces, read_labels, channels_first=name.lower() == "data")


def datasets(file) -> list[str]:
    """The names of an open file's own arrays; what is linked from another file is no part of this one."""
    import h5py

    present = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
    return [name for name in present if isinstance(file[name], h5py.Dataset)]
