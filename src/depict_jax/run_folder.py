"""The files of a run's folder, each readable by a person: what is written where, and when a folder may be written to.

config.json      what was clustered and how
metrics.jsonl    a line for each epoch
checkpoints/     states to go on from; the newest is the model
assignments.csv  index, the file's name where the images are files, cluster, confidence
scores.json      ACC, NMI and ARI after each stage, where labels exist
report.html      a page to look at
tensorboard/     metrics.jsonl for TensorBoard, where asked for
.lock            held by the process that writes to the folder; empty, and it may stay
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from .architecture import Architecture, Convolution
from .reading import Reading
from .sentences import in_a_line
from .settings import Settings
from .stage_names import place_of

CONFIG, METRICS, CHECKPOINTS = "config.json", "metrics.jsonl", "checkpoints"
ASSIGNMENTS, SCORES, REPORT = "assignments.csv", "scores.json", "report.html"
TENSORBOARD, LOCK = "tensorboard", ".lock"
CONSENSUS = "consensus.csv"  # beside the folders of several seeds
FILES = (CONFIG, METRICS, CHECKPOINTS, ASSIGNMENTS, SCORES, REPORT, TENSORBOARD)
FORMAT = 2  # 2: the dense layers next to a map count its channels first


@dataclass(frozen=True)
class Config:
    """config.json: all that decides a run's outcome."""

    source: str
    content_hash: str
    n_images: int
    architecture: Architecture
    settings: Settings
    reading: Reading | None = None  # how the source was read; None where an older version ran
    white: float | None = None  # of arrays that the estimator was given, where not uint8: see DEPICT.white_

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; an infinite prior weight is the string "inf"."""
        found = {"format": FORMAT, **asdict(self)}
        weight = found["settings"]["prior_weight"]
        found["settings"]["prior_weight"] = "inf" if weight == math.inf else weight
        return json.loads(json.dumps(found, default=str))  # paths

    @classmethod
    def read(cls, folder: Path) -> Config:
        """The config of the run in `folder`.

        Raises:
            ValueError: a folder that is no run, or whose config.json is damaged or of another format.
        """
        path = folder / CONFIG
        if not path.is_file():
            raise ValueError(f"{folder} is no run: it has no {CONFIG}; give a folder that `depict-jax fit` made")
        try:
            found = json.loads(path.read_text())
            if found["format"] != FORMAT:
                raise ValueError(f"it is of format {found['format']}, expected {FORMAT}")
            shape, settings = found["architecture"], found["settings"]
            return cls(
                source=str(found["source"]),
                content_hash=str(found["content_hash"]),
                n_images=int(found["n_images"]),
                architecture=Architecture(
                    image=tuple(shape["image"]),
                    convolutions=tuple(
                        Convolution(c["features"], tuple(c["kernel"]), tuple(c["stride"]), tuple(c["pad"]))
                        for c in shape["convolutions"]
                    ),
                    n_clusters=shape["n_clusters"],
                    dropout=tuple(shape["dropout"]),
                ),
                settings=Settings(
                    **{
                        **settings,
                        "prior": None if settings["prior"] is None else tuple(settings["prior"]),
                        "prior_weight": math.inf if settings["prior_weight"] == "inf" else settings["prior_weight"],
                    }
                ),
                reading=_reading(found.get("reading")),
                white=None if found.get("white") is None else float(found["white"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, OSError) as error:
            raise ValueError(f"{path} is damaged or not of this program: {in_a_line(error)}") from error

    def differences(self, other: Config) -> list[str]:
        """What differs from `other`, as "name: value, not theirs"; the source's name does not count, its images do.

        How they were read is told only where it made other images.
        """
        mine, theirs = _flat(self.to_json()), _flat(other.to_json())
        same_images = self.content_hash == other.content_hash
        return [
            f"{name.rpartition('.')[2]}: {value}, not {theirs.get(name)}"
            for name, value in mine.items()
            if name != "source" and theirs.get(name) != value and not (same_images and name.startswith("reading"))
        ]


def check_free(folder: Path, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that `claim`, whose arguments these are, would refuse for any run.

    Raises:
        ValueError: a file; a folder that holds a run (without resume or overwrite), or other files and no run; both
            resume and overwrite.
    """
    if resume and overwrite:
        raise ValueError("--resume and --overwrite: expected at most one of them")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: expected a folder for the run, or one to be made")
    if (folder / CONFIG).exists():
        if not resume and not overwrite:
            raise ValueError(f"{folder} already holds a run: resume it, overwrite it, or choose another folder")
    elif not resume and folder.exists() and any(child.name != LOCK for child in folder.iterdir()):
        raise ValueError(f"{folder} holds other files and no run: choose another folder, or an empty one")


@contextmanager
def claim(folder: Path, config: Config, resume: bool, overwrite: bool) -> Iterator[None]:
    """Hold `folder` for a run of `config`, and make it ready; refuse before anything is lost.

    No other process can claim the folder until the context is left, or this process is gone, however it went. Reading
    is open to all.

    Args:
        folder: need not exist. What was not written by a run stays untouched.
        config: of the run to come.
        resume: go on with the run that the folder may hold.
        overwrite: remove the run that the folder may hold.

    Raises:
        ValueError: what `check_free` refuses; with resume, a folder that holds a run of other settings; a folder that
            another process holds.
        OSError: a folder that cannot be made or written to.
    """
    check_free(folder, resume, overwrite)  # before a lock is left where no run may be
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise ValueError(f"another run is writing to {folder}: wait until it ends, or choose another folder") from None
    except OSError as error:
        raise OSError(
            f"{folder} cannot be written to ({error.strerror}): choose another folder for the run, or mend this one"
        ) from error
    try:
        check_free(folder, resume, overwrite)  # another run may have come and gone
        if overwrite and (folder / CONFIG).exists():
            _remove_run(folder)
        if (folder / CONFIG).exists():
            found = Config.read(folder).differences(config)
            if found:
                raise ValueError(
                    f"{folder} holds a run of other settings ({'; '.join(found)}): repeat its settings to resume it, "
                    "or choose another folder"
                )
        else:
            write_json(folder / CONFIG, config.to_json())
        yield
    finally:
        lock.release()


