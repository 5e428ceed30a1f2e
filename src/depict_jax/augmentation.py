"""Random affine changes of images: a corruption of the kind by which images of one cluster differ."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates


def random_affine(
    key: jax.Array, images: jax.Array, amount: float, first: jax.Array | int = 0, batch_size: int | None = None
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
    changes = jax.random.uniform(key, shape, minval=-amount, maxval=amount)
    if batch_size is not None:
        changes = jax.lax.dynamic_slice_in_dim(changes, first, len(images))
    return jax.vmap(_changed)(images, changes)


def _changed(image: jax.Array, change: jax.Array) -> jax.Array:
    """One image (H, W, C) by one change (2, 3), E and t side by side."""
    size = jnp.array(image.shape[:2])
    centre = (size - 1) / 2
    y = jnp.moveaxis(jnp.indices(image.shape[:2]), 0, -1) - centre
    source = y + y @ change[:, :2].T + centre + size * change[:, 2]
    sample = partial(map_coordinates, coordinates=list(jnp.moveaxis(source, -1, 0)), order=1, mode="nearest")
    return jax.vmap(sample, in_axes=-1, out_axes=-1)(image)
