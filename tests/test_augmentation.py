"""Random changes: what a known one does, how far a random one goes, and whose image gets which."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from depict_jax.augmentation import (
    MOST_AFFINE,
    MOST_BRIGHTNESS,
    REACH,
    Changes,
    _changed,
    affine_of,
    brightness_of,
    changes_of,
    random_affine,
    random_brightness,
    random_changes,
)
from depict_jax.data import load
from depict_jax.settings import Settings

KEY = jax.random.key(3)


def images(n=8, shape=(9, 9, 2)):
    return np.random.default_rng(0).uniform(-1, 1, (n, *shape)).astype(np.float32)


def change(e, t=(0.0, 0.0)):
    return jnp.array(np.column_stack([e, t]), jnp.float32)


def test_no_change_leaves_the_image_as_it_is():
    x = images()
    np.testing.assert_allclose(random_affine(KEY, x, 0.0), x, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 6, 3)])
def test_a_shift_by_whole_pixels_moves_rows_and_columns_and_repeats_the_border(shape):
    x = images(1, shape)[0]
    moved = _changed(x, change(np.zeros((2, 2)), (1 / shape[0], -2 / shape[1])))
    rows = np.clip(np.arange(shape[0]) + 1, 0, shape[0] - 1)
    columns = np.clip(np.arange(shape[1]) - 2, 0, shape[1] - 1)
    np.testing.assert_allclose(moved, x[rows][:, columns], atol=1e-5)


def test_a_quarter_turn_about_the_centre_is_rot90():
    for side in (8, 9):
        x = images(1, (side, side, 2))[0]
        turned = _changed(x, change(np.array([[0, 1], [-1, 0]]) - np.eye(2)))
        np.testing.assert_allclose(turned, np.rot90(x), atol=1e-5)


def test_halving_the_grid_enlarges_about_the_centre():
    x = images(1, (9, 9, 1))[0]
    enlarged = _changed(x, change(-0.5 * np.eye(2)))
    np.testing.assert_allclose(enlarged[::2, ::2], x[2:7, 2:7], atol=1e-5)
    np.testing.assert_allclose(enlarged[1, 0], (x[2, 2] + x[3, 2]) / 2, atol=1e-5)


def test_a_part_of_a_batch_changes_as_in_the_whole():
    x = images()
    part = jax.jit(lambda first: random_affine(KEY, x[2:5], 0.2, first, len(x)))(2)
    np.testing.assert_allclose(part, random_affine(KEY, x, 0.2)[2:5], atol=1e-6)


def test_random_changes_reach_as_far_as_the_amount_and_no_further():
    """A ramp along the rows tells where each pixel's value came from."""
    side, amount, n = 21, 0.1, 500
    ramp = np.broadcast_to(np.arange(side, dtype=np.float32)[:, None, None], (n, side, side, 1))
    middle = side // 2
    moved = np.asarray(random_affine(KEY, ramp, amount))[:, middle, :, 0] - middle
    at_centre, further_right = moved[:, middle], moved[:, middle + 5] - moved[:, middle]
    for found, reach in ((at_centre, amount * side), (further_right, amount * 5)):
        assert np.abs(found).max() <= reach + 1e-4
        assert np.abs(found).max() > 0.95 * reach
        assert abs(found.mean()) < 4 * reach / np.sqrt(3 * n)
        assert found.std() == pytest.approx(reach / np.sqrt(3), rel=0.1)


def test_values_stay_between_those_of_the_image():
    x = images(64)
    changed = np.asarray(random_affine(KEY, x, 0.3))
    low, high = x.min(axis=(1, 2), keepdims=True), x.max(axis=(1, 2), keepdims=True)
    assert (changed >= low - 1e-5).all() and (changed <= high + 1e-5).all()


def test_channels_move_together():
    x = np.repeat(images(4, (8, 8, 1)), 3, axis=-1)
    changed = np.asarray(random_affine(KEY, x, 0.2))
    np.testing.assert_array_equal(changed[..., 0], changed[..., 1])
    np.testing.assert_array_equal(changed[..., 0], changed[..., 2])


@pytest.mark.parametrize("n", [1, 3])
def test_other_images_change_no_image_s_change(n):
    x = images(8)
    np.testing.assert_allclose(random_affine(KEY, x, 0.1)[:n], random_affine(KEY, x[:n], 0.1), atol=1e-6)


