"""Several devices as one: the mesh over which images and targets are shared out, and how one device fetches its part.

Weights and moments are on every device; images, targets and predictions lie in equal shares, the first rows on the
first device, padded with zeros where the devices do not divide them. A batch is the same images in the same places
whatever the number of devices, so that only the order of additions differs from one device's.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike

AXIS = "data"
SHARED, WHOLE = P(AXIS), P()  # rows in shares, one to a device; the same on every device


def data_mesh(devices: int | None = None) -> Mesh | None:
    """A ("data",) mesh of this machine's first `devices` devices, all for None; one alone needs none and gets None.

    Raises:
        TypeError: devices that is no integer.
        ValueError: fewer than 1, or more than the machine has.
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
    return None if n == 1 else Mesh(np.array(local[:n]), (AXIS,))


def share(rows: ArrayLike, mesh: Mesh | None) -> jax.Array:
    """An array (N, ...) on the device; with a mesh in shares, padded with zeros to a multiple of its devices."""
    if mesh is None:
        return jnp.asarray(rows)
    rows = np.asarray(rows)
    padding = -len(rows) % mesh.size
    if padding:
        rows = np.pad(rows, ((0, padding), *((0, 0),) * (rows.ndim - 1)))
    return jax.device_put(rows, NamedSharding(mesh, SHARED))


def gather(shares: jax.Array, n: int, mesh: Mesh | None) -> jax.Array | np.ndarray:
    """The first n rows of what `share` or a step shared out, for the host; without a mesh the array as it is."""
    return shares if mesh is None else np.asarray(shares)[:n]


def replicate(tree: Any, mesh: Mesh | None) -> Any:
    """Every array of a tree on every device of the mesh; without one the tree as it is."""
    return tree if mesh is None else jax.device_put(tree, NamedSharding(mesh, WHOLE))


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
