"""The four stages of DEPICT: pretrain -> initial assignment -> warm start -> joint, as a generator of events. The last
three may go round again, each time from an initial assignment of the embeddings that the joint stage has trained.

This is the training loop. It knows nothing of progress bars, logs or files: whoever iterates saves the states it hands
out and may pass one back to go on from there. No label enters: there is no argument that could carry one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike
from sklearn.metrics import normalized_mutual_info_score

from .architecture import Architecture
from .assignments import checked_prior, target_distribution
from .augmentation import UNCHANGED, Changes, changes_of
from .epochs import Epoch, n_held_out, steps_per_epoch, stream_epoch, train_epoch
from .metrics import indicators
from .networks import Depict
from .parallel import data_mesh, gather, replicate, share
from .processes import of_first
from .settings import Settings
from .stage_names import FINISHED, INITIAL, JOINT, PRETRAIN, STAGES, WARM, stage_name
from .starts import initial_assignment, named_by_size, next_start
from .training import (
    Loss,
    TrainState,
    Variables,
    fresh_state,
    head_from_assignment,
    predict,
    validation_loss,
)

STILL = 1e-7  # mean squared change of Q between epochs that ends the joint stage


class RunState(NamedTuple):
    """All that a run needs to go on, bit for bit, from between two epochs: a pytree of arrays of fixed shapes."""

    round: np.int32  # rounds of initial assignment, warm start and joint training that are done
    stage: np.int32  # index into STAGES, the stage under way
    epoch: np.int32  # its epochs done
    train: TrainState
    best_variables: Variables  # pretrain, warm: those with the best score so far
    best_score: np.float32  # pretrain: validation loss; warm: minus the agreement; joint: last change of Q
    waited: np.int32  # epochs since best_score
    assignment: np.ndarray  # (N,) int32, the latest initial assignment
    # (N, K) clean predictions that the next Q comes from, of the final weights once finished; zeros for what a warm
    # epoch holds out
    p: jax.Array | np.ndarray


class EpochEnd(NamedTuple):
    """An epoch is over. `state` holds until the next event is asked for: its buffers are then used again."""

    stage: str  # see `stage_name`
    epoch: int
    epochs: int  # the stage's limit
    losses: dict[str, float]
    seconds: float  # the epoch's wall time, device work included
    images_per_second: float
    indicators: dict[str, float]
    state: RunState

    def record(self) -> dict[str, Any]:
        """The line of metrics.jsonl: all but the state, flat."""
        return {
            "stage": self.stage,
            "epoch": self.epoch,
            **self.losses,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            **self.indicators,
        }


class StageEnd(NamedTuple):
    """A stage is over; `state` is the next one's start, its weights the ones this stage chose."""

    stage: str
    seconds: float  # wall time of what ends the stage: the initial assignment, the final predictions
    state: RunState


class DivergedError(FloatingPointError):
    """A loss, a gradient or a prediction became NaN or infinite."""


def stage_under_way(state: RunState) -> str:
    """The name of the stage that a state is in."""
    return stage_name(int(state.round), int(state.stage))


def check_job(pixels: np.ndarray, n_clusters: int, settings: Settings) -> Architecture:
    """Refuse, before any compute, what could not be clustered; the architecture for the rest.

    Args:
        pixels: uint8 (N, H, W, C).
        n_clusters: K.
        settings: the hyperparameters.

    Raises:
        TypeError: n_clusters that is no integer.
        ValueError: K below 2, a single image, fewer images, or distinct images, than clusters, images too small for
            the network, a prior of another length than K.
    """
    if isinstance(n_clusters, bool) or not isinstance(n_clusters, (int, np.integer)):
        raise TypeError(f"n_clusters is {n_clusters!r}: expected an integer of at least 2")
    if n_clusters < 2:
        raise ValueError(f"n_clusters is {n_clusters}: expected at least 2")
    if len(pixels) < max(2, n_clusters):
        raise ValueError(f"{len(pixels)} image(s) for {n_clusters} clusters: expected at least one image per cluster")
    distinct: set[bytes] = set()
    for image in pixels:
        distinct.add(image.tobytes())
        if len(distinct) == n_clusters:
            break
    else:
        raise ValueError(
            f"only {len(distinct)} distinct image(s) for {n_clusters} clusters: choose fewer clusters, or check that "
            "the images were read as meant"
        )
    checked_prior(settings.prior, n_clusters)
    return Architecture.for_image(pixels.shape[1:], int(n_clusters), settings.dropout)


