"""Random affine changes of images: a corruption of the kind by which images of one cluster differ."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jax.typing import ArrayLike
from sklearn.metrics import euclidean_distances

MOST_AFFINE = 0.15
REACH = 2.5  # distances to the nearest image
COMPARED, AMONG = 500, 10_000  # images whose nearest is looked for, and where
PIECE_BYTES = 64_000_000  # of images, as float64, that are compared at a time


def random_affine(
    key: jax.Array, images: jax.Array, amount: ArrayLike, first: jax.Array | int = 0, batch_size: int | None = None
) -> jax.Array:
    """Every image moved, turned, stretched and sheared by an affine change of its own.

    A pixel of the result at y, counted from the centre, is the image's at (I + E) y + t, with the four entries of E
    and both of t, as shares of height and width, uniform in [-amount, amount]. Between pixels the image is linear;
    beyond its border the border goes on.

    Args:
        key: a PRNG key; an image's change depends on it and on the image's place in the batch alone.
        images: float (B, H, W, C).
        amount: at least 0, which changes nothing; 0.1 turns by up to 6 degrees and moves by up to a tenth.
        first: place of the first image, where they are a part of a batch.
        batch_size: images of the whole batch, where they are a part of it.

    Returns:
        float (B, H, W, C).
    """
    shape = (len(images) if batch_size is None else batch_size, 2, 3)
    changes = jax.random.uniform(key, shape, minval=-jnp.asarray(amount), maxval=amount)
    if batch_size is not None:
        changes = jax.lax.dynamic_slice_in_dim(changes, first, len(images))
    return jax.vmap(_changed)(images, changes)


def affine_of(amount: float | None, pixels: np.ndarray) -> float:
    """How far images are to be changed: `amount`, or where it is None as far as they allow.

    An image that is moved much further than its neighbours are away lands among images of other kinds, as aligned faces
    do. The amount found is the largest up to MOST_AFFINE at which `random_affine` takes the median image at most REACH
    times as far (Euclidean, over pixels) as its nearest one is that differs, to three places. No randomness enters but
    fixed keys; equal images give the same amount.

    Args:
        amount: at least 0, or None.
        pixels: uint8 (N, H, W, C).
    """
    if amount is not None:
        return amount
    among = np.random.default_rng(0).permutation(len(pixels))[:AMONG]
    compared = pixels[np.sort(among[:COMPARED])]
    flat = compared.reshape(len(compared), -1).astype(np.float64)  # whole numbers: distances are exact
    nearest = np.full(len(compared), np.inf)
    piece = max(1, PIECE_BYTES // flat[0].nbytes)
    for start in range(0, len(among), piece):
        others = pixels[np.sort(among[start : start + piece])].reshape(-1, flat.shape[1]).astype(np.float64)
        squares = euclidean_distances(flat, others, squared=True)
        nearest = np.minimum(nearest, np.where(squares > 0.5, squares, np.inf).min(axis=1))
    low, high = 0, round(1000 * MOST_AFFINE)  # in thousandths; the least that is too far is above `high`, if any is
    while low < high:
        middle = (low + high + 1) // 2
        moved = np.asarray(_moved_squared(compared, middle / 1000))
        low, high = (middle, high) if np.median(moved / nearest) <= REACH**2 else (low, middle - 1)
    return low / 1000


@jax.jit
def _moved_squared(pixels: jax.Array, amount: ArrayLike) -> jax.Array:
    """(N,) squared distance between images, uint8 (N, H, W, C), and themselves after a random affine change."""
    images = pixels.astype(jnp.float32)
    changed = random_affine(jax.random.key(0), images, amount)
    return jnp.square(changed - images).sum(axis=(1, 2, 3))


def _changed(image: jax.Array, change: jax.Array) -> jax.Array:
    """One image (H, W, C) by one change (2, 3), E and t side by side."""
    size = jnp.array(image.shape[:2])
    centre = (size - 1) / 2
    y = jnp.moveaxis(jnp.indices(image.shape[:2]), 0, -1) - centre
    source = y + y @ change[:, :2].T + centre + size * change[:, 2]
    sample = partial(map_coordinates, coordinates=list(jnp.moveaxis(source, -1, 0)), order=1, mode="nearest")
    return jax.vmap(sample, in_axes=-1, out_axes=-1)(image)
