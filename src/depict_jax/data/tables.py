"""Tables of pixels, CSV and parquet: a row for each image, a column for each pixel, perhaps one of labels."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .images import piece_starts
from .numbers import LABELS, Numbers, find, in_a_sentence

BLOCK = 16 << 20  # bytes of CSV at a time


def read_csv(path: Path) -> Numbers:
    """A CSV file, plain or gzipped; a first line that is all numbers is an image and no header.

    Raises:
        ValueError: a file that cannot be read, or has values that are missing or no numbers.
    """
    import pyarrow
    from pyarrow import csv as arrow

    damage = (pyarrow.ArrowException, OSError)
    with (
        in_a_sentence(path, OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error),
        (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as file,
    ):
        first = next(csv.reader(file), [])
    if not first:
        raise ValueError(f"{path} is empty: expected a row for each image")
    bare = _is_row(first)
    names = [f"f{i}" for i in range(len(first))] if bare else first  # f0 ...: what Arrow calls them
    label = None if bare else find(names, LABELS, str(path))
    pixels = [i for i, name in enumerate(names) if name != label]
    types = {names[i]: pyarrow.float32() for i in pixels} | ({} if label is None else {label: pyarrow.string()})

    def batches(only: list[str] | None = None):
        with in_a_sentence(path, *damage):
            yield from arrow.open_csv(
                path,
                arrow.ReadOptions(block_size=max(BLOCK, 20 * len(first)), autogenerate_column_names=bare),
                convert_options=arrow.ConvertOptions(column_types=types, include_columns=only),
            )

    def pieces() -> Iterator[np.ndarray]:
        for batch in batches():
            if batch.num_rows:
                yield _columns(batch, pixels, path)

    # Arrow has to be asked how many rows there are; the labels come with the answer
    counted = [
        value for batch in batches([names[0] if label is None else label]) for value in batch.column(0).to_pylist()
    ]

    def labels() -> np.ndarray | None:
        if label is None:
            return None
        found = np.array(counted)
        try:
            return found.astype(np.int64)
        except ValueError:
            return found

    note = ("no header line: every column is a pixel",) if bare else ()
    return Numbers(str(path), (len(counted), len(pixels)), np.dtype(np.float32), pieces, labels, notes=note)


def read_parquet(path: Path) -> Numbers:
    """A parquet file.

    Raises:
        ValueError: a file that cannot be read, or has columns beside the labels that are no numbers.
    """
    import pyarrow
    from pyarrow import parquet

    damage = (pyarrow.ArrowException, OSError)
    with in_a_sentence(path, *damage), parquet.ParquetFile(path) as file:
        schema, n = file.schema_arrow, file.metadata.num_rows
    label = find(schema.names, LABELS, str(path))
    fields = [field for field in schema if field.name != label]
    for field in fields:
        kind = field.type
        if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_boolean(kind)):
            raise ValueError(f"{path}: column {field.name} is of type {kind}: expected a column of numbers a pixel")
    if not fields:
        raise ValueError(f"{path} has no column of pixels: expected one for each pixel")
    dtype = np.result_type(*{np.dtype(field.type.to_pandas_dtype()) for field in fields})

    def pieces() -> Iterator[np.ndarray]:
        step = piece_starts(n, len(fields) * dtype.itemsize).step
        with in_a_sentence(path, *damage), parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(step, columns=[field.name for field in fields]):
                yield _columns(batch, range(len(fields)), path).astype(dtype, copy=False)

    def labels() -> np.ndarray | None:
        if label is None:
            return None
        with in_a_sentence(path, *damage), parquet.ParquetFile(path) as file:
            return np.array(file.read([label]).column(0).to_pylist())

    return Numbers(str(path), (n, len(fields)), dtype, pieces, labels)


def _columns(batch, wanted, path: Path) -> np.ndarray:
    """(n, D)."""
    for i in wanted:
        if batch.column(i).null_count:
            raise ValueError(f"{path}: column {batch.schema.names[i]} lacks values: expected a number for every pixel")
    return np.stack([batch.column(i).to_numpy(zero_copy_only=False) for i in wanted], axis=1)


def _is_row(first: list[str]) -> bool:
    """Whether a CSV's first line is numbers; 0, 1, 2 ... are names that pandas gave."""
    try:
        values = [float(word) for word in first]
    except ValueError:
        return False
    return values != list(range(len(first)))
