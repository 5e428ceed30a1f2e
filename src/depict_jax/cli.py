"""depict-jax fit | predict | score | report | data | doctor. Heavy imports only where used: --help is quick."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from .reading import Colour, Flag, Reading, left_out
from .settings import Map, Preset, Settings, preset

if TYPE_CHECKING:
    from rich.console import Console

    from .data import Skipped
    from .run_folder import Config

SHOWN = 20  # skipped files that are listed; `data info` lists all


class _Typed(Settings):
    """How the run is trained; what fits one data set fits most."""

    def __post_init__(self) -> None:  # checked after parsing, so that a bad one gets our sentence and not the parser's
        pass


class _TypedReading(Reading):
    """How folders of pictures and flattened images are read."""

    def __post_init__(self) -> None:
        pass

    def checked(self) -> Reading:
        return Reading(**vars(self))


@dataclass(frozen=True)
class _Sorting:
    """Pictures of a folder sorted into a folder for each cluster; the originals stay as they are."""

    copy_into: Annotated[Path | None, left_out("DIR")] = None
    """Copy each picture into its cluster's folder: cluster-00, cluster-01, ... in this one, which is new or empty."""
    link_into: Annotated[Path | None, left_out("DIR")] = None
    """The same with symbolic links to the pictures."""

    @property
    def target(self) -> Path | None:
        return self.copy_into or self.link_into

    def check(self, source: str, written: Path) -> None:
        """Refuse before any compute what could not be done after it; `written` is what the command writes besides."""
        if self.copy_into and self.link_into:
            raise ValueError("--copy-into and --link-into: expected at most one of them")
        if self.target:
            from .sorting import check_target

            check_target(source, self.target, self.link_into is not None, written)

    def sort(self, source: str, names: Sequence[str] | None, assignments: Path, console: Console) -> None:
        """Sort the pictures `names` as the CSV file says."""
        if self.target and names is not None:
            from rich.console import Console

            from .run_folder import read_clusters
            from .sorting import sort_pictures

            clusters = read_clusters(assignments, len(names))
            missing = sort_pictures(Path(source), names, clusters, self.target, self.link_into is not None, console)
            _list_skipped(Console(stderr=True), missing)  # an error even where all else is quiet
            console.print(f"sorted pictures: {self.target}, {len(set(clusters))} cluster(s)", soft_wrap=True)


@dataclass(frozen=True)
class Fit:
    """Cluster images and write a run's folder: assignments.csv, report.html, scores, metrics, checkpoints."""

    source: Positional[Annotated[str, tyro.conf.arg(metavar="SOURCE")]]
    """Images: a set's name (see `depict-jax data list`), a folder of pictures, or a file: .npz, .npy, .h5, .mat, \
.csv, .parquet or idx."""
    clusters: int
    """Number of clusters K."""
    out: Path
    """Folder for the run."""
    preset: Preset = "default"
    """Where the settings below start from; "best" adds random affine changes of the images and \
a Q-step that keeps clusters alive; "paper" is the released code's, and takes hours."""
    resume: Flag = False
    """Go on with the run in the folder, from its newest checkpoint."""
    overwrite: Flag = False
    """Replace the run in the folder."""
    map: Map = "pca"
    """How the report lays the embedding out beside PCA: by t-SNE (seconds more), or by UMAP (needs umap-learn)."""
    quiet: Flag = False
    """Print nothing but errors."""
    tensorboard: Flag = False
    """Write the numbers of every epoch for TensorBoard too, into the run's folder."""
    profile: Annotated[Path | None, left_out("DIR")] = None
    """Folder for traces of the second epoch of every stage, to open at ui.perfetto.dev or with xprof."""
    devices: Annotated[int | None, left_out("INT")] = None
    """How many of this machine's devices share the images and each batch; left out, all."""
    sorting: OmitArgPrefixes[_Sorting] = field(default_factory=_Sorting)
    reading: OmitArgPrefixes[_TypedReading] = field(default_factory=_TypedReading)
    settings: OmitArgPrefixes[_Typed] = field(default_factory=_Typed)

    def __call__(self) -> None:
        """Run it."""
        from .run_folder import ASSIGNMENTS, check_free

        check_free(self.out, self.resume, self.overwrite)  # before pictures are decoded
        settings, reading = Settings(**vars(self.settings)), self.reading.checked()
        self.sorting.check(self.source, self.out)
        _check_map(self.map)
        from rich.console import Console

        _keep_compiled()
        _one_sentence_only()
        from .data import load
        from .health import ClusterWatch
        from .parallel import data_mesh
        from .progress import Display, table_of
        from .runner import Event, run_into_folder
        from .stages import check_job
        from .tensorboard import TensorBoard

        data_mesh(self.devices)  # refuses what is not there before the images are read

        console = Console(quiet=self.quiet)
        board = TensorBoard(self.out) if self.tensorboard else None
        images = load(self.source, reading, console)
        _list_skipped(console, images.skipped)
        architecture = check_job(images.pixels, self.clusters, settings)
        console.print(f"{len(images.pixels)} images from {images.source}, {self.clusters} clusters, into {self.out}")
        with ExitStack() as watchers:
            watchers.enter_context(warnings.catch_warnings(action="ignore" if self.quiet else None))
            watching: list[Callable[[Event], None]] = [] if self.quiet else [watchers.enter_context(Display(console))]
            if not self.quiet:
                watching.append(ClusterWatch(settings, self.clusters, _warn))
            if board is not None:
                watching.append(watchers.enter_context(board))
            if self.profile is not None:
                from .profiling import Profile

                watching.append(watchers.enter_context(Profile(self.profile)))

            def watch(event: Event) -> None:
                for watcher in watching:
                    watcher(event)

            scores = run_into_folder(
                images,
                architecture,
                settings,
                self.out,
                self.resume,
                self.overwrite,
                watch,
                devices=self.devices,
                reading=reading,
                map_method=self.map,
            )
        self.sorting.sort(self.source, images.names, self.out / ASSIGNMENTS, console)
        if scores:
            console.print(table_of(scores))
        console.print(f"clusters: {self.out / 'assignments.csv'}   page: {self.out / 'report.html'}", soft_wrap=True)


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
    sorting: OmitArgPrefixes[_Sorting] = field(default_factory=_Sorting)
    reading: OmitArgPrefixes[_TypedReading] = field(default_factory=_TypedReading)

    def __call__(self) -> None:
        """Run it."""
        _check_free(self.out, self.overwrite)
        reading = self.reading.checked()
        self.sorting.check(self.source, self.out)
        from rich.console import Console

        _keep_compiled()
        _one_sentence_only()
        from .data import stream
        from .estimator import DEPICT
        from .run_folder import Config, write_assignments

        console = Console(stderr=True)
        model = DEPICT.load(self.run).set_params(devices=self.devices)
        images = stream(self.source, _as_trained(reading, self.source, Config.read(self.run)), console)
        write_assignments(self.out, map(model.predict_proba, images), True, images.names)
        _list_skipped(console, images.skipped)
        self.sorting.sort(self.source, images.names, self.out, console)


