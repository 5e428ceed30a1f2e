"""Convolution and transposed convolution as matrix products, with their own gradients.

XLA's stock convolutions lose their threads inside `lax.scan` on a CPU, and its gradient of a transposed convolution is
several times slower than need be. Matrix products keep both, run as they are on GPU and TPU, and vmap over seeds into
batched products. Nothing outside this file knows how the two are computed.

Layout: images NHWC, weights HWIO (kernel rows, kernel columns, channels in, features out), no kernel flip; the same
weights `w` of a convolution x -> y, used by `conv_transpose`, map y back to the size of x, so that
<conv(x, w), y> = <x, conv_transpose(y, w)>: the two are each other's adjoint, and each one's gradient is the other.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

Pair = tuple[int, int]

# XLA would otherwise compute the pad anew for every tap, and the patches inside the product's loops: twice as slow.
_materialised = jax.lax.optimization_barrier


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(x: jax.Array, w: jax.Array, stride: Pair, pad: Pair) -> jax.Array:
    """Strided convolution with zero padding.

    Args:
        x: (B, H, W, C).
        w: (kernel rows, kernel columns, C, F).
        stride: steps in rows and columns.
        pad: zeros added on both sides, in rows and columns.

    Returns:
        (B, H', W', F) with H' = (H + 2 pad - kernel) / stride + 1; the division must be exact.
    """
    return _product(_patches(x, w.shape[:2], stride, pad), w)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv_transpose(y: jax.Array, w: jax.Array, stride: Pair, pad: Pair) -> jax.Array:
    """Transposed convolution, the adjoint of `conv` with the same weights.

    Args:
        y: (B, H', W', F).
        w: (kernel rows, kernel columns, C, F), as `conv` takes them.
        stride: as in `conv`.
        pad: as in `conv`.

    Returns:
        (B, H, W, C) with H = (H' - 1) stride + kernel - 2 pad.
    """
    return _adjoint(y, w, stride, pad)


def _patches(x: jax.Array, kernel: tuple[int, ...], stride: Pair, pad: Pair) -> jax.Array:
    """(B, H', W', kernel rows * kernel columns * C): what each output pixel sees."""
    x = _materialised(jnp.pad(x, ((0, 0), (pad[0], pad[0]), (pad[1], pad[1]), (0, 0))))
    rows, columns = ((size - k) // s + 1 for size, k, s in zip(x.shape[1:3], kernel, stride, strict=True))
    taps = [
        x[:, i : i + (rows - 1) * stride[0] + 1 : stride[0], j : j + (columns - 1) * stride[1] + 1 : stride[1]]
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
    return _materialised(jnp.concatenate(taps, axis=-1))


def _product(patches: jax.Array, w: jax.Array) -> jax.Array:
    flat = patches.reshape(-1, patches.shape[-1]) @ w.reshape(-1, w.shape[-1])
    return flat.reshape(*patches.shape[:-1], w.shape[-1])


def _weight_gradient(patches: jax.Array, y: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return (patches.reshape(-1, patches.shape[-1]).T @ y.reshape(-1, y.shape[-1])).reshape(shape)


def _adjoint(y: jax.Array, w: jax.Array, stride: Pair, pad: Pair) -> jax.Array:
    """Every pixel's contribution to its whole window as one product, then the windows' overlaps added up.

    Output pixel s m + i collects contribution i + s t of y[m - t], for each phase i below the stride and every tap t.
    The phases are dense sums, interleaved at the end: no scatter.
    """
    batch, height, width, features = y.shape
    kernel, channels = w.shape[:2], w.shape[2]
    windows = _materialised((y.reshape(-1, features) @ w.reshape(-1, features).T).reshape(batch, height, width, -1))
    # Every phase gets as many pixels as the largest; what lies past the full size is cut off with the pad.
    rows, columns = (n + (k - 1) // s for n, k, s in zip((height, width), kernel, stride, strict=True))
    phases = []
    for i in range(stride[0]):
        for j in range(stride[1]):
            phase = jnp.zeros((batch, rows, columns, channels), y.dtype)
            for row, a in enumerate(range(i, kernel[0], stride[0])):
                for column, b in enumerate(range(j, kernel[1], stride[1])):
                    tap = (a * kernel[1] + b) * channels
                    around = ((0, 0), (row, rows - height - row), (column, columns - width - column), (0, 0))
                    phase += jnp.pad(windows[..., tap : tap + channels], around)
            phases.append(phase)
    grid = jnp.stack(phases).reshape(*stride, batch, rows, columns, channels)
    image = grid.transpose(2, 3, 0, 4, 1, 5).reshape(batch, rows * stride[0], columns * stride[1], channels)
    full = [(n - 1) * s + k for n, s, k in zip((height, width), stride, kernel, strict=True)]
    return image[:, pad[0] : full[0] - pad[0], pad[1] : full[1] - pad[1]]


def _conv_forward(x, w, stride, pad):
    patches = _patches(x, w.shape[:2], stride, pad)
    return _product(patches, w), (patches, w)


def _conv_backward(stride, pad, saved, gradient):
    patches, w = saved
    return _adjoint(gradient, w, stride, pad), _weight_gradient(patches, gradient, w.shape)


def _transpose_forward(y, w, stride, pad):
    return _adjoint(y, w, stride, pad), (y, w)


def _transpose_backward(stride, pad, saved, gradient):
    y, w = saved
    patches = _patches(gradient, w.shape[:2], stride, pad)
    return _product(patches, w), _weight_gradient(patches, y, w.shape)


conv.defvjp(_conv_forward, _conv_backward)
conv_transpose.defvjp(_transpose_forward, _transpose_backward)
