"""Several devices as one, of one process or of many: the mesh over which images and targets are shared out.

Weights and moments are on every device; images, targets and predictions lie in equal shares, the first rows on the
first device, padded with zeros where the devices do not divide them. A batch is the same images in the same places
whatever the number of devices, so that only the order of additions differs from one device's; with microbatches not
even that.

Every process runs the same program on the same arguments, and holds of what is shared out its own devices' part only.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike

AXIS = "data"
SHARED, WHOLE = P(AXIS), P()  # rows in shares, one to a device; the same on every device


def data_mesh(devices: int | None = None, microbatches: int = 1) -> Mesh | None:
    """A ("data",) mesh of the first `devices` devices of every process, all for None; one device alone needs none.

    Raises:
        TypeError: devices that is no integer.
        ValueError: fewer than 1, or more than this machine has; more than one microbatch, of which the devices of all
            processes cannot have equally many.
    """
    local = jax.local_devices()
    n = len(local) if devices is None else devices
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise TypeError(f"devices is {devices!r}: expected an integer, or None for all")
    if not 1 <= n <= len(local):
        raise ValueError(
            f"devices is {n}: JAX finds {len(local)} ({local[0].device_kind}) here; expected 1 to {len(local)}, or "
            "leave it out for all"
        )
    in_all = n * jax.process_count()
    if microbatches > 1 and microbatches % in_all:
        raise ValueError(
            f"microbatches is {microbatches} for {in_all} devices: expected a multiple of their number, so that each "
            "has equally many; --devices says how many to use"
        )
    if jax.process_count() == 1:
        return None if n == 1 else Mesh(np.array(local[:n]), (AXIS,))
    return Mesh(np.concatenate([jax.local_devices(i)[:n] for i in range(jax.process_count())]), (AXIS,))


def share(rows: ArrayLike, mesh: Mesh | None) -> jax.Array:
    """An array (N, ...) on the device; with a mesh in shares, padded with zeros to a multiple of its devices.

    Of a memory map a process reads its own devices' rows only.
    """
    if mesh is None:
        return jnp.asarray(rows)
    rows = rows if isinstance(rows, np.ndarray) else np.asarray(rows)
    shape = (_per_device(len(rows), mesh) * mesh.size, *rows.shape[1:])

    def of_a_device(index: tuple[slice, ...] | None) -> np.ndarray:
        assert index is not None
        mine = rows[index[0]]
        padding = len(range(*index[0].indices(shape[0]))) - len(mine)
        return np.pad(mine, ((0, padding), *((0, 0),) * (rows.ndim - 1))) if padding else mine

    return jax.make_array_from_callback(shape, NamedSharding(mesh, SHARED), of_a_device)


def _per_device(n: int, mesh: Mesh) -> int:
    return -(-n // mesh.size)


def zeros(shape: tuple[int, ...], mesh: Mesh | None) -> jax.Array:
    """A float32 table of zeros; with a mesh in shares, which must divide it."""
    return jnp.zeros(shape, device=None if mesh is None else NamedSharding(mesh, SHARED))


def gather(shares: jax.Array, n: int, mesh: Mesh | None) -> jax.Array | np.ndarray:
    """The first n rows of what `share` or a step shared out, for the host; without a mesh the array as it is."""
    if mesh is None:
        return shares
    if mesh.is_multi_process:
        return multihost_utils.process_allgather(shares, tiled=True)[:n]
    return np.asarray(shares)[:n]


def replicate(tree: Any, mesh: Mesh | None) -> Any:
    """Every array of a tree, the same in all processes, on every device of the mesh; without one the tree as it is."""
    if mesh is None:
        return tree
    whole = NamedSharding(mesh, WHOLE)
    if not mesh.is_multi_process:
        return jax.device_put(tree, whole)

    def on_all(leaf: Any) -> jax.Array:
        if not _is_here(leaf):
            return leaf  # on all since an earlier step
        array = np.asarray(leaf)
        return jax.make_array_from_callback(array.shape, whole, lambda index: array[index])

    return jax.tree.map(on_all, tree)


def own_part(rows: np.ndarray, n: int, tree: Any, mesh: Mesh | None) -> tuple[np.ndarray, Any, Mesh | None]:
    """A process's part of what is computed image by image: which of `rows`, with weights and a mesh on its own devices.

    Args:
        rows: (M,) int, numbers of images, the same in every process.
        n: the number of all images.
        tree: what all need, such as weights.
        mesh: see `data_mesh`.
    """
    if mesh is None or not mesh.is_multi_process:
        return rows, tree, mesh
    own = mesh.local_mesh if mesh.local_mesh.size > 1 else None
    tree = jax.tree.map(lambda leaf: leaf if _is_here(leaf) else leaf.addressable_data(0), tree)
    return rows[_owner(rows, n, mesh) == jax.process_index()], replicate(tree, own), own


def of_all(mine: np.ndarray, rows: np.ndarray, n: int, mesh: Mesh | None) -> np.ndarray:
    """The parts that the processes computed of `rows`, (M, ...), put together; arguments as for `own_part`."""
    if mesh is None or not mesh.is_multi_process:
        return mine
    owner = _owner(rows, n, mesh)
    most = int(np.bincount(owner).max())
    parts = multihost_utils.process_allgather(np.pad(mine, ((0, most - len(mine)), *((0, 0),) * (mine.ndim - 1))))
    whole = np.empty((len(rows), *mine.shape[1:]), mine.dtype)
    for process, part in enumerate(parts):
        whole[owner == process] = part[: np.count_nonzero(owner == process)]
    return whole


def total(mine: float, mesh: Mesh | None) -> float:
    """The sum of what every process has."""
    if mesh is None or not mesh.is_multi_process:
        return mine
    bits = np.array([mine]).view(np.uint32)  # JAX would round a float64
    return float(multihost_utils.process_allgather(bits).view(np.float64).sum())


def _owner(rows: np.ndarray, n: int, mesh: Mesh) -> np.ndarray:
    return rows // (_per_device(n, mesh) * mesh.local_mesh.size)


def _is_here(leaf: Any) -> bool:
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable


def own_columns(n: int, mesh: Mesh | None) -> slice:
    """Of n places of a batch, which the mesh's devices divide, those of this process's devices."""
    if mesh is None or not mesh.is_multi_process:
        return slice(0, n)
    of_a_process = n // mesh.size * mesh.local_mesh.size
    return slice(jax.process_index() * of_a_process, (jax.process_index() + 1) * of_a_process)


def assemble(mine: np.ndarray, spec: P, mesh: Mesh | None) -> jax.Array:
    """On the devices, an array of which every process has `own_columns`; without a mesh all of it."""
    if mesh is None:
        return jnp.asarray(mine)
    return jax.make_array_from_process_local_data(NamedSharding(mesh, spec), mine)


def first_row(shares: jax.Array, axis: str) -> jax.Array:
    """Inside shard_map: the number, among all rows, of this device's first one."""
    return jax.lax.axis_index(axis) * len(shares)


