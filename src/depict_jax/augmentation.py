"""Random changes of images, affine and of brightness: corruption of the kind by which images of one cluster differ."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jax.typing import ArrayLike
from sklearn.metrics import euclidean_distances

from .settings import Settings

MOST_AFFINE, MOST_BRIGHTNESS = 0.15, 0.5
REACH = 2.5  # distances to the nearest image
COMPARED, AMONG = 500, 10_000  # images whose nearest is looked for, and where
PIECE_BYTES = 64_000_000  # of images, as float64, that are compared at a time


class Changes(NamedTuple):
    """How far images are changed at random; 0 changes nothing."""

    affine: float = 0.0  # see `random_affine`
    brightness: float = 0.0  # see `random_brightness`


UNCHANGED = Changes()


def changes_of(settings: Settings, pixels: np.ndarray) -> Changes:
    """The settings' changes of the noisy pathway's images, uint8 (N, H, W, C)."""
    return Changes(affine_of(settings.affine, pixels), brightness_of(settings.brightness, pixels))


def random_changes(
    key: jax.Array, images: jax.Array, changes: Changes, first: jax.Array | int = 0, batch_size: int | None = None
) -> jax.Array:
    """Every image changed, affinely and in brightness; arguments as of `random_affine`, `random_brightness`."""
    affine_key, brightness_key = jax.random.split(key)
    if changes.affine:
        images = random_affine(affine_key, images, changes.affine, first, batch_size)
    if changes.brightness:
        images = random_brightness(brightness_key, images, changes.brightness, first, batch_size)
    return images


def random_brightness(
    key: jax.Array, images: jax.Array, amount: float, first: jax.Array | int = 0, batch_size: int | None = None
) -> jax.Array:
    """Every image brighter or darker, as if more or less light fell on it: x + 1 times g, less 1, and at most 1.

    Args:
        key: a PRNG key; an image's change depends on it and on the image's place in the batch alone.
        images: float (B, H, W, C) in [-1, 1], -1 being black.
        amount: at least 0, below 1; each image's g is uniform in [1 - amount, 1 + amount].
        first: place of the first image, where they are a part of a batch.
        batch_size: images of the whole batch, where they are a part of it.

    Returns:
        float (B, H, W, C) in [-1, 1].
    """
    gains = _uniform(key, (1, 1, 1), images, first, batch_size, 1 - amount, 1 + amount)
    return jnp.minimum((images + 1) * gains - 1, 1)


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
    amount = jnp.asarray(amount)
    return jax.vmap(_changed)(images, _uniform(key, (2, 3), images, first, batch_size, -amount, amount))


def _uniform(
    key: jax.Array,
    shape: tuple[int, ...],
    images: jax.Array,
    first: jax.Array | int,
    batch_size: int | None,
    low: ArrayLike,
    high: ArrayLike,
) -> jax.Array:
    """Numbers in [low, high] for each image, (B, *shape): those of a whole batch, of which the images may be a part."""
    count = len(images) if batch_size is None else batch_size
    numbers = jax.random.uniform(key, (count, *shape), minval=low, maxval=high)
    return numbers if batch_size is None else jax.lax.dynamic_slice_in_dim(numbers, first, len(images))


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


def brightness_of(amount: float | None, pixels: np.ndarray) -> float:
    """How far the images' brightness is to be changed: `amount`, or where it is None as far as theirs differs.

    An image is as bright as 99 % of its pixels are at most. With low and high, what 5 % and 95 % of the images are at
    most, the amount found is (high - low) / (high + low), at most MOST_BRIGHTNESS, to three places: changes in that
    range would take images of the same brightness as far apart as these are.

    Args:
        amount: at least 0 and below 1, or None.
        pixels: uint8 (N, H, W, C).
    """
    if amount is not None:
        return amount
    some = np.sort(np.random.default_rng(0).permutation(len(pixels))[:AMONG])
    bright = [np.percentile(image, 99) for image in pixels[some]]
    low, high = np.percentile(bright, (5, 95))
    return round(min(MOST_BRIGHTNESS, float((high - low) / max(high + low, 1))), 3)


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
