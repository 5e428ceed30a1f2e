"""The builder that tensorflow-datasets prepares the named sets with. It needs no TensorFlow."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.resource import get_dl_fname

from .formats import read_images
from .sets import NAMES, VERSION, dataset_name, filename

# A record is a block of images, at most so many blocks a split. Read one by one, MNIST's 70,000 take five times as long
# as in blocks; and where array_record has no wheels (Windows) the records are parquet's, of which tensorflow-datasets
# 4.9.10 keeps the first hundred and drops most of the others.
BLOCKS = 64
FILE_FORMAT = "array_record" if find_spec("array_record") else "parquet"
REACH_S = 10  # seconds to wait for a server's first answer


class _Info(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """Nothing: there is no bucket, and the search for it leaves empty folders in the temporary directory."""


class NamedImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """One named set, in the order of its files: `image` uint8 (n, H, W, C) and `label` int32 (n,), block by block."""

    VERSION = tfds.core.Version(VERSION)

    def __init__(self, name: str, data_dir: Path, manual: Path | None = None, progress: bool = True):
        self.name = dataset_name(name)
        self.set_name, self.named = name, NAMES[name]
        self.manual = manual or data_dir / "downloads" / "manual" / self.named.folder
        self.progress = progress
        self._reached: set[str] = set()  # servers that have answered
        super().__init__(data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        block = {
            "image": tfds.features.Tensor(shape=(None, *self.named.shape), dtype=np.uint8, encoding="bytes"),
            "label": tfds.features.Tensor(shape=(None,), dtype=np.int32, encoding="bytes"),
        }
        return _Info(
            builder=self,
            description=f"{self.named.description}. From: {self.named.origin}.",
            features=tfds.features.FeaturesDict(block),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        read = {}
        for split, urls in self.named.splits.items():
            paths = [self._fetch(dl_manager, url) for url in urls]
            read[split] = read_images(paths, Path(filename(urls[0])).suffix, self.named.shape)
        found = sum(len(pixels) for pixels, _ in read.values())
        classes = len(np.unique(np.concatenate([labels for _, labels in read.values()])))
        if (found, classes) != (self.named.images, self.named.classes):
            raise ValueError(
                f"{', '.join(map(filename, self.named.sources))}: found {found} images of {classes} classes, but "
                f"{self.set_name} is {self.named.images} of {self.named.classes}; take them away and try again"
            )
        return {split: self._generate_examples(*arrays) for split, arrays in read.items()}

    def _generate_examples(self, pixels: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict]]:
        block = -(-len(pixels) // BLOCKS)
        for start in range(0, len(pixels), block):
            yield start, {"image": pixels[start : start + block], "label": labels[start : start + block]}

    def _fetch(self, dl_manager, url: str) -> Path:
        """The file, from the manual directory, from an earlier download, or downloaded: the recorded one or none.

        One at a time: of several at once, those still on their way when one fails would go on, and hold up the exit.
        """
        wanted = self.url_infos.get(url)
        path = self.manual / filename(url)
        if wanted is None:  # never recorded, because it cannot be had in public
            return path
        if path.is_file():
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != wanted.checksum:
                raise ValueError(
                    f"{path} is not the file that {self.set_name} is made from (sha256 {found}, expected "
                    f"{wanted.checksum}): put the right one there, or take it away to have it downloaded"
                )
            return path
        downloads = Path(dl_manager.download_dir) / self.name
        unfinished = f"{get_dl_fname(url)}.tmp.*"
        before = set(downloads.glob(unfinished))
        tfds.display_progress_bar(self.progress)
        try:
            if not (downloads / get_dl_fname(url, wanted.checksum)).exists():
                self._reach(url)
            return Path(dl_manager.download(url))
        except NonMatchingChecksumError as error:
            recorded = f"{int(wanted.size):,} bytes with sha256 {wanted.checksum}"
            raise self._failed(f"{url} is not the file that was recorded ({recorded})") from error
        except (requests.RequestException, tfds.download.DownloadError) as error:
            raise self._failed(" ".join(str(error).split()).rstrip(".")) from error
        finally:
            tfds.display_progress_bar(False)  # what comes after a download is done in a second
            for folder in set(downloads.glob(unfinished)) - before:
                shutil.rmtree(folder, ignore_errors=True)

    def _reach(self, url: str) -> None:
        """Ask the server once without patience: the download manager would try for minutes on a machine offline."""
        server = urlsplit(url).netloc
        if server not in self._reached:
            try:
                requests.head(url, timeout=REACH_S).close()
            except requests.RequestException as error:
                raise self._failed(f"{server} cannot be reached") from error
            self._reached.add(server)

    def _failed(self, reason: str) -> ValueError:
        missing = [url for url in self.named.sources if not (self.manual / filename(url)).is_file()]
        folder = missing[0].rpartition("/")[0]
        files, them = f"{', '.join(map(filename, missing))} of {folder}", "them" if missing[1:] else "it"
        return ValueError(
            f"{self.set_name} cannot be downloaded: {reason}; try again, or get {files} by other ways and put {them} "
            f"into {self.manual}, or into a folder that you name as the manual directory"
        )

    def _log_download_bytes(self) -> None:
        """Nothing: it would print, to standard output, sizes that it does not know."""

    def _log_download_done(self) -> None:
        """Nothing, for the same reason."""
