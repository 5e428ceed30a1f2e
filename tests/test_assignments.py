"""The Q-step against a generic optimiser, its optimality conditions, and the formulas as written."""

import jax
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax, xlogy
from threadpoolctl import threadpool_limits

from depict_jax import assignments
from depict_jax.assignments import target_distribution

EVERY_RULE = [("closed_form", 1.0), ("squared", 1.0), ("exact", 0.0), ("exact", 1.0), ("exact", np.inf)]
PRIOR = np.array([0.1, 0.2, 0.3, 0.4])

compiled = jax.jit(target_distribution, static_argnames=("rule", "prior_weight", "sharpness"))


def probabilities(seed, n_images=10, n_clusters=4, spread=2.0):
    return softmax(spread * np.random.default_rng(seed).normal(size=(n_images, n_clusters)), axis=1).astype(np.float32)


def sharpened(p, sharpness):
    return softmax(sharpness * np.log(p.astype(float)), axis=1)


def objective(q, p, u, prior_weight):
    """KL(Q||P) + rho KL(f||u) in float64, of rows scaled to sum to 1."""
    q = np.asarray(q, float) / np.asarray(q, float).sum(axis=1, keepdims=True)
    f = q.mean(axis=0)
    return (xlogy(q, q) - q * np.log(p)).sum() / len(q) + prior_weight * (xlogy(f, f) - f * np.log(u)).sum()


def optimum(p, u, prior_weight):
    """The minimum over Q, soft-max parametrised, by L-BFGS from Q = P."""

    def value_and_gradient(flat):
        log_q = log_softmax(flat.reshape(p.shape), axis=1)
        q = np.exp(log_q)
        by_q = (log_q - np.log(p) + prior_weight * np.log(q.mean(axis=0) / u)) / len(q)
        by_logits = q * (by_q - (q * by_q).sum(axis=1, keepdims=True))
        return objective(q, p, u, prior_weight), by_logits.ravel()

    options = {"maxiter": 10_000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-10}
    with threadpool_limits(1):  # threads cost more than such small vectors
        found = minimize(value_and_gradient, np.log(p).ravel(), jac=True, method="L-BFGS-B", options=options)
    return softmax(found.x.reshape(p.shape), axis=1), found.fun


