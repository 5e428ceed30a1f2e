"""The paper's data sets, one file for each: what it is, what the paper reports, and how far we came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np

from depict_jax.data import Images, load
from depict_jax.settings import Initial
from experiments.benchmarks.record import SHARED

NAMES = ("mnist-full", "mnist-test", "usps", "cmu-pie", "digits", "frgc", "ytf")


@dataclass(frozen=True)
class Preset:
    """One data set; nothing but K, the initial assignment and where the images come from differs between them."""

    title: str
    clusters: int
    initial: Initial  # the paper's initial assignment for this set
    source: str  # for depict_jax.data.load
    file: str = ""  # in SHARED/data, taken instead of the source where it lies there
    first: int = 0  # row of `file` at which the set begins
    size: int | None = None  # only so many images, for a try
    thinned: Callable[[np.ndarray], np.ndarray] | None = None  # from the labels, the rows of a set made uneven
    seeds: int = 5

    def images(self) -> Images:
        """The set with its labels.

        Raises:
            ValueError: images that are not to be had here, with what to do.
        """
        path = SHARED / "data" / self.file
        from_file = bool(self.file) and path.is_file()
        found = load(path if from_file else self.source)
        first = self.first if from_file else 0
        rows: slice | np.ndarray = slice(first, None if self.size is None else first + self.size)
        if self.thinned is not None:
            assert found.labels is not None
            rows = np.arange(len(found.pixels))[rows][self.thinned(found.labels[rows])]
        labels = None if found.labels is None else found.labels[rows]
        # a copy where the set is a part: a view would keep the whole file in memory
        whole = isinstance(rows, slice) and rows == slice(0, None)
        pixels = found.pixels if whole else found.pixels[rows].copy()
        return replace(found, pixels=pixels, labels=labels, source=self.source)


def preset(name: str) -> Preset:
    """The preset called `name`, as in NAMES.

    Raises:
        ValueError: an unknown name.
    """
    if name not in NAMES:
        raise ValueError(f"data set is {name!r}: expected one of {', '.join(NAMES)}")
    return import_module(f"experiments.presets.{path_of(name).stem}").PRESET


def path_of(name: str) -> Path:
    """The file of the preset called `name`."""
    return Path(__file__).with_name(f"{name.replace('-', '_')}.py")