def fetch(shares: jax.Array, indices: jax.Array, axis: str) -> jax.Array:
    """Inside shard_map: this device's part of rows `indices` of a table that lies in shares, zeros beyond its end.

    Every device lays out what it has of all the rows, zeros elsewhere, and a reduce-scatter adds these up: exact, since
    each row has one owner, without any device ever holding the table.

    Args:
        shares: this device's rows of the table, (N / devices, ...).
        indices: (B,) int32, the same on every device, B a multiple of the devices.
        axis: the mesh's.

    Returns:
        (B / devices, ...): the first device has the first rows.
    """
    own = indices - first_row(shares, axis)
    mine = ((own >= 0) & (own < len(shares))).reshape(-1, *(1,) * (shares.ndim - 1))
    rows = jnp.where(mine, shares.at[own].get(mode="clip"), jnp.zeros((), shares.dtype))
    return jax.lax.psum_scatter(rows, axis, tiled=True)


def store(shares: jax.Array, indices: jax.Array, rows: jax.Array, axis: str) -> jax.Array:
    """Inside shard_map: the table with rows `indices` replaced, `rows` being this device's part of the new ones."""
    own = indices - first_row(shares, axis)
    # a negative number would count from the end
    own = jnp.where(own < 0, len(shares), own)
    return shares.at[own].set(jax.lax.all_gather(rows, axis, tiled=True), mode="drop")


def by_microbatch(
    function: Callable[..., tuple[Any, ...]], microbatches: int, axis: str | None, tables: tuple[jax.Array, ...]
) -> tuple[Any, ...]:
    """`function` of one microbatch of a batch after the other, each as if it were the only one.

    Args:
        function: of (place in the batch of the first image, *rows of tables); gives a tuple of trees of arrays.
        microbatches: of the whole batch, which they divide; on D devices each computes 1 / D of them.
        axis: inside shard_map, the mesh axis over which the batch is shared out; None for one device.
        tables: (B, ...) each, the whole batch, or this device's part of it.

    Returns:
        What `function` gives, stacked: (microbatches, ...), or this device's part of them.
    """
    n = microbatches if axis is None else microbatches // jax.lax.axis_size(axis)
    size = len(tables[0]) // n
    first = 0 if axis is None else first_row(tables[0], axis)

    # Barriers, and a number of rounds that the compiler does not know: else it would merge a microbatch's operations
    # with those around them, in one way where there is a single round and in another where there are eight, and what is
    # merged is rounded differently.
    def found_of(i: jax.Array | int) -> tuple[Any, ...]:
        rows = [jax.lax.dynamic_slice_in_dim(table, i * size, size) for table in tables]
        return jax.lax.optimization_barrier(function(*jax.lax.optimization_barrier((first + i * size, *rows))))

    def store_found(i: jax.Array, found: tuple[Any, ...]) -> tuple[Any, ...]:
        return jax.tree.map(lambda stack, leaf: stack.at[i].set(leaf), found, found_of(i))

    stacks = jax.tree.map(lambda leaf: jnp.zeros((n, *leaf.shape), leaf.dtype), jax.eval_shape(found_of, 0))
    if axis is not None:
        stacks = jax.lax.pcast(stacks, axis, to="varying")
    return jax.lax.fori_loop(0, jax.lax.optimization_barrier(n), store_found, stacks)


def added_in_order(stacks: Any, axis: str | None) -> Any:
    """The sum of every array of a tree along its first axis, one after the other: the same bits on any devices.

    Args:
        stacks: of arrays (n, ...); inside shard_map this device's part of them, the first device having the first.
        axis: inside shard_map, the mesh's; None for one device.

    Returns:
        A tree of arrays (...), the same on every device.
    """

    def total(stack: jax.Array) -> jax.Array:
        if axis is not None:
            # laid out among zeros, which an all-reduce adds up: exact, and known to be the same on every device
            n, device = len(stack), jax.lax.axis_index(axis)
            whole = jnp.zeros((n * jax.lax.axis_size(axis), *stack.shape[1:]), stack.dtype)
            whole = jax.lax.pcast(whole, axis, to="varying")
            stack = jax.lax.psum(jax.lax.dynamic_update_slice_in_dim(whole, stack, device * n, 0), axis)
        return functools.reduce(operator.add, list(stack))

    return jax.tree.map(total, stacks)
