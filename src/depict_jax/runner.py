"""A run into a folder: the stages' events to checkpoints, metrics, scores, assignments and the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from . import ensemble, processes, run_folder
from .architecture import Architecture
from .checkpoints import Checkpoints
from .data import Images
from .metrics import scores
from .networks import Depict
from .parallel import data_mesh
from .reading import Reading
from .run_folder import Config
from .settings import SAVE_SECONDS, Map, Settings
from .stage_names import FINISHED, INITIAL, PRETRAIN, place_of
from .stages import DivergedError, EpochEnd, RunState, StageEnd, initial_state, run
from .starts import kmeans
from .training import predict

Event = EpochEnd | StageEnd
Scores = dict[str, dict[str, float]]


def run_into_folder(
    images: Images,
    architecture: Architecture,
    settings: Settings,
    folder: Path,
    resume: bool = False,
    overwrite: bool = False,
    watch: Callable[[Event], None] = lambda event: None,
    devices: int | None = None,
    stream: bool = False,
    reading: Reading | None = None,
    map_method: Map = "pca",
    save_seconds: float = SAVE_SECONDS,
) -> Scores:
    """Train and write the run's folder.

    Args:
        images: what to cluster; their labels are read for the scores after each stage, by nothing else.
        architecture: for such images.
        settings: the hyperparameters.
        folder: where the run goes, see `run_folder`.
        resume: go on from the folder's newest checkpoint, if it has one.
        overwrite: replace the run that the folder holds.
        watch: called with each event, before it is saved.
        devices: see `stages.run`; a run may be resumed with another number of them, and of processes.
        stream: see `stages.run`.
        reading: how the images were read, for config.json.
        map_method: how the report lays the embedding out beside PCA.
        save_seconds: the end of every stage is saved, and of every epoch since whose last save more than this was spent
            in training; but none while the save before it is still being written. 0 saves every epoch, and waits.

    Returns:
        ACC, NMI and ARI after each stage; {} without labels, and in a process that is not the first.

    Raises:
        ValueError: a folder that may not be written to (see `run_folder.claim`), checkpoints that cannot be gone on
            from (see `Checkpoints.restore`), or what `stages.run` raises.
        OSError: a folder that cannot be written to; what was saved before is kept.
        DivergedError: naming the stage, the epoch, the batch and the last good checkpoint.

    Warns:
        UserWarning: naming a damaged checkpoint that is passed over.
    """
    mesh = data_mesh(devices, settings.microbatches)  # refuses what cannot be before the folder is touched
    first = processes.is_first()
    with ExitStack() as held:
        with processes.together():
            if first:
                config = Config(images.source, images.content_hash, len(images.pixels), architecture, settings, reading)
                held.enter_context(run_folder.claim(folder, config, resume, overwrite))
        record = _Record(folder, save_seconds) if first else None
        state = _trained(images, architecture, settings, record, watch, devices, mesh, stream)
        if not first:
            return {}
        return _finish(folder, state, images, map_method)


def run_seeds_into_folders(
    images: Images,
    architecture: Architecture,
    settings: Sequence[Settings],
    folders: Sequence[Path],
    resume: bool = False,
    overwrite: bool = False,
    watch: Callable[[int, Event], None] = lambda number, event: None,
    devices: int | None = None,
    reading: Reading | None = None,
    map_method: Map = "pca",
    save_seconds: float = SAVE_SECONDS,
) -> list[Scores]:
    """Train runs that differ in their seeds alone side by side, see `ensemble.run`, and write each one's folder.

    Arguments, errors and warnings are those of `run_into_folder`; settings, folders and scores one for each seed, and
    `watch` is given the run's number with each event.
    """
    with ExitStack() as held:
        for one, folder in zip(settings, folders, strict=True):
            config = Config(images.source, images.content_hash, len(images.pixels), architecture, one, reading)
            held.enter_context(run_folder.claim(folder, config, resume, overwrite))
        now = []
        with ExitStack() as recording:
            records = [recording.enter_context(_Record(folder, save_seconds)) for folder in folders]
            for one, record in zip(settings, records, strict=True):
                begin = partial(initial_state, architecture, one, len(images.pixels))
                start = record.begin(begin)
                now.append(begin() if start is None else start)
            try:
                for i, event in ensemble.run(images.pixels, architecture, settings, now, devices):
                    watch(i, event)
                    now[i] = event.state
                    records[i].add(event, _scores_after(event, images, architecture, settings[i], None))
            except DivergedError as error:
                raise DivergedError(f"{error}; the runs' checkpoints are kept; try a smaller learning rate") from error
        return [_finish(folder, state, images, map_method) for folder, state in zip(folders, now, strict=True)]


def _finish(folder: Path, state: RunState, images: Images, map_method: Map) -> Scores:
    """Write what there is to read of a finished run, where it is not there yet."""
    if not (folder / run_folder.REPORT).exists():
        run_folder.write_assignments(folder / run_folder.ASSIGNMENTS, [np.asarray(state.p)], image_names=images.names)
        from .report import write_report  # matplotlib: only where a report is written

        write_report(folder, images, map_method)
    return run_folder.read_scores(folder)


def _trained(
    images: Images,
    architecture: Architecture,
    settings: Settings,
    record: _Record | None,
    watch: Callable[[Event], None],
    devices: int | None,
    mesh: Mesh | None,
    stream: bool,
) -> RunState:
    """The final state, from the newest checkpoint on; checkpoints, metrics and scores are written on the way.

    Without a record, as in a process that is not the first, nothing is written.
    """
    begin = partial(initial_state, architecture, settings, len(images.pixels))
    with ExitStack() as held:
        with processes.together():
            state = None if record is None else held.enter_context(record).begin(begin)
        state = _of_first(state, begin)
        if state is not None and state.stage == FINISHED:
            return state
        try:
            for event in run(images.pixels, architecture, settings, state, devices, stream):
                watch(event)
                state = event.state
                found = _scores_after(event, images, architecture, settings, mesh)
                if record is not None:
                    record.add(event, found)
        except DivergedError as error:
            last = None if record is None else record.saved.newest
            good = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
            raise DivergedError(f"{error}; {good}; try a smaller learning rate") from error
    assert state is not None
    return state


def _scores_after(
    event: Event, images: Images, architecture: Architecture, settings: Settings, mesh: Mesh | None
) -> dict[str, float] | None:
    """ACC, NMI and ARI at a stage's end, where there are labels."""
    if isinstance(event, EpochEnd) or images.labels is None:
        return None
    return scores(images.labels, answer_after(event.stage, event.state, images, architecture, settings, mesh))


