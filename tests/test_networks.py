from functools import partial

import chex
import flax
import jax
import numpy as np
import pytest
from scipy.special import softmax

from depict_jax.architecture import Architecture
from depict_jax.convolution import conv, conv_transpose
from depict_jax.networks import Decoder, Depict, Encoder, leaky_relu

ONE, OTHER = jax.random.key(1), jax.random.key(2)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).normal(size=(6, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def quiet(small):
    """`small` without dropout."""
    return Architecture(small.image, small.convolutions, small.n_clusters, (0.0, 0.0, 0.0))


@partial(jax.jit, static_argnames=("model", "noisy"))
def passed(model, variables, images, key=None, noisy=True):
    return model.apply(variables, images, noisy, rngs=None if key is None else {"dropout": key})


@pytest.mark.parametrize("image", [(28, 28, 1), (32, 32, 3)])
def test_shapes(image):
    architecture = Architecture.for_image(image, 10)
    found, variables = jax.eval_shape(
        partial(Depict(architecture).init_with_output, noisy=False),
        jax.random.key(0),
        np.zeros((5, *image), np.float32),
    )
    maps = [(channels, rows, columns, 5) for rows, columns, channels in architecture.maps]
    assert [z.shape for z in found.reconstructions] == maps  # as large as the encoder's
    assert [z.shape for z in found.clean] == [*maps, (5, 10)]
    chex.assert_shape([found.noisy_embedding, found.noisy_logits, found.logits], (5, 10))
    chex.assert_type(jax.tree.leaves((found, variables)), np.float32)


def test_the_noisy_encoder_corrupts_the_input_and_the_maps_but_not_the_embedding(small, variables, images):
    """z~^0 = corrupt(x), z~^l = corrupt(g(W z~^{l-1})), z~^L = tanh(W z~^{L-1})."""
    w = variables["params"]["encoder"]
    *noisy, embedding = Encoder(small).apply({"params": w}, images, True, rngs={"dropout": ONE})
    uncorrupted = [np.transpose(images, (3, 1, 2, 0))]
    for n, c in enumerate(small.convolutions):
        z = conv(noisy[n], w[f"conv{n + 1}_kernel"], c.stride, c.pad)
        uncorrupted.append(leaky_relu(z + w[f"conv{n + 1}_bias"][:, None, None, None]))
    for z, whole, rate in zip(noisy, uncorrupted, small.dropout, strict=True):
        np.testing.assert_allclose(z, np.where(z != 0, whole / (1 - rate), 0), rtol=1e-4, atol=1e-6)
        assert np.mean(z == 0) == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / z.size))
    flat = np.asarray(noisy[-1]).reshape(-1, 6).T
    expected = np.tanh(flat @ w["embedding"]["kernel"] + w["embedding"]["bias"])
    np.testing.assert_allclose(embedding, expected, rtol=1e-4, atol=1e-6)


def test_the_decoder_mirrors_the_encoder(small, variables, images):
    """z^^{L-1} = g(W z~^L), then transposed convolutions, g on the maps and tanh on the image."""
    w = variables["params"]["decoder"]
    embedding = np.tanh(images[:, 0, :3, 0])
    image, map1, map2 = Decoder(small).apply({"params": w}, embedding)
    flat = embedding @ w["embedding"]["kernel"] + w["embedding"]["bias"]
    np.testing.assert_allclose(map2, leaky_relu(flat).T.reshape(6, 2, 2, 6), rtol=1e-4, atol=1e-6)
    for z, larger, name, c, g in (
        (map2, map1, "conv2", small.convolutions[1], leaky_relu),
        (map1, image, "conv1", small.convolutions[0], np.tanh),
    ):
        expected = g(conv_transpose(z, w[f"{name}_kernel"], c.stride, c.pad) + w[f"{name}_bias"][:, None, None, None])
        np.testing.assert_allclose(larger, expected, rtol=1e-4, atol=1e-6)


def test_leaky_relu_has_slope_one_hundredth_below_zero():
    np.testing.assert_allclose(leaky_relu(np.array([-2.0, 0.0, 3.0], np.float32)), [-0.02, 0, 3], rtol=1e-6)


