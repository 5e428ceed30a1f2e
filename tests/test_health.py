"""Clusters that die or swallow the others are told once a stage, and healthy ones not at all."""

import dataclasses

import numpy as np
import pytest

from depict_jax.data import load
from depict_jax.health import ClusterWatch
from depict_jax.metrics import indicators
from depict_jax.settings import Settings
from depict_jax.stages import EpochEnd, StageEnd, check_job, run

PLAIN = Settings()


def told(sizes, settings=PLAIN, stages=("joint",)) -> list[str]:
    """What is said of epochs whose clusters have such sizes."""
    sentences: list[str] = []
    watch = ClusterWatch(settings, len(sizes[0]), sentences.append)
    for stage in stages:
        for epoch, of_clusters in enumerate(sizes):
            p = np.eye(len(of_clusters))[np.repeat(np.arange(len(of_clusters)), of_clusters)]
            watch(EpochEnd(stage, epoch + 1, 9, {}, 1.0, 1.0, indicators(p), None))
        watch(StageEnd(stage, 0.0, None))
    return sentences


def test_a_dead_cluster_is_told_once_a_stage():
    (sentence,) = told([[5, 5, 0]] * 4)
    assert sentence.startswith("after joint epoch 2 1 cluster has no image: try --preset best")
    assert len(told([[5, 5, 0]] * 4, stages=("warm", "joint"))) == 2


def test_an_epoch_without_images_in_a_cluster_is_not_yet_a_death():
    assert told([[5, 5, 0], [5, 4, 1], [5, 5, 0]]) == []


@pytest.mark.parametrize(("prior", "largest"), [(None, 0.75), ((8.0, 2.0), 0.9)])
def test_a_swallowing_cluster_is_told_beyond_the_prior(prior, largest):
    settings = Settings(prior=prior)
    most = round(100 * largest)
    assert told([[most, 100 - most]], settings) == []
    (sentence,) = told([[most + 2, 98 - most]] * 3, settings)
    assert sentence.startswith(f"after joint epoch 1 one cluster holds {most + 2}% of the images: try")


@pytest.mark.slow
def test_a_real_training_whose_prior_starves_nine_clusters_is_told():
    pixels = load("digits").pixels[:205]
    settings = Settings(pretrain_epochs=4, warm_epochs=2, joint_epochs=4, initial="kmeans", batch_size=32)
    settings = dataclasses.replace(settings, rule="exact", prior_weight=np.inf, prior=(1.0, *(0.011,) * 9))
    sentences: list[str] = []
    watch = ClusterWatch(settings, 10, sentences.append)
    for event in run(pixels, check_job(pixels, 10, settings), settings):
        watch(event)
    assert any("no image: try a larger --prior-weight" in sentence for sentence in sentences)
