"""Our convolutions and gradients against XLA's own."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from depict_jax.architecture import Architecture
from depict_jax.convolution import conv, conv_transpose

BATCH = 3
IMAGES = [(28, 28, 1), (16, 16, 1), (32, 32, 1), (32, 32, 3), (55, 55, 3), (8, 8, 1), (11, 26, 2)]


def layers_of(image):
    """(rows, columns, channels), kernel shape, stride and pad of every convolution for such images."""
    architecture = Architecture.for_image(image, 2)
    return [
        (size, (*c.kernel, size[2], c.features), c.stride, c.pad)
        for c, size in zip(architecture.convolutions, architecture.maps, strict=False)
    ]


# Beyond what for_image builds: kernels that strides do not divide, or exceed, with few channels on either side.
ODD_LAYERS = [
    ((10, 9, 2), (4, 5, 2, 30), (3, 2), (0, 1)),
    ((10, 9, 30), (4, 5, 30, 2), (3, 2), (0, 1)),
    ((11, 12, 3), (2, 6, 3, 4), (3, 2), (0, 5)),
    ((11, 12, 4), (2, 6, 4, 3), (3, 2), (0, 5)),
]
LAYERS = list(dict.fromkeys([*(layer for image in IMAGES for layer in layers_of(image)), *ODD_LAYERS]))


def stock(x, w, stride, pad):
    return jax.lax.conv_general_dilated(
        x, w, stride, [(p, p) for p in pad], dimension_numbers=("CHWN", "HWIO", "CHWN"), precision="highest"
    )


@partial(jax.jit, static_argnums=(3, 4))
def stock_with_gradients(x, w, y, stride, pad):
    """The convolution of x, y's transposed convolution, and the gradient by w of <conv(x, w), y>."""
    out, pull_back = jax.vjp(partial(stock, stride=stride, pad=pad), x, w)
    return out, *pull_back(y)


@partial(jax.jit, static_argnums=(3, 4))
def with_gradients(x, w, y, stride, pad):
    """Value and gradients of conv at x, with cotangent y, and of conv_transpose at y, with cotangent x."""
    out, pull_back = jax.vjp(lambda x, w: conv(x, w, stride, pad), x, w)
    back, pull_forth = jax.vjp(lambda y, w: conv_transpose(y, w, stride, pad), y, w)
    return (out, *pull_back(y)), (back, *pull_forth(x))


def random_operands(size, kernel, stride, pad, lead=()):
    rng = np.random.default_rng(0)
    *rows_and_columns, channels = size
    out = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(rows_and_columns, kernel, stride, pad, strict=False)]
    shapes = (*lead, channels, *rows_and_columns, BATCH), (*lead, *kernel), (*lead, kernel[-1], *out, BATCH)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def assert_close(actual, expected):
    """Within 1e-5 of the largest entry."""
    chex.assert_equal_shape([actual, expected])
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_layers_cover_rows_that_differ_from_columns():
    assert any(stride[0] != stride[1] for *_, stride, _ in LAYERS)
    assert any(kernel[0] != kernel[1] for _, kernel, *_ in LAYERS)
    assert any(pad[0] != pad[1] for *_, pad in LAYERS)


@pytest.mark.parametrize(("size", "kernel", "stride", "pad"), LAYERS)
def test_values_and_gradients_equal_xlas(size, kernel, stride, pad):
    x, w, y = random_operands(size, kernel, stride, pad)
    expected = out, dx, dw = stock_with_gradients(x, w, y, stride, pad)
    forth, back = with_gradients(x, w, y, stride, pad)
    for actual, right in zip(forth, expected, strict=True):
        assert_close(actual, right)
    for actual, right in zip(back, (dx, out, dw), strict=True):  # each one's gradient is the other
        assert_close(actual, right)
    x, w, y, forth, back = (np.asarray(array, np.float64) for array in (x, w, y, forth[0], back[0]))
    assert np.vdot(forth, y) == pytest.approx(np.vdot(x, back), abs=1e-6 * np.linalg.norm(forth) * np.linalg.norm(y))


def test_transposed_equals_linear_transpose():
    (size, kernel, stride, pad) = LAYERS[-1]
    x, w, y = random_operands(size, kernel, stride, pad)
    (expected,) = jax.linear_transpose(lambda x: stock(x, w, stride, pad), x)(y)
    assert_close(conv_transpose(y, w, stride, pad), expected)


def test_vmap_over_weights_and_inputs_equals_a_loop():
    size, kernel, stride, pad = (7, 9, 2), (5, 3, 2, 4), (2, 1), (2, 1)
    operands = random_operands(size, kernel, stride, pad, lead=(2,))
    several = jax.vmap(lambda x, w, y: with_gradients(x, w, y, stride, pad))(*operands)
    one_by_one = [with_gradients(*(array[n] for array in operands), stride, pad) for n in range(2)]
    jax.tree.map(assert_close, several, jax.tree.map(lambda *arrays: jnp.stack(arrays), *one_by_one))


def test_scan_equals_a_loop():
    size, kernel, stride, pad = (7, 9, 2), (5, 3, 2, 4), (2, 1), (2, 1)
    x, w, _ = random_operands(size, kernel, stride, pad)

    def there_and_back(x, w):
        return 0.01 * conv_transpose(conv(x, w, stride, pad), w, stride, pad)

    def scanned(w):
        return jnp.square(jax.lax.scan(lambda x, _: (there_and_back(x, w), None), x, length=3)[0]).sum()

    def looped(w):
        out = x
        for _ in range(3):
            (_, pull_back) = jax.vjp(lambda x: stock(x, w, stride, pad), out)
            out = 0.01 * pull_back(stock(out, w, stride, pad))[0]
        return jnp.square(out).sum()

    value, gradient = jax.jit(jax.value_and_grad(scanned))(w)
    expected_value, expected_gradient = jax.jit(jax.value_and_grad(looped))(w)
    assert_close(value, expected_value)
    assert_close(gradient, expected_gradient)
