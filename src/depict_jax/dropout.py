"""Inverted dropout whose bits for an image depend on the key and the image's place alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def dropout(key: jax.Array, x: jax.Array, rate: float, first: jax.Array | int = 0) -> jax.Array:
    """Entries are zeroed with probability `rate`, the others divided by 1 - rate.

    Args:
        key: a PRNG key.
        x: (..., B), batch-last: more images, or padding, change no other image's corruption.
        rate: at least 0 and below 1; met to 1e-5, since an entry gets sixteen random bits.
        first: place of the first image, where x is a part of a batch.
    """
    if rate == 0:
        return x
    dropped = min(round(rate * 2**16), 2**16 - 1)
    keep = _sixteen_bits(key, x.size // x.shape[-1], x.shape[-1], first).reshape(x.shape) >= dropped
    # divided in float32: bfloat16 would round the rate to 0.4 %
    return jnp.where(keep, x / jnp.float32(1 - dropped / 2**16), 0.0).astype(x.dtype)


def _sixteen_bits(key: jax.Array, entries: int, images: int, place: jax.Array | int) -> jax.Array:
    """Uniform numbers below 2^16 as uint32, (entries, images): a column depends on its place and the key."""
    first, second = jax.random.bits(key, (2,), jnp.uint32)
    blocks = -(-entries // 4)
    block, image = (jax.lax.broadcasted_iota(jnp.uint32, (blocks, images), axis) for axis in (0, 1))
    if not isinstance(place, int) or place:
        image = image + jnp.uint32(place)
    words = jax.lax.optimization_barrier(threefry(first, second, block, image))
    return jnp.concatenate([part for word in words for part in (word >> 16, word & 0xFFFF)])[:entries]


def threefry(first: jax.Array, second: jax.Array, block: jax.Array, image: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32 with 20 rounds (Salmon et al., 2011): two random words for each pair of counters.

    The function behind `jax.random`, which on a CPU runs it round by round through memory and keeps half of the
    words: written out, it is one loop that never leaves the registers, in less than half the time.

    Args:
        first: the key's first word, uint32 scalar.
        second: its second word.
        block: the first counter, uint32 of any shape.
        image: the second counter, of the same shape.
    """
    keys = (first, second, first ^ second ^ jnp.uint32(0x1BD11BDA))
    a, b = block + keys[0], image + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            a = a + b
            b = a ^ (b << rotation | b >> 32 - rotation)
        a, b = a + keys[(group + 1) % 3], b + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return a, b
