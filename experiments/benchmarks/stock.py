"""Our two convolutions by XLA's stock operator, to compare and to check ours against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import jax

from depict_jax import networks

Pair = tuple[int, int]
_LAYOUT = ("NHWC", "HWIO", "NHWC")  # the one that XLA's CPU convolutions are written for


def conv(x: jax.Array, w: jax.Array, stride: Pair, pad: Pair) -> jax.Array:
    """As `depict_jax.convolution.conv`."""
    y = jax.lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0), w, stride, [(p, p) for p in pad], dimension_numbers=_LAYOUT
    )
    return y.transpose(3, 1, 2, 0)


def conv_transpose(y: jax.Array, w: jax.Array, stride: Pair, pad: Pair) -> jax.Array:
    """As `depict_jax.convolution.conv_transpose`: the gradient of the convolution by its input."""
    kernel = w.shape[:2]
    x = jax.lax.conv_transpose(
        y.transpose(3, 1, 2, 0),
        w,
        stride,
        [(k - 1 - p, k - 1 - p) for k, p in zip(kernel, pad, strict=True)],
        dimension_numbers=_LAYOUT,
        transpose_kernel=True,
    )
    return x.transpose(3, 1, 2, 0)


@contextmanager
def in_place_of_ours() -> Iterator[None]:
    """Networks traced inside use the stock convolutions."""
    with mock.patch.multiple(networks, conv=conv, conv_transpose=conv_transpose):
        yield
