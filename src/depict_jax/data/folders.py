"""Folders of pictures, nested or flat: decoded in threads into the cache, opened from there the next time."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..reading import Reading
from ..sentences import in_a_line
from . import cache
from .images import Images, Skipped, Stream, in_words, piece_starts

if TYPE_CHECKING:
    from PIL import Image
    from rich.console import Console

DEFAULT_SIZE = (32, 32)  # of pictures that have no size in common: the paper's for faces
LARGEST = 512  # longer side that pictures may have in common to be left as they are
AT_ONCE = 256  # pictures handed to the threads at a time
NO_PICTURE = "not a picture"  # why a file is skipped that no reader knows
LAYOUT = 2  # of a cache entry
# Pillow's formats that are not read: EPS would start Ghostscript, WMF Windows' renderer; the others are no pictures.
REFUSED = {"EPS", "WMF", "MPEG", "HDF5", "GRIB", "BUFR"}


class File(NamedTuple):
    """A file in the folder, and what tells that it has changed."""

    name: str  # relative to the folder, parted by /
    size: int
    modified: int
    changed: int


def load(path: Path, reading: Reading, console: Console | None = None) -> Images:
    """The pictures in a folder and its subfolders, by name; pixels are a read-only memory map of the cache.

    Args:
        path: of the folder. Hidden files are passed over, links not followed: a picture counts once, where it lies.
        reading: size, fit and colour; whether subfolders are labels; whether to stop at what is no picture.
        console: where to show progress, if it is a terminal.

    Raises:
        ValueError: no readable picture; with `strict` a file that is none; with `labels_from_folders` a picture in
            no subfolder; a cache that cannot be written.
    """
    root, reading = path.resolve(), replace(reading, fit=reading.fit or "pad")
    files, skipped, notes = _listed(root)
    if reading.strict and skipped:
        raise _stopped(path, skipped[0])
    if not files:
        raise ValueError(f"{path} holds no files: expected pictures, or subfolders with pictures")

    def make(folder: Path) -> None:
        _decode_all(root, path, files, reading, folder, console)

    pixels, about = cache.entry(_key(root, files, reading), make)
    names = tuple(about["names"])
    unreadable = [Skipped(*found) for found in about["skipped"]]
    if reading.strict and unreadable:
        raise _stopped(path, unreadable[0])
    labels = _labels(path, names) if reading.labels_from_folders else None
    skipped = sorted([*skipped, *unreadable])
    return Images(pixels, labels, str(path), names, tuple(skipped), (*notes, *about["notes"]))


def stream(path: Path, reading: Reading, console: Console | None = None) -> Stream:
    """As `load`, in pieces."""
    images = load(path, reading, console)
    return Stream(cache.pieces(images.pixels), images.names, images.skipped, images.notes)


def files_by_name(root: Path) -> dict[str, list[str]]:
    """The files below `root` by their names in `Images.names`: one each, but for bytes that are no text and escapes
    of them that look alike."""
    found: dict[str, list[str]] = {}
    for file in _listed(root)[0]:
        found.setdefault(_shown(file.name), []).append(file.name)
    return found


def _listed(root: Path) -> tuple[list[File], list[Skipped], list[str]]:
    """The files below `root` by name, what was passed over and why, and a note where links were."""
    files, skipped, doubles = [], [], 0
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(root / folder))
        except OSError as error:
            skipped.append(Skipped(_shown(folder), f"cannot be opened: {error.strerror}"))
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = folder + entry.name
            if entry.is_symlink():
                inside = _leads_inside(entry.path, root)
                doubles += inside is True
                if not inside:
                    where = "nowhere" if inside is None else "out of the folder"
                    skipped.append(Skipped(_shown(name), f"a link that leads {where}"))
            elif entry.is_dir(follow_symlinks=False):
                folders.append(name + "/")
            elif entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                files.append(File(name, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
            else:
                skipped.append(Skipped(_shown(name), "a device or a pipe"))
    note = [f"{doubles} link(s) to what lies in the folder itself: counted once, where it lies"] if doubles else []
    return sorted(files), sorted(skipped), note


def _leads_inside(link: str, root: Path) -> bool | None:
    try:
        return Path(os.path.realpath(link, strict=True)).is_relative_to(root)
    except OSError:  # no target, or links in a circle
        return None


def _key(root: Path, files: list[File], reading: Reading) -> str:
    """The cache entry's name: sha256 over all that decides the pixels.

    Reading every file to know whether it changed would take as long as decoding it: names, sizes and times stand for
    the contents. The time of the last change of the file's status cannot be set back, as that of its contents can
    (rsync and tar do); the folder's place parts data sets of equal names, sizes and times. Strictness and labels do
    not touch the pixels.
    """
    from PIL import __version__

    settings = [LAYOUT, __version__, str(root), DEFAULT_SIZE, reading.image_size, reading.fit, reading.colour]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for file in files:
        digest.update(json.dumps(file).encode())
    return digest.hexdigest()


def _decode_all(
    root: Path, path: Path, files: list[File], reading: Reading, folder: Path, console: Console | None
) -> None:
    """Fill a cache entry's folder."""
    names: list[str] = []
    skipped: list[Skipped] = []
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool, _pillow_quiet():
        size, notes = _common_size(root, files, reading, pool, console)
        writer = cache.Writer(folder, size)

        def decode(file: File) -> np.ndarray | str:
            return _attempt(lambda: _picture(root / file.name, size, reading))

        try:
            at_once = min(AT_ONCE, piece_starts(len(files), 3 * size[0] * size[1]).step)
            for file, found in _mapped(pool, decode, files, at_once, "decoding", console):
                if isinstance(found, str):
                    skipped.append(Skipped(_shown(file.name), found))
                    if reading.strict:
                        raise _stopped(path, skipped[0])
                else:
                    names.append(_shown(file.name))
                    writer.append(found)
            if not names:
                raise ValueError(
                    f"{path} holds no picture that can be read: {skipped[0].name} is {skipped[0].reason}; expected "
                    "pictures (other sources are named as files)"
                )
            if reading.colour == "auto":
                notes.append("all pictures are grey: 1 channel" if writer.channels == 1 else "pictures in colour: RGB")
            writer.finish({"names": names, "skipped": skipped, "notes": notes})
        finally:
            writer.close()


