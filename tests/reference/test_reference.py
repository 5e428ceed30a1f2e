"""The authors' pretrained autoencoder in our network, and what they got from it on MNIST-test."""

from functools import partial

import jax
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.cluster import KMeans

from depict_jax import DEPICT
from depict_jax.architecture import Architecture
from depict_jax.assignments import target_distribution
from depict_jax.epochs import train_epoch
from depict_jax.metrics import scores
from depict_jax.networks import Depict
from depict_jax.reference import load_lasagne
from depict_jax.training import Loss, fresh_state, head_from_assignment, predict, validation_loss

reference = pytest.mark.reference


def convolve(x, kernels, bias, pad):
    """True convolution (kernels flipped), stride 2: (N, C, H, W) with (out, C, h, w)."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(x, kernels.shape[2:], axis=(2, 3))[:, :, ::2, ::2]
    y = np.tensordot(windows, kernels[:, :, ::-1, ::-1], axes=((1, 4, 5), (1, 2, 3)))
    return y.transpose(0, 3, 1, 2) + bias[:, None, None]


def leaky_relu(x):
    return np.where(x > 0, x, 0.01 * x)


def embed(pixels, arrays):
    """(N, 28, 28, 1) uint8 to (N, 10): the clean encoder as the authors lay it out, in float64."""
    w = {name: value.astype(float) for name, value in arrays.items()}
    x = (pixels.transpose(0, 3, 1, 2).astype(float) - 127.5) / 127.5
    h = leaky_relu(convolve(x, w["encoder1_W"], w["encoder1_b"], pad=0))
    h = leaky_relu(convolve(h, w["encoder2_W"], w["encoder2_b"], pad=2))
    return np.tanh(h.reshape(len(x), -1) @ w["embedding_W"] + w["embedding_b"])


def deconvolve(x, kernels, bias, pad):
    """Its transpose (kernels flipped), stride 2: (N, C, H, W) with (C, out, h, w)."""
    n, _, rows, columns = x.shape
    y = np.zeros((n, kernels.shape[1], 2 * rows - 2 + kernels.shape[2], 2 * columns - 2 + kernels.shape[3]))
    for i, j in np.ndindex(*kernels.shape[2:]):
        spread = np.einsum("nchw,co->nohw", x, kernels[:, :, -1 - i, -1 - j])
        y[:, :, i : i + 2 * rows : 2, j : j + 2 * columns : 2] += spread
    return y[:, :, pad : y.shape[2] - pad, pad : y.shape[3] - pad] + bias[:, None, None]


def decode(embedding, arrays):
    """(N, 10) to images (1, 28, 28, N), in float64."""
    w = {name: value.astype(float) for name, value in arrays.items()}
    h = leaky_relu(embedding @ w["decoder3_W"] + w["decoder3_b"]).reshape(-1, 50, 7, 7)
    h = leaky_relu(deconvolve(h, w["decoder2_W"], w["decoder2_b"], pad=2))
    return np.tanh(deconvolve(h, w["decoder1_W"], w["decoder1_b"], pad=0)).transpose(1, 2, 3, 0)


def lasagne_arrays():
    """Random numbers in the authors' layout, biases too."""
    rng = np.random.default_rng(0)
    shapes = {
        **{"encoder1_W": (50, 1, 4, 4), "encoder1_b": (50,), "encoder2_W": (50, 50, 5, 5), "encoder2_b": (50,)},
        **{"embedding_W": (2450, 10), "embedding_b": (10,), "decoder3_W": (10, 2450), "decoder3_b": (2450,)},
        **{"decoder2_W": (50, 50, 5, 5), "decoder2_b": (50,), "decoder1_W": (50, 1, 4, 4), "decoder1_b": (1,)},
    }
    return {name: (0.05 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}


def test_layout():
    """Both ways equal convolutions with flipped kernels, channels first; the file's further entries are ignored."""
    arrays = lasagne_arrays()
    architecture, variables = load_lasagne({**arrays, "acpic_labels": np.zeros(3)})
    assert architecture == Architecture.for_image((28, 28, 1), 10)
    shapes = jax.eval_shape(
        partial(Depict(architecture).init, noisy=False), jax.random.key(0), np.zeros((1, 28, 28, 1), np.float32)
    )
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), variables) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), shapes
    )
    pixels = np.random.default_rng(1).integers(256, size=(3, 28, 28, 1), dtype=np.uint8)
    images = (pixels.astype(np.float32) - 127.5) / 127.5
    ours = jax.jit(partial(Depict(architecture).apply, noisy=False))(variables, images)
    np.testing.assert_allclose(ours.clean[-1], embed(pixels, arrays), atol=1e-5)
    np.testing.assert_allclose(ours.reconstructions[0], decode(embed(pixels, arrays), arrays), atol=1e-5)


