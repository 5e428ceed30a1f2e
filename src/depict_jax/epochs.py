"""One pass over the images: as a single device call where they lie on the devices, else some batches to a call."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from . import parallel
from .augmentation import UNCHANGED, Changes
from .networks import Depict
from .training import Loss, TrainState, is_finite, scale, train_step

PIECE_BYTES = 8_000_000  # of images that a call is handed by `stream_epoch`: enough to make a call's own cost vanish
READ_AHEAD = 2  # such pieces, by as many threads


class Epoch(NamedTuple):
    """What one epoch gives."""

    state: TrainState
    losses: dict[str, jax.Array | np.ndarray]  # means over the epoch's images
    p: jax.Array  # (N, K) clean predictions, each image's from its own step; zeros for images left out
    finite: (
        jax.Array | np.ndarray
    )  # (steps,) bool, whether a step's loss and gradient, and those of all before it, were finite


def steps_per_epoch(n_images: int, batch_size: int) -> int:
    """Batches that hold all images, the last one padded."""
    return -(-n_images // batch_size)


def n_held_out(n_images: int) -> int:
    """Images on which pretraining and warm start are judged, and that they do not learn from: a tenth, at least one."""
    return max(1, n_images // 10)


@partial(
    jax.jit,
    static_argnames=("model", "loss", "batch_size", "changes", "mesh", "microbatches"),
    donate_argnames=("state",),
)
def train_epoch(
    model: Depict,
    loss: Loss,
    state: TrainState,
    pixels: jax.Array,
    targets: jax.Array,
    members: jax.Array,
    learning_rates: jax.Array,
    key: jax.Array,
    *,
    batch_size: int,
    changes: Changes = UNCHANGED,
    mesh: Mesh | None = None,
    microbatches: int = 1,
) -> Epoch:
    """One pass over the images that `members` lists, shuffled, as a single device call.

    Args:
        model: the network.
        loss: which loss.
        state: weights and moments; its buffers are donated.
        pixels: all images, uint8 (N, H, W, C).
        targets: Q of all images, (N, K).
        members: (M,) int32, the images to train on, each once.
        learning_rates: one for each step.
        key: for the order and the corruption.
        batch_size: images a step; the last batch is padded, and the padding masked out of loss and gradient.
        changes: see `train_step`.
        mesh: devices over which pixels, targets, every batch and p are shared out, see `parallel`; None for one.
        microbatches: see `train_step`; a batch is padded to a multiple of them, which the mesh's devices divide.
    """
    axis = None if mesh is None else parallel.AXIS
    epoch = partial(_whole_epoch, model, loss, batch_size, changes, microbatches, axis)
    if mesh is not None:
        shared, whole = parallel.SHARED, parallel.WHOLE
        epoch = jax.shard_map(
            epoch,
            mesh=mesh,
            in_specs=(whole, shared, shared, whole, whole, whole),
            out_specs=(whole, shared, whole, whole),
        )
    state, p, sums, finite = epoch(state, pixels, targets, members, learning_rates, key)
    share = _share_of_one(members)
    return Epoch(state, {name: _added_in_order(values) * share for name, values in sums.items()}, p, finite)


def _added_in_order(values: jax.Array) -> jax.Array:
    """The sum over steps, one after the other: that of `jnp.sum` rounds as the processor's vectors are wide."""
    return jax.lax.scan(lambda total, value: (total + value, None), jnp.zeros((), values.dtype), values)[0]


def _share_of_one(members: jax.Array | np.ndarray) -> np.float32:
    """An image's share of a mean: to be multiplied by, since XLA divides otherwise than numpy, by a reciprocal."""
    return np.float32(1 / len(members))


def _batches(
    members: jax.Array, n_images: int, batch_size: int, key: jax.Array, parts: int = 1
) -> tuple[jax.Array, jax.Array]:
    """An epoch's shuffled batches and a key for each step.

    The batches are (steps, batch_size), the second axis padded so that `parts` divide it; padding is `n_images`.
    """
    n_steps = steps_per_epoch(len(members), batch_size)
    order_key, noise_key = jax.random.split(key)
    padding = n_steps * batch_size - len(members)
    order = jnp.pad(jax.random.permutation(order_key, members), (0, padding), constant_values=n_images)
    batches = order.reshape(n_steps, batch_size)
    batches = jnp.pad(batches, ((0, 0), (0, -batch_size % parts)), constant_values=n_images)
    return batches, jax.random.split(noise_key, n_steps)


