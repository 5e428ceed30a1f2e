"""What looks merged, on the authors' embeddings of MNIST-test: no cluster of theirs, and most pairs of them."""

from itertools import combinations

import numpy as np
import pytest

from depict_jax.report.advice import LUMPS, SMALLER_LUMP, lumps_of

pytestmark = pytest.mark.reference


def test_merged_clusters_of_mnist_are_told_and_others_are_not(embeddings, released):
    cluster = released["acpic_labels"]
    alone = [lumps_of(embeddings[cluster == k]) for k in range(10)]
    assert max(d for d, _ in alone) < 3.3 < LUMPS
    pairs = [lumps_of(embeddings[np.isin(cluster, pair)]) for pair in combinations(range(10), 2)]
    assert sum(d > LUMPS and part >= SMALLER_LUMP for d, part in pairs) == 38  # of 45