@pytest.mark.parametrize("name", lasagne_arrays())
def test_refuses_a_missing_entry(name):
    arrays = lasagne_arrays()
    del arrays[name]
    with pytest.raises(ValueError, match=f"the parameters lack {name}: expected the authors' encoder1_W"):
        load_lasagne(arrays)


@pytest.mark.parametrize("name", lasagne_arrays())
def test_refuses_another_shape(name):
    arrays = lasagne_arrays()
    expected = arrays[name].shape
    arrays[name] = arrays[name][None]
    with pytest.raises(ValueError, match=f"{name} has shape ") as error:
        load_lasagne(arrays)
    assert str(error.value) == f"{name} has shape {(1, *expected)}: expected {expected}"


def test_refuses_another_number_of_clusters():
    with pytest.raises(ValueError, match=r"embedding_W has shape \(2450, 10\): expected \(2450, 7\)"):
        load_lasagne({**lasagne_arrays(), "embedding_b": np.zeros(7)})


@reference
def test_embeddings_equal_an_independent_forward_pass(embeddings, mnist_test, released):
    np.testing.assert_allclose(embeddings[:500], embed(mnist_test[0][:500], released), atol=1e-5)


@reference
def test_reconstruction_loss_of_the_authors_autoencoder(pretrained, mnist_test):
    architecture, variables = pretrained
    loss = validation_loss(Depict(architecture), Loss((1.0, 0.1, 0.1), 0.0), variables, mnist_test[0][:500])
    assert loss == pytest.approx(0.0387, abs=1e-3)


@reference
def test_kmeans_on_the_embeddings(embeddings, mnist_test):
    found = scores(mnist_test[1], KMeans(10, n_init=20, random_state=0).fit_predict(embeddings))
    assert found["acc"] == pytest.approx(0.820, abs=0.01)
    assert found["nmi"] == pytest.approx(0.752, abs=0.01)


@reference
def test_scores_of_the_authors_assignment(released, mnist_test):
    found = scores(mnist_test[1], released["acpic_labels"])
    assert found["acc"] == pytest.approx(0.9333, abs=1e-4)
    assert found["nmi"] == pytest.approx(0.8645, abs=1e-4)


@reference
@pytest.mark.slow
def test_training_from_the_authors_weights(pretrained, embeddings, released, mnist_test):
    """From these weights and labels 12 warm-start and 35 joint epochs on all images: ACC 0.9622, NMI 0.908 there."""
    architecture, variables = pretrained
    pixels, labels = mnist_test
    model, loss = Depict(architecture), Loss((1.0, 0.1, 0.1), 1.0)
    assignment = np.unique(released["acpic_labels"], return_inverse=True)[1]

    def train(state, targets, key):
        members, rates = np.arange(len(pixels), dtype=np.int32), np.full(100, 1e-4, np.float32)
        return train_epoch(model, loss, state, pixels, targets, members, rates, key, batch_size=100)

    keys = jax.random.split(jax.random.key(0), 47)
    state = fresh_state(head_from_assignment(variables, embeddings, assignment))
    for key in keys[:12]:
        state = train(state, jax.nn.one_hot(assignment, 10), key).state
    state, p = fresh_state(state.variables), predict(model, state.variables, pixels)[1]
    for key in keys[12:]:
        state, _, p = train(state, target_distribution(p, rule="squared"), key)
    found = scores(labels, predict(model, state.variables, pixels)[1].argmax(axis=1))
    print(found)
    assert found["acc"] >= 0.960
    assert found["nmi"] >= 0.900


@reference
@pytest.mark.slow
def test_mnist_test_from_pixels_with_default_settings(mnist_test):
    pixels, labels = mnist_test
    assert scores(labels, DEPICT(10).fit_predict(pixels))["acc"] >= 0.93