def _whole_epoch(
    model, loss, batch_size, changes, microbatches, axis, state, pixels, targets, members, learning_rates, key
):
    """State, p, sums of losses by step and `finite` of `train_epoch`; with `axis` one device's part, inside shard_map.

    All devices shuffle alike, so that the batches are one device's; each gets its part of a batch from the others.
    """
    n_devices = 1 if axis is None else jax.lax.axis_size(axis)
    n_images = n_devices * len(pixels)  # with what pads the last shares: beyond every member
    batches, keys = _batches(members, n_images, batch_size, key, max(n_devices, microbatches))

    def step(carry, batch):
        state, p = carry
        indices, learning_rate, key = batch
        images = pixels.at[indices].get(mode="clip") if axis is None else parallel.fetch(pixels, indices, axis)
        state, p, *found = _step(
            *(model, loss, changes, microbatches, axis, state, p),
            *(images, targets, indices, learning_rate, key),
        )
        return (state, p), tuple(found)

    p = jnp.zeros(targets.shape)
    if axis is not None:
        p = jax.lax.pcast(p, axis, to="varying")
    (state, p), (sums, finite) = jax.lax.scan(step, (state, p), (batches, learning_rates, keys))
    return state, p, sums, finite


def _step(model, loss, changes, microbatches, axis, state, p, images, targets, indices, learning_rate, key):
    """A step on uint8 `images` of the batch `indices`; with `axis` on this device's part of them, inside shard_map.

    Gives the state, p with the batch's rows replaced, the sums of the losses over the batch, and whether they and the
    gradient are finite.
    """
    if axis is None:
        mine, n_images = indices, len(targets)
        q, count = targets.at[indices].get(mode="clip"), None
    else:
        n_devices = jax.lax.axis_size(axis)
        mine, n_images = indices.reshape(n_devices, -1)[jax.lax.axis_index(axis)], n_devices * len(targets)
        q, count = parallel.fetch(targets, indices, axis), (indices < n_images).sum()
    mask = (mine < n_images).astype(jnp.float32)
    state, parts, rows = train_step(
        model, loss, state, scale(images), q, mask, learning_rate, key, changes, axis, count, microbatches
    )
    p = p.at[indices].set(rows, mode="drop") if axis is None else parallel.store(p, indices, rows, axis)
    whole = mask.sum() if count is None else count
    return state, p, {name: value * whole for name, value in parts.items()}, is_finite(state, parts["loss"])


