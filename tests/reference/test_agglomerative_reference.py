"""The authors' released AC-PIC assignment of MNIST-test, from their released autoencoder's embeddings."""

import numpy as np
import pytest
from test_agglomerative import dense_clustering

from depict_jax.agglomerative import path_integral_clustering
from depict_jax.metrics import clustering_accuracy

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def labels(embeddings):
    return path_integral_clustering(embeddings, 10)


def test_labels_equal_the_authors(labels, released):
    """Up to renaming, for 10,000 of 10,000."""
    pairs = set(zip(labels.tolist(), released["acpic_labels"].tolist(), strict=True))
    assert len(labels) == 10_000
    assert len(pairs) == len(set(labels.tolist())) == len(np.unique(released["acpic_labels"])) == 10


def test_accuracy_is_the_authors(labels, mnist_test):
    assert clustering_accuracy(mnist_test[1], labels) == pytest.approx(0.9333, abs=1e-4)


@pytest.mark.parametrize("n", [500, pytest.param(2000, marks=pytest.mark.slow)])
def test_labels_equal_the_definition(embeddings, n):
    np.testing.assert_array_equal(path_integral_clustering(embeddings[:n], 10), dense_clustering(embeddings[:n], 10)[0])


def test_labels_equal_the_definition_on_pixels(mnist_test):
    x = mnist_test[0][:1000].reshape(1000, -1) / 255.0
    np.testing.assert_array_equal(path_integral_clustering(x, 10), dense_clustering(x, 10)[0])
