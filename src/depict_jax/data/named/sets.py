"""The named sets: what each one is, and where its files lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

CHECKSUMS = Path(__file__).with_name("checksums.tsv")
VERSION = "1.0.0"  # of what is prepared: another one is prepared anew


class Recorded(NamedTuple):
    """What a file was when it was recorded: another one under its name or its URL is refused."""

    size: int  # bytes
    sha256: str
    filename: str


@dataclass(frozen=True)
class Named:
    """A set of images that has a name."""

    description: str
    images: int
    shape: tuple[int, int, int]  # height, width, channels
    classes: int
    origin: str  # where it comes from
    splits: Mapping[str, tuple[str, ...]]  # for each split, in order: URLs of its images and labels, or of one file
    folder: str = ""  # in the manual directory
    agreement: str = ""  # whom to ask for the files, where they are not for everyone to download

    @property
    def sources(self) -> tuple[str, ...]:
        """The URL of every file; only a name for one that lies nowhere in public."""
        return tuple(url for files in self.splits.values() for url in files)

    @property
    def download(self) -> int:
        """Bytes to download."""
        known = recorded()
        return 0 if self.agreement else sum(known[url].size for url in self.sources)


def recorded() -> dict[str, Recorded]:
    """Size, sha256 and name of every file that is recorded, by URL (tensorflow-datasets' own checksum file)."""
    lines = (line.split("\t") for line in CHECKSUMS.read_text().splitlines())
    return {url: Recorded(int(size), sha256, filename) for url, size, sha256, filename in lines}


def dataset_name(name: str) -> str:
    """The folder of a set: not its plain name, which tensorflow-datasets' stock sets have."""
    return f"depict_{name.replace('-', '_')}"


def filename(url: str) -> str:
    """The name that a file has in the manual directory."""
    return url.rpartition("/")[2]


def _four_files(base: str) -> dict[str, tuple[str, ...]]:
    """The original distribution of MNIST, which its successors took over."""
    return {
        split: (f"{base}/{part}-images-idx3-ubyte.gz", f"{base}/{part}-labels-idx1-ubyte.gz")
        for split, part in (("train", "train"), ("test", "t10k"))
    }


_GITHUB = "https://raw.githubusercontent.com"
_MNIST = _four_files("https://storage.googleapis.com/cvdf-datasets/mnist")
_FASHION = _four_files("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com")
_KMNIST = _four_files("http://codh.rois.ac.jp/kmnist/dataset/kmnist")
_USPS = f"{_GITHUB}/XLearning-SCU/2017-TCYB-PCE/286ea01383ddfe932c59b1b5ccc5d5b343a1b539/data/USPS.mat"
_PIE = f"{_GITHUB}/louloupiano/PCPSNMF/ba49a412f48e5f1e4c2d1462b21a1ec6e5bf608a/PIE.mat"
_HDF5 = "data.h5"

NAMES: Mapping[str, Named] = {
    "digits": Named(
        "Handwritten digits, small",
        images=1797,
        shape=(8, 8, 1),
        classes=10,
        origin="inside scikit-learn",
        splits={},
    ),
    "mnist": Named(
        "Handwritten digits: the 60,000 of the training split, then the 10,000 of the test split",
        images=70_000,
        shape=(28, 28, 1),
        classes=10,
        origin="LeCun, Cortes and Burges; the copy at storage.googleapis.com/cvdf-datasets",
        splits=_MNIST,
        folder="mnist",
    ),
    "mnist-test": Named(
        "Handwritten digits: the 10,000 of MNIST's test split",
        images=10_000,
        shape=(28, 28, 1),
        classes=10,
        origin="LeCun, Cortes and Burges; the copy at storage.googleapis.com/cvdf-datasets",
        splits={"test": _MNIST["test"]},
        folder="mnist",
    ),
    "fashion-mnist": Named(
        "Pictures of clothes: the 60,000 of the training split, then the 10,000 of the test split",
        images=70_000,
        shape=(28, 28, 1),
        classes=10,
        origin="Zalando Research, github.com/zalandoresearch/fashion-mnist",
        splits=_FASHION,
        folder="fashion-mnist",
    ),
    "kmnist": Named(
        "Handwritten Japanese letters: the 60,000 of the training split, then the 10,000 of the test split",
        images=70_000,
        shape=(28, 28, 1),
        classes=10,
        origin="ROIS-DS Center for Open Data in the Humanities, codh.rois.ac.jp/kmnist",
        splits=_KMNIST,
        folder="kmnist",
    ),
    "usps": Named(
        "Handwritten digits from envelopes, 1,100 of each, sorted by digit",
        images=11_000,
        shape=(16, 16, 1),
        classes=10,
        origin="USPS.mat of github.com/XLearning-SCU/2017-TCYB-PCE",
        splits={"train": (_USPS,)},
        folder="usps",
    ),
    "cmu-pie": Named(
        "Faces of 68 people, 42 of each, by pose, illumination and expression",
        images=2856,
        shape=(32, 32, 1),
        classes=68,
        origin="Carnegie Mellon University; PIE.mat of github.com/louloupiano/PCPSNMF",
        splits={"train": (_PIE,)},
        folder="cmu-pie",
        agreement="the Robotics Institute of Carnegie Mellon University, which owns the CMU PIE faces; the file with "
        "2,856 of them at 32x32 is the one of github.com/louloupiano/PCPSNMF",
    ),
    "frgc": Named(
        "Faces of 20 people, from the Face Recognition Grand Challenge",
        images=2462,
        shape=(32, 32, 3),
        classes=20,
        origin="National Institute of Standards and Technology (NIST), with the University of Notre Dame",
        splits={"train": (_HDF5,)},
        folder="frgc",
        agreement="NIST and the University of Notre Dame, who own the Face Recognition Grand Challenge; the file is "
        "HDF5 with `data` (2462, 3, 32, 32), 0 to 255, and `labels` (2462,)",
    ),
    "ytf": Named(
        "Faces of 41 people, from YouTube Faces",
        images=10_000,
        shape=(55, 55, 3),
        classes=41,
        origin="Tel Aviv University, www.cs.tau.ac.il/~wolf/ytfaces",
        splits={"train": (_HDF5,)},
        folder="ytf",
        agreement="Tel Aviv University, by the form at https://www.cs.tau.ac.il/~wolf/ytfaces; the file is HDF5 with "
        "`data` (10000, 3, 55, 55), 0 to 255, and `labels` (10000,)",
    ),
}
