"""idx files, plain or gzipped: MNIST's own format. The labels file beside the images is found by MNIST's naming."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np

from .images import piece_starts
from .numbers import Numbers, in_a_sentence

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}  # by the header's third byte
DAMAGE = (OSError, EOFError, zlib.error)


def read(path: Path) -> Numbers:
    """The images of an idx file.

    Raises:
        ValueError: a file that cannot be read, is no idx file, ends early or goes on past its images, or holds labels.
    """
    with in_a_sentence(path, *DAMAGE), _opened(path) as file:
        shape, dtype = _header(file, path)
    if len(shape) == 1:
        raise ValueError(f"{path} holds {shape[0]} labels: expected images; name the images file, labels are found")
    beside = _labels_beside(path)
    there = beside is not None and beside.is_file()

    def read_labels() -> np.ndarray | None:
        return np.concatenate(list(items(beside))) if there and beside is not None else None

    note = "" if beside is None else f"labels from {beside.name}" if there else f"no labels: {beside.name} is not there"
    return Numbers(str(path), shape, dtype, lambda: items(path), read_labels, notes=(note,) if note else ())


def items(path: Path) -> Iterator[np.ndarray]:
    """What an idx file holds, images or labels, a few thousand at a time; errors as `read`."""
    with in_a_sentence(path, *DAMAGE), _opened(path) as file:
        shape, dtype = _header(file, path)
        starts = piece_starts(shape[0], math.prod(shape[1:]) * dtype.itemsize)
        for start in starts:
            rows = (min(starts.step, shape[0] - start), *shape[1:])
            size = math.prod(rows) * dtype.itemsize
            data = file.read(size)
            if len(data) < size:
                raise ValueError(f"{path} cannot be read: it ends before item {start + rows[0]} of {shape[0]}")
            yield np.frombuffer(data, dtype).reshape(rows)
        if file.read(1):
            raise ValueError(f"{path} cannot be read: it goes on after the {shape[0]} items that its header counts")


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or not magic[3]:
        raise ValueError(f"{path} cannot be read: it does not begin as an idx file does; check that it is one")
    if magic[3] > 4:
        raise ValueError(f"{path} has {magic[3]} dimensions: expected images, of 3 or 4, or rows of them, of 2")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError(f"{path} cannot be read: it ends within its header")
    return struct.unpack(f">{magic[3]}I", sizes), np.dtype(DTYPES[magic[2]])


def _labels_beside(path: Path) -> Path | None:
    """train-images-idx3-ubyte has its labels in train-labels-idx1-ubyte; one of the two may be gzipped alone."""
    name = re.sub(r"images([-.])idx3", r"labels\1idx1", path.name)
    if name == path.name:
        return None
    plain = name.removesuffix(".gz")
    return next((found for found in (path.with_name(name), path.with_name(plain), path.with_name(f"{plain}.gz"))
                 if found.is_file()), path.with_name(name))  # fmt: skip
