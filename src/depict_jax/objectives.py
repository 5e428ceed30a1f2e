"""The paper's losses, one function per equation."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.scipy.special import rel_entr
from jax.typing import ArrayLike

from .assignments import checked_prior


def reconstruction_loss(
    reconstructions: Sequence[jax.Array],
    clean: Sequence[jax.Array],
    layer_weights: Sequence[float],
    mask: jax.Array | None = None,
    stop_gradient: bool = False,
    count: jax.Array | None = None,
) -> jax.Array:
    """L_R = sum over l of lambda_l mean((z^^l - z^l)^2), the mean over samples and units (the paper's eq. 5).

    Args:
        reconstructions: z^^0 .. z^^{L-1}, the decoder's outputs, each (..., B).
        clean: z^0 .. z^{L-1}, the clean pathway's outputs of the same shapes; further ones (the embedding) are ignored.
        layer_weights: lambda_0 .. lambda_{L-1}; the released code has 1, 0.1, 0.1.
        mask: (B,), 1 for real images and 0 for padding; None counts all.
        stop_gradient: hold the clean targets fixed. The released code lets the gradient flow through them.
        count: what the sum over images is divided by, where these are one device's share of them; None for the number
            that mask marks.

    Returns:
        A float scalar.

    Raises:
        ValueError: not one weight and one clean output for each reconstruction.
    """
    if len(layer_weights) != len(reconstructions) or len(clean) < len(reconstructions):
        raise ValueError(
            f"{len(reconstructions)} reconstructions, {len(clean)} clean outputs and {len(layer_weights)} layer "
            "weights: expected one weight and one clean output for each reconstruction"
        )
    total = jnp.zeros(())
    for z_decoded, z, weight in zip(reconstructions, clean, layer_weights, strict=False):
        if stop_gradient:
            z = jax.lax.stop_gradient(z)
        squared_error = jnp.square(z_decoded - z)
        total += weight * _mean_over_images(squared_error.reshape(-1, z.shape[-1]).mean(axis=0), mask, count)
    return total


def cross_entropy(
    targets: jax.Array, logits: jax.Array, mask: jax.Array | None = None, count: jax.Array | None = None
) -> jax.Array:
    """-(1/N) sum_ik q_ik log p~_ik, L_E with Q held fixed (the paper's eq. 9), p~ = softmax(logits).

    Args:
        targets: Q, (B, K), rows that sum to 1.
        logits: the noisy pathway's head before the soft-max, (B, K).
        mask: (B,), 1 for real images and 0 for padding; None counts all.
        count: as in `reconstruction_loss`.

    Returns:
        A float scalar, in nats.
    """
    return _mean_over_images(-jnp.sum(targets * jax.nn.log_softmax(logits), axis=1), mask, count)


def clustering_objective(
    q: ArrayLike, p: ArrayLike, prior: ArrayLike | Sequence[float] | None = None, prior_weight: float = 1.0
) -> jax.Array:
    """L_E = KL(Q||P) + rho KL(f||u), f_k = (1/N) sum_i q_ik, in its original form (the paper's eq. 3).

    KL(Q||P) = (1/N) sum_ik q_ik log(q_ik / p_ik). For reporting and checks: training uses `cross_entropy`.

    Args:
        q: targets, (N, K), rows that sum to 1.
        p: soft-max probabilities, (N, K), rows that sum to 1.
        prior: u, (K,) positive numbers, scaled to sum to 1; None is uniform.
        prior_weight: rho, finite and at least 0.

    Returns:
        A float scalar, in nats; infinity where some q_ik > 0 = p_ik.

    Raises:
        ValueError: a prior of the wrong length or with entries that are not positive, or a weight that is negative or
            infinite.
    """
    if not 0 <= prior_weight < float("inf"):
        raise ValueError(f"prior_weight is {prior_weight}: expected a finite number of at least 0")
    q, p = jnp.asarray(q), jnp.asarray(p)
    u = checked_prior(prior, p.shape[1], p.dtype)
    return rel_entr(q, p).sum(axis=1).mean() + prior_weight * rel_entr(q.mean(axis=0), u).sum()


def _mean_over_images(values: jax.Array, mask: jax.Array | None, count: jax.Array | None) -> jax.Array:
    if mask is None:
        return values.mean()
    return (values * mask).sum() / (mask.sum() if count is None else count)