def initial_state(architecture: Architecture, settings: Settings, n_images: int) -> RunState:
    """The state before the first epoch. Pure: `jax.eval_shape` of it gives a checkpoint's shapes."""
    variables = _initial_variables(Depict(architecture), _key(settings, 0, PRETRAIN, 0))
    return _begin(
        PRETRAIN,
        variables,
        np.zeros(n_images, np.int32),
        # a dtype of its own: else the first epoch's p would be of another type than the second's, and compiled for it
        jnp.full((n_images, architecture.n_clusters), 1 / architecture.n_clusters, jnp.float32),
    )


@partial(jax.jit, static_argnames="model")  # op by op, the pass that finds the shapes would take seconds
def _initial_variables(model: Depict, key: jax.Array) -> Variables:
    return model.init(key, jnp.zeros((1, *model.architecture.image)), noisy=False)


def run(
    pixels: np.ndarray,
    architecture: Architecture,
    settings: Settings,
    state: RunState | None = None,
    devices: int | None = None,
    stream: bool = False,
) -> Iterator[EpochEnd | StageEnd]:
    """Train, from the beginning or from `state`, one event after each epoch and each stage.

    Args:
        pixels: (N, H, W, C) uint8, N at least K.
        architecture: the network for such images.
        settings: the hyperparameters.
        state: one that an earlier, equal run handed out.
        devices: how many of this machine's devices share images and batches; None for all. The result is the same but
            for the order of additions; with several microbatches, whose number they divide, to the bit.
        stream: leave the images where they are, in a file that is mapped into memory for one, and hand the devices a
            few batches at a time; the result is the same.

    Of several processes (see `processes.connect`) each runs this, with the same arguments.

    Raises:
        ValueError: embeddings that the initial assignment cannot split into K clusters; a prior of the wrong length;
            more devices than there are.
        DivergedError: a loss or gradient that is NaN or infinite, naming stage, epoch and batch; predictions that are.
    """
    checked_prior(settings.prior, architecture.n_clusters)
    mesh = data_mesh(devices, settings.microbatches)
    state = initial_state(architecture, settings, len(pixels)) if state is None else state
    trainer = Trainer(pixels, architecture, settings, mesh, stream)
    while state.stage != FINISHED:
        event = trainer.end_stage(state) if trainer.is_over(state) else trainer.train(state)
        yield event
        state = event.state


class Inputs(NamedTuple):
    """What an epoch reads beside the images."""

    train: TrainState
    targets: jax.Array  # Q of all images, (N, K)
    members: np.ndarray  # (M,) int32, the images trained on
    learning_rates: np.ndarray  # (steps,)
    key: jax.Array


