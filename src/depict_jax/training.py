"""Pure functions of one training step, of validation and prediction. The three training stages share the step and
differ in its loss and targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec
from jax.tree_util import keystr

from . import parallel
from .augmentation import UNCHANGED, Changes, random_changes
from .networks import Depict, Pathways
from .objectives import cross_entropy, reconstruction_loss

Variables = Any  # a Flax variables dict
# Images that a call outside training takes: fixed, so that no batch size of the user's changes a result; small, since
# larger ones wait for the operating system's memory on a CPU, half as fast, and would be mostly padding in validation.
CHUNK = 100

# The embedding of a 32 x 32 image has WIDE inputs; with n, more than that, its rate is at most WIDE_RATE (WIDE / n)^2.
# Measured at 48, 64 and 96 pixels a side, where the full rate saturates all units for good.
WIDE, WIDE_RATE = 4050, 1e-3
# Of float32 products, on purpose: else a GPU would round their factors to TF32's 10 bits and a TPU to bfloat16's 7.
PRODUCTS = "float32"

optimiser = optax.scale_by_adam()


class TrainState(NamedTuple):
    """What a step reads and replaces."""

    variables: Variables
    optimiser_state: optax.OptState


@dataclass(frozen=True)
class Loss:
    """L_R + gamma * cross entropy; gamma = 0 is the autoencoder's loss alone."""

    layer_weights: tuple[float, ...]
    clustering_weight: float
    stop_gradient: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts that a call gives."""
        return ("loss", "reconstruction", *(("cross_entropy",) if self.clustering_weight else ()))

    def __call__(
        self,
        pathways: Pathways,
        targets: jax.Array,
        mask: jax.Array | None = None,
        count: jax.Array | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The total and its parts, means over the images that `mask` (B,) marks with 1; targets are Q, (B, K).

        With `count`, sums over those images divided by it: a device's share of a batch of so many.
        """
        reconstruction = reconstruction_loss(
            pathways.reconstructions, pathways.clean, self.layer_weights, mask, self.stop_gradient, count
        )
        if not self.clustering_weight:
            return reconstruction, {"loss": reconstruction, "reconstruction": reconstruction}
        clustering = cross_entropy(targets, pathways.noisy_logits, mask, count)
        total = reconstruction + self.clustering_weight * clustering
        return total, {"loss": total, "reconstruction": reconstruction, "cross_entropy": clustering}


def scale(pixels: jax.Array) -> jax.Array:
    """uint8 pixels to float32 in [-1, 1]: (v - 127.5) / 127.5."""
    return (pixels.astype(jnp.float32) - 127.5) / 127.5


def fresh_state(variables: Variables) -> TrainState:
    """The state every stage starts from: its weights, with Adam's moments at zero."""
    return TrainState(variables, optimiser.init(variables))


