"""Several seeds of one run: trained side by side, then compared without labels: which to take, how far they agree, what
most of them say.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix

from . import parallel
from .architecture import Architecture
from .assignments import target_distribution
from .augmentation import Changes
from .epochs import Epoch, train_epoch
from .metrics import clustering_accuracy
from .networks import Depict
from .objectives import clustering_objective
from .settings import Settings
from .stage_names import FINISHED
from .stages import EpochEnd, Inputs, RunState, StageEnd, Trainer, initial_state
from .training import Loss, validation_loss


def side_by_side_pays() -> bool:
    """Whether seeds are better trained as one program here than one after another.

    Not on a CPU: one seed alone fills its cores, and of several in one program each takes as long or longer, on one
    device and on eight emulated ones (`make bench-seeds`). A GPU or a TPU is not filled by a batch of 100 images.
    """
    return jax.default_backend() != "cpu"


def run(
    pixels: np.ndarray,
    architecture: Architecture,
    settings: Sequence[Settings],
    states: Sequence[RunState] | None = None,
    devices: int | None = None,
) -> Iterator[tuple[int, EpochEnd | StageEnd]]:
    """Train R runs that differ in their seeds alone: as `stages.run`, each event with the number of its run.

    An epoch of all runs is one program, vmapped over them; with several devices each trains its part of the runs, on
    all images, and nothing goes between them. A run that is over, or ahead of the others, waits. Weights are those of
    the same seed alone but for the order of additions.

    Args:
        pixels: see `stages.run`.
        architecture: see there.
        settings: R of them.
        states: R of them, as an earlier, equal call handed them out; finished ones too.
        devices: how many of this machine's devices share the runs; None for all, or as many as there are runs.

    Raises:
        ValueError, DivergedError: as `stages.run`; settings that differ in more than their seeds.
    """
    first = settings[0]
    if any(replace(one, seed=first.seed) != first for one in settings):
        raise ValueError("settings that differ in more than their seeds: expected runs of one program")
    mesh = parallel.data_mesh(devices)
    if mesh is not None and mesh.size > len(settings):
        mesh = parallel.data_mesh(len(settings))
    on_device = jnp.asarray(pixels)
    trainers = [Trainer(pixels, architecture, one, images=on_device) for one in settings]
    images = parallel.replicate(on_device, mesh)
    now = [initial_state(architecture, one, len(pixels)) for one in settings] if states is None else list(states)
    while (place := min((int(state.round), int(state.stage)) for state in now))[1] != FINISHED:
        start = time.perf_counter()
        there = [i for i, state in enumerate(now) if (state.round, state.stage) == place]
        training = [i for i in there if not trainers[i].is_over(now[i])]
        if not training:
            for i in there:
                event = trainers[i].end_stage(now[i])
                now[i] = event.state
                yield i, event
            continue
        inputs = [trainers[i].before_epoch(now[i]) for i in training]
        model, loss, changes = trainers[0].trained, trainers[0].losses[place[1]], trainers[0].changes(place[1])
        # always as many as there are runs: another number would be another program
        how = (model, loss, first.batch_size, changes, first.microbatches, mesh)
        results = _epochs(how, images, _filled(inputs, len(settings)))
        for i, one, result in zip(training, inputs, results, strict=False):
            epoch_end = trainers[i].after_epoch(now[i], one.targets, result, start)
            now[i] = epoch_end.state
            yield i, epoch_end


def _filled(inputs: list[Inputs], count: int) -> list[Inputs]:
    return inputs + inputs[:1] * (count - len(inputs))


def _epochs(
    how: tuple[Depict, Loss, int, Changes, int, Mesh | None], images: jax.Array, inputs: list[Inputs]
) -> list[Epoch]:
    """An epoch of every run; `how` is what `train_epochs` takes first."""
    count, mesh = len(inputs), how[-1]
    if mesh is not None:
        inputs = _filled(inputs, count + -count % mesh.size)
    keys = jnp.stack([one.key for one in inputs])
    stacked = jax.tree.map(
        lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *(one[:-1] for one in inputs)
    )
    found = jax.device_get(train_epochs(*how, images, *stacked, keys))
    results = [jax.tree.map(lambda leaf, i=i: leaf[i], found) for i in range(count)]
    # back on the device, as of an epoch alone: what is computed from them one by one is compiled for that
    return [
        result._replace(state=jax.tree.map(jnp.asarray, result.state), p=jnp.asarray(result.p)) for result in results
    ]


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4, 5))
def train_epochs(
    model: Depict,
    loss: Loss,
    batch_size: int,
    changes: Changes,
    microbatches: int,
    mesh: Mesh | None,
    images: jax.Array,
    *inputs: Any,
) -> Epoch:
    """An epoch of R runs as one program: `epochs.train_epoch`, vmapped.

    Args:
        model: see `train_epoch`; so the rest.
        loss: see there.
        batch_size: see there.
        changes: see there.
        microbatches: see there.
        mesh: devices that share the runs, which they divide; None for one.
        images: all images, uint8 (N, H, W, C), on every device.
        inputs: state, targets, members, learning rates and key, those of each run along a first axis (R, ...).
    """

    def of_runs(images, *inputs):
        def of_run(state, targets, members, rates, key):
            how = {"batch_size": batch_size, "changes": changes, "microbatches": microbatches}
            return train_epoch(model, loss, state, images, targets, members, rates, key, **how)

        return jax.vmap(of_run)(*inputs)

    if mesh is not None:
        shared = (parallel.SHARED,) * len(inputs)
        of_runs = jax.shard_map(
            of_runs, mesh=mesh, in_specs=(parallel.WHOLE, *shared), out_specs=parallel.SHARED, check_vma=False
        )
    return of_runs(images, *inputs)


class Consensus(NamedTuple):
    """What R assignments have in common."""

    votes: np.ndarray  # (N, K) float64, the share of the assignments that put an image into a cluster; rows sum to 1
    clusters: np.ndarray  # (N,) int32, the cluster of most votes, the reference's where several have as many
    agreement: np.ndarray  # (N,) float64, that cluster's share of the votes


def objective(state: RunState, pixels: np.ndarray, architecture: Architecture, settings: Settings) -> float:
    """L_R + gamma L_E of a finished run, without noise: what seeds are compared by, since it needs no label.

    Args:
        state: at the run's end.
        pixels: what was clustered, uint8 (N, H, W, C).
        architecture: the network.
        settings: the hyperparameters.
    """
    weights = (1.0, *(settings.hidden_weight,) * len(architecture.convolutions))
    reconstruction = validation_loss(Depict(architecture), Loss(weights, 0.0), state.train.variables, pixels)
    q = target_distribution(state.p, settings.prior, settings.rule, *settings.q_step)
    return reconstruction + settings.clustering_weight * float(clustering_objective(q, state.p, settings.prior))


def stability(assignments: Sequence[np.ndarray]) -> np.ndarray:
    """(R,) for each of R >= 2 assignments (N,), its mean agreement with the others.

    Agreement is the share of images in the same cluster, under the best one-to-one matching of the two's clusters; the
    mean over R is the mean over all pairs.
    """
    count = len(assignments)
    if count < 2:
        raise ValueError(f"{count} assignment(s): expected at least two to compare")
    pairs = np.zeros((count, count))
    for i in range(count):
        for j in range(i):
            pairs[i, j] = pairs[j, i] = clustering_accuracy(assignments[i], assignments[j])
    return pairs.sum(axis=1) / (count - 1)


def consensus(assignments: Sequence[np.ndarray], n_clusters: int, reference: int = 0) -> Consensus:
    """What most of R assignments say of each image, their clusters matched to the reference's (Hungarian).

    Args:
        assignments: (N,) int each, clusters 0 .. K-1.
        n_clusters: K.
        reference: which of them names the clusters, and decides between equally many votes.

    Raises:
        ValueError: assignments of several lengths.
    """
    mine = np.asarray(assignments[reference])
    image = np.arange(len(mine))
    counts = np.zeros((len(mine), n_clusters))
    for theirs in assignments:
        if len(theirs) != len(mine):
            raise ValueError(f"assignments of {len(theirs)} and {len(mine)} images: expected the same images")
        counts[image, _names(np.asarray(theirs), mine, n_clusters)[theirs]] += 1
    first = counts.copy()
    first[image, mine] += 0.5
    clusters = first.argmax(axis=1).astype(np.int32)
    votes = counts / len(assignments)
    return Consensus(votes, clusters, votes[image, clusters])


def _names(assignment: np.ndarray, reference: np.ndarray, n_clusters: int) -> np.ndarray:
    """(K,) what each cluster of an assignment is called in the reference."""
    every = np.arange(n_clusters)  # once more each, so that empty clusters have a row and a column
    shared = contingency_matrix(np.concatenate([assignment, every]), np.concatenate([reference, every]))
    shared[every, every] -= 1
    return linear_sum_assignment(shared, maximize=True)[1]
