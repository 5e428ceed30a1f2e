"""What a round of training starts from: when a new initial assignment is taken, and when the clusters stay."""

import numpy as np
import pytest

from depict_jax import starts
from depict_jax.settings import Settings
from depict_jax.starts import divergence, initial_assignment, named_by_size, next_start

N = 60
TRUTH = np.arange(N) % 3


def blobs(spread=0.1) -> np.ndarray:
    centres = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    return centres[TRUTH] + spread * np.random.default_rng(0).normal(size=(N, 3))


def predictions(assignment: np.ndarray) -> np.ndarray:
    return np.where(np.arange(3) == np.asarray(assignment)[:, None], 0.9, 0.05)


def partition(assignment: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(assignment == k)) for k in np.unique(assignment)}


MERGED = np.where(TRUTH == 2, np.where(np.arange(N) < 6, 2, 1), TRUTH)  # two kinds in one cluster, the rest a rag


WITH_STRAYS = np.repeat([0, 1, 2, 3], (50, 50, 50, 4))
STRAYS = np.arange(150, 154)


def embeddings_with_strays() -> np.ndarray:
    centres = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 2, 2]])
    return centres[WITH_STRAYS] + 0.2 * np.random.default_rng(0).normal(size=(154, 3))


def test_strays_are_a_cluster_only_if_so_few_are_expected_of_the_rarest_kind():
    for prior in (None, (1, 1, 1), (3, 4, 2)):
        found = initial_assignment(embeddings_with_strays(), 3, Settings(smallest_cluster=0.3, prior=prior))
        assert partition(found[:150]) == partition(WITH_STRAYS[:150])
    for settings in (Settings(), Settings(smallest_cluster=0.3, prior=(9, 10, 1))):
        assert frozenset(STRAYS) in partition(initial_assignment(embeddings_with_strays(), 3, settings))


def test_strays_tell_a_later_assignment_from_a_better_one():
    """Not counted, they would leave sizes nearer to the prior than this start's, of clusters that are as good."""
    settings = Settings(smallest_cluster=0.3)
    start, uniform = np.where(np.arange(154) < 60, 0, np.minimum(WITH_STRAYS, 2)), np.full(3, 1 / 3)
    without = initial_assignment(embeddings_with_strays(), 3, settings)
    assert divergence(without, uniform) < divergence(start, uniform)
    found = next_start(embeddings_with_strays(), predictions(np.roll(start, 1)), start, settings)
    np.testing.assert_array_equal(found, np.roll(start, 1))


@pytest.mark.parametrize("initial", ["acpic", "kmeans"])
def test_a_new_assignment_that_parts_what_was_merged_is_taken(initial):
    found = next_start(blobs(), predictions(MERGED), MERGED, Settings(initial=initial))
    assert partition(found) == partition(TRUTH) and found.dtype == np.int32


def test_one_of_sizes_further_from_the_prior_than_the_start_s_is_not(monkeypatch):
    monkeypatch.setattr(starts, "initial_assignment", lambda *_: MERGED)
    p = predictions(np.roll(TRUTH, 1))
    np.testing.assert_array_equal(next_start(blobs(), p, TRUTH, Settings()), np.roll(TRUTH, 1))


def test_nearer_is_what_the_given_prior_says(monkeypatch):
    """The same two assignments, the other way round under a prior of the merged one's sizes, in any order."""
    monkeypatch.setattr(starts, "initial_assignment", lambda *_: MERGED)
    prior = tuple(np.roll(np.bincount(MERGED), 1) / N)
    found = next_start(blobs(), predictions(np.roll(TRUTH, 1)), TRUTH, Settings(prior=prior))
    np.testing.assert_array_equal(found, MERGED)


def test_embeddings_that_cannot_be_assigned_leave_the_clusters_as_they_are():
    """Training may draw a cluster's images together to a point."""
    found = next_start(np.ones((N, 3)), predictions(TRUTH), MERGED, Settings())
    np.testing.assert_array_equal(found, TRUTH)


def test_the_larger_a_cluster_the_larger_the_prior_of_its_number():
    assignment = np.repeat([0, 1, 2], (10, 40, 20))
    found = named_by_size(assignment, (0.5, 0.2, 0.3))
    np.testing.assert_array_equal(found, np.repeat([1, 0, 2], (10, 40, 20)))
    np.testing.assert_array_equal(named_by_size(found, (0.5, 0.2, 0.3)), found)
    np.testing.assert_array_equal(named_by_size(assignment, (3, 3, 3)), [[0, 2, 1][k] for k in assignment])
    assert named_by_size(assignment, None) is assignment
    empty = named_by_size(np.repeat([2, 1], (10, 40)), (0.1, 0.7, 0.2))
    np.testing.assert_array_equal(empty, np.repeat([2, 1], (10, 40)))


def test_divergence_is_of_sizes_from_the_prior_by_size():
    shares = np.array([0.5, 0.3, 0.2])
    assignment = np.repeat([2, 0, 1], (50, 30, 20))
    assert divergence(assignment, shares) == pytest.approx(0, abs=1e-12)
    uniform = np.full(3, 1 / 3)
    assert divergence(assignment, uniform) == pytest.approx(np.sum(shares * np.log(3 * shares)))
    assert divergence(np.zeros(9, int), uniform) == pytest.approx(np.log(3))