def train_step(
    model: Depict,
    loss: Loss,
    state: TrainState,
    images: jax.Array,
    targets: jax.Array,
    mask: jax.Array,
    learning_rate: jax.Array,
    key: jax.Array,
    changes: Changes = UNCHANGED,
    axis: str | None = None,
    count: jax.Array | None = None,
    microbatches: int = 1,
) -> tuple[TrainState, dict[str, jax.Array], jax.Array]:
    """One Adam step on a batch.

    Args:
        model: the network.
        loss: which loss.
        state: weights and moments.
        images: (B, H, W, C), scaled to [-1, 1].
        targets: Q, (B, K); read only where the loss has a clustering part.
        mask: (B,), 1 for real images and 0 for padding.
        learning_rate: scalar.
        key: for the corruption.
        changes: how far the noisy pathway's images are changed; what is reconstructed, and p, are the unchanged ones'.
        axis: inside shard_map, the mesh axis over which the batch is shared out: images, targets, mask and p are then
            this device's part, state and losses the same on all.
        count: with `axis`, the images of the whole batch without its padding.
        microbatches: equal parts of the whole batch, B a multiple of them, that are computed one after the other and
            added up in their order: the same bits on any number of devices that divides them. 1: the whole batch, or a
            device's part of it, at once.

    Returns:
        The new state, the losses before the update, and p (B, K), the clean predictions before the update.
    """

    variables = state.variables
    first: jax.Array | int = 0
    batch_size = None
    if axis is not None:
        variables = jax.lax.pcast(variables, axis, to="varying")  # each device's own gradient, to be added up below
        first, batch_size = parallel.first_row(images, axis), jax.lax.axis_size(axis) * len(images)
    elif microbatches > 1:
        count, batch_size = mask.sum(), len(images)
    noise_key, changes_key = jax.random.split(key) if any(changes) else (key, key)

    def part_of_step(first, images, targets, mask):
        """Gradient, losses and logits of some of the batch's images, the first of which has the place `first` in it."""
        changed = random_changes(changes_key, images, changes, first, batch_size) if any(changes) else None

        def objective(variables: Variables) -> tuple[jax.Array, tuple[dict[str, jax.Array], jax.Array]]:
            noise = {"dropout": noise_key}
            pathways = cast(Pathways, model.apply(variables, images, changed=changed, first=first, rngs=noise))
            total, parts = loss(pathways, targets, mask, count)
            return total, (parts, pathways.logits)

        gradients, (parts, logits) = jax.grad(objective, has_aux=True)(variables)
        return gradients, parts, logits

    with jax.default_matmul_precision(PRODUCTS):
        if microbatches > 1:
            found = parallel.by_microbatch(part_of_step, microbatches, axis, (images, targets, mask))
            gradients, parts = parallel.added_in_order(found[:2], axis)
            logits = found[2].reshape(len(images), -1)
        else:
            gradients, parts, logits = part_of_step(first, images, targets, mask)
            if axis is not None:
                gradients, parts = jax.lax.psum((gradients, parts), axis)
    updates, optimiser_state = optimiser.update(gradients, state.optimiser_state)
    variables = jax.tree_util.tree_map_with_path(partial(_moved, learning_rate), state.variables, updates)
    return TrainState(variables, optimiser_state), parts, jax.nn.softmax(logits)


def _moved(learning_rate: jax.Array, path: tuple, w: jax.Array, update: jax.Array) -> jax.Array:
    """A parameter after Adam's update.

    The embedding's weights from very large maps (images beyond 32 x 32) go slower. Adam moves each by the full rate
    whatever its gradient's size; where thousands of inputs are alike, as of a dark border, one step carries all tanh
    units far into saturation, and they never come back.
    """
    if keystr(path, simple=True, separator="/").endswith("encoder/embedding/kernel") and len(w) > WIDE:
        learning_rate = jnp.minimum(learning_rate, WIDE_RATE * (WIDE / len(w)) ** 2)
    return w - learning_rate * update


def is_finite(state: TrainState, loss: jax.Array) -> jax.Array:
    """Whether the loss, and all gradients that led to the state, are finite: NaN and infinity stay in Adam's mean.

    A gradient whose square is beyond float32 counts as infinite: Adam would never move that parameter again.
    """
    squares = sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(state.optimiser_state.mu))
    return jnp.isfinite(loss) & jnp.isfinite(squares)


@partial(jax.jit, static_argnames=("model", "loss", "mesh"))
def _validation_sums(model, loss, variables, pixels, mask, mesh):
    def of_chunk(variables, pixels, mask):
        pathways = model.apply(variables, scale(pixels), noisy=False)
        count = jnp.maximum(mask.sum(), 1)  # a device's share may be all padding
        return (loss(pathways, None, mask, count)[0] * count)[None]

    with jax.default_matmul_precision(PRODUCTS):
        return _on_shares(of_chunk, mesh, parallel.SHARED, 2)(variables, pixels, mask)


