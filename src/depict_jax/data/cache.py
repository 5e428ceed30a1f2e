"""Pixels kept in the user's cache folder, so that pictures are decoded once: written in pieces, opened as a memory map.

An entry is a folder of two files, pixels.npy and about.json. It appears by one rename, so that a reader, or another
process at the same work, finds it whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from platformdirs import user_cache_path

from .images import piece_starts

PIXELS, ABOUT = "pixels.npy", "about.json"
HEADER = 128  # bytes: NumPy leaves room in it for as many images as there may be


def entry(key: str, make: Callable[[Path], None]) -> tuple[np.ndarray, dict[str, Any]]:
    """The pixels, a read-only memory map, and about.json of the entry `key`; `make` fills a new one's folder.

    Raises:
        ValueError: a cache that cannot be written.
    """
    folder = user_cache_path("depict-jax") / "pictures" / key
    try:
        return _opened(folder)
    except (OSError, ValueError):  # not there; or damaged, and made anew
        shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(suffix=".partial", dir=folder.parent))
        try:
            make(partial)
            try:
                partial.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return _opened(folder)
    except OSError as error:
        raise ValueError(
            f"pictures cannot be kept in {folder.parent}: {error.strerror or error}; make room there, or name another "
            "cache folder (XDG_CACHE_HOME on Linux)"
        ) from error


def pieces(pixels: np.ndarray):
    """An entry's pixels, uint8 (n, H, W, C) each. Each is mapped anew: memory that was read is then given back."""
    starts = piece_starts(len(pixels), pixels[0].nbytes)
    path = pixels.filename  # type: ignore[attr-defined]
    del pixels
    for start in starts:
        yield np.array(np.load(path, mmap_mode="r")[start : start + starts.step])


class Writer:
    """A .npy of uint8 (N, H, W, C). Image by image, C is 1 until the first picture in colour; then 3 for all."""

    def __init__(self, folder: Path, size: tuple[int, int], channels: int = 1):
        self.path = folder / PIXELS
        self.size = size
        self.channels = channels
        self.count = 0
        self._begin()

    def append(self, image: np.ndarray) -> None:
        """One more, uint8 (H, W, 1) or (H, W, 3)."""
        if image.shape[2] > self.channels:
            self._widen()
        self._file.write(np.ascontiguousarray(np.broadcast_to(image, (*self.size, self.channels))).data)
        self.count += 1

    def extend(self, images: np.ndarray) -> None:
        """Some more at once, uint8 (n, H, W, C), of the channels that all have."""
        self._file.write(np.ascontiguousarray(images).data)
        self.count += len(images)

    def finish(self, about: dict[str, Any]) -> None:
        """Write the header and about.json, and see both to the disk."""
        self._file.seek(0)
        shape = (self.count, *self.size, self.channels)
        npy.write_array_header_1_0(self._file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        assert self._file.tell() == HEADER
        self._flush()
        with (self.path.parent / ABOUT).open("w", encoding="utf-8") as file:
            json.dump(about, file)
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Leave the file as it is."""
        self._file.close()

    def _begin(self) -> None:
        self._file = self.path.open("wb")
        self._file.write(bytes(HEADER))

    def _flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _widen(self) -> None:
        self.close()
        grey = self.path.with_suffix(".grey")
        self.path.rename(grey)
        self.channels = 3
        self._begin()
        one = int(np.prod(self.size))
        with grey.open("rb") as file:
            file.seek(HEADER)
            for start in (starts := piece_starts(self.count, 3 * one)):
                found = np.frombuffer(file.read(min(starts.step, self.count - start) * one), np.uint8)
                self._file.write(found.repeat(3).data)
        grey.unlink()


def _opened(folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return np.load(folder / PIXELS, mmap_mode="r"), about