class Trainer:
    """What stays the same through a run: the images on the devices, the split, each stage's loss and limits.

    Args:
        pixels: see `run`; so the rest.
        architecture: see there.
        settings: see there.
        mesh: of the devices that share the images; None for one.
        stream: see there.
        images: the pixels on the device, where another run has them there already.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        architecture: Architecture,
        settings: Settings,
        mesh: Mesh | None = None,
        stream: bool = False,
        images: jax.Array | None = None,
    ):
        self.pixels = pixels
        self.mesh = mesh
        self.images = share(pixels, mesh) if images is None and not stream else images  # None where they are streamed
        padded = mesh is not None and len(pixels) % mesh.size > 0
        self.real = share(np.ones((len(pixels), 1), bool), mesh) if padded else None  # False for padding
        self.settings = settings
        self.model = Depict(architecture)
        self.trained = Depict(architecture, settings.precision)  # the same weights, in a training step
        self.prior = None if settings.prior is None else np.asarray(settings.prior)
        weights = (1.0, *(settings.hidden_weight,) * len(architecture.convolutions))
        autoencoder = Loss(weights, 0.0, settings.stop_gradient)
        clustering = Loss(weights, settings.clustering_weight, settings.stop_gradient)
        self.losses = {PRETRAIN: autoencoder, WARM: clustering, JOINT: clustering}
        order = np.random.default_rng(settings.seed).permutation(len(pixels)).astype(np.int32)
        self.held_out, rest = np.split(order, [n_held_out(len(pixels))])
        self.members = {PRETRAIN: rest, WARM: rest, JOINT: np.arange(len(pixels), dtype=np.int32)}
        self.steps = {stage: steps_per_epoch(len(of), settings.batch_size) for stage, of in self.members.items()}
        pretrain, warm, joint = settings.stage_epochs(self.steps[PRETRAIN], self.steps[JOINT])
        self._latest: tuple[ArrayLike | None, jax.Array] = (None, jnp.zeros(()))  # P and its Q
        self.limits = {PRETRAIN: pretrain, INITIAL: 0, WARM: warm, JOINT: joint}

    def is_over(self, state: RunState) -> bool:
        """Whether the stage under way has reached its end."""
        stage = int(state.stage)
        if state.epoch >= self.limits[stage]:
            return True
        if stage == JOINT:
            # the targets of a later round may stand still before its rate has fallen: the last one settles the weights
            settles = self.settings.rounds > 1 and self._is_last(int(state.round))
            return bool(state.best_score < STILL) and not settles
        patience = self.settings.pretrain_patience if stage == PRETRAIN else self.settings.warm_patience
        return bool(state.waited >= patience)

    def _is_last(self, round_: int) -> bool:
        return round_ + 1 == self.settings.rounds

    def train(self, state: RunState) -> EpochEnd:
        """One epoch of the stage under way.

        Raises:
            DivergedError: a loss or gradient that is NaN or infinite.
        """
        start = time.perf_counter()
        now = self.before_epoch(state)
        epoch: Callable[..., Epoch] = train_epoch if self.images is not None else stream_epoch
        result = epoch(
            self.trained,
            self.losses[int(state.stage)],
            replicate(now.train, self.mesh),
            self.pixels if self.images is None else self.images,
            now.targets,
            now.members,
            now.learning_rates,
            now.key,
            batch_size=self.settings.batch_size,
            changes=self.changes(int(state.stage)),
            mesh=self.mesh,
            microbatches=self.settings.microbatches,
        )
        return self.after_epoch(state, now.targets, result, start)

    def before_epoch(self, state: RunState) -> Inputs:
        """What the next epoch of the stage under way reads."""
        stage, epoch = int(state.stage), int(state.epoch)
        rates, key = self.learning_rates(stage, epoch), _key(self.settings, int(state.round), stage, epoch + 1)
        return Inputs(state.train, self.targets(state), self.members[stage], rates, key)

    def after_epoch(self, before: RunState, targets: jax.Array, result: Epoch, start: float) -> EpochEnd:
        """An epoch's event, with the state after it; `start` is time.perf_counter() before it.

        Raises:
            DivergedError: a loss or gradient that is NaN or infinite.
        """
        stage, epoch = int(before.stage), int(before.epoch) + 1
        p = gather(result.p, len(self.pixels), self.mesh)
        losses = {name: float(value) for name, value in result.losses.items()}
        finite = np.asarray(result.finite)
        if not finite.all():
            where = f"{stage_under_way(before)} epoch {epoch}, batch {int(finite.argmin()) + 1} of {len(finite)}"
            raise DivergedError(f"a loss or gradient became NaN or infinite in {where}")
        variables = result.state.variables
        if stage == PRETRAIN:
            score = validation_loss(self.model, self.losses[stage], variables, self.pixels, self.mesh, self.held_out)
            losses["validation"] = score
        elif stage == WARM:
            held_out = predict(self.model, variables, self.pixels, self.mesh, self.held_out)[1].argmax(axis=1)
            agreement = float(normalized_mutual_info_score(before.assignment[self.held_out], held_out))
            score, losses["agreement"] = -agreement, agreement
        else:
            score = self.change_of_targets(self.q_step(p), targets)
            losses["target_change"] = score
        state = before._replace(epoch=np.int32(epoch), train=result.state, p=p)
        if stage == JOINT:
            state = state._replace(best_score=np.float32(score))
        elif score < state.best_score:
            best = jax.tree.map(jnp.copy, variables)  # the epoch's buffers are used again by the next one
            state = state._replace(best_variables=best, best_score=np.float32(score), waited=np.int32(0))
        else:
            state = state._replace(waited=np.int32(state.waited + 1))
        members, found = self.members[stage], {}
        if stage != PRETRAIN:  # before the initial assignment there is nothing to tell
            previous = np.asarray(before.p)[members].argmax(axis=1) if before.epoch else None
            found = indicators(np.asarray(p)[members], previous)
        seconds = time.perf_counter() - start
        name = stage_under_way(before)
        return EpochEnd(name, epoch, self.limits[stage], losses, seconds, len(members) / seconds, found, state)

    def end_stage(self, state: RunState) -> StageEnd:
        """The end of the stage under way, with the next one's start."""
        start = time.perf_counter()
        following = jax.block_until_ready(self._following(state))
        return StageEnd(stage_under_way(state), time.perf_counter() - start, following)

    def _following(self, state: RunState) -> RunState:
        stage = int(state.stage)
        round_ = int(state.round)
        if stage == JOINT:
            variables = state.train.variables
            following, round_ = (FINISHED, round_) if self._is_last(round_) else (INITIAL, round_ + 1)
            return _begin(following, variables, state.assignment, self.predictions(variables)[1], round_)
        variables, assignment = state.best_variables, state.assignment
        if stage == INITIAL:
            embeddings = self.predictions(variables)[0]
            if round_ == 0:
                assignment = initial_assignment(embeddings, embeddings.shape[1], self.settings)
            else:
                assignment = next_start(embeddings, np.asarray(state.p), assignment, self.settings)
            assignment = of_first(named_by_size(assignment, self.settings.prior))
            variables = head_from_assignment(variables, embeddings, assignment)
        p = self.predictions(variables)[1] if stage == WARM else state.p
        return _begin(stage + 1, variables, assignment, p, round_)

    def targets(self, state: RunState) -> jax.Array:
        """Q for the next epoch: the initial assignment's one-hot rows in the warm start, the Q-step's after it."""
        if state.stage == WARM:
            return share(jax.nn.one_hot(state.assignment, state.p.shape[1]), self.mesh)
        return self.q_step(state.p) if state.stage == JOINT else share(state.p, self.mesh)

    def q_step(self, p: ArrayLike) -> jax.Array:
        """Q from the clean predictions, by the settings' rule; kept, since the next epoch asks for it again."""
        if self._latest[0] is not p:
            s = self.settings
            if s.microbatches == 1:
                q = target_distribution(share(p, self.mesh), self.prior, s.rule, *s.q_step, len(self.pixels))
            else:  # sums over each device's share would be other sums on another number of devices
                q = share(target_distribution(p, self.prior, s.rule, *s.q_step), self.mesh)
            self._latest = (p, q)
        return self._latest[1]

    def change_of_targets(self, q: jax.Array, targets: jax.Array) -> float:
        """Mean squared difference between the next epoch's Q and the last one's."""
        if self.settings.microbatches == 1:
            return float(jnp.square(q - targets).mean(where=self.real))
        new, old = (np.asarray(gather(table, len(self.pixels), self.mesh)) for table in (q, targets))
        return float(np.square(new - old).mean())

    def predictions(self, variables: Variables) -> tuple[np.ndarray, np.ndarray]:
        """Clean embeddings and probabilities of every image."""
        embeddings, p = predict(self.model, variables, self.pixels, self.mesh)
        if not np.isfinite(p).all():  # of weights that the last step before took too far, though its loss was finite
            raise DivergedError("the network's predictions became NaN or infinite after a stage's last step")
        return embeddings, p

    def changes(self, stage: int) -> Changes:
        """How far a stage changes the noisy pathway's images."""
        return UNCHANGED if stage == PRETRAIN else self._changes

    @cached_property
    def _changes(self) -> Changes:  # it takes a second, for which pretraining does not wait
        return jax.tree.map(float, of_first(jax.tree.map(np.float64, changes_of(self.settings, self.pixels))))

    def learning_rates(self, stage: int, epoch: int) -> np.ndarray:
        """One for each step of an epoch: cosine over the stage's limit; constant in the short warm start."""
        s = self.settings
        steps = self.steps[stage]
        if stage == WARM:
            return np.full(steps, s.warm_learning_rate, np.float32)
        start = s.pretrain_learning_rate if stage == PRETRAIN else s.joint_learning_rate
        schedule = optax.cosine_decay_schedule(start, steps * self.limits[stage], alpha=s.final_learning_rate)
        return np.asarray(schedule(np.arange(epoch * steps, (epoch + 1) * steps)), np.float32)


def _begin(stage: int, variables: Variables, assignment: np.ndarray, p: ArrayLike, round_: int = 0) -> RunState:
    return RunState(
        round=np.int32(round_),
        stage=np.int32(stage),
        epoch=np.int32(0),
        train=fresh_state(jax.tree.map(jnp.copy, variables)),
        best_variables=variables,
        best_score=np.float32(np.inf),
        waited=np.int32(0),
        assignment=assignment,
        p=jnp.asarray(p),
    )


def _key(settings: Settings, round_: int, stage: int, epoch: int) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(settings.seed), round_ * len(STAGES) + stage), epoch)