def stream_epoch(
    model: Depict,
    loss: Loss,
    state: TrainState,
    pixels: np.ndarray,
    targets: jax.Array,
    members: np.ndarray,
    learning_rates: np.ndarray,
    key: jax.Array,
    *,
    batch_size: int,
    changes: Changes = UNCHANGED,
    mesh: Mesh | None = None,
    microbatches: int = 1,
) -> Epoch:
    """As `train_epoch`, of images that stay where they are: on the host, or in a file that is mapped into memory.

    The same images in the same batches and the same noise, so that the weights are those of `train_epoch`. Some batches
    at a time go to the devices, read ahead by grain's threads while those before them are trained on; of several
    processes each reads its devices' part of every batch. Targets and p lie on the devices.

    Args:
        model: the network.
        loss: which loss.
        state: weights and moments; its buffers are donated.
        pixels: all images, uint8 (N, H, W, C), a np.memmap for one.
        targets: Q of all images, (N, K), or with a mesh in shares.
        members: see `train_epoch`; so the rest.
        learning_rates: see there.
        key: see there.
        batch_size: see there.
        changes: see there.
        mesh: see there.
        microbatches: see there.
    """
    parts = max(microbatches, 1 if mesh is None else mesh.size)
    batches, keys = _order(members, len(targets), batch_size, key, parts)
    indices, n_steps = np.asarray(batches), len(learning_rates)
    length = max(1, min(n_steps, PIECE_BYTES // (batch_size * pixels[0].nbytes)))
    p = parallel.zeros(targets.shape, mesh)
    found = []
    for start, images in zip(range(0, n_steps, length), _read(pixels, indices, length, mesh), strict=True):
        n = min(length, n_steps - start)
        what = _padded(length, indices[start : start + n], learning_rates[start : start + n])
        state, p, *rest = _some_steps(
            *(model, loss, changes, microbatches, mesh, state, p),
            *(images, targets, *what, keys, np.int32(start), np.int32(n)),
        )
        found.append((n, rest))
        jax.block_until_ready(found[-2:][0])  # else pieces would pile up on the devices, handed over faster than used
    sums = {name: np.concatenate([np.asarray(of[name])[:n] for n, (of, _) in found]) for name in loss.parts}
    finite = np.concatenate([np.asarray(of)[:n] for n, (_, of) in found])
    totals = {name: np.add.accumulate(values)[-1] for name, values in sums.items()}  # as train_epoch adds them
    return Epoch(state, {name: total * _share_of_one(members) for name, total in totals.items()}, p, finite)


_order = jax.jit(_batches, static_argnums=(1, 2, 4))


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4), donate_argnums=(5, 6))
def _some_steps(
    model, loss, changes, microbatches, mesh, state, p, images, targets, indices, learning_rates, keys, start, n_steps
):
    """The first n_steps of the batches `images`, (length, batch, H, W, C); `keys` are the epoch's, from `start` on."""
    axis = None if mesh is None else parallel.AXIS

    def steps(state, p, images, targets, indices, learning_rates, keys, start, n_steps):
        def step(i, carry):
            state, p, sums, finite = carry
            state, p, some, whether = _step(
                *(model, loss, changes, microbatches, axis, state, p),
                *(images[i], targets, indices[i], learning_rates[i], keys[start + i]),
            )
            return state, p, {name: sums[name].at[i].set(some[name]) for name in sums}, finite.at[i].set(whether)

        sums = {name: jnp.zeros(len(indices)) for name in loss.parts}
        return jax.lax.fori_loop(0, n_steps, step, (state, p, sums, jnp.ones(len(indices), bool)))

    if mesh is not None:
        shared, whole = parallel.SHARED, parallel.WHOLE
        steps = jax.shard_map(
            steps,
            mesh=mesh,
            in_specs=(whole, shared, _PIECE, shared, *(whole,) * 5),
            out_specs=(whole, shared, whole, whole),
        )
    return steps(state, p, images, targets, indices, learning_rates, keys, start, n_steps)


_PIECE = PartitionSpec(None, parallel.AXIS)  # batches in order, each shared out


def _padded(length: int, *arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays with `length` entries, whatever in those after their own: a shorter piece needs no program anew."""
    return [np.pad(array, ((0, length - len(array)), *((0, 0),) * (array.ndim - 1))) for array in arrays]


class _Pieces:
    """What grain reads from: piece i is (length, batch, H, W, C) uint8, this process's columns of `length` batches."""

    def __init__(self, pixels: np.ndarray, indices: np.ndarray, length: int):
        self.pixels, self.indices, self.length = pixels, indices, length

    def __len__(self) -> int:
        return steps_per_epoch(len(self.indices), self.length)

    def __getitem__(self, i: int) -> np.ndarray:
        rows = self.indices[i * self.length : (i + 1) * self.length]
        (rows,) = _padded(self.length, rows)
        return self.pixels[np.minimum(rows, len(self.pixels) - 1)]


def _read(pixels: np.ndarray, indices: np.ndarray, length: int, mesh: Mesh | None) -> Iterator[jax.Array]:
    """The epoch's pieces in order, on the devices."""
    import grain  # only where images are streamed

    mine = parallel.own_columns(indices.shape[1], mesh)
    pieces = grain.MapDataset.source(_Pieces(pixels, indices[:, mine], length))
    options = grain.ReadOptions(num_threads=READ_AHEAD, prefetch_buffer_size=READ_AHEAD)
    for piece in pieces.to_iter_dataset(options):
        yield parallel.assemble(piece, _PIECE, mesh)
