"""Plain numbers from files into pixels: which range they have, which axis is which, how a row becomes an image.

Nothing is guessed in silence: what the numbers say plainly is done and noted, what is ambiguous is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..sentences import in_a_line
from .images import Images, Stream, as_pixels, in_words

IMAGES, LABELS = ("data", "x", "images", "fea"), ("labels", "label", "y", "gnd", "class")  # names, in any case
SLACK = 1e-6  # rounding in float32


class Numbers(NamedTuple):
    """What a file holds, before anything is assumed about it."""

    where: str  # for sentences: the file, and what in it
    shape: tuple[int, ...]  # images first
    dtype: np.dtype
    pieces: Callable[[], Iterator[np.ndarray]]  # all images in order; may be asked for twice
    labels: Callable[[], np.ndarray | None]  # read only if asked for
    columns_first: bool = False  # rows hold their images column by column, as MATLAB does
    channels_first: bool = False  # where the shape does not say where channels are
    notes: tuple[str, ...] = ()


def load(numbers: Numbers, source: str, image_shape: tuple[int, ...] | None) -> Images:
    """All images, read in pieces into one array; arguments and errors as `stream`, and labels not one for each."""
    found = stream(numbers, source, image_shape)
    n, pixels, start = numbers.shape[0], None, 0
    for piece in found:
        if pixels is None:
            with in_a_sentence(Path(source)):
                pixels = np.empty((n, *piece.shape[1:]), np.uint8)
        pixels[start : start + len(piece)] = piece
        start += len(piece)
    assert pixels is not None and start == n
    return Images(pixels, found.labels(n), source, notes=found.notes)


def stream(numbers: Numbers, source: str, image_shape: tuple[int, ...] | None) -> Stream:
    """The images in pieces, with notes of what was assumed.

    Args:
        numbers: (N, D), (N, H, W), (N, H, W, C) or (N, C, H, W), of any plain kind.
        source: the file, for sentences.
        image_shape: (H, W) or (H, W, C) of the images that rows of D numbers are; None for grey squares.

    Raises:
        TypeError: numbers of a kind that cannot be pixels.
        ValueError: no images, another rank, rows that do not have the shape, numbers whose range does not say
            plainly how they are scaled.
    """
    arranged, notes = _arrangement(numbers, image_shape)
    scaled, note = _scaling(numbers)
    pieces = (as_pixels(scaled(arranged(piece))) for piece in numbers.pieces())

    def labels(n_images: int) -> np.ndarray | None:
        found = numbers.labels()
        return None if found is None else labels_of(found, n_images, source)

    return Stream(pieces, notes=(*numbers.notes, *notes, note), labels=labels)


def find(present: Iterable[str], wanted: tuple[str, ...], where: str) -> str | None:
    """The one name in `present` that is among `wanted` in any case; None without one.

    Raises:
        ValueError: more than one.
    """
    found = [name for name in present if name.lower() in wanted]
    if len(found) > 1:
        raise ValueError(f"{where} holds {' and '.join(found)}: expected one of them; leave the others out of the file")
    return found[0] if found else None


def find_images(present: Iterable[str], where: str) -> str:
    """As `find`, for the images, which must be there."""
    present = list(present)
    name = find(present, IMAGES, where)
    if name is None:
        raise ValueError(
            f"{where} holds {', '.join(present) or 'nothing'}: expected images under {', '.join(IMAGES[:-1])} or "
            f"{IMAGES[-1]}"
        )
    return name


def labels_of(labels: np.ndarray, n_images: int, where: str | Path) -> np.ndarray:
    """Labels (N,), (N, 1) or (1, N) as (N,); whole floats, as MATLAB has them, as int64.

    Raises:
        ValueError: not one for each image.
    """
    if labels.shape not in ((n_images,), (n_images, 1), (1, n_images)):
        raise ValueError(f"{where} has labels of shape {labels.shape} for {n_images} images: expected one for each")
    labels = labels.reshape(n_images)
    whole = labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.rint(labels)).all()
    return labels.astype(np.int64) if whole else labels


def row_shape(length: int, image_shape: tuple[int, ...] | None, where: str) -> tuple[int, int, int]:
    """(H, W, C) of an image that is a row of `length` numbers.

    Raises:
        ValueError: another number of them than `image_shape` has, or none given and `length` is no square.
    """
    if image_shape is None:
        side = math.isqrt(length)
        if side * side != length or length == 0:
            raise ValueError(
                f"{where} has {length} numbers a row, which is no square: say their --image-shape (in Python, "
                "image_shape)"
            )
        return side, side, 1
    if math.prod(image_shape) != length:
        raise ValueError(
            f"{where} has {length} numbers a row: expected {math.prod(image_shape)} for images of "
            f"{in_words(image_shape)}; mend --image-shape (in Python, image_shape)"
        )
    return image_shape[0], image_shape[1], math.prod(image_shape[2:])


def check_own_shape(own: tuple[int, ...], image_shape: tuple[int, ...] | None, where: str) -> None:
    """Refuse an `image_shape`, which is for rows, that images with a shape of their own, (H, W) or (H, W, C), gainsay.

    Raises:
        ValueError: the two differ.
    """
    if image_shape is not None and (*own, 1)[:3] != (*image_shape, 1)[:3]:
        raise ValueError(
            f"{where} has images of {in_words(own)}, not flattened and not {in_words(image_shape)}: --image-shape is "
            "for rows; leave it out"
        )


def plain_white(kind: str, low: float, high: float) -> int | None:
    """What stands for white in numbers of a dtype's `kind` from `low` to `high`, 255 or 1; None where it is not plain.

    It is plain where the numbers fill at least half of the range: rows of unit length lie in [0, 0.3], standardised
    pixels in [-0.5, 0.9], and neither is an image scaled to [0, 1].
    """
    if low < -SLACK:
        return None
    if 128 <= high <= 255 + SLACK:
        return 255
    return 1 if kind == "f" and 0.5 <= high <= 1 + SLACK else None


def to_uint8(piece: np.ndarray, factor: float, offset: float = 0) -> np.ndarray:
    """piece * factor + offset, rounded and clipped to 0 to 255, computed in float32 at least."""
    wide = piece.astype(np.promote_types(piece.dtype, np.float32), copy=False)
    return np.rint(wide * factor + offset).clip(0, 255).astype(np.uint8)


@contextmanager
def in_a_sentence(path: Path, *kinds: type[Exception]) -> Iterator[None]:
    """A library's errors, of these kinds, as one ValueError that names the file.

    So too where there is not the memory for what a header, damaged perhaps, counts.
    """
    damage: tuple[type[Exception], ...] = (*kinds, MemoryError, OverflowError)
    try:
        yield
    except damage as error:
        said = f"{path} cannot be read: {in_a_line(error)}; it is damaged, or not what its name says"
        raise ValueError(said) from error


def _arrangement(
    numbers: Numbers, image_shape: tuple[int, ...] | None
) -> tuple[Callable[[np.ndarray], np.ndarray], list[str]]:
    """What brings a piece to (n, H, W, C), and what it assumes."""
    where, shape = numbers.where, numbers.shape
    if len(shape) not in (2, 3, 4):
        raise ValueError(f"{where} has shape {shape}: expected (N, D) rows, (N, H, W), (N, H, W, C) or (N, C, H, W)")
    if 0 in shape:
        raise ValueError(f"{where} has shape {shape}: expected at least one image and one pixel")
    if len(shape) == 2:
        h, w, c = row_shape(shape[1], image_shape, where)
        note = f"a row of {shape[1]} numbers is an image of {in_words((h, w, c))}, "
        if numbers.columns_first:
            return lambda piece: piece.reshape(-1, c, w, h).transpose(0, 3, 2, 1), [f"{note}column by column"]
        return lambda piece: piece.reshape(-1, h, w, c), [f"{note}row by row"]
    if len(shape) == 3:
        check_own_shape(shape[1:], image_shape, where)
        return lambda piece: piece[..., None], []
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if numbers.channels_first if first == last else first:
        check_own_shape((*shape[2:], shape[1]), image_shape, where)
        return lambda piece: piece.transpose(0, 2, 3, 1), [f"shape {shape} is taken as N, C, H, W: channels first"]
    check_own_shape(shape[1:], image_shape, where)
    return lambda piece: piece, [f"shape {shape} is taken as N, H, W, C: channels last"]


def _scaling(numbers: Numbers) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """What brings a piece to uint8, and what it assumes of the range of all of them."""
    where, kind = numbers.where, numbers.dtype.kind
    if numbers.dtype == np.uint8:
        return lambda piece: piece, "uint8, taken as they are"
    if kind == "b":
        return lambda piece: piece.astype(np.uint8) * np.uint8(255), "true is 255, false is 0"
    if kind not in "iuf":
        raise TypeError(f"{where} has dtype {numbers.dtype}: expected plain numbers (objects are never loaded)")
    low, high, whole = _survey(numbers)
    if not np.isfinite([low, high]).all():
        raise ValueError(f"{where} holds NaN or infinity: expected plain numbers; mend or drop those images")
    span = f"{'whole numbers' if whole else 'floats'} from {low:.6g} to {high:.6g}"
    white = plain_white(kind, low, high)
    if white == 255:
        return lambda piece: to_uint8(piece, 1), f"{span}, taken as 0 to 255{'' if whole else ', rounded'}"
    if white == 1:
        return lambda piece: to_uint8(piece, 255), f"{span}, taken as [0, 1] and scaled to 0 to 255"
    if kind == "f" and -1 - SLACK <= low <= -0.99 and 0.99 <= high <= 1 + SLACK:
        return lambda piece: to_uint8(piece, 127.5, 127.5), f"{span}, taken as [-1, 1] and scaled to 0 to 255"
    raise ValueError(
        f"{where} holds {span}: expected uint8, or a range that is plainly 0 to 255, [0, 1] or [-1, 1]; "
        "rescale them to one of these, or save them as uint8"
    )


def _survey(numbers: Numbers) -> tuple[float, float, bool]:
    """The smallest and largest of all numbers, NaN among them showing, and whether all are whole."""
    low, high, whole = math.inf, -math.inf, True
    for piece in numbers.pieces():
        low, high = float(np.minimum(low, piece.min())), float(np.maximum(high, piece.max()))
        whole = whole and (piece.dtype.kind != "f" or bool((piece == np.rint(piece)).all()))
    return low, high, whole