def test_images_and_keys_each_get_a_change_of_their_own():
    x = np.repeat(images(1), 8, axis=0)
    changed = np.asarray(random_affine(KEY, x, 0.1))
    assert len(np.unique(changed.reshape(8, -1), axis=0)) == 8
    np.testing.assert_array_equal(changed, random_affine(KEY, x, 0.1))
    assert not np.array_equal(changed, random_affine(jax.random.key(4), x, 0.1))


def test_brightness_is_light_of_an_image_s_own():
    """Black stays black, white is the most; between them all of an image's pixels are scaled alike."""
    x = images(500)
    x[:, 0, 0], x[:, 1, 1] = -1, -0.5
    changed = np.asarray(random_brightness(KEY, x, 0.4))
    np.testing.assert_allclose(changed[:, 0, 0], -1, atol=1e-6)
    gains = (changed[:, 1, 1] + 1) / 0.5
    assert 0.6 <= gains.min() < 0.62 and 1.38 < gains.max() <= 1.4 and abs(gains.mean() - 1) < 0.03
    np.testing.assert_allclose(changed, np.minimum((x + 1) * gains[:, None, None] - 1, 1), atol=1e-5)


def test_changes_are_both_and_a_part_s_are_the_whole_s():
    x = images()
    keys = jax.random.split(KEY)
    both = random_changes(KEY, x, Changes(0.2, 0.3))
    np.testing.assert_allclose(both, random_brightness(keys[1], random_affine(keys[0], x, 0.2), 0.3), atol=1e-6)
    np.testing.assert_array_equal(random_changes(KEY, x, Changes()), x)
    part = jax.jit(lambda first: random_changes(KEY, x[2:5], Changes(0.2, 0.3), first, len(x)))(2)
    np.testing.assert_allclose(part, both[2:5], atol=1e-6)


def test_the_settings_say_how_far():
    assert changes_of(Settings(affine=0.1, brightness=0.2), images()) == (0.1, 0.2)
    assert changes_of(Settings(affine=None), load("digits").pixels) == (MOST_AFFINE, 0)
    assert changes_of(Settings(brightness=None), load("digits").pixels) == (0, 0.02)


def test_the_brightness_found_is_the_images_own_spread():
    """A set whose images differ in light by a known amount gives it back, but for the twentieth at either end."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (2000, 8, 8, 1))
    for amount in (0.1, 0.4):
        lit = (x * 170 * rng.uniform(1 - amount, 1 + amount, (2000, 1, 1, 1))).astype(np.uint8)
        assert brightness_of(None, lit) == pytest.approx(0.9 * amount, abs=0.02)
    assert brightness_of(None, (255 * x).astype(np.uint8)) < 0.04
    assert brightness_of(None, np.zeros((5, 8, 8, 1), np.uint8)) == 0
    dark = np.concatenate([np.full((10, 8, 8, 1), 2, np.uint8), np.full((10, 8, 8, 1), 250, np.uint8)])
    assert brightness_of(None, dark) == MOST_BRIGHTNESS and brightness_of(0.7, dark) == 0.7


def squared(one, other):
    return np.square(np.float64(one) - np.float64(other)).sum(axis=(1, 2, 3))


def test_the_amount_found_moves_the_median_image_as_far_as_images_are_apart():
    """Images that are alike, but for a little noise, leave room for small changes only."""
    rng = np.random.default_rng(0)
    blob = 200 * np.exp(-np.square(np.indices((12, 12)) - 5.5).sum(axis=0) / 8)
    pixels = np.clip(blob + rng.normal(20, 6, (300, 12, 12)), 0, 255).astype(np.uint8)[..., None]
    found = affine_of(None, pixels)
    assert 0 < found < MOST_AFFINE
    apart = np.array([np.partition(squared(image, pixels), 1)[1] for image in pixels])
    for amount, is_near in ((found, True), (found + 0.002, False)):
        changed = random_affine(jax.random.key(0), pixels.astype(np.float32), amount)
        assert (np.median(np.sqrt(squared(changed, pixels) / apart)) <= REACH) == is_near


def test_an_amount_that_is_said_is_taken_and_digits_take_the_most():
    pixels = load("digits").pixels
    assert affine_of(0.3, pixels) == 0.3 and affine_of(0.0, pixels) == 0
    assert affine_of(None, pixels) == MOST_AFFINE


def test_repeated_images_do_not_count_as_near_and_order_hardly_does():
    pixels = load("digits").pixels[:300]
    assert affine_of(None, np.concatenate([pixels, pixels])) == affine_of(None, pixels)
    assert affine_of(None, np.ones((5, 8, 8, 1), np.uint8)) == MOST_AFFINE
