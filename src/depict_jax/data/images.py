"""What every source gives, and what arrays may be images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

PIECE = 5_000  # images that a stream gives at a time,
PIECE_BYTES = 64_000_000  # or fewer, of large ones


class Skipped(NamedTuple):
    """A file of a source that gave no image."""

    name: str
    reason: str


@dataclass(frozen=True)
class Images:
    """A set of images of one shape.

    `labels` are for evaluation only: training takes `pixels`.
    """

    pixels: np.ndarray  # uint8 (N, H, W, C); of a folder, and of `data.mapped`, a read-only memory map
    labels: np.ndarray | None  # (N,), or None
    source: str  # where they came from, as the user named it
    names: tuple[str, ...] | None = None  # of the files, for a folder: N paths relative to it
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()  # what was assumed, a sentence each

    @cached_property
    def content_hash(self) -> str:
        """sha256 over the shape and the pixels, in hexadecimal."""
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()

    def summary(self) -> dict[str, Any]:
        """As plain JSON values: source, images (N), shape [H, W, C], labels (how many different ones, None without),
        notes, skipped (a name and a reason each) and content_hash."""
        return {
            "source": self.source,
            "images": len(self.pixels),
            "shape": list(self.pixels.shape[1:]),
            "labels": None if self.labels is None else len(np.unique(self.labels)),
            "notes": list(self.notes),
            "skipped": [entry._asdict() for entry in self.skipped],
            "content_hash": self.content_hash,
        }


@dataclass(frozen=True)
class Stream:
    """An iterator over a source's images, a few thousand at a time: uint8 (n, H, W, C), in the source's order."""

    pieces: Iterator[np.ndarray]
    names: tuple[str, ...] | None = None  # as in `Images`, of all pieces together; so the rest
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    labels: Callable[[int], np.ndarray | None] = lambda n_images: None  # read only if asked for

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.pieces

    def __next__(self) -> np.ndarray:
        return next(self.pieces)


def piece_starts(n_images: int, image_bytes: int) -> range:
    """Where the pieces of a stream begin; the step is a piece's length."""
    return range(0, n_images, max(1, min(PIECE, PIECE_BYTES // max(1, image_bytes))))


def cut(array: np.ndarray) -> Iterator[np.ndarray]:
    """The pieces of an array whose first axis counts images, none empty."""
    starts = piece_starts(len(array), array[0].nbytes)
    for start in starts:
        yield array[start : start + starts.step]


def in_words(shape: tuple[int, ...]) -> str:
    """A shape as people write it: 28 x 28 x 1."""
    return " x ".join(map(str, shape))


def as_pixels(images: object) -> np.ndarray:
    """Images as uint8 (N, H, W, C).

    Args:
        images: (N, H, W) or (N, H, W, C), uint8, or floats in [0, 1], which are rounded to 256 levels.

    Raises:
        TypeError: another dtype.
        ValueError: another rank, no images or no pixels, NaN, infinity, or floats outside [0, 1].
    """
    array = np.asarray(images)
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise TypeError(
            f"images have dtype {array.dtype}: expected uint8 (0 to 255) or floats in [0, 1]; convert them first"
        )
    if array.ndim not in (3, 4):
        raise ValueError(f"images have shape {array.shape}: expected (N, H, W) or (N, H, W, C)")
    if 0 in array.shape:
        raise ValueError(f"images have shape {array.shape}: expected at least one image and one pixel")
    if array.dtype != np.uint8:
        low, high = array.min(), array.max()  # NaN and infinity show here too
        if not np.isfinite([low, high]).all():
            raise ValueError("images hold NaN or infinity: expected floats in [0, 1]; mend or drop those images")
        if low < 0 or high > 1:
            raise ValueError(
                f"images are floats from {low:g} to {high:g}: expected [0, 1]; rescale them, or pass uint8"
            )
        array = np.rint(array * 255).astype(np.uint8)
    return array if array.ndim == 4 else array[..., None]
