"""Real results on real images. The bars leave room for other machines, whose sums round otherwise."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from depict_jax import DEPICT
from depict_jax.data import load
from depict_jax.metrics import clustering_accuracy, scores


def test_a_short_training_finds_digits_those_never_seen_too():
    digits = load("digits")
    model = DEPICT(10, pretrain_epochs=30, warm_epochs=3, joint_epochs=12, rounds=2).fit(digits.pixels[:1000])
    found = scores(digits.labels[:1000], model.labels_)
    assert found["acc"] > 0.65 and found["nmi"] > 0.65
    loss = [record["loss"] for record in model.history_ if record["stage"] == "joint"]
    assert loss[-1] < loss[0]
    assert scores(digits.labels[1000:], model.predict(digits.pixels[1000:]))["nmi"] > 0.6


@pytest.mark.slow
def test_default_settings_beat_kmeans_on_the_digits_pixels():
    digits = load("digits")
    flat = digits.pixels.reshape(len(digits.pixels), -1)
    kmeans = clustering_accuracy(digits.labels, KMeans(10, n_init=20, random_state=0).fit_predict(flat))
    ours = [
        clustering_accuracy(digits.labels, DEPICT(10, random_state=seed).fit_predict(digits.pixels))
        for seed in range(3)
    ]
    assert np.mean(ours) > kmeans + 0.1, (ours, kmeans)
