"""Warnings in words: each said of what it is about, of nothing else, and with options that exist."""

import re
import subprocess
import sys

import numpy as np
import pytest

from depict_jax.report import warnings_in_words
from depict_jax.settings import Settings, preset


def clustering(sizes: list[int], confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Soft-max rows and embeddings of clusters of such sizes, each one lump."""
    rng = np.random.default_rng(0)
    cluster, n_clusters = np.repeat(np.arange(len(sizes)), sizes), len(sizes)
    p = np.full((len(cluster), n_clusters), (1 - confidence) / (n_clusters - 1), np.float32)
    p[np.arange(len(cluster)), cluster] = confidence
    return p, (np.eye(n_clusters)[cluster] + rng.normal(0, 0.2, (len(cluster), n_clusters))).astype(np.float32)


def kinds(p, embeddings, settings=None, records=()):
    return {
        warned.kind: warned.clusters for warned in warnings_in_words(p, embeddings, settings or Settings(), records)
    }


def test_even_sure_clusters_of_one_lump_give_no_warning():
    assert kinds(*clustering([100] * 5)) == {}


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([100, 0, 100, 100, 0], {"empty": (1, 4)}),
        ([100, 100, 100, 100, 10], {"tiny": (4,)}),
        ([100, 100, 100, 100, 18], {}),  # above a fifth of what is expected
        ([500, 100, 100, 100, 100], {"swallowing": (0,)}),  # odds 5/4 > 3 * 1/4
        ([280, 100, 100, 100, 100], {}),  # odds 0.7
        ([80, 20], {"swallowing": (0,)}),
        ([70, 30], {}),
    ],
)
def test_sizes_are_held_against_the_prior(sizes, expected):
    assert kinds(*clustering(sizes)) == expected


def test_a_prior_that_expects_such_sizes_silences_them():
    sizes = [500, 100, 100, 100, 10]
    assert set(kinds(*clustering(sizes))) == {"tiny", "swallowing"}
    assert kinds(*clustering(sizes), Settings(prior=tuple(sizes))) == {}


def test_two_lumps_in_a_cluster_look_merged():
    p, embeddings = clustering([200] * 4)
    embeddings[:80, 3] += 3  # of cluster 0
    assert kinds(p, embeddings) == {"merged": (0,)}
    p, embeddings = clustering([200] * 4)
    embeddings[:10, 3] += 3  # outliers are no second group
    assert kinds(p, embeddings) == {}


def test_a_single_lump_of_any_common_shape_does_not_look_merged():
    rng = np.random.default_rng(0)
    p, _ = clustering([400] * 4)
    for draw in (rng.normal, rng.uniform, rng.laplace):
        for width in (0.01, 1.0):
            assert "merged" not in kinds(p, draw(size=(1600, 4)).astype(np.float32) * [width, 1, 1, 1])
    assert kinds(p, np.zeros((1600, 4), np.float32)) == {}


def test_few_images_in_many_dimensions_do_not_look_merged():
    p, _ = clustering([60] * 30)
    embeddings = np.random.default_rng(0).normal(size=(1800, 60)).astype(np.float32)
    assert kinds(p, embeddings) == {}


def test_unsure_clusters_are_told_where_they_lean():
    p, embeddings = clustering([100] * 4)
    p[:100] = [0.5, 0.05, 0.4, 0.05]
    (warned,) = warnings_in_words(p, embeddings, Settings())
    assert warned.kind == "unsure" and warned.clusters == (0,)
    assert "mean confidence 0.50, leaning to 2" in warned.details


def test_a_run_that_was_not_at_rest_is_told():
    p, embeddings = clustering([100] * 4)
    assert kinds(p, embeddings, records=[{"changed": 0.5}, {"changed": 0.004}]) == {}
    assert kinds(p, embeddings, records=[{"changed": 0.0}, {"changed": 0.02}]) == {"moving": ()}


def test_the_numbers_of_many_clusters_are_cut_short():
    (warned,) = warnings_in_words(*clustering([60] * 30, 0.5), Settings())
    assert warned.clusters == tuple(range(30))
    assert warned.details.count("mean confidence") == 8 and "and 22 more" in warned.details


def test_labels_have_no_way_in():
    p, embeddings = clustering([100] * 4)
    with pytest.raises(TypeError):
        warnings_in_words(p, embeddings, Settings(), labels=p.argmax(axis=1))  # type: ignore[call-arg]


@pytest.mark.parametrize("settings", [Settings(), preset("best"), Settings(initial="kmeans")])
def test_what_to_try_names_options_that_fit_has_and_that_were_not_tried(settings):
    p, embeddings = clustering([600, 100, 0, 10, 100], 0.5)
    embeddings[:300, 4] += 3
    found = warnings_in_words(p, embeddings, settings, [{"changed": 0.5}])
    assert {warned.kind for warned in found} == {"empty", "tiny", "swallowing", "merged", "unsure", "moving"}
    command = [sys.executable, "-m", "depict_jax.cli", "fit", "--help"]
    known = set(re.findall(r"--[a-z-]+", subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    advice = " ".join(warned.advice for warned in found)
    assert set(re.findall(r"--[a-z-]+", advice)) <= known
    assert f"--initial {settings.initial}" not in advice
    assert ("--preset best" in advice) == (settings.rounds == 1)
    assert ("--rule exact" in advice) == (settings.rule != "exact")
