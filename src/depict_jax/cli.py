"""depict-jax fit | predict | score | report | data | doctor. Heavy imports only where used: --help is quick."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from .fitting import Fit
from .options import (
    Sorting,
    Typed,
    TypedReading,
    check_map_method,
    check_new_file,
    keep_compiled,
    list_skipped,
    one_sentence_only,
    warn,
)
from .reading import Colour, Flag, Reading, left_out
from .settings import Map, Preset, Settings, preset

if TYPE_CHECKING:
    from .run_folder import Config


@dataclass(frozen=True)
class Predict:
    """Clusters for images never seen: index, name, cluster, confidence and a probability for each cluster, as CSV."""

    run: Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """Folder of a finished run."""
    source: Positional[Annotated[str, tyro.conf.arg(metavar="SOURCE")]]
    """Images, as for fit, of the shape that the run was trained on."""
    out: Path
    """CSV file to write."""
    overwrite: Flag = False
    """Replace the file if it is there."""
    devices: Annotated[int | None, left_out("INT")] = None
    """How many of this machine's devices share the images; left out, all."""
    sorting: OmitArgPrefixes[Sorting] = field(default_factory=Sorting)
    reading: OmitArgPrefixes[TypedReading] = field(default_factory=TypedReading)

    def __call__(self) -> None:
        """Run it."""
        check_new_file(self.out, self.overwrite)
        reading = self.reading.checked()
        self.sorting.check(self.source, self.out)
        from rich.console import Console

        keep_compiled()
        one_sentence_only()
        from .data import stream
        from .estimator import DEPICT
        from .run_folder import Config, write_assignments

        console = Console(stderr=True)
        model = DEPICT.load(self.run).set_params(devices=self.devices)
        images = stream(self.source, _as_trained(reading, self.source, Config.read(self.run)), console)
        write_assignments(self.out, map(model.predict_proba, images), True, images.names)
        list_skipped(console, images.skipped)
        self.sorting.sort(self.source, images.names, self.out, console)


@dataclass(frozen=True)
class Score:
    """ACC, NMI and ARI of a run on images that have labels."""

    run: Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """Folder of a finished run."""
    source: Positional[Annotated[str, tyro.conf.arg(metavar="SOURCE")]]
    """Images with labels, as for fit, of the shape that the run was trained on."""
    reading: OmitArgPrefixes[TypedReading] = field(default_factory=TypedReading)

    def __call__(self) -> None:
        """Run it."""
        reading = self.reading.checked()
        from rich.console import Console

        keep_compiled()
        one_sentence_only()
        from .data import load
        from .estimator import DEPICT
        from .metrics import scores
        from .run_folder import Config

        console = Console(stderr=True)
        model = DEPICT.load(self.run)
        images = load(self.source, _as_trained(reading, self.source, Config.read(self.run), labels=True), console)
        list_skipped(console, images.skipped)
        if images.labels is None:
            raise ValueError(
                f"{images.source} has no labels to score against: expected y or labels in the file, or a folder of "
                "subfolders with --labels-from-folders"
            )
        found = scores(images.labels, model.predict(images.pixels))
        print("  ".join(f"{name.upper()} {value:.4f}" for name, value in found.items()))


@dataclass(frozen=True)
class Report:
    """A finished run's page made anew from its images; their labels, if any, serve scores and colours."""

    run: Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """Folder of a finished run."""
    source: Positional[Annotated[str, tyro.conf.arg(metavar="SOURCE")]]
    """The images that the run was made from, as for fit."""
    map: Map = "pca"
    """How the embedding is laid out beside PCA: by t-SNE (seconds more), or by UMAP (needs umap-learn)."""
    out: Annotated[Path | None, left_out("FILE")] = None
    """HTML file to write; left out, the run's own report.html, which is replaced."""
    overwrite: Flag = False
    """Replace the file of --out if it is there."""
    reading: OmitArgPrefixes[TypedReading] = field(default_factory=TypedReading)

    def __call__(self) -> None:
        """Run it."""
        if self.out is not None:
            check_new_file(self.out, self.overwrite)
        reading = self.reading.checked()
        check_map_method(self.map)
        from rich.console import Console

        keep_compiled()
        from .data import load
        from .report import write_report
        from .run_folder import Config

        console = Console(stderr=True)
        images = load(self.source, _as_trained(reading, self.source, Config.read(self.run), labels=True), console)
        print(write_report(self.run, images, self.map, self.out))


