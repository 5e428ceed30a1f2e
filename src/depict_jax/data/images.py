"""What every source gives, and what arrays may be images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Images:
    """A set of images of one shape.

    `labels` are for evaluation only: training takes `pixels`.
    """

    pixels: np.ndarray  # uint8 (N, H, W, C)
    labels: np.ndarray | None  # (N,), or None
    source: str  # where they came from, as the user named it

    @cached_property
    def content_hash(self) -> str:
        """sha256 over the shape and the pixels, in hexadecimal."""
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()


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
