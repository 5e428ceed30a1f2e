"""Sets of images by name: checked against recorded checksums, prepared once by tensorflow-datasets, TensorFlow-free."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...sentences import in_a_line
from ..images import Images, as_pixels
from .sets import NAMES, VERSION, Named, dataset_name, filename

__all__ = ["NAMES", "Named", "Row", "catalogue", "is_name", "load_named", "prepare"]

STOCK = "tfds:"  # before a name from tensorflow-datasets' own catalogue
PREPARED = "dataset_info.json"  # written last, before the folder gets its name


class Row(NamedTuple):
    """One line of the catalogue."""

    name: str
    images: int
    shape: tuple[int, int, int]
    classes: int
    prepared: bool
    origin: str  # where it comes from
    download: int  # bytes; 0 where nothing is downloaded
    by_agreement: bool  # its owner must be asked for the files


def is_name(source: str) -> bool:
    """Whether `source` names a set, ours or (tfds:NAME) one of tensorflow-datasets' own."""
    return source in NAMES or source.startswith(STOCK)


def catalogue(data_dir: str | Path | None = None) -> list[Row]:
    """What there is by name, and which of it is prepared in `data_dir`."""
    root = _root(data_dir)
    return [
        Row(
            name,
            named.images,
            named.shape,
            named.classes,
            not named.splits or (_folder(name, root) / PREPARED).is_file(),
            named.origin,
            named.download,
            bool(named.agreement),
        )
        for name, named in NAMES.items()
    ]


def prepare(
    name: str, data_dir: str | Path | None = None, manual_dir: str | Path | None = None, progress: bool = True
) -> Path:
    """Make a set ready to be loaded: get its files, check them, and write them as a tensorflow-dataset.

    Args:
        name: one of NAMES, or tfds:NAME for one of tensorflow-datasets' own catalogue (needs tensorflow).
        data_dir: folder of all sets; tensorflow-datasets' own ($TFDS_DATA_DIR, or ~/tensorflow_datasets) if None.
        manual_dir: folder that holds the set's original files, itself or in a folder of the set's name. What is there
            is used instead of a download. If None, <data_dir>/downloads/manual/NAME. (mnist-test's name here is mnist.)
        progress: show the progress of downloads on standard error.

    Returns:
        the folder of the prepared set.

    Raises:
        ValueError: an unknown name, a file that cannot be had or is not the recorded one, a folder that cannot be used.
    """
    if name.startswith(STOCK):
        return Path(_prepared_stock(name, data_dir, manual_dir, progress).data_dir)
    named = _named(name)
    if not named.splits:  # scikit-learn's digits came with scikit-learn
        return Path(str(find_spec("sklearn").origin)).parent / "datasets" / "data"  # type: ignore[union-attr]
    root = _root(data_dir)
    folder = _folder(name, root)
    if (folder / PREPARED).is_file():
        return folder
    manual = _manual(named, root, manual_dir)
    missing = [filename(url) for url in named.sources if not (manual / filename(url)).is_file()]
    if missing and named.agreement:
        raise ValueError(
            f"{name} is not for everyone to download: ask for {', '.join(missing)} from {named.agreement}; put it "
            f"into {manual}, or into a folder that you name as the manual directory"
        )
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import tqdm_utils

    from .builder import FILE_FORMAT, NamedImages

    shown = tqdm_utils._active  # it can be set, but not asked for, in public
    tfds.display_progress_bar(False)
    try:
        NamedImages(name, root, manual, progress and shown).download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False), file_format=FILE_FORMAT
        )
    except OSError as error:
        if not (folder / PREPARED).is_file():  # another process may have been faster: then all is well
            raise ValueError(f"{name} cannot be prepared in {root}: {error}") from error
    finally:
        tfds.display_progress_bar(shown)
    return folder


