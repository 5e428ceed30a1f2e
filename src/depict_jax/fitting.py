"""depict-jax fit. Heavy imports only where used: --help is quick."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from .options import (
    Processes,
    Sorting,
    Typed,
    TypedReading,
    check_map_method,
    keep_compiled,
    list_skipped,
    one_sentence_only,
    warn,
)
from .reading import Flag, Reading, left_out
from .settings import DEFAULT_PRESET, SAVE_SECONDS, Map, Preset, Settings

if TYPE_CHECKING:
    from rich.console import Console

    from .architecture import Architecture
    from .data import Images
    from .runner import Event, Scores


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
    preset: Preset = DEFAULT_PRESET
    """Where the settings below start from: "best" goes beyond the paper, with random changes of the images, a Q-step \
that keeps clusters alive, and three rounds; "plain" is the paper's losses and noise alone; "paper" the released \
code's training too, and takes hours."""
    seeds: int = 1
    """Runs of this many seeds, from --seed on, each in a folder of its own in --out (seed-0, seed-1, ...), and \
consensus.csv: what most of them say."""
    seeds_at_once: Literal["auto", "yes", "no"] = "auto"
    """Train the seeds side by side as one program, shared out over the devices; auto: on a GPU or TPU, not a CPU."""
    resume: Flag = False
    """Go on with the run in the folder, from its newest checkpoint."""
    overwrite: Flag = False
    """Replace the run in the folder."""
    save_seconds: float = SAVE_SECONDS
    """Seconds of training between checkpoints; the end of a stage is always saved. 0 for every epoch."""
    map: Map = "pca"
    """How the report lays the embedding out beside PCA: by t-SNE (seconds more), or by UMAP (needs umap-learn)."""
    quiet: Flag = False
    """Print nothing but errors."""
    tensorboard: Flag = False
    """Write the numbers of every epoch for TensorBoard too, into the run's folder."""
    profile: Annotated[Path | None, left_out("DIR")] = None
    """Folder for traces of the second epoch of every stage, to open at ui.perfetto.dev or with xprof."""
    devices: Annotated[int | None, left_out("INT")] = None
    """How many of this machine's devices, in each process, share the images and each batch; left out, all."""
    stream: Flag = False
    """Leave the images in a file, mapped into memory, and hand the devices a few batches at a time: for more images \
than memory holds. The result is the same."""
    processes: OmitArgPrefixes[Processes] = field(default_factory=Processes)
    sorting: OmitArgPrefixes[Sorting] = field(default_factory=Sorting)
    reading: OmitArgPrefixes[TypedReading] = field(default_factory=TypedReading)
    settings: OmitArgPrefixes[Typed] = field(default_factory=Typed)

    def __call__(self) -> None:
        """Run it."""
        settings, reading = Settings(**vars(self.settings)), self.reading.checked()
        check_map_method(self.map)
        if not self.save_seconds >= 0:
            raise ValueError(f"--save-seconds is {self.save_seconds}: expected at least 0, which saves every epoch")
        if self.seeds != 1:
            self._check_seeds(settings)
        one_sentence_only()
        self.processes.connect()
        from .processes import loss_told

        with loss_told():
            self._fit(settings, reading)

    def _fit(self, settings: Settings, reading: Reading) -> None:
        from rich.console import Console

        from .parallel import data_mesh
        from .processes import is_first, together
        from .progress import table_of
        from .run_folder import ASSIGNMENTS, check_free
        from .stages import check_job

        keep_compiled()
        first = is_first()
        console = Console(quiet=self.quiet or not first)
        with together():  # before pictures are decoded
            data_mesh(self.devices, settings.microbatches)
            if first:
                if self.seeds == 1:
                    check_free(self.out, self.resume, self.overwrite)
                self.sorting.check(self.source, self.out)
            if self.tensorboard:
                from .tensorboard import TensorBoard

                TensorBoard(self.out)  # refuses where it is not installed
        images = self._load(reading, console)
        list_skipped(console, images.skipped)
        with together():
            architecture = check_job(images.pixels, self.clusters, settings)
        console.print(f"{len(images.pixels)} images from {images.source}, {self.clusters} clusters, into {self.out}")
        if self.seeds != 1:
            self._train_seeds(images, architecture, settings, reading, console)
            return
        scores = self._train(images, architecture, settings, reading, self.out, self.profile, console)
        if not first:
            return
        self.sorting.sort(self.source, images.names, self.out / ASSIGNMENTS, console)
        if scores:
            console.print(table_of(scores))
        console.print(f"clusters: {self.out / 'assignments.csv'}   page: {self.out / 'report.html'}", soft_wrap=True)

    def _load(self, reading: Reading, console: Console) -> Images:
        """All images; of those that are streamed, or shared by processes, a memory map."""
        import jax

        from .data import load, mapped
        from .processes import is_first, together

        several = jax.process_count() > 1
        read = mapped if self.stream or several else load
        with together():
            if is_first():
                images = read(self.source, reading, console)
        if several:  # the others once the first has decoded what they may share with it
            with together():
                images = read(self.source, reading, console)
        return images

    def _train(
        self,
        images: Images,
        architecture: Architecture,
        settings: Settings,
        reading: Reading,
        folder: Path,
        profile: Path | None,
        console: Console,
    ) -> Scores:
        """One run into its folder, with all that watches it."""
        from .runner import run_into_folder

        with self._watching(settings, folder, profile, console) as watch:
            return run_into_folder(
                images,
                architecture,
                settings,
                folder,
                self.resume,
                self.overwrite,
                watch,
                devices=self.devices,
                stream=self.stream,
                reading=reading,
                map_method=self.map,
                save_seconds=self.save_seconds,
            )

    @contextmanager
    def _watching(
        self, settings: Settings, folder: Path, profile: Path | None, console: Console, shown: bool = True
    ) -> Iterator[Callable[[Event], None]]:
        """What hears of a run's events: bars (where it is `shown`), warnings, TensorBoard, traces."""
        from .health import ClusterWatch
        from .processes import is_first
        from .progress import Display
        from .tensorboard import TensorBoard

        with ExitStack() as watchers:
            watchers.enter_context(warnings.catch_warnings(action="ignore" if console.quiet else None))
            watching: list[Callable[[Event], None]] = []
            if shown and not console.quiet:
                watching += [watchers.enter_context(Display(console)), ClusterWatch(settings, self.clusters, warn)]
            if self.tensorboard and is_first():
                watching.append(watchers.enter_context(TensorBoard(folder)))
            if profile is not None and is_first():
                from .profiling import Profile

                watching.append(watchers.enter_context(Profile(profile)))

            def watch(event: Event) -> None:
                for watcher in watching:
                    watcher(event)

            yield watch

    def _seeds(self, settings: Settings) -> range:
        return range(settings.seed, settings.seed + self.seeds)

    def _check_seeds(self, settings: Settings) -> None:
        """Refuse before any compute what could not be done for each seed."""
        from .run_folder import CONFIG, CONSENSUS, check_free

        if self.seeds < 1:
            raise ValueError(f"--seeds is {self.seeds}: expected at least 1")
        if self.stream and self.seeds_at_once == "yes":
            raise ValueError("--seeds-at-once yes and --stream: seeds side by side need the images on the devices")
        if self.processes.coordinator is not None:
            raise ValueError(
                "--seeds and --coordinator: expected one of them; give each seed, --seed, a run of its own"
            )
        if (self.out / CONFIG).exists():
            raise ValueError(f"{self.out} holds the run of one seed: choose another folder for --seeds")
        for seed in self._seeds(settings):
            check_free(self.out / f"seed-{replace(settings, seed=seed).seed}", self.resume, self.overwrite)
        if (self.out / CONSENSUS).exists() and not self.resume and not self.overwrite:
            raise ValueError(f"{self.out / CONSENSUS} is already there: resume, overwrite, or choose another folder")

    def _train_side_by_side(
        self,
        images: Images,
        architecture: Architecture,
        each: list[Settings],
        folders: list[Path],
        reading: Reading,
        console: Console,
    ) -> list[Scores]:
        """All seeds' runs as one program; what is shown is the first one's."""
        from .runner import run_seeds_into_folders

        console.print(f"seeds {each[0].seed} to {each[-1].seed} side by side; seed {each[0].seed}:")
        with ExitStack() as held:
            watches = [
                held.enter_context(self._watching(one, folder, None if i else self.profile, console, shown=i == 0))
                for i, (one, folder) in enumerate(zip(each, folders, strict=True))
            ]

            def watch(number: int, event: Event) -> None:
                watches[number](event)

            return run_seeds_into_folders(
                images,
                architecture,
                each,
                folders,
                self.resume,
                self.overwrite,
                watch,
                devices=self.devices,
                reading=reading,
                map_method=self.map,
                save_seconds=self.save_seconds,
            )

    def _train_seeds(
        self, images: Images, architecture: Architecture, settings: Settings, reading: Reading, console: Console
    ) -> None:
        """A run for each seed; then what they say together."""
        import numpy as np

        from .checkpoints import load_finished
        from .ensemble import consensus, objective, side_by_side_pays, stability
        from .progress import table_of_seeds
        from .run_folder import CONSENSUS, write_consensus

        seeds = self._seeds(settings)
        folders = [self.out / f"seed-{seed}" for seed in seeds]
        each = [replace(settings, seed=seed) for seed in seeds]
        if self.seeds_at_once == "yes" or (self.seeds_at_once == "auto" and not self.stream and side_by_side_pays()):
            scored = self._train_side_by_side(images, architecture, each, folders, reading, console)
        else:
            scored = []
            for one, folder in zip(each, folders, strict=True):
                console.print(f"seed {one.seed}")
                profile = None if self.profile is None else self.profile / folder.name
                scored.append(self._train(images, architecture, one, reading, folder, profile, console))
        states = [load_finished(folder)[1] for folder in folders]
        assignments = [np.asarray(state.p).argmax(axis=1) for state in states]
        objectives = [
            objective(state, images.pixels, architecture, one) for state, one in zip(states, each, strict=True)
        ]
        last = [list(scores.values())[-1] for scores in scored if scores]
        best = int(np.argmin(objectives))
        found = consensus(assignments, self.clusters, best)
        write_consensus(self.out / CONSENSUS, found.clusters, found.agreement, images.names)
        self.sorting.sort(self.source, images.names, self.out / CONSENSUS, console)
        console.print(table_of_seeds(seeds, objectives, stability(assignments), last))
        console.print(
            f"consensus: {self.out / CONSENSUS}   best: {self.out / f'seed-{seeds[best]}'}   "
            f"mean agreement of an image's seeds: {found.agreement.mean():.4f}",
            soft_wrap=True,
        )