def _common_size(
    root: Path, files: list[File], reading: Reading, pool: ThreadPoolExecutor, console: Console | None
) -> tuple[tuple[int, int], list[str]]:
    """Height and width that all pictures are brought to, and what was assumed."""
    if reading.image_size is not None:
        return (reading.image_size[0], reading.image_size[-1]), []

    def measure(file: File) -> tuple[int, int] | str:
        return _attempt(lambda: _size(root / file.name))

    found = _mapped(pool, measure, files, AT_ONCE, "measuring", console)
    sizes = {size for _, size in found if not isinstance(size, str)}
    if not sizes:
        return DEFAULT_SIZE, []
    size = next(iter(sizes))
    if len(sizes) == 1 and max(size) <= LARGEST:
        return size, []
    have = f"all are {in_words(size)}" if len(sizes) == 1 else f"{len(sizes)} different sizes"
    how = "padded" if reading.fit == "pad" else "cropped"
    return DEFAULT_SIZE, [f"{have}: brought to {in_words(DEFAULT_SIZE)}, {how}; --image-size names another size"]


def _mapped(
    pool: ThreadPoolExecutor,
    function: Callable[[File], Any],
    files: list[File],
    at_once: int,
    title: str,
    console: Console | None,
) -> Iterator[tuple[File, Any]]:
    """Each file with its result, in order, under a progress bar; so many at a time, since results wait in memory."""
    from rich.progress import Progress

    shown = console is not None and console.is_terminal and not console.quiet
    with Progress(console=console, disable=not shown, transient=True) as progress:
        task = progress.add_task(f"{title} pictures", total=len(files))
        for start in range(0, len(files), at_once):
            batch = files[start : start + at_once]
            yield from zip(batch, pool.map(function, batch), strict=True)
            progress.advance(task, len(batch))


def _attempt(work: Callable[[], Any]) -> Any:
    """What `work` gives, or in words why it cannot."""
    from PIL import Image, UnidentifiedImageError

    try:
        return work()
    except UnidentifiedImageError:
        return NO_PICTURE
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return f"refused: more than {Image.MAX_IMAGE_PIXELS:,} pixels, a decompression bomb perhaps"
    except Exception as error:  # each of Pillow's readers raises its own for a damaged file
        reason = getattr(error, "strerror", None) or in_a_line(error)
        return f"unreadable: {reason}"


@contextmanager
def _pillow_quiet() -> Iterator[None]:
    """Pillow's remarks on odd files say nothing that `skipped` does not; a bomb is refused and not only remarked on."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    from PIL import Image

    Image.init()
    formats = [name for name in Image.ID if name not in REFUSED]
    with path.open("rb") as file, Image.open(file, formats=formats) as image:
        yield image


def _size(path: Path) -> tuple[int, int]:
    """Height and width once turned upright, by the header alone."""
    from PIL import ExifTags, Image

    with _opened(path) as image:
        exif = Image.Image.getexif(image)  # PNG's own would decode the whole picture
        on_its_side = exif.get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        return image.size if on_its_side else (image.height, image.width)


def _picture(path: Path, size: tuple[int, int], reading: Reading) -> np.ndarray:
    """A picture upright, over white, at the size asked for: uint8 (H, W, 1) or (H, W, 3)."""
    from PIL import ImageOps

    with _opened(path) as opened:
        opened.draft(None, (2 * max(size), 2 * max(size)))  # JPEG decodes at a fraction of its size much faster
        image = _plain(ImageOps.exif_transpose(opened))
    if reading.colour != "auto":
        image = image.convert("L" if reading.colour == "grey" else "RGB")
    pixels = np.asarray(_brought_to(image, size, reading.fit))
    if pixels.ndim == 2:
        return pixels[..., None]
    if reading.colour == "auto" and (pixels[..., :1] == pixels[..., 1:]).all():
        return pixels[..., :1]
    return pixels


def _plain(image: Image.Image) -> Image.Image:
    """As mode L or RGB: 16 bits lose the lower 8, what is transparent shows white."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("it holds floats: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() >= 2**16:
            raise ValueError("it holds 32-bit numbers: save it with 8 or 16 bits")
        return Image.fromarray((levels >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _brought_to(image: Image.Image, size: tuple[int, int], fit: str | None) -> Image.Image:
    """To (height, width), the aspect kept: padded with black, or cropped at its centre."""
    from PIL import Image, ImageOps

    height, width = size
    if image.size == (width, height):
        return image
    if fit == "crop":
        return ImageOps.fit(image, (width, height))
    scale = min(width / image.width, height / image.height)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(image.resize(inner), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas


def _labels(path: Path, names: tuple[str, ...]) -> np.ndarray:
    for name in names:
        if "/" not in name:
            raise ValueError(f"{path}: {name} lies in no subfolder: expected one for each label; leave the option out")
    return np.array([name.split("/")[0] for name in names])


def _stopped(path: Path, first: Skipped) -> ValueError:
    return ValueError(f"{path}: {first.name} is {first.reason}; mend or remove it, or leave out --strict")


def _shown(name: str) -> str:
    """A name as one line of text; bytes that are none, and what would end the line or steer a terminal, are escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: found[0].encode("unicode_escape").decode(), text)
