"""Images that hardly differ, or hardly are more than the clusters: a right answer or a sentence, and never a hang."""

import numpy as np
import pytest

from depict_jax import DEPICT
from depict_jax.data import load
from depict_jax.metrics import clustering_accuracy

SLOW = pytest.mark.slow
SHORT = {"pretrain_epochs": 3, "warm_epochs": 1, "joint_epochs": 2, "random_state": 0}
SHORT |= {"rounds": 1, "rule": "squared", "affine": 0.0, "brightness": 0.0}


@pytest.fixture(scope="module")
def digits():
    """One of each digit, and all of them."""
    found = load("digits")
    first = [int(np.flatnonzero(found.labels == digit)[0]) for digit in range(10)]
    return found.pixels[first], found.pixels


def clusters_of(images: np.ndarray, n_clusters: int, **settings) -> np.ndarray:
    found = DEPICT(n_clusters, **{**SHORT, **settings}).fit_predict(images)
    assert found.shape == (len(images),) and found.min() >= 0 and found.max() < n_clusters
    _, which = np.unique(images.reshape(len(images), -1), axis=0, return_inverse=True)
    for one in range(which.max() + 1):
        assert len(set(found[which == one])) == 1  # the same image, the same cluster
    return found


@pytest.mark.parametrize(
    ("initial", "times"), [("acpic", 30), pytest.param("acpic", 2, marks=SLOW), pytest.param("kmeans", 30, marks=SLOW)]
)
def test_two_images_many_times_are_two_clusters(digits, initial, times):
    images = digits[0][np.arange(2 * times) % 2]
    assert clustering_accuracy(np.arange(2 * times) % 2, clusters_of(images, 2, initial=initial)) == 1


@SLOW
def test_more_images_than_clusters_each_many_times(digits):
    clusters_of(np.repeat(digits[0][:5], 30, axis=0), 3)


@SLOW
def test_one_image_repeated_among_others(digits):
    clusters_of(np.concatenate([np.repeat(digits[0][:1], 60, axis=0), digits[1][:60]]), 4)


@SLOW
@pytest.mark.parametrize("initial", ["acpic", "kmeans"])
@pytest.mark.parametrize("more", [0, 1])
def test_hardly_more_images_than_clusters(digits, initial, more):
    clusters_of(digits[1][: 6 + more], 6, initial=initial)


@SLOW
@pytest.mark.parametrize(
    "settings", [{}, {"rule": "exact", "prior_weight": np.inf}, {"affine": None, "brightness": 0.5, "rounds": 2}]
)
def test_images_that_are_one_grey_each(settings):
    levels = np.linspace(0, 255, 40).astype(np.uint8)
    clusters_of(np.broadcast_to(levels[:, None, None], (40, 12, 12)).copy(), 3, **settings)


@pytest.mark.parametrize("level", [0, 77])
def test_images_that_are_all_the_same_are_refused(level):
    with pytest.raises(ValueError, match="only 1 distinct image"):
        DEPICT(2, **SHORT).fit(np.full((50, 12, 12), level, np.uint8))


def test_more_clusters_than_distinct_images_are_refused(digits):
    with pytest.raises(ValueError, match=r"only 3 distinct image\(s\) for 4 clusters"):
        DEPICT(4, **SHORT).fit(np.repeat(digits[0][:3], 20, axis=0))