@dataclass(frozen=True)
class Score:
    """ACC, NMI and ARI of a run on images that have labels."""

    run: Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """Folder of a finished run."""
    source: Positional[Annotated[str, tyro.conf.arg(metavar="SOURCE")]]
    """Images with labels, as for fit, of the shape that the run was trained on."""
    reading: OmitArgPrefixes[_TypedReading] = field(default_factory=_TypedReading)

    def __call__(self) -> None:
        """Run it."""
        reading = self.reading.checked()
        from rich.console import Console

        _keep_compiled()
        _one_sentence_only()
        from .data import load
        from .estimator import DEPICT
        from .metrics import scores
        from .run_folder import Config

        console = Console(stderr=True)
        model = DEPICT.load(self.run)
        images = load(self.source, _as_trained(reading, self.source, Config.read(self.run), labels=True), console)
        _list_skipped(console, images.skipped)
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
    reading: OmitArgPrefixes[_TypedReading] = field(default_factory=_TypedReading)

    def __call__(self) -> None:
        """Run it."""
        if self.out is not None:
            _check_free(self.out, self.overwrite)
        reading = self.reading.checked()
        _check_map(self.map)
        from rich.console import Console

        _keep_compiled()
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
    reading: OmitArgPrefixes[_TypedReading] = field(default_factory=_TypedReading)

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
        _keep_compiled()
        from .doctor import examine

        for name, finding in examine(self.devices):
            print(f"{name:<18} {finding}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the numbers diverged or are wrong, 2 bad input, 130 interrupted, 143 by SIGTERM."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    in_main_thread = threading.current_thread() is threading.main_thread()  # elsewhere signals cannot be handled
    before = signal.signal(signal.SIGTERM, _terminate) if in_main_thread else None
    try:
        command = tyro.cli(_commands(_preset_in(words)), args=words, prog="depict-jax", description=_ABOUT)
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: _warn(str(message))
            command()
    except BrokenPipeError:  # whoever read our output, `head` say, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at exit
        return 141
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
    fit = Fit(source=required, clusters=required, out=required, settings=_Typed(**vars(settings)))
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
    return Settings()


def _check_free(out: Path, overwrite: bool) -> None:
    """Refuse a file that is there, or that cannot be."""
    if out.exists() and not overwrite:
        raise ValueError(f"{out} is already there: choose another name, or give --overwrite")
    if out.is_dir() or not out.parent.is_dir():
        raise ValueError(f"{out} cannot be written: expected a file in a folder that exists")


def _check_map(method: Map) -> None:
    """Refuse UMAP where it is not installed, before anything is computed."""
    if method == "umap":
        from .report.maps import check_map

        check_map(method)


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


def _list_skipped(console: Console, skipped: Sequence[Skipped]) -> None:
    """What a folder held beside pictures, or does not hold any more; of a kind that is no picture, only how many."""
    if not skipped:
        return
    from .data.folders import NO_PICTURE

    kinds = Counter(Path(entry.name).suffix for entry in skipped if entry.reason == NO_PICTURE)
    many = {kind for kind, count in kinds.items() if kind and count > 3}
    lines = [f"{kinds[kind]} {kind} files: {NO_PICTURE}" for kind in sorted(many)]
    for name, reason in skipped:
        if reason != NO_PICTURE or Path(name).suffix not in many:
            lines.append(f"{name}: {reason}")
    console.print(f"{len(skipped)} skipped:", highlight=False)
    for line in lines[:SHOWN]:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    if len(lines) > SHOWN:
        console.print("  ... (`depict-jax data info` lists all)", highlight=False)


def _keep_compiled() -> None:
    """Keep XLA's programs in the user's cache folder, so that only the first run of a shape waits for the compiler."""
    import jax
    from platformdirs import user_cache_path

    if jax.config.values["jax_compilation_cache_dir"] is None:  # the user's JAX_COMPILATION_CACHE_DIR goes first
        jax.config.update("jax_compilation_cache_dir", str(user_cache_path("depict-jax") / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _one_sentence_only() -> None:
    """No log of orbax's: what it means for the run comes as our own sentence, without its page of a traceback."""
    from absl import logging

    logging.set_verbosity(logging.FATAL)


def _warn(sentence: str) -> None:
    print(f"depict-jax: {sentence}", file=sys.stderr)


def _fail(error: object, code: int) -> int:
    print(f"depict-jax: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
