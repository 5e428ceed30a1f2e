"""The file formats that the named sets are distributed in. Nothing in them is ever unpickled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...sentences import in_a_line
from .. import hdf5, idx
from ..images import as_pixels


def read_images(paths: Sequence[Path], kind: str, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of one split.

    Args:
        paths: the file of the images and that of the labels (kind ".gz"), or the one that holds both.
        kind: ".gz" (gzipped idx), ".mat" (MATLAB 5: a row for each image, pixels in column-major order) or ".h5" (HDF5
            with `data` (N, C, H, W) and `labels` (N,)).
        shape: height, width and channels of an image.

    Returns:
        pixels, uint8 (N, H, W, C); labels, int32 (N,), from 0.

    Raises:
        ValueError: a file that cannot be read, or holds other images.
    """
    try:
        if kind == ".gz":
            images, labels = (np.concatenate(list(idx.items(path))) for path in paths)
        else:
            images, labels = {".mat": _read_mat, ".h5": _read_hdf5}[kind](paths[0], shape)
            # MATLAB counts from 1; where it counts ten digits, its tenth is the 0
            labels = labels % 10 if labels.max() == 10 else labels - labels.min()
        pixels = _as_bytes(images)
        labels = np.ravel(labels).astype(np.int32)
        if len(labels) != len(pixels) or pixels.shape[1:] != shape:
            raise ValueError(
                f"it holds {len(pixels)} images of {pixels.shape[1:]} and {len(labels)} labels, not images of {shape}"
            )
    except Exception as error:  # gzip, zlib, scipy and h5py each have their own for a damaged file
        where = " and ".join(map(str, paths))
        raise ValueError(f"{where} cannot be read: {in_a_line(error)}; take it away and try again") from error
    return pixels, labels


def _read_mat(path: Path, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    from scipy.io import loadmat

    arrays = [value for name, value in loadmat(path).items() if not name.startswith("__")]
    height, width, _ = shape
    # the names differ between files, the shapes cannot
    rows = next((array for array in arrays if array.ndim == 2 and array.shape[1] == height * width), None)
    if rows is None:
        raise ValueError(f"it holds no rows of {height * width} pixels")
    labels = next((array for array in arrays if array.size == len(rows)), None)
    if labels is None:
        raise ValueError(f"it holds no labels for its {len(rows)} images")
    return rows.reshape(-1, width, height).transpose(0, 2, 1), labels


def _read_hdf5(path: Path, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    found = hdf5.read(path)
    labels = found.labels()
    if labels is None:
        raise ValueError("it holds no labels")
    return np.moveaxis(np.concatenate(list(found.pieces())), 1, -1), labels


def _as_bytes(images: np.ndarray) -> np.ndarray:
    """uint8 pixels from whole numbers of another type (MATLAB's are doubles) or from floats in [0, 1]."""
    if images.dtype != np.uint8 and images.size and images.max() > 1:
        if images.min() < 0 or images.max() > 255 or (images != np.rint(images)).any():
            raise ValueError(
                f"its pixels go from {images.min():g} to {images.max():g}: expected whole numbers from 0 to 255"
            )
        images = images.astype(np.uint8)
    return as_pixels(images)
