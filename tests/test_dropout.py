"""Dropout: its rate, its mean, and which bits an image gets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from depict_jax.dropout import dropout, threefry

ONE, OTHER = jax.random.key(1), jax.random.key(2)


def test_threefry_is_the_one_of_jax():
    first, second, block, image = np.random.default_rng(0).integers(2**32, size=(4, 1000), dtype=np.uint32)
    expected = threefry_2x32((first[0], second[0]), np.stack([block, image]))
    np.testing.assert_array_equal(np.stack(threefry(first[0], second[0], jnp.array(block), jnp.array(image))), expected)


@pytest.mark.parametrize("images", [1, 3, 8])
def test_other_images_change_no_image_s_corruption(images):
    x = np.ones((5, 7, 3, 8), np.float32)
    np.testing.assert_array_equal(dropout(ONE, x, 0.5)[..., :images], dropout(ONE, x[..., :images], 0.5))


def test_a_part_of_a_batch_is_corrupted_as_in_the_whole():
    x = np.random.default_rng(0).normal(size=(5, 7, 8)).astype(np.float32)
    part = jax.jit(lambda first: dropout(ONE, x[..., 3:6], 0.5, first))(3)
    np.testing.assert_array_equal(part, dropout(ONE, x, 0.5)[..., 3:6])


def test_bfloat16_meets_the_rate_as_float32_does():
    """Ones come out as 1 / 0.9, rounded once: a rate rounded to bfloat16 first would be off by as much again."""
    x = np.ones((10, 100), np.float32)
    expected = np.asarray(dropout(ONE, x, 0.1)).astype(jnp.bfloat16)
    masked = dropout(ONE, jnp.asarray(x, jnp.bfloat16), 0.1)
    assert masked.dtype == jnp.bfloat16
    np.testing.assert_array_equal(masked, expected)


def test_vmap_over_keys_equals_a_loop():
    x, keys = np.ones((6, 4), np.float32), jax.random.split(ONE, 3)
    together = jax.vmap(lambda key: dropout(key, x, 0.5))(keys)
    np.testing.assert_array_equal(together, np.stack([dropout(key, x, 0.5) for key in keys]))


def test_every_kind_of_key_serves():
    masked = dropout(jax.random.key(1, impl="rbg"), np.ones((100, 100), np.float32), 0.25)
    assert np.mean(masked == 0) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_zeroes_its_share_and_keeps_the_mean(rate):
    size = 200_001  # odd: four entries share a pair of random words
    x = np.ones((3, size // 3), np.float32)
    masked = np.asarray(dropout(ONE, x, rate))
    bound = 4 * np.sqrt(rate * (1 - rate) / size)
    assert np.mean(masked == 0) == pytest.approx(rate, abs=bound)
    assert masked.mean() == pytest.approx(1, abs=bound / (1 - rate))
    np.testing.assert_allclose(masked[masked != 0], 1 / (1 - rate), rtol=2e-5)
    kept = (masked != 0).ravel().astype(float)
    for lag in (1, 2, x.shape[1]):
        assert abs(np.corrcoef(kept[:-lag], kept[lag:])[0, 1]) < 4 / np.sqrt(size)
    np.testing.assert_array_equal(masked, dropout(ONE, x, rate))
    assert np.mean((masked == 0) != (dropout(OTHER, x, rate) == 0)) == pytest.approx(2 * rate * (1 - rate), abs=0.01)


def test_dropout_scales_entries_by_one_number():
    x = np.random.default_rng(0).normal(size=(7, 11)).astype(np.float32)
    masked = np.asarray(dropout(ONE, x, 0.25))
    np.testing.assert_allclose(masked, np.where(masked != 0, x / 0.75, 0), rtol=1e-5)
    np.testing.assert_array_equal(dropout(ONE, x, 0), x)
