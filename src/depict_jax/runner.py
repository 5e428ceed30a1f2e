"""A run into a folder: the stages' events to checkpoints, metrics, scores, assignments and the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from . import run_folder
from .architecture import Architecture
from .checkpoints import Checkpoints
from .data import Images
from .metrics import scores
from .networks import Depict
from .parallel import data_mesh
from .reading import Reading
from .run_folder import Config
from .settings import Map, Settings
from .stages import FINISHED, STAGES, DivergedError, EpochEnd, RunState, StageEnd, initial_state, kmeans, run
from .training import predict

# A save costs some 65 ms of a core, beside the training. Every epoch is saved that is longer than this; of shorter ones
# every so many, and none while the save before is still being written.
SECONDS_BETWEEN_SAVES = 2.0

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
    reading: Reading | None = None,
    map_method: Map = "pca",
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
        devices: see `stages.run`; a run may be resumed with another number of them.
        reading: how the images were read, for config.json.
        map_method: how the report lays the embedding out beside PCA.

    Returns:
        ACC, NMI and ARI after each stage; {} without labels.

    Raises:
        ValueError: a folder that may not be written to (see `run_folder.claim`), checkpoints that cannot be gone on
            from (see `Checkpoints.restore`), or what `stages.run` raises.
        OSError: a folder that cannot be written to; what was saved before is kept.
        DivergedError: naming the stage, the epoch, the batch and the last good checkpoint.

    Warns:
        UserWarning: naming a damaged checkpoint that is passed over.
    """
    config = Config(images.source, images.content_hash, len(images.pixels), architecture, settings, reading)
    data_mesh(devices)  # refuses what is not there before the folder is touched
    with run_folder.claim(folder, config, resume, overwrite):
        state = _trained(images, architecture, settings, folder, watch, devices)
        path = folder / run_folder.ASSIGNMENTS
        if not (folder / run_folder.REPORT).exists():  # else it is a finished run's
            run_folder.write_assignments(path, [np.asarray(state.p)], image_names=images.names)
            from .report import write_report  # matplotlib: only where a report is written

            write_report(folder, images, map_method)
        return run_folder.read_scores(folder)


def _trained(
    images: Images,
    architecture: Architecture,
    settings: Settings,
    folder: Path,
    watch: Callable[[Event], None],
    devices: int | None,
) -> RunState:
    """The final state, from the newest checkpoint on; checkpoints, metrics and scores are written on the way."""
    mesh = data_mesh(devices)
    with Checkpoints(folder / run_folder.CHECKPOINTS) as saved:
        state = saved.restore(lambda: initial_state(architecture, settings, len(images.pixels)))
        if state is not None and state.stage == FINISHED:
            return state
        found = run_folder.read_scores(folder) if state is not None else {}
        (folder / run_folder.REPORT).unlink(missing_ok=True)  # of a run whose last checkpoint is damaged
        run_folder.keep_metrics(folder, _known(run_folder.read_metrics(folder), state))
        unsaved = 0.0
        try:
            for event in run(images.pixels, architecture, settings, state, devices):
                watch(event)
                state = event.state
                if isinstance(event, EpochEnd):
                    run_folder.append_metrics(folder, event.record())
                    unsaved += event.seconds
                elif images.labels is not None:
                    answer = answer_after(event.stage, event.state, images, architecture, settings, mesh)
                    found[event.stage] = scores(images.labels, answer)
                    run_folder.write_json(folder / run_folder.SCORES, found)
                if isinstance(event, StageEnd) or (unsaved > SECONDS_BETWEEN_SAVES and not saved.busy):
                    saved.save(state, _score(event))
                    unsaved = 0.0
        except DivergedError as error:
            last = saved.newest
            good = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
            raise DivergedError(f"{error}; {good}; try a smaller learning rate") from error
    assert state is not None
    return state


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
        stage: its name, as in `stages.STAGES`.
        state: at its end.
        images: what is clustered; their labels are not read.
        architecture: the network.
        settings: the hyperparameters.
        mesh: of the devices that share the images, see `parallel`; None for one.
    """
    if stage == "pretrain":
        embeddings, _ = predict(Depict(architecture), state.train.variables, images.pixels, mesh)
        return kmeans(embeddings, architecture.n_clusters, settings)
    return state.assignment if stage == "initial" else np.asarray(state.p).argmax(axis=1)


def _known(records: list[dict], state: RunState | None) -> list[dict]:
    """The records of epochs that `state` has behind it."""
    if state is None:
        return []
    reached = (int(state.stage), int(state.epoch))
    return [record for record in records if (STAGES.index(record["stage"]), record["epoch"]) <= reached]
