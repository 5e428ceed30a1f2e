from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from depict_jax.metrics import clustering_accuracy, indicators, scores


def by_trying_every_matching(labels, clusters):
    """The best share of agreement over all one-to-one matchings of clusters to labels, spare ones unmatched."""
    n = max(labels.max(), clusters.max()) + 1
    return max((np.array(names)[clusters] == labels).mean() for names in permutations(range(n)))


@pytest.mark.parametrize(("n_labels", "n_clusters"), [(2, 2), (5, 5), (3, 5), (5, 2), (1, 4), (4, 1)])
def test_accuracy_is_the_best_of_all_matchings(n_labels, n_clusters):
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, clusters = rng.integers(n_labels, size=17), rng.integers(n_clusters, size=17)
        assert clustering_accuracy(labels, clusters) == pytest.approx(by_trying_every_matching(labels, clusters))


def test_names_do_not_count():
    rng = np.random.default_rng(0)
    labels, clusters = rng.integers(4, size=50), rng.integers(6, size=50)
    expected = scores(labels, clusters)
    renamed = np.array([7, -1, 30, 4, 2, 11])[clusters]
    named = np.array(["zero", "one", "two", "three"])[labels]
    assert scores(named, renamed) == pytest.approx(expected)
    assert 0 < expected["acc"] < 1


def test_bounds():
    labels = np.repeat(np.arange(5), 4)
    assert scores(labels, (labels + 2) % 5) == pytest.approx({"acc": 1, "nmi": 1, "ari": 1})
    assert clustering_accuracy(labels, np.zeros(20, int)) == 0.2
    assert clustering_accuracy(labels, np.arange(20)) == 0.25  # each label is matched to one of its four clusters


def test_scores_are_plain_numbers_as_scikit_learn_has_them():
    rng = np.random.default_rng(0)
    labels, clusters = rng.integers(4, size=50), rng.integers(6, size=50)
    found = scores(labels, clusters)
    assert found == {
        "acc": clustering_accuracy(labels, clusters),
        "nmi": normalized_mutual_info_score(labels, clusters),
        "ari": adjusted_rand_score(labels, clusters),
    }
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize("labels", [np.zeros(3, int), np.zeros(0, int), np.zeros((4, 1), int)])
@pytest.mark.parametrize("function", [clustering_accuracy, scores])
def test_refuses_labels_that_do_not_fit(function, labels):
    clusters = np.zeros(0 if labels.size == 0 else 4, int)
    with pytest.raises(ValueError, match="expected two 1-D arrays of the same length") as error:
        function(labels, clusters)
    assert str(labels.shape) in str(error.value)
    assert str(clusters.shape) in str(error.value)


def test_indicators():
    p = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.9, 0.0], [0.6, 0.3, 0.1]])
    found = indicators(p)
    assert found == pytest.approx(
        {"clusters_in_use": 2, "smallest_share": 0.0, "largest_share": 0.75, "confidence": 0.675}
    )
    assert indicators(p, np.array([0, 1, 1, 2])) == {**found, "changed": 0.5}
    assert indicators(p, np.array([0, 0, 1, 0])) == {**found, "changed": 0.0}
