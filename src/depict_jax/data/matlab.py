"""MATLAB's .mat files: rows of flattened images, column by column, as research data sets have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .hdf5 import DAMAGE, datasets
from .images import cut, in_words
from .numbers import LABELS, Numbers, find, find_images, in_a_sentence

PLAIN = {"double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}


def read(path: Path) -> Numbers:
    """The variable X, fea, data or images, and the labels gnd, Y or labels, in any case; versions 4 to 7.3.

    Images may be rows, or, where the number of labels says so, columns; or the last axis of three or four.

    Raises:
        ValueError: a file that cannot be read, has no such variable, has cells, structs or sparse arrays there, or
            does not say which axis counts the images.
    """
    import h5py

    images, labels, name = (_read_hdf5 if h5py.is_hdf5(path) else _read_old)(path)
    where = f"{path}: {name}"
    axis, note = _axis(images.shape, None if labels is None else labels.size, where)
    images = np.moveaxis(images, axis, 0)

    return Numbers(
        where,
        images.shape,
        images.dtype,
        lambda: cut(images),
        lambda: labels,
        columns_first=True,
        notes=(note,) if note else (),
    )


def _axis(shape: tuple[int, ...], n_labels: int | None, where: str) -> tuple[int, str | None]:
    """The axis that counts images, and what was assumed."""
    if n_labels is None:
        if len(shape) == 2:
            return 0, None
        raise ValueError(f"{where} has shape {shape} and no labels to say which axis counts images: save rows (N, D)")
    first, last = shape[0] == n_labels, shape[-1] == n_labels
    if not first and not last:
        raise ValueError(f"{where} has shape {shape} for {n_labels} labels: expected one for each image")
    if first and last:
        return 0, f"of shape {in_words(shape)} the first axis is taken to count the images"
    return (0, None) if first else (len(shape) - 1, f"of shape {in_words(shape)} the last axis counts the images")


def _read_old(path: Path) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Versions 4 to 7.2."""
    from scipy.io import loadmat, whosmat

    # scipy's reader raises nearly everything for a damaged file
    with in_a_sentence(path, Exception):
        kinds = {name: kind for name, _, kind in whosmat(path, appendmat=False)}
    name, labels = _names(kinds, path)
    wanted = [name] if labels is None else [name, labels]
    with in_a_sentence(path, Exception):
        # in MATLAB's own types: it stores doubles in fewer bytes where they fit
        found = loadmat(path, appendmat=False, variable_names=wanted, mat_dtype=True)
        return found[name], None if labels is None else found[labels], name


def _read_hdf5(path: Path) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Version 7.3, which is HDF5 with the axes backwards."""
    import h5py

    with in_a_sentence(path, *DAMAGE), h5py.File(path) as file:
        kinds = {name: _kind(file[name]) for name in datasets(file)}
        name, labels = _names(kinds, path)

        def array(name: str) -> np.ndarray:
            found = file[name][()].T
            return found.astype(bool) if kinds[name] == "logical" else found

        return array(name), None if labels is None else array(labels), name


def _kind(item) -> str:
    kind = item.attrs.get("MATLAB_class", b"struct")
    return kind.decode() if isinstance(kind, bytes) else str(kind)


def _names(kinds: dict[str, str], path: Path) -> tuple[str, str | None]:
    name, labels = find_images(kinds, str(path)), find(kinds, LABELS, str(path))
    for given in (name, labels):
        if given is not None and kinds[given] not in PLAIN:
            raise ValueError(f"{path}: {given} is of MATLAB's class {kinds[given]}: expected a plain array of numbers")
    return name, labels