@pytest.mark.parametrize("sharpness", [1.0, 2.0])
@pytest.mark.parametrize("prior_weight", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("n_clusters", [2, 5, 8])
def test_exact_reaches_the_minimum(n_clusters, prior_weight, sharpness):
    p = probabilities(n_clusters, n_clusters=n_clusters)
    u = np.random.default_rng(0).dirichlet(np.full(n_clusters, 2.0))
    sharp = sharpened(p, sharpness)
    q = target_distribution(p, u, "exact", prior_weight, sharpness)
    best, least = optimum(sharp, u, prior_weight)
    assert objective(q, sharp, u, prior_weight) == pytest.approx(least, abs=1e-7)
    np.testing.assert_allclose(q, best, atol=2e-5)
    assert least < objective(sharp, sharp, u, prior_weight) - 1e-4  # the prior does pull


def test_exact_is_never_above_the_closed_form():
    gaps = []
    for seed in range(20):
        p, u = probabilities(seed), np.random.default_rng(seed).dirichlet(np.full(4, 2.0))
        closed_form, exact = (objective(compiled(p, u, rule=rule), p, u, 1) for rule in ("closed_form", "exact"))
        gaps.append(closed_form - exact)
    assert min(gaps) > -1e-7
    assert max(gaps) > 1e-3


@pytest.mark.parametrize("prior_weight", [0.3, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("sharpness", [1.0, 2.0])
def test_exact_meets_the_optimality_condition(prior_weight, sharpness):
    """q_ik ∝ p_ik (u_k / f_k)^rho, with f the mean of q itself."""
    p = probabilities(0, n_images=200)
    q = np.asarray(target_distribution(p, PRIOR, "exact", prior_weight, sharpness), float)
    f = q.mean(axis=0)
    log_q = np.log(sharpened(p, sharpness)) + prior_weight * np.log(PRIOR / f)
    np.testing.assert_allclose(q, softmax(log_q, axis=1), atol=1e-6 * max(10, prior_weight))


@pytest.mark.parametrize("sharpness", [1.0, 2.0, 0.5])
def test_without_prior_weight_nothing_is_pulled(sharpness):
    p = probabilities(0)
    q = target_distribution(p, PRIOR, "exact", 0, sharpness)
    np.testing.assert_allclose(q, sharpened(p, sharpness), atol=1e-6)


@pytest.mark.parametrize(("prior_weight", "tolerance"), [(1e3, 1e-3), (np.inf, 1e-5)])
@pytest.mark.parametrize("prior", [None, PRIOR])
def test_a_large_prior_weight_makes_the_shares_equal_the_prior(prior, prior_weight, tolerance):
    p = probabilities(0, n_images=50)
    q = np.asarray(target_distribution(p, prior, "exact", prior_weight), float)
    np.testing.assert_allclose(q.mean(axis=0), np.full(4, 0.25) if prior is None else prior, atol=tolerance)
    # q differs from p by one factor per image and one per cluster only
    ratio = np.log(q / p)
    ratio -= ratio.mean(axis=0)
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio.mean(axis=1, keepdims=True), ratio.shape), atol=1e-4)


@pytest.mark.parametrize("prior", [None, PRIOR])
def test_closed_form_is_the_papers_formula_and_the_first_round_of_exact(prior, monkeypatch):
    p = probabilities(0).astype(float)
    u = np.full(4, 0.25) if prior is None else prior
    q = target_distribution(p, prior, "closed_form")
    formula = p * (u / p.sum(axis=0)) ** 0.5
    np.testing.assert_allclose(q, formula / formula.sum(axis=1, keepdims=True), atol=1e-6)
    v = (u / (p / (p @ np.ones((4, 1)))).mean(axis=0)) ** 0.5
    np.testing.assert_allclose(q, p * v / (p @ v)[:, None], atol=1e-6)
    assert np.abs(q - target_distribution(p, prior, "exact")).max() > 1e-3
    monkeypatch.setattr(assignments, "MAX_ROUNDS", 1)
    monkeypatch.setattr(assignments, "_distribution", assignments._distribution.__wrapped__)  # compiled with 10,000
    np.testing.assert_allclose(q, target_distribution(p, prior, "exact"), atol=1e-6)


@pytest.mark.parametrize("prior", [None, PRIOR])
def test_squared_is_the_released_codes_formula(prior):
    p = probabilities(0).astype(float)
    formula = p**2 / p.sum(axis=0) * (1 if prior is None else prior)
    expected = formula / formula.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(target_distribution(p, prior, "squared"), expected, atol=1e-6)


@pytest.mark.parametrize(("rule", "prior_weight"), EVERY_RULE)
def test_only_the_priors_proportions_count(rule, prior_weight):
    p = probabilities(0)

    def q(prior):
        return compiled(p, prior if prior is None else np.array(prior), rule=rule, prior_weight=prior_weight)

    np.testing.assert_allclose(q(None), q([0.25] * 4), atol=1e-6)
    np.testing.assert_allclose(q(None), q([3, 3, 3, 3]), atol=1e-6)
    np.testing.assert_allclose(q(PRIOR), q(50 * PRIOR), atol=1e-6)
    assert prior_weight == 0 or np.abs(q(PRIOR) - q(None)).max() > 1e-2


@pytest.mark.parametrize(("rule", "prior_weight"), [*EVERY_RULE, ("exact", 100.0)])
@pytest.mark.parametrize("tiny", [0.0, 1e-30])
@pytest.mark.parametrize("whole_column", [False, True])
def test_rows_sum_to_one_whatever_vanishes(rule, prior_weight, tiny, whole_column):
    p = probabilities(0, n_images=12)
    p[2::3, 0] = p[1::3, 1] = p[::4, 2] = p[:2, 1:] = tiny
    if whole_column:
        p[:, 3] = tiny
    p /= p.sum(axis=1, keepdims=True)
    q = np.asarray(target_distribution(p, PRIOR, rule, prior_weight))
    np.testing.assert_allclose(q.astype(float).sum(axis=1), 1, atol=1e-6)
    assert (q >= 0).all()
    assert (q[p == 0] == 0).all()
    assert (q.max(axis=0) > 0)[: 3 if whole_column and not tiny else 4].all()


@pytest.mark.parametrize(("rule", "prior_weight"), EVERY_RULE)
def test_one_hot_rows_stay(rule, prior_weight):
    """Also where no Q of these zeros has the prior as its shares."""
    p = np.eye(3, dtype=np.int32)[[0, 0, 0, 1, 2, 2]]
    q = target_distribution(p, None, rule, prior_weight)
    assert q.dtype == np.float32
    np.testing.assert_array_equal(q, p)


def limit(p, u, rounds=200):
    """Where the plain iteration for an infinite prior weight goes, in float64."""
    v = np.ones(len(u))
    for _ in range(rounds):
        v = u / (p / (p @ v)[:, None]).mean(axis=0)
        v /= v.max()
    return p * v / (p @ v)[:, None]


@pytest.mark.parametrize("padding", [0, 4])
def test_shares_that_cannot_be_had_do_not_keep_the_iteration_going(padding):
    """More than half of the images are fixed in cluster 0; of the others, some may choose between 1 and 2."""
    p = np.zeros((100, 3), np.float32)
    p[:60, 0] = p[60:70, 1] = 1
    p[70:, 1:] = probabilities(0, n_images=30, n_clusters=2)
    u = np.full(3, 1 / 3)
    with np.errstate(divide="ignore"):
        log_p = np.log(np.pad(p, ((0, padding), (0, 0))))
        log_v = assignments._sinkhorn(log_p, np.log(u, dtype=np.float32), 1.0, len(p))
    assert 10 < np.abs(log_v).max() < 200  # it grows by 0.4 a round: a hundred rounds, not ten thousand
    np.testing.assert_allclose(compiled(p, rule="exact", prior_weight=np.inf), limit(p.astype(float), u), atol=1e-5)


def test_a_balance_that_comes_late_is_waited_for():
    """For a hundred rounds v grows without a visible change of Q."""
    p = np.zeros((100, 2), np.float32)
    p[:70] = [1, 0]
    p[:70, 1] = np.geomspace(1e-34, 1e-32, 70)
    p[70:] = [0, 1]
    q = np.asarray(compiled(p, rule="exact", prior_weight=np.inf), float)
    np.testing.assert_allclose(q.mean(axis=0), 0.5, atol=1e-5)


@pytest.mark.parametrize(("rule", "prior_weight"), EVERY_RULE)
def test_runs_under_jit(rule, prior_weight):
    p = probabilities(0)
    expected = target_distribution(p, PRIOR, rule, prior_weight)
    np.testing.assert_allclose(compiled(p, PRIOR, rule=rule, prior_weight=prior_weight), expected, atol=1e-6)
    np.testing.assert_allclose(target_distribution(p, 50 * PRIOR, rule, prior_weight), expected, atol=1e-6)


def with_entry(value):
    p = probabilities(0)
    p[3, 2] = value
    return p


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prior": [0.5, 0.5, 0.0, 0.0]}, r"prior is \[0.5, 0.5, 0.0, 0.0\]: expected positive"),
        ({"prior": [0.0, 0.0, 0.0, 0.0]}, r"prior is \[0.0, 0.0, 0.0, 0.0\]: expected positive"),
        ({"prior": [1, 1, 1, -1]}, r"prior is \[1.0, 1.0, 1.0, -1.0\]: expected positive"),
        ({"prior": [1, 1, 1, np.nan]}, r"prior is \[1.0, 1.0, 1.0, nan\]: expected positive"),
        ({"prior": [1, 1, 1, np.inf]}, r"prior is \[1.0, 1.0, 1.0, inf\]: expected positive"),
        ({"prior": [0.5, 0.5]}, r"prior has shape \(2,\): expected \(4,\)"),
        ({"prior": [[0.25] * 4]}, r"prior has shape \(1, 4\): expected \(4,\)"),
        ({"rule": "sinkhorn"}, "rule is 'sinkhorn': expected one of closed_form, exact, squared"),
        ({"rule": "exact", "prior_weight": -0.5}, "prior_weight is -0.5"),
        ({"rule": "exact", "prior_weight": np.nan}, "prior_weight is nan"),
        ({"rule": "exact", "sharpness": 0.0}, "sharpness is 0.0"),
        ({"rule": "exact", "sharpness": np.inf}, "sharpness is inf"),
        ({"rule": "closed_form", "prior_weight": 2.0}, "prior_weight is 2.0 with rule 'closed_form'"),
        ({"rule": "squared", "prior_weight": 0.0}, "prior_weight is 0.0 with rule 'squared'"),
        ({"rule": "squared", "sharpness": 2.0}, "sharpness is 2.0 with rule 'squared'"),
        ({"p": np.full(4, 0.25)}, r"p has shape \(4,\): expected \(N, K\)"),
        ({"p": np.full((1, 2, 2), 0.5)}, r"p has shape \(1, 2, 2\)"),
        ({"p": np.zeros((0, 4))}, r"p has shape \(0, 4\)"),
        ({"p": with_entry(-0.1)}, r"p has entries outside \[0, 1\]"),
        ({"p": with_entry(1.1)}, r"p has entries outside \[0, 1\]"),
        ({"p": with_entry(np.nan)}, r"p has entries outside \[0, 1\] or NaN"),
        ({"p": np.eye(3)[[0, 1, 1]] * [[1], [1], [0]]}, "p has a row of zeros"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        target_distribution(**{"p": probabilities(0), **arguments})