def validation_loss(
    model: Depict,
    loss: Loss,
    variables: Variables,
    pixels: np.ndarray,
    mesh: Mesh | None = None,
    rows: np.ndarray | None = None,
) -> float:
    """The autoencoder's loss without corruption, mean over uint8 pixels (N, H, W, C), which a mesh's devices share.

    With `rows`, over the images of these numbers, at least one. Of one process's devices each computes what one alone
    would, and the sum is exact: the same bits on any number of them.
    """
    rows = np.arange(len(pixels)) if rows is None else rows
    mine, variables, own = parallel.own_part(rows, len(pixels), variables, mesh)
    totals = [
        np.asarray(_validation_sums(model, loss, variables, chunk, (np.arange(len(chunk)) < n).astype(np.float32), own))
        for chunk, n in _chunks(pixels, mine, own)
    ]
    return parallel.total(math.fsum(np.concatenate(totals)), mesh) / len(rows)


@partial(jax.jit, static_argnames=("model", "mesh"))
def _predict_chunk(model, variables, pixels, mesh):
    def of_chunk(variables, pixels):
        return model.apply(variables, scale(pixels), method="predict")

    with jax.default_matmul_precision(PRODUCTS):
        return _on_shares(of_chunk, mesh, parallel.SHARED, 1)(variables, pixels)


def predict(
    model: Depict,
    variables: Variables,
    pixels: np.ndarray,
    mesh: Mesh | None = None,
    rows: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Clean embeddings and probabilities, float32 (N, K) each, of uint8 pixels (N, H, W, C); of images `rows` of them.

    With a mesh its devices share the images; each computes what one alone would, to the same bits.
    """
    rows = np.arange(len(pixels)) if rows is None else rows
    mine, variables, own = parallel.own_part(rows, len(pixels), variables, mesh)
    found = [
        [np.asarray(array)[:n] for array in _predict_chunk(model, variables, chunk, own)]
        for chunk, n in _chunks(pixels, mine, own)
    ]
    embeddings, p = (
        parallel.of_all(np.concatenate(parts), rows, len(pixels), mesh) for parts in zip(*found, strict=True)
    )
    return embeddings, p


def _on_shares(function: Callable, mesh: Mesh | None, gives: PartitionSpec, n_tables: int) -> Callable:
    """`function(variables, *tables)` on every device's share of the tables; itself without a mesh."""
    if mesh is None:
        return function
    return jax.shard_map(
        function, mesh=mesh, in_specs=(parallel.WHOLE, *(parallel.SHARED,) * n_tables), out_specs=gives
    )


def _chunks(pixels: np.ndarray, rows: np.ndarray, mesh: Mesh | None) -> Iterator[tuple[np.ndarray, int]]:
    """Pieces of CHUNK images a device with the number of real ones; the last piece, or the only one, is padded."""
    size = CHUNK if mesh is None else CHUNK * mesh.size
    for start in range(0, max(1, len(rows)), size):
        chunk = pixels[rows[start : start + size]]
        padding = size - len(chunk)
        yield (np.pad(chunk, ((0, padding), (0, 0), (0, 0), (0, 0))) if padding else chunk), len(chunk)


def head_from_assignment(variables: Variables, embeddings: np.ndarray, assignment: np.ndarray) -> Variables:
    """The head set to the clusters' mean embeddings, each scaled to unit length, as columns; zero bias.

    The column of a cluster without images is zero.

    Args:
        variables: of the network.
        embeddings: clean, (N, K).
        assignment: (N,) int, a cluster in 0 .. K-1 for each image.
    """
    n_clusters = embeddings.shape[1]
    of_each = [embeddings[assignment == k] for k in range(n_clusters)]
    means = np.stack([of.mean(axis=0) if len(of) else np.zeros(n_clusters) for of in of_each], axis=1)
    theta = means / np.maximum(np.linalg.norm(means, axis=0), 1e-12)
    head = {"kernel": jnp.asarray(theta, jnp.float32), "bias": jnp.zeros(n_clusters, jnp.float32)}
    return {**variables, "params": {**variables["params"], "head": head}}
