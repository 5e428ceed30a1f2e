"""The authors' released AC-PIC assignment of MNIST-test, from their released autoencoder's embeddings."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy.optimize import linear_sum_assignment

from depict_jax.agglomerative import path_integral_clustering

SHARED = Path(os.environ.get("DEPICT_SHARED", Path(__file__).resolve().parents[3] / "shared"))
WEIGHTS = SHARED / "reference" / "depict_mnist_test.npz"
IMAGES = SHARED / "data" / "mnist_full.npz"

pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(
        not (WEIGHTS.exists() and IMAGES.exists()),
        reason="the authors' weights and the images are not in the folder `shared` beside this one or $DEPICT_SHARED",
    ),
]


def convolve(x, kernels, bias, pad):
    """True convolution (kernels flipped), stride 2: (N, C, H, W) with (out, C, h, w)."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(x, kernels.shape[2:], axis=(2, 3))[:, :, ::2, ::2]
    y = np.tensordot(windows, kernels[:, :, ::-1, ::-1], axes=((1, 4, 5), (1, 2, 3)))
    return y.transpose(0, 3, 1, 2) + bias[:, None, None]


def leaky_relu(x):
    return np.where(x > 0, x, 0.01 * x)


def embed(images, weights):
    """(N, 28, 28, 1) uint8 to (N, 10): the clean encoder in float64."""
    w = {name: value.astype(np.float64) for name, value in weights.items() if name.startswith(("encoder", "embedding"))}
    x = (images.reshape(-1, 1, 28, 28).astype(np.float64) - 127.5) / 127.5
    h = leaky_relu(convolve(x, w["encoder1_W"], w["encoder1_b"], pad=0))
    h = leaky_relu(convolve(h, w["encoder2_W"], w["encoder2_b"], pad=2))
    return np.tanh(h.reshape(len(x), -1) @ w["embedding_W"] + w["embedding_b"])


def n_equal_up_to_renaming(labels, other):
    counts = np.zeros((labels.max() + 1, other.max() + 1), dtype=int)
    np.add.at(counts, (labels, other), 1)
    return counts[linear_sum_assignment(counts, maximize=True)].sum()


def test_labels_equal_the_authors():
    with np.load(WEIGHTS) as file:
        weights = dict(file)
    with np.load(IMAGES) as file:
        images, truth = file["x"][60000:], file["y"][60000:]
    features = np.concatenate([embed(part, weights) for part in np.split(images, 20)])
    labels = path_integral_clustering(features, 10)
    assert n_equal_up_to_renaming(labels, weights["acpic_labels"]) == 10_000
    assert n_equal_up_to_renaming(labels, truth) / 10_000 == pytest.approx(0.9333, abs=1e-4)
