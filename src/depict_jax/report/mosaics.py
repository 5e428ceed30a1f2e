"""Mosaics of images as arrays, and figures of such rows, made without pyplot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

TILE = 56  # pixels that a small image's longer side is brought close to
GAP = 2  # transparent pixels between tiles
LARGEST = 64  # longer side of a thumbnail
LABELS = 170  # pixels for the text left of a row
DPI = 100


class Strip(NamedTuple):
    """A row of images with words beside it."""

    title: str
    note: str
    sheet: np.ndarray | None  # as `contact_sheet` makes it; None leaves the row blank


def contact_sheet(pixels: np.ndarray, columns: int = 10) -> np.ndarray:
    """A mosaic of images, row by row, with transparent gaps of 2 pixels.

    Small images are enlarged, each pixel to a square of s x s, s = max(1, round(56 / longer side)); none is shrunk.

    Args:
        pixels: uint8 (N, H, W, C), N at least 1. Of images with neither 1 nor 3 channels the first channel is shown.
        columns: images in a row, at least 1; with fewer images the row is shorter.

    Returns:
        RGBA, uint8 (rows (sH + 2) - 2, columns (sW + 2) - 2, 4). Image i begins at row (i // columns) (sH + 2) and
        column (i % columns) (sW + 2).

    Raises:
        ValueError: pixels of another shape or dtype, or without an image; columns below 1.
    """
    if columns < 1:
        raise ValueError(f"columns is {columns}: expected at least 1")
    shown = _shown(pixels)
    n, h, w, _ = shown.shape
    scale = max(1, round(TILE / max(h, w)))
    columns = min(columns, n)
    rows = -(-n // columns)
    tiles = np.zeros((rows * columns, h * scale + GAP, w * scale + GAP, 4), np.uint8)
    tiles[:n, :-GAP, :-GAP, :3] = shown.repeat(scale, axis=1).repeat(scale, axis=2)
    tiles[:n, :-GAP, :-GAP, 3] = 255
    grid = tiles.reshape(rows, columns, *tiles.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * tiles.shape[1], columns * tiles.shape[2], 4)[:-GAP, :-GAP]


def thumbnails(pixels: np.ndarray, largest: int = LARGEST) -> np.ndarray:
    """Images made small enough to show many of them; those that already are come back as they were.

    Args:
        pixels: uint8 (N, H, W, C), N at least 1. Of images with neither 1 nor 3 channels the first channel is kept.
        largest: the longer side's most pixels, at least 1.

    Returns:
        uint8 (N, h, w, 1 or 3) with max(h, w) at most `largest`, and h / w close to H / W.

    Raises:
        ValueError: pixels of another shape or dtype, or without an image.
    """
    shown = _shown(pixels)
    h, w = shown.shape[1:3]
    if max(h, w) <= largest:
        return shown
    height, width = (max(1, round(side * largest / max(h, w))) for side in (h, w))
    flat = shown[..., 0] if shown.shape[-1] == 1 else shown
    small = [Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS) for image in flat]
    return np.stack([np.asarray(image) for image in small]).reshape(len(shown), height, width, -1)


def strips_figure(strips: Sequence[Strip]) -> Figure:
    """Rows of images, one below the other, each beside its words, on a transparent background.

    At the figure's own 100 dots an inch a pixel of a sheet is a pixel of the figure.

    Args:
        strips: at least one of them with a sheet; a row without is as high as the first with one.
    """
    sheets = [strip.sheet for strip in strips if strip.sheet is not None]
    heights = [(sheets[0] if strip.sheet is None else strip.sheet).shape[0] for strip in strips]
    width, height = max(sheet.shape[1] for sheet in sheets), sum(heights) + GAP * (len(strips) - 1)
    figure = Figure(figsize=((LABELS + width) / DPI, height / DPI), dpi=DPI, facecolor="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    top = 0
    for strip, own in zip(strips, heights, strict=True):
        middle = top + own / 2
        axes.text(-LABELS, middle, strip.title, va="bottom", size=11, weight="bold")
        axes.text(-LABELS, middle + 2, strip.note, va="top", size=9)
        if strip.sheet is not None:
            box = (0, strip.sheet.shape[1], top + own, top)
            axes.imshow(strip.sheet, extent=box, interpolation="nearest", aspect="auto")
        top += own + GAP
    axes.set(xlim=(-LABELS, width), ylim=(height, 0))  # each imshow moves them
    return figure


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """Text without what no page and no font can show: control characters, halves of a file name's broken letters."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _shown(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim != 4 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}: expected uint8 (N, H, W, C), N at least 1")
    return pixels if pixels.shape[-1] in (1, 3) else pixels[..., :1]
