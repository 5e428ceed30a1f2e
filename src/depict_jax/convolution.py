"""Convolution and transposed convolution as matrix products, with their own gradients.

XLA's stock convolutions lose their threads inside `lax.scan` on a CPU, and its gradient of a transposed convolution is
several times slower than need be. Matrix products keep both, run as they are on GPU and TPU, and vmap over seeds into
batched products. Nothing outside this file knows how the two are computed.

Layout: maps are batch-last, (channels, rows, columns, B), so that every copy below moves runs of B numbers and every
product's long side is contiguous; weights are HWIO (kernel rows, kernel columns, channels in, features out), no kernel
flip. The same weights `w` of a convolution x -> y, used by `conv_transpose`, map y back to the size of x, so that
<conv(x, w), y> = <x, conv_transpose(y, w)>: the two are each other's adjoint, and each one's gradient is the other.

How: a convolution of stride s is one of stride 1 on x's s * s phases (every s-th row and column, as channels of their
own), with ceil(kernel / s) taps a side: X. What remains is  y[m] = sum over taps t of  W[t] X[m + t - o].  Either side
can be spread over the taps to make it one product: X before it (patches), or y after it (an overlap-add). The side with
fewer channels is spread, since that is what moves the least memory; the gradients spread the same side.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

Pair = tuple[int, int]

# XLA would otherwise compute copies inside the products' loops, or once for every tap: several times slower.
_materialised = jax.lax.optimization_barrier


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(x: jax.Array, w: jax.Array, stride: Pair, pad: Pair) -> jax.Array:
    """Strided convolution with zero padding.

    Args:
        x: (C, H, W, B).
        w: (kernel rows, kernel columns, C, F).
        stride: steps in rows and columns.
        pad: zeros added on both sides, in rows and columns.

    Returns:
        (F, H', W', B) with H' = (H + 2 pad - kernel) / stride + 1; the division must be exact.
    """
    return _conv_forward(x, w, stride, pad)[0]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv_transpose(y: jax.Array, w: jax.Array, stride: Pair, pad: Pair) -> jax.Array:
    """Transposed convolution, the adjoint of `conv` with the same weights.

    Args:
        y: (F, H', W', B).
        w: (kernel rows, kernel columns, C, F), as `conv` takes them.
        stride: as in `conv`.
        pad: as in `conv`.

    Returns:
        (C, H, W, B) with H = (H' - 1) stride + kernel - 2 pad.
    """
    return _transpose_forward(y, w, stride, pad)[0]


class _Geometry(NamedTuple):
    """Sizes, each a pair for rows and columns, that a convolution's shapes imply."""

    stride: Pair
    size: Pair  # of x
    out: Pair  # of y
    taps: Pair  # kernel / stride, rounded up
    phase: Pair  # of one phase of x
    offset: Pair  # o: how far the first tap lies before the phase, whole strides of the padding
    lead: Pair  # zeros before x's first pixel in its phases, the rest of the padding
    last_rows: int  # phases of rows that the last row of taps sees


def _geometry(size: Pair, kernel: Pair, stride: Pair, pad: Pair) -> _Geometry:
    offset = _pair(p // s for p, s in zip(pad, stride, strict=True))
    lead = _pair(p % s for p, s in zip(pad, stride, strict=True))
    return _Geometry(
        stride=stride,
        size=size,
        out=_pair((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, pad, strict=True)),
        taps=_pair(-(-k // s) for k, s in zip(kernel, stride, strict=True)),
        phase=_pair(-(-(n + before) // s) for n, before, s in zip(size, lead, stride, strict=True)),
        offset=offset,
        lead=lead,
        last_rows=(kernel[0] - 1) % stride[0] + 1,
    )


def _pair(values) -> Pair:
    rows, columns = values
    return rows, columns


def _to_phases(x: jax.Array, g: _Geometry) -> jax.Array:
    """X, (s * s * C, phase rows, phase columns, B)."""
    if g.stride == (1, 1):
        return x
    around = [
        (before, n * s - size - before) for before, n, s, size in zip(g.lead, g.phase, g.stride, g.size, strict=True)
    ]
    x = _materialised(jnp.pad(x, ((0, 0), *around, (0, 0))))
    phases = [x[:, i :: g.stride[0], j :: g.stride[1]] for i in range(g.stride[0]) for j in range(g.stride[1])]
    return _materialised(jnp.concatenate(phases))


def _from_phases(phases: jax.Array, g: _Geometry) -> jax.Array:
    """The adjoint of `_to_phases`, (C, H, W, B)."""
    if g.stride == (1, 1):
        return phases
    phases = phases.reshape(*g.stride, -1, *g.phase, phases.shape[-1])
    # interleaved columns, then rows: copies of whole runs, where one transposition would compute every index
    rows = _materialised([jnp.stack(tuple(row), axis=3) for row in phases])
    x = _materialised(jnp.stack(rows, axis=2))
    x = x.reshape(-1, g.phase[0] * g.stride[0], g.phase[1] * g.stride[1], phases.shape[-1])
    return x[:, g.lead[0] : g.lead[0] + g.size[0], g.lead[1] : g.lead[1] + g.size[1]]


def _weights_by_tap(w: jax.Array, g: _Geometry) -> jax.Array:
    """W, (tap rows, tap columns, s * s * C, F); a kernel that the stride does not divide gets rows of zeros."""
    (rows, columns), (s, z) = g.taps, g.stride
    w = jnp.pad(w, ((0, rows * s - w.shape[0]), (0, columns * z - w.shape[1]), (0, 0), (0, 0)))
    return (
        w.reshape(rows, s, columns, z, *w.shape[2:]).transpose(0, 2, 1, 3, 4, 5).reshape(rows, columns, -1, w.shape[3])
    )


def _weights_by_pixel(by_tap: jax.Array, g: _Geometry, shape: tuple[int, ...]) -> jax.Array:
    """The adjoint of `_weights_by_tap`, of the given shape."""
    (rows, columns), (s, z) = g.taps, g.stride
    w = by_tap.reshape(rows, columns, s, z, *shape[2:]).transpose(0, 2, 1, 3, 4, 5)
    return w.reshape(rows * s, columns * z, *shape[2:])[: shape[0], : shape[1]]


def _shifted(z: jax.Array, by: int, size: int, axis: int) -> jax.Array:
    """z[m + by] for m below `size` along an axis; zero where that lies outside."""
    first, last = max(by, 0), min(by + size, z.shape[axis])
    around = [(0, 0)] * z.ndim
    around[axis] = (first - by, size - (last - by))
    return jnp.pad(jax.lax.slice_in_dim(z, first, last, axis=axis), around)


def _spread(z: jax.Array, shifts: tuple[range, range], size: Pair) -> jax.Array:
    """(tap rows * tap columns * channels, size * B): z[m + shift] for every tap's shift, zero outside."""
    # columns before rows, each written once: the second, larger copy then moves whole rows
    by_column = _materialised(jnp.stack([_shifted(z, by, size[1], axis=2) for by in shifts[1]]))
    by_row = _materialised(jnp.stack([_shifted(by_column, by, size[0], axis=2) for by in shifts[0]]))
    return by_row.reshape(-1, size[0] * size[1] * z.shape[-1])


def _overlap_add(parts: list[jax.Array], shifts: tuple[range, range], size: Pair) -> jax.Array:
    """(channels, *size, B): sum over taps of z[tap][m + shift]; z, (tap rows, tap columns, channels, ...), in parts."""
    z = [row for part in parts for row in part]
    shifted = [
        _shifted(_shifted(z[a][b], by_row, size[0], axis=1), by_column, size[1], axis=2)
        for a, by_row in enumerate(shifts[0])
        for b, by_column in enumerate(shifts[1])
    ]
    return sum(shifted[1:], shifted[0])


def _spreads_x(w: jax.Array, g: _Geometry) -> bool:
    """Whether X, rather than y, is the side with fewer channels."""
    return g.stride[0] * g.stride[1] * w.shape[2] < w.shape[3]


def _shifts(g: _Geometry, sign: int) -> tuple[range, range]:
    """sign * (t - o) for every tap t, in rows and columns."""
    rows, columns = (range(-sign * o, sign * (n - o), sign) for n, o in zip(g.taps, g.offset, strict=True))
    return rows, columns


def _product(w: jax.Array, x: jax.Array, g: _Geometry) -> tuple[jax.Array, jax.Array]:
    """The convolution y, (F, *out, B), and the matrix that stands for x in the weights' gradient."""
    batch, by_tap = x.shape[-1], _weights_by_tap(w, g)
    phases = _to_phases(x, g)
    features, channels = by_tap.shape[3], by_tap.shape[2]
    if _spreads_x(w, g):
        x_side = _spread(phases, _shifts(g, 1), g.out)
        return (by_tap.reshape(-1, features).T @ x_side).reshape(features, *g.out, batch), x_side
    x_side = phases.reshape(channels, -1)
    by_tap = by_tap.transpose(0, 1, 3, 2)
    windows = [
        _materialised(by_tap[rows, ..., :used].reshape(-1, used) @ x_side[:used]).reshape(
            -1, g.taps[1], features, *g.phase, batch
        )
        for rows, used in _tap_rows(g, channels)
    ]
    return _overlap_add(windows, _shifts(g, 1), g.out), x_side


def _adjoint(w: jax.Array, y: jax.Array, g: _Geometry) -> tuple[jax.Array, jax.Array]:
    """The transposed convolution x, (C, *size, B), and the matrix that stands for y in the weights' gradient."""
    batch, by_tap = y.shape[-1], _weights_by_tap(w, g)
    features, channels = by_tap.shape[3], by_tap.shape[2]
    if _spreads_x(w, g):
        y_side = _materialised(y).reshape(features, -1)
        windows = _materialised(by_tap.reshape(-1, features) @ y_side)
        phases = _overlap_add([windows.reshape(*g.taps, channels, *g.out, batch)], _shifts(g, -1), g.phase)
    else:
        y_side = _spread(y, _shifts(g, -1), g.phase)
        parts, width = [], g.taps[1] * features
        for rows, used in _tap_rows(g, channels):
            kernel = by_tap[rows, :, :used].transpose(2, 0, 1, 3).reshape(used, -1)
            part = kernel @ y_side[rows.start * width : rows.stop * width]
            parts.append(jnp.pad(_materialised(part), ((0, channels - used), (0, 0))))
        phases = sum(parts[1:], parts[0])
    return _from_phases(phases.reshape(channels, *g.phase, batch), g), y_side


def _weight_gradient(x_side: jax.Array, y_side: jax.Array, w: jax.Array, g: _Geometry) -> jax.Array:
    """The gradient of <conv(x, w), y> by w, from what `_product` and `_adjoint` gave beside their values."""

    def product(y_side: jax.Array, x_side: jax.Array) -> jax.Array:
        # y first, and held there: fifty columns would leave a vector of sixteen nearly empty, three times as slow
        return _materialised(jax.lax.dot_general(y_side, x_side, (((1,), (1,)), ((), ()))))

    features = w.shape[3]
    if _spreads_x(w, g):
        by_tap = product(y_side, x_side).T.reshape(*g.taps, -1, features)
    else:
        channels, width = len(x_side), g.taps[1] * features
        parts = []
        for rows, used in _tap_rows(g, channels):
            part = product(y_side[rows.start * width : rows.stop * width], x_side[:used])
            parts.append(jnp.pad(part, ((0, 0), (0, channels - used))))
        by_tap = jnp.concatenate(parts).reshape(*g.taps, features, channels).transpose(0, 1, 3, 2)
    return _weights_by_pixel(by_tap, g, w.shape)


def _tap_rows(g: _Geometry, channels: int) -> list[tuple[slice, int]]:
    """Rows of taps, and how many of X's channels they see: fewer in the last, where the stride divides no kernel."""
    last = channels * g.last_rows // g.stride[0]
    if last == channels:
        return [(slice(0, g.taps[0]), channels)]
    return [(slice(0, g.taps[0] - 1), channels), (slice(g.taps[0] - 1, g.taps[0]), last)]


def _conv_forward(x, w, stride, pad):
    y, x_side = _product(w, x, _geometry(x.shape[1:3], w.shape[:2], stride, pad))
    return y, (x_side, w)


def _conv_backward(stride, pad, saved, gradient):
    x_side, w = saved
    g = _geometry(_size(gradient, w, stride, pad), w.shape[:2], stride, pad)
    x, y_side = _adjoint(w, gradient, g)
    return x, _weight_gradient(x_side, y_side, w, g)


def _transpose_forward(y, w, stride, pad):
    x, y_side = _adjoint(w, y, _geometry(_size(y, w, stride, pad), w.shape[:2], stride, pad))
    return x, (y_side, w)


def _transpose_backward(stride, pad, saved, gradient):
    y_side, w = saved
    g = _geometry(gradient.shape[1:3], w.shape[:2], stride, pad)
    y, x_side = _product(w, gradient, g)
    return y, _weight_gradient(x_side, y_side, w, g)


def _size(y, w, stride, pad):
    return _pair((n - 1) * s + k - 2 * p for n, s, k, p in zip(y.shape[1:3], stride, w.shape[:2], pad, strict=True))


conv.defvjp(_conv_forward, _conv_backward)
conv_transpose.defvjp(_transpose_forward, _transpose_backward)