def test_without_dropout_the_noisy_pathway_is_the_clean_one(quiet, variables, images):
    found = Depict(quiet).apply(variables, images)  # and no rng is needed
    chex.assert_trees_all_equal(found.noisy_embedding, found.clean[-1])
    chex.assert_trees_all_equal(found.noisy_logits, found.logits)


def test_noise_can_be_left_out(small, quiet, variables, images):
    noiseless = Depict(small).apply(variables, images, noisy=False)
    chex.assert_trees_all_equal(noiseless, Depict(quiet).apply(variables, images))


def test_noise_needs_an_rng(small, variables, images):
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        Depict(small).apply(variables, images)


def test_noise_stays_in_the_noisy_pathway(small, variables, images):
    one, again, other = (passed(Depict(small), variables, images, key) for key in (ONE, ONE, OTHER))
    chex.assert_trees_all_equal(one, again)
    chex.assert_trees_all_equal((one.clean, one.logits), (other.clean, other.logits))
    for noisy in (one, other):  # every image is corrupted, and what is decoded is the noisy embedding
        assert (np.abs(noisy.noisy_embedding - noisy.clean[-1]).max(axis=1) > 1e-3).all()
        decoded = Decoder(small).apply({"params": variables["params"]["decoder"]}, noisy.noisy_embedding)
        chex.assert_trees_all_close(noisy.reconstructions, decoded, rtol=1e-4, atol=1e-6)
    assert (np.abs(one.noisy_embedding - other.noisy_embedding).max(axis=1) > 1e-3).all()
    assert np.abs(one.noisy_logits - other.noisy_logits).max() > 1e-3
    np.testing.assert_array_equal(one.clean[0], np.transpose(images, (3, 1, 2, 0)))


def test_one_head_reads_both_embeddings(small, variables, images):
    found = passed(Depict(small), variables, images, ONE)
    head = variables["params"]["head"]
    for embedding, logits in ((found.noisy_embedding, found.noisy_logits), (found.clean[-1], found.logits)):
        np.testing.assert_allclose(logits, embedding @ head["kernel"] + head["bias"], rtol=1e-4, atol=1e-6)


def test_encode_and_predict_are_the_clean_pathway(small, variables, images):
    model = Depict(small)
    clean = model.apply(variables, images, noisy=False)
    chex.assert_trees_all_equal(model.apply(variables, images, method="encode"), clean.clean[-1])
    embedding, p = model.apply(variables, images, method="predict")
    chex.assert_trees_all_equal(embedding, clean.clean[-1])
    np.testing.assert_allclose(p, softmax(clean.logits, axis=1), rtol=1e-5)


def test_embedding_and_decoded_image_stay_within_one(small, variables, images):
    large = jax.tree.map(lambda w: 5 * w, variables)
    found = passed(Depict(small), large, images, noisy=False)
    for squashed in (found.clean[-1], found.noisy_embedding, found.reconstructions[0]):
        assert 0.99 < np.abs(squashed).max() <= 1
    for z in (*found.clean[1:-1], *found.reconstructions[1:]):  # the hidden layers are not squashed
        assert z.max() > 1


def test_initial_parameters():
    """Glorot-uniform kernels, zero biases, head zero, nothing shared between encoder and decoder."""
    architecture = Architecture.for_image((28, 28, 1), 10)
    init = jax.jit(partial(Depict(architecture).init, noisy=False))
    params = init(jax.random.key(0), np.zeros((1, 28, 28, 1), np.float32))["params"]
    shapes = {"conv1_kernel": (4, 4, 1, 50), "conv2_kernel": (5, 5, 50, 50), "embedding": (2450, 10)}
    for part, dense in (("encoder", (2450, 10)), ("decoder", (10, 2450))):
        for name, shape in {**shapes, "embedding": dense}.items():
            kernel = params[part][name]["kernel"] if name == "embedding" else params[part][name]
            assert kernel.shape == shape
            bound = np.sqrt(6 / (np.prod(shape[:-2]) * (shape[-2] + shape[-1])))
            assert 0.98 * bound < np.abs(kernel).max() <= bound
            assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)
    biases = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params) if "bias" in str(path[-1])]
    assert len(biases) == 7
    assert not any(bias.any() for bias in biases)
    assert not params["head"]["kernel"].any()
    assert np.abs(params["encoder"]["conv2_kernel"] - params["decoder"]["conv2_kernel"]).max() > 0.01