@dataclass(frozen=True)
class Data:
    """What there is by name, and what a source holds: images, shape, labels, what was assumed or skipped, a hash."""

    action: Positional[Literal["list", "info", "prepare"]]
    """List the named sets; tell what a source holds; get a named set ready, with its download."""
    source: Positional[Annotated[str, tyro.conf.arg(metavar="[SOURCE]", help_behavior_hint="")]] = ""
    """Images, as for fit."""
    json: Flag = False
    """Print one JSON object."""
    reading: OmitArgPrefixes[TypedReading] = field(default_factory=TypedReading)

    def __call__(self) -> None:
        """Run it."""
        reading = self.reading.checked()
        if (self.action == "list") == bool(self.source):
            expected = "no source" if self.source else "a source"
            raise ValueError(f"data {self.action} {self.source}".rstrip() + f": expected {expected} after it")
        import json

        from rich.console import Console

        if self.action == "list":
            self._list(reading)
            return
        if self.action == "prepare":
            from .data.named import prepare

            print(prepare(self.source, reading.data_dir, reading.manual_dir, sys.stderr.isatty()))
            return
        from .data import load
        from .data.images import in_words

        found = load(self.source, reading, Console(stderr=True)).summary()
        if self.json:
            print(json.dumps(found, indent=2))
            return
        skipped = [f"{entry['name']}: {entry['reason']}" for entry in found["skipped"]]
        shape = in_words(found["shape"])
        labels = "none" if found["labels"] is None else f"{found['labels']} different ones"
        lines = {**found, "shape": shape, "labels": labels, "notes": found["notes"] or "none", "skipped": skipped or 0}
        for name, value in lines.items():
            many = isinstance(value, list)
            print(f"{name.replace('_', ' '):<13} {len(value) if many else value}")
            for line in value if many else ():
                print(f"  {line}")

    def _list(self, reading: Reading) -> None:
        import json

        from .data.images import in_words
        from .data.named import catalogue

        rows = [row._asdict() for row in catalogue(reading.data_dir)]
        if self.json:
            print(json.dumps(rows, indent=2))
            return
        for row in rows:
            size, missing = in_words(row["shape"]), f"{row['download'] / 1e6:.1f} MB to get"
            state = "ready" if row["prepared"] else "ask its owner" if row["by_agreement"] else missing
            what = f"{row['images']:>6} of {size:<11} {row['classes']:>2} classes"
            print(f"{row['name']:<14} {what}  {state:<14} {row['origin']}")


@dataclass(frozen=True)
class Doctor:
    """What JAX runs on here, whether the fast path is on, and one training step checked against numpy's float64."""

    devices: Annotated[int | None, left_out("INT")] = None
    """How many of this machine's devices share the step that is checked; left out, all."""

    def __call__(self) -> None:
        """Run it."""
        keep_compiled()
        from .doctor import examine

        for name, finding in examine(self.devices):
            print(f"{name:<18} {finding}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the numbers diverged or are wrong, 2 bad input or a folder that cannot be written to,
    3 another process of the run was lost, 130 interrupted, 143 by SIGTERM."""
    code = _outcome(arguments)
    if code and "jax" in sys.modules:  # else there is but one process
        from .processes import leave

        leave(code)
    return code


def _outcome(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    in_main_thread = threading.current_thread() is threading.main_thread()  # elsewhere signals cannot be handled
    before = signal.signal(signal.SIGTERM, _terminate) if in_main_thread else None
    try:
        command = tyro.cli(_commands(_preset_in(words)), args=words, prog="depict-jax", description=_ABOUT)
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: warn(str(message))
            command()
    except BrokenPipeError:  # whoever read our output, `head` say, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at exit
        return 141
    except ConnectionError as error:
        return _fail(error, 3)
    except (ValueError, TypeError, OSError) as error:
        return _fail(error, 2)
    except FloatingPointError as error:
        return _fail(error, 1)
    except KeyboardInterrupt as stop:
        hint = "; the same command with --resume goes on from the newest checkpoint" if words[:1] == ["fit"] else ""
        return _fail(f"interrupted{hint}", 143 if isinstance(stop, _Terminated) else 130)
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)
    return 0


class _Terminated(KeyboardInterrupt):
    """SIGTERM: what a cluster's scheduler sends before it takes the machine away."""


def _terminate(*_: object) -> None:
    raise _Terminated


_ABOUT = "Group unlabelled images by what they show."


def _commands(settings: Settings):
    """The subcommands; `settings` are what fit's options start from."""
    required = tyro.MISSING
    fit = Fit(source=required, clusters=required, out=required, settings=Typed(**vars(settings)))
    return (
        Annotated[Fit, tyro.conf.subcommand("fit", default=fit)]
        | Annotated[Predict, tyro.conf.subcommand("predict")]
        | Annotated[Score, tyro.conf.subcommand("score")]
        | Annotated[Report, tyro.conf.subcommand("report")]
        | Annotated[Data, tyro.conf.subcommand("data")]
        | Annotated[Doctor, tyro.conf.subcommand("doctor")]
    )


def _preset_in(words: list[str]) -> Settings:
    """The settings of --preset, which must be known before the other options' defaults are."""
    for word, value in zip(words, [*words[1:], ""], strict=False):
        name = value if word == "--preset" else word.removeprefix("--preset=") if word.startswith("--preset=") else None
        if name is not None and name in get_args(Preset):  # tyro refuses any other
            return preset(name)
    return preset()


def _as_trained(reading: Reading, source: str, config: Config, labels: bool = False) -> Reading:
    """As the run's images were read, where nothing else is asked for; its labels only where they are wanted."""
    from .data.named import is_name

    run = config.reading or Reading()
    if is_name(source):
        return replace(
            reading, data_dir=reading.data_dir or run.data_dir, manual_dir=reading.manual_dir or run.manual_dir
        )
    if not Path(source).is_dir():
        return replace(reading, image_shape=reading.image_shape or run.image_shape)
    image = config.architecture.image
    colours: dict[int, Colour] = {1: "grey", 3: "rgb"}
    return replace(
        reading,
        image_size=reading.image_size or image[:2],
        fit=reading.fit or run.fit,
        colour=colours.get(image[2], "auto") if reading.colour == "auto" else reading.colour,
        labels_from_folders=reading.labels_from_folders or (labels and run.labels_from_folders),
    )


def _fail(error: object, code: int) -> int:
    print(f"depict-jax: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