class _Record:
    """What a run leaves in its folder while it is under way."""

    def __init__(self, folder: Path, save_seconds: float):
        self.folder = folder
        self.save_seconds = save_seconds
        self.scores: Scores = {}
        self.unsaved = 0.0  # seconds of training

    def __enter__(self) -> _Record:
        self.saved = Checkpoints(self.folder / run_folder.CHECKPOINTS).__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.saved.__exit__(*error)

    def begin(self, like: Callable[[], RunState]) -> RunState | None:
        """The state to go on from, and the folder as it was then; None and an empty one where there is none."""
        state = self.saved.restore(like)
        if state is None or state.stage != FINISHED:
            self.scores = run_folder.read_scores(self.folder) if state is not None else {}
            (self.folder / run_folder.REPORT).unlink(missing_ok=True)  # of a run whose last checkpoint is damaged
            run_folder.keep_metrics(self.folder, _known(run_folder.read_metrics(self.folder), state))
        return state

    def add(self, event: Event, found: dict[str, float] | None) -> None:
        """An epoch's line of metrics.jsonl or a stage's scores, and a checkpoint where one is due."""
        if isinstance(event, EpochEnd):
            run_folder.append_metrics(self.folder, event.record())
            self.unsaved += event.seconds
        elif found is not None:
            self.scores[event.stage] = found
            run_folder.write_json(self.folder / run_folder.SCORES, self.scores)
        if isinstance(event, StageEnd) or self._is_due():
            self.saved.save(event.state, _score(event))
            self.unsaved = 0.0

    def _is_due(self) -> bool:
        return self.unsaved > self.save_seconds and (self.save_seconds == 0 or not self.saved.busy)


def _of_first(state: RunState | None, like: Callable[[], RunState]) -> RunState | None:
    """The first process's state, in all of them."""
    if not processes.of_first(np.uint8(state is not None)):
        return None
    if state is None:
        state = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), jax.eval_shape(like))
    return processes.of_first(state)


def _score(event: Event) -> float | None:
    """What makes one epoch of a stage better than another, the lower; no labels."""
    if isinstance(event, StageEnd):
        return None
    losses = event.losses
    return -losses["agreement"] if "agreement" in losses else losses.get("validation", losses["loss"])


def answer_after(
    stage: str,
    state: RunState,
    images: Images,
    architecture: Architecture,
    settings: Settings,
    mesh: Mesh | None = None,
) -> np.ndarray:
    """The clusters (N,) that a stage's end would answer if it were the last; after pretraining, k-means' on embeddings.

    Args:
        stage: its name, see `stages.stage_name`.
        state: at its end.
        images: what is clustered; their labels are not read.
        architecture: the network.
        settings: the hyperparameters.
        mesh: of the devices that share the images, see `parallel`; None for one.
    """
    _, kind = place_of(stage)
    if kind == PRETRAIN:
        embeddings, _ = predict(Depict(architecture), state.train.variables, images.pixels, mesh)
        return kmeans(embeddings, architecture.n_clusters, settings)
    return state.assignment if kind == INITIAL else np.asarray(state.p).argmax(axis=1)


def _known(records: list[dict], state: RunState | None) -> list[dict]:
    """The records of epochs that `state` has behind it."""
    if state is None:
        return []
    reached = (int(state.round), int(state.stage)), int(state.epoch)
    return [record for record in records if (place_of(record["stage"]), record["epoch"]) <= reached]