def append_metrics(folder: Path, record: dict[str, Any]) -> None:
    """One more line of metrics.jsonl."""
    path = folder / METRICS
    with _writing(path), path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, up to one that is damaged, or that a crash or a full disk has cut short."""
    path = folder / METRICS
    found: list[dict[str, Any]] = []
    for line in path.read_text(errors="replace").split("\n")[:-1] if path.exists() else []:
        try:
            record = json.loads(line)
            place_of(record["stage"])
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
            break
        if not isinstance(record.get("epoch"), int):
            break
        found.append(record)
    return found


def keep_metrics(folder: Path, kept: list[dict[str, Any]]) -> None:
    """Replace metrics.jsonl by the lines that the state gone on from knows of."""
    replace_text(folder / METRICS, "".join(json.dumps(record) + "\n" for record in kept))


def write_assignments(
    path: Path,
    chunks: Iterable[np.ndarray],
    with_probabilities: bool = False,
    image_names: Sequence[str] | None = None,
) -> None:
    """A header and a line for each image: index, name, cluster, confidence and, if asked, a probability per cluster.

    Args:
        path: of the CSV file; replaced once all is written.
        chunks: probabilities, (n, K) each, in the images' order.
        with_probabilities: add the columns p0 .. p{K-1}.
        image_names: one for each image; None leaves the column out.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            index = 0
            for p in chunks:
                if index == 0:
                    columns = [f"p{k}" for k in range(p.shape[1])] if with_probabilities else []
                    named = [] if image_names is None else ["name"]
                    writer.writerow(["index", *named, "cluster", "confidence", *columns])
                for row in p:
                    cluster = int(row.argmax())
                    rest = [f"{value:.6g}" for value in row] if with_probabilities else []
                    name = [] if image_names is None else [image_names[index]]
                    writer.writerow([index, *name, cluster, f"{row[cluster]:.6g}", *rest])
                    index += 1
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)  # where a chunk could not be had


def write_consensus(
    path: Path, clusters: np.ndarray, agreement: np.ndarray, image_names: Sequence[str] | None = None
) -> None:
    """A header and a line for each image: index, name, cluster and agreement, see `ensemble.Consensus`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", *([] if image_names is None else ["name"]), "cluster", "agreement"])
    for i, (cluster, share) in enumerate(zip(clusters, agreement, strict=True)):
        writer.writerow([i, *([] if image_names is None else [image_names[i]]), cluster, f"{share:.6g}"])
    replace_text(path, text.getvalue())


def read_clusters(path: Path, n_images: int) -> np.ndarray:
    """The cluster of each image, (N,) int64, from a file that `write_assignments` wrote.

    Raises:
        ValueError: a file of another kind, or with other than n_images lines.
    """
    with path.open(newline="", encoding="utf-8") as file:
        try:
            clusters = np.array([int(row["cluster"]) for row in csv.DictReader(file)], np.int64)
        except (ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
            raise ValueError(f"{path} is damaged: a cluster cannot be read in it") from error
    if len(clusters) != n_images:
        raise ValueError(f"{path} has {len(clusters)} lines for {n_images} images: it was changed, or is of others")
    return clusters


def write_json(path: Path, value: Any) -> None:
    """Indented JSON, replaced as a whole."""
    replace_text(path, json.dumps(value, indent=2) + "\n")


def read_scores(folder: Path) -> dict[str, dict[str, float]]:
    """scores.json, or {} where there is none.

    Raises:
        ValueError: a damaged one.
    """
    path = folder / SCORES
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
        for stage in found:
            place_of(stage)
        return {stage: {name: float(value) for name, value in scores.items()} for stage, scores in found.items()}
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: remove it, and the run goes on without those scores") from error


def replace_text(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a crash, finds the old one or the new one whole."""
    partial = path.with_name(path.name + ".partial")
    try:
        with _writing(path), partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # else a machine that goes down may keep the new name and lose what it names
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{path} cannot be written ({error.strerror}): make room or mend the folder, then go on with --resume; "
            "what was saved before is kept"
        ) from error


def _remove_run(folder: Path) -> None:
    for name in reversed(FILES):  # config.json last: without it, what a kill leaves would be no run's
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _reading(found: dict[str, Any] | None) -> Reading | None:
    if found is None:
        return None
    values: dict[str, Any] = dict(found)
    for name in ("image_size", "image_shape"):
        values[name] = None if found[name] is None else tuple(found[name])
    for name in ("data_dir", "manual_dir"):
        values[name] = None if found[name] is None else Path(found[name])
    return Reading(**values)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    items: Iterable[tuple[str, Any]] = value.items()
    return {
        name: leaf for key, item in items for name, leaf in _flat(item, f"{prefix}.{key}" if prefix else key).items()
    }
