import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from depict_jax.objectives import clustering_objective, cross_entropy, reconstruction_loss

WEIGHTS = (1.0, 0.1, 0.5)
SHAPES = ((8, 8, 2), (4, 4, 5), (7,))


def outputs(seed, n_images=5):
    """One output per layer."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(*shape, n_images)).astype(np.float32) for shape in SHAPES]


def probabilities(seed, n_images=12, n_clusters=4):
    return softmax(2 * np.random.default_rng(seed).normal(size=(n_images, n_clusters)), axis=1).astype(np.float32)


def padded(arrays, garbage=1e6, axis=-1):
    """Three images more, of garbage."""
    return [np.concatenate([a, np.full_like(a.take(range(3), axis), garbage)], axis) for a in arrays]


MASK = np.array([1, 1, 1, 1, 1, 0, 0, 0], np.float32)


def test_reconstruction_loss_is_the_weighted_mean_square_of_every_layer():
    decoded, clean = outputs(0), [*outputs(1), np.ones((3, 5), np.float32)]
    errors = [((a.astype(float) - b) ** 2).mean() for a, b in zip(decoded, clean, strict=False)]
    assert reconstruction_loss(decoded, clean, WEIGHTS) == pytest.approx(np.dot(WEIGHTS, errors), rel=1e-6)
    for layer in range(3):
        assert reconstruction_loss(decoded, clean, np.eye(3)[layer]) == pytest.approx(errors[layer], rel=1e-6)
    assert reconstruction_loss(clean[:3], clean, WEIGHTS) == 0


@pytest.mark.parametrize("stop_gradient", [False, True])
def test_padding_changes_neither_reconstruction_loss_nor_gradient(stop_gradient):
    def loss(decoded, clean, mask=None):
        return reconstruction_loss(decoded, clean, WEIGHTS, mask, stop_gradient)

    decoded, clean = outputs(0), outputs(1)
    value, gradients = jax.value_and_grad(loss, (0, 1))(decoded, clean)
    masked, wide = jax.value_and_grad(loss, (0, 1))(padded(decoded), padded(clean, garbage=-1e6), MASK)
    assert masked == pytest.approx(float(value), rel=1e-6)
    chex.assert_trees_all_close(jax.tree.map(lambda g: g[..., :5], wide), gradients, rtol=1e-5)
    assert not any(g[..., 5:].any() for g in jax.tree.leaves(wide))


def test_stop_gradient_changes_the_gradient_and_not_the_value():
    decoded, clean = outputs(0), outputs(1)
    for stop in (False, True):
        value, (by_decoded, by_clean) = jax.value_and_grad(
            lambda a, b, stop=stop: reconstruction_loss(a, b, WEIGHTS, stop_gradient=stop), (0, 1)
        )(decoded, clean)
        assert value == reconstruction_loss(decoded, clean, WEIGHTS)
        expected = [2 * w * (a - b) / a.size for w, a, b in zip(WEIGHTS, decoded, clean, strict=True)]
        chex.assert_trees_all_close(by_decoded, expected, rtol=1e-5)
        chex.assert_trees_all_close(by_clean, [g * (0 if stop else -1) for g in expected], rtol=1e-5)


@pytest.mark.parametrize(
    ("decoded", "clean", "weights", "message"),
    [
        (3, 3, (1.0, 0.1), "3 reconstructions, 3 clean outputs and 2 layer weights"),
        (3, 2, (1.0, 0.1, 0.1), "3 reconstructions, 2 clean outputs and 3 layer weights"),
        (2, 3, (1.0, 0.1, 0.1), "2 reconstructions, 3 clean outputs and 3 layer weights"),
    ],
)
def test_reconstruction_loss_refuses_layers_without_partner(decoded, clean, weights, message):
    with pytest.raises(ValueError, match=message):
        reconstruction_loss(outputs(0)[:decoded], outputs(1)[:clean], weights)


def test_cross_entropy_equals_numpy():
    q, logits = probabilities(0), np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32)
    expected = -(q * log_softmax(logits.astype(float), axis=1)).sum(axis=1).mean()
    assert cross_entropy(q, logits) == pytest.approx(expected, rel=1e-6)
    assert cross_entropy(q, logits + 7) == pytest.approx(expected, rel=1e-5)
    gradient = jax.grad(cross_entropy, 1)(q, logits)
    np.testing.assert_allclose(gradient, (softmax(logits, axis=1) - q) / 12, atol=1e-7)


def test_cross_entropy_is_finite_for_extreme_logits():
    logits = np.array([[1e4, 0, -1e4]], np.float32)
    assert cross_entropy(np.array([[0, 1, 0]], np.float32), logits) == pytest.approx(1e4)


def test_padding_changes_neither_cross_entropy_nor_gradient():
    q, logits = probabilities(0, n_images=5), np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    value, gradient = jax.value_and_grad(cross_entropy, 1)(q, logits)
    masked, wide = jax.value_and_grad(cross_entropy, 1)(*padded([q, logits], axis=0), MASK)
    assert masked == pytest.approx(float(value), rel=1e-6)
    np.testing.assert_allclose(wide[:5], gradient, rtol=1e-5)
    assert not wide[5:].any()


def test_cross_entropy_less_divergence_is_the_targets_entropy():
    q, p = probabilities(0), probabilities(1)
    entropy = -(q * np.log(q)).sum(axis=1).mean()
    divergence = clustering_objective(q, p, prior_weight=0)
    assert cross_entropy(q, np.log(p)) - divergence == pytest.approx(entropy, abs=1e-6)
    assert cross_entropy(q, np.log(q)) == pytest.approx(entropy, abs=1e-6)


@pytest.mark.parametrize("prior_weight", [0.0, 0.5, 1.0, 10.0])
@pytest.mark.parametrize("prior", [None, (0.1, 0.2, 0.3, 0.4), (1, 2, 3, 4)])
def test_clustering_objective_equals_numpy(prior, prior_weight):
    q, p = probabilities(0), probabilities(1)
    u = np.full(4, 0.25) if prior is None else np.divide(prior, sum(prior))
    f = q.astype(float).mean(axis=0)
    expected = (q * np.log(q.astype(float) / p)).sum() / 12 + prior_weight * (f * np.log(f / u)).sum()
    assert clustering_objective(q, p, prior, prior_weight) == pytest.approx(expected, rel=1e-5)


def test_clustering_objective_runs_under_jit():
    q, p, prior = probabilities(0), probabilities(1), np.array([1, 2, 3, 4])
    compiled = jax.jit(clustering_objective)(q, p, prior)
    assert compiled == pytest.approx(float(clustering_objective(q, p, prior)), rel=1e-5)


def test_clustering_objective_is_zero_at_its_minimum_and_positive_elsewhere():
    p = probabilities(0)
    balanced = softmax(np.eye(4)[np.arange(12) % 4], axis=1)
    assert clustering_objective(p, p, p.mean(axis=0)) == pytest.approx(0, abs=1e-6)
    assert clustering_objective(balanced, balanced) == pytest.approx(0, abs=1e-6)
    assert clustering_objective(p, p) > 1e-3  # its shares are not uniform
    for seed in range(1, 20):
        assert clustering_objective(probabilities(seed), p, p.mean(axis=0)) > 1e-3


def test_clustering_objective_where_probabilities_are_zero():
    one_hot, other = np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[::-1]
    assert clustering_objective(one_hot, one_hot) == 0
    assert clustering_objective(one_hot, np.full((2, 2), 0.5)) == pytest.approx(np.log(2))
    assert jnp.isposinf(clustering_objective(one_hot, other))


@pytest.mark.parametrize(
    ("prior", "prior_weight", "message"),
    [
        ((0.5, 0.5), 1.0, r"prior has shape \(2,\): expected \(4,\)"),
        ((1, 1, 1, 0), 1.0, r"prior is \[1.0, 1.0, 1.0, 0.0\]"),
        (None, -1.0, "prior_weight is -1.0"),
        (None, float("inf"), "prior_weight is inf"),
        (None, float("nan"), "prior_weight is nan"),
    ],
)
def test_clustering_objective_refuses(prior, prior_weight, message):
    with pytest.raises(ValueError, match=message):
        clustering_objective(probabilities(0), probabilities(1), prior, prior_weight)
