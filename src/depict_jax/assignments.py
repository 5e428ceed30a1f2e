"""The Q-step: the target distribution Q from the clean predictions P and a prior over clusters.

All three rules solve, or approximate, min over Q of L_E = KL(Q||P) + rho KL(f||u), f_k = (1/N) sum_i q_ik, with
sum_k q_ik = 1. The minimum satisfies q_ik ∝ p_ik (u_k / f_k)^rho, where f depends on Q itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_softmax
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike

from .settings import Rule, check_rule

MAX_ROUNDS = 10_000
TOLERANCE = 1e-6
ROUNDS_BETWEEN_LOOKS = 64  # for whether Q has settled although v has not; most problems are solved before the first


def target_distribution(
    p: ArrayLike,
    prior: ArrayLike | Sequence[float] | None = None,
    rule: Rule = "closed_form",
    prior_weight: float = 1.0,
    sharpness: float = 1.0,
    n_images: int | None = None,
) -> jax.Array:
    """Q, the targets of the next epoch.

    - closed_form: q_ik ∝ p_ik (u_k / sum_i' p_i'k)^(1/2), the paper's update (its eq. 8): the first round of `exact`.
    - squared: q_ik ∝ p_ik^2 u_k / sum_i' p_i'k, what the released code runs.
    - exact: the minimum of KL(Q || P^sharpness normalised) + prior_weight KL(f||u), by unbalanced Sinkhorn: from v = 1,
        v_k <- (u_k / ((1/N) sum_i p_ik / (P v)_i))^(rho / (1 + rho)) until log v, or Q for good, is still;
        q_ik = p_ik v_k / (P v)_i.

    Computed in logarithms, so that rows sum to 1 for probabilities as small as 1e-30 and for exact zeros. Runs under
    jit, with everything but `p` and `prior` static. Where p's rows are shared out over devices, so are Q's, and only
    sums over images, K numbers at a time, go between the devices.

    Args:
        p: clean predictions, (N, K), rows that sum to 1.
        prior: u, (K,) positive numbers, scaled to sum to 1; None is uniform.
        rule: "closed_form", "exact" or "squared".
        prior_weight: rho, for `exact` only: 0 gives P^sharpness normalised, infinity balances the clusters exactly.
        sharpness: beta, for `exact` only, positive; 1 is the paper's.
        n_images: rows of p that are images, the first ones; those after them are padding, without a say, and their
            rows of Q without meaning. None for all.

    Returns:
        Q, (N, K), float of p's precision, rows that sum to 1.

    Raises:
        ValueError: p not (N, K), with entries outside [0, 1] or a row of zeros; an unknown rule; a prior of the wrong
            length or with entries that are not positive; a negative prior weight or a sharpness that is not positive;
            a prior weight or sharpness other than 1 with another rule than `exact`.
    """
    check_rule(rule, prior_weight, sharpness)
    p = jnp.asarray(p)
    if p.ndim != 2 or 0 in p.shape:
        raise ValueError(f"p has shape {p.shape}: expected (N, K), one row of probabilities per image")
    if not jnp.issubdtype(p.dtype, jnp.floating):
        p = p.astype(jnp.float32)
    if not isinstance(p, jax.core.Tracer):
        in_range, no_row_of_zeros = _checks(p, n_images)
        if not in_range:
            raise ValueError("p has entries outside [0, 1] or NaN: expected probabilities, rows that sum to 1")
        if not no_row_of_zeros:
            raise ValueError("p has a row of zeros: expected probabilities, rows that sum to 1")
    # rho / (1 + rho), the power in Sinkhorn's rounds
    power = 1.0 if math.isinf(prior_weight) else prior_weight / (1 + prior_weight)
    return _distribution(p, checked_prior(prior, p.shape[1], p.dtype), rule, power, sharpness, n_images)


# Compiled whole: one by one, their first call would take half a second.
@partial(jax.jit, static_argnames="n_images")
def _checks(p: jax.Array, n_images: int | None) -> tuple[jax.Array, jax.Array]:
    p = _padding_as(1.0, p, n_images)
    return ((p >= 0) & (p <= 1 + 1e-4)).all(), p.any(axis=1).all()


# Power and sharpness are traced: whoever tries several compiles once.
@partial(jax.jit, static_argnames=("rule", "n_images"))
def _distribution(
    p: jax.Array, u: jax.Array, rule: Rule, power: ArrayLike, sharpness: ArrayLike, n_images: int | None
) -> jax.Array:
    log_u, log_p = jnp.log(u), jnp.log(_padding_as(1.0, p, n_images))
    # A cluster without any probability has no say in the rules below and stays at zero.
    log_mass = logsumexp(_padding_as(-jnp.inf, log_p, n_images), axis=0)
    alive = jnp.isfinite(log_mass)
    log_mass = jnp.where(alive, log_mass, 0.0)
    if rule == "closed_form":
        log_q = log_p + 0.5 * (log_u - log_mass)
    elif rule == "squared":
        log_q = 2 * log_p + log_u - log_mass
    else:
        log_p = log_softmax(sharpness * log_p, axis=1)
        log_q = log_p + _sinkhorn(log_p, jnp.where(alive, log_u, -jnp.inf), power, n_images)
    return jax.nn.softmax(log_q, axis=1)


def _padding_as(value: float, table: jax.Array, n_images: int | None) -> jax.Array:
    """The table (N, ...) with `value` in its rows from n_images on."""
    if n_images is None or n_images == len(table):
        return table
    return jnp.where(jnp.arange(len(table))[:, None] < n_images, table, value)


def _sinkhorn(log_p: jax.Array, log_u: jax.Array, power: ArrayLike, n_images: int | None) -> jax.Array:
    """log v (K,) at the fixed point; 0 where log_u is -inf (a cluster without any probability)."""
    alive = jnp.isfinite(log_u)
    eps = float(jnp.finfo(log_p.dtype).eps)

    def update(log_v):
        log_row = logsumexp(log_p + log_v, axis=1, keepdims=True)
        log_share = _padding_as(-jnp.inf, log_p - log_row, n_images)
        log_column = logsumexp(log_share, axis=0) - math.log(n_images or len(log_p))
        new = jnp.where(alive, power * (log_u - log_column), 0.0)
        # Q does not change when v is scaled; without this the scale alone takes thousands of rounds to settle.
        return jnp.where(alive, new - jnp.mean(new, where=alive), 0.0)

    def resolution(log_v):
        # float32 cannot resolve 1e-6 where log v itself is large
        return jnp.maximum(TOLERANCE, 4 * eps * jnp.abs(log_v).max())

    def settled(log_v, new):
        """Whether Q stays as it is however long v goes on as in this round.

        Some P, of zeros and ones above all, have no Q whose shares are those asked for: v then grows for ever while Q
        stands still. A row's Q moves towards the columns of its support whose log v grows fastest; where every row has
        its mass on such columns already, v + t (new - v) has the same Q, the same shares and so the same growth for
        every t > 0.
        """
        growth = new - log_v
        own = jnp.sum(jax.nn.softmax(log_p + log_v, axis=1) * growth, axis=1, keepdims=True)
        fastest = jnp.where(jnp.isfinite(log_p), growth, -jnp.inf).max(axis=1, keepdims=True)
        return _padding_as(0.0, fastest - own, n_images).max() <= resolution(log_v)

    def new_round(carry):
        log_v, _, rounds = carry
        new = update(log_v)
        looks = (rounds + 1) % ROUNDS_BETWEEN_LOOKS == 0
        still = jax.lax.cond(looks, settled, lambda *_: jnp.array(False), log_v, new)
        return new, jnp.where(still, 0.0, jnp.abs(new - log_v).max()), rounds + 1

    def moving(carry):
        log_v, change, rounds = carry
        return (change > resolution(log_v)) & (rounds < MAX_ROUNDS)

    start = (jnp.zeros_like(log_u), jnp.array(jnp.inf, log_u.dtype), 0)
    return jax.lax.while_loop(moving, new_round, start)[0]


def checked_prior(
    prior: ArrayLike | Sequence[float] | None, n_clusters: int, dtype: jnp.dtype = jnp.float32
) -> jax.Array:
    """The prior u as (n_clusters,) numbers that sum to 1; uniform for None.

    Raises:
        ValueError: a prior of another length, or with entries that are not finite and positive.
    """
    if prior is None:
        return jnp.full((n_clusters,), 1 / n_clusters, dtype)
    if np.shape(prior) != (n_clusters,):
        raise ValueError(f"prior has shape {np.shape(prior)}: expected ({n_clusters},), one number per cluster")
    if isinstance(prior, jax.core.Tracer):
        return prior.astype(dtype) / prior.sum()
    u = np.asarray(prior, dtype=np.float64)
    if not (np.isfinite(u).all() and (u > 0).all()):
        raise ValueError(f"prior is {u.tolist()}: expected positive numbers, one per cluster")
    return jnp.asarray(u / u.sum(), dtype)