def load_named(
    name: str, data_dir: str | Path | None = None, manual_dir: str | Path | None = None, progress: bool = True
) -> Images:
    """The images and labels of a set, which is prepared if it was not.

    Args:
        name: one of NAMES, or tfds:NAME for one of tensorflow-datasets' own catalogue (needs tensorflow).
        data_dir, manual_dir, progress: as in `prepare`.

    Returns:
        pixels uint8 (N, H, W, C), labels int32 (N,) from 0, source `name`; split after split.

    Raises:
        ValueError: as in `prepare`; a prepared set that is damaged; a stock set that holds no images of one shape.
    """
    if name.startswith(STOCK):
        return _read_stock(name, _prepared_stock(name, data_dir, manual_dir, progress))
    named = _named(name)
    if not named.splits:
        return _digits()
    folder = prepare(name, data_dir, manual_dir, progress)
    from .builder import NamedImages

    pixels = np.empty((named.images, *named.shape), np.uint8)
    labels = np.empty(named.images, np.int32)
    start = 0
    try:
        builder = NamedImages(name, _root(data_dir))
        for split in named.splits:
            source = builder.as_data_source(split)
            for index in range(len(source)):
                block = source[index]
                end = start + len(block["label"])
                pixels[start:end], labels[start:end] = block["image"], block["label"]
                start = end
        if start != named.images:
            raise ValueError(f"it holds {start} images instead of {named.images}")
    except Exception as error:  # the formats each have their own for a damaged file
        raise ValueError(f"{folder} cannot be read: {in_a_line(error)}; delete it, and it is prepared anew") from error
    return Images(pixels, labels, name)


def _digits() -> Images:
    from sklearn.datasets import load_digits  # heavy, and only this set needs it

    digits = load_digits()
    return Images(as_pixels(digits.images / 16), digits.target.astype(np.int32), "digits")


def _named(name: str) -> Named:
    if name not in NAMES:
        raise ValueError(f"no set is named {name!r}: expected one of {', '.join(NAMES)}, or {STOCK}NAME")
    return NAMES[name]


def _root(data_dir: str | Path | None) -> Path:
    """The folder of all sets, as tensorflow-datasets finds it, without importing it."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser().absolute()


def _folder(name: str, root: Path) -> Path:
    return root / dataset_name(name) / VERSION


def _manual(named: Named, root: Path, manual_dir: str | Path | None) -> Path:
    """The folder to look for a set's own files in."""
    if manual_dir is None:
        return root / "downloads" / "manual" / named.folder
    given = Path(manual_dir).expanduser().absolute()
    if not given.is_dir():
        raise ValueError(f"manual directory {str(manual_dir)!r} is not there, or is no folder: check the path")
    own = given / named.folder  # several sets have files of the same names
    return own if own.is_dir() else given


def _prepared_stock(name: str, data_dir: str | Path | None, manual_dir: str | Path | None, progress: bool):
    """The builder of a set of tensorflow-datasets' own catalogue. It asks for TensorFlow, to prepare and to read."""
    if find_spec("tensorflow") is None:
        raise ValueError(
            f"{name} is a set of tensorflow-datasets' own, which needs tensorflow, and that is not installed: pip "
            f"install tensorflow, or name one of {', '.join(NAMES)}"
        )
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import tqdm_utils

    shown = tqdm_utils._active
    tfds.display_progress_bar(progress and shown)
    try:
        builder = tfds.builder(name.removeprefix(STOCK), data_dir=str(_root(data_dir)))
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    except tfds.core.DatasetNotFoundError as error:  # it names all the others
        raise ValueError(
            f"{name} is not in tensorflow-datasets' catalogue: tfds.list_builders() lists what is"
        ) from error
    except Exception as error:  # of any kind: its hundreds of builders are as many programs
        raise ValueError(f"{name} cannot be prepared: {' '.join(str(error).split())}") from error
    finally:
        tfds.display_progress_bar(shown)
    return builder


def _read_stock(name: str, builder) -> Images:
    """All splits of a stock set, one after another."""
    import tensorflow_datasets as tfds

    image, label = builder.info.supervised_keys or ("image", "label")
    images, labels = [], []
    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    for split in builder.info.splits:
        for example in tfds.as_numpy(builder.as_dataset(split=split, read_config=in_order)):
            if getattr(example.get(image), "ndim", 0) != 3:
                raise ValueError(f"{name} holds {', '.join(example)}: expected images (H, W, C) under {image}")
            images.append(example[image])
            labels.append(example.get(label))
    if len({one.shape for one in images}) != 1:
        raise ValueError(f"{name} holds images of different sizes: expected one; write them as files of one size first")
    known = all(np.shape(one) == () and np.asarray(one).dtype.kind in "iu" for one in labels)
    return Images(as_pixels(np.stack(images)), np.array(labels, np.int32) if known else None, name)
