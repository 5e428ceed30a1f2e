# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: -all
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Where the update of Q comes from
#
# DEPICT alternates two steps. The network predicts, for each image, probabilities $P$ over the clusters. The **Q-step**
# turns them into targets $Q$, and the network then learns to predict $Q$. This notebook derives the Q-step from the
# loss, line by line, and checks every claim with numbers. It needs no images and trains nothing.
#
# Three questions stop most readers of the paper:
#
# * What is it that the paper drops "for large $N$", and what if $N$ is not large?
# * Where does the square root come from?
# * What does the update do with a prior that is not uniform, or one that should count more, or less?

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from depict_jax.assignments import target_distribution
from depict_jax.objectives import clustering_objective

jax.config.update("jax_enable_x64", True)
sizes = [10, 50] if os.environ.get("DEPICT_NOTEBOOKS") == "small" else [10, 50, 500, 5000]  # numbers of images N

# %% [markdown]
# ## 1. The loss
#
# For $N$ images and $K$ clusters, $p_{ik}$ is the predicted probability that image $i$ belongs to cluster $k$, and
# $q_{ik}$ its target. Rows sum to one. $f_k$ is the share of the images that the targets give to cluster $k$, and $u_k$
# the share that we expect, the **prior**:
#
# $$f_k = \frac1N \sum_i q_{ik}, \qquad \sum_k u_k = 1.$$
#
# The loss is the paper's, with a weight $\rho$ for its second term (the paper has $\rho = 1$):
#
# $$L_E(Q) \;=\; \mathrm{KL}(Q \,\|\, P) + \rho\,\mathrm{KL}(f \,\|\, u)
#         \;=\; \frac1N \sum_{i,k} q_{ik} \log\frac{q_{ik}}{p_{ik}} \;+\; \rho \sum_k f_k \log\frac{f_k}{u_k}.$$
#
# The first term keeps the targets near the predictions. The second keeps the clusters near their shares: without it
# nothing would stop the network from putting every image into one cluster.
#
# The paper writes both terms under one $\frac1N$. That is the same: put $f_k = \frac1N \sum_i q_{ik}$ in front of the
# second logarithm.
#
# We shall need problems to try things on. The first rows of a larger problem are the smaller problem, so that sizes can
# be compared.


# %%
def random_problem(n, k=5, seed=0):
    """Predictions P (n, k) and a prior u (k,), both random."""
    rng = np.random.default_rng(seed)
    u = rng.dirichlet(np.full(k, 2.0))
    return softmax(2 * rng.normal(size=(n, k)), axis=1), u


p, u = random_problem(10)
print("prior u       ", u.round(3))
print("mean of P     ", p.mean(axis=0).round(3))
print("L_E at Q = P  ", clustering_objective(p, p, u))

# %% [markdown]
# ## 2. The derivative that readers get stuck on
#
# To minimise $L_E$ over $Q$ we need the derivative of its second term, and in it of $\sum_i q_{ik} \log f_k$ with
# respect to one $q_{jk}$. Mind that $f_k$ itself depends on $q_{jk}$, with $\partial f_k / \partial q_{jk} = 1/N$, and
# that **$f_k$ stands in all $N$ summands**:
#
# $$\frac{\partial}{\partial q_{jk}} \sum_i q_{ik} \log f_k
#   \;=\; \log f_k + \sum_i q_{ik} \, \frac{1}{f_k} \, \frac1N
#   \;=\; \log f_k + \frac{f_k}{f_k}
#   \;=\; \log f_k + 1.$$
#
# Each summand $i$ contributes a share $q_{ik} / \sum_{i'} q_{i'k}$, and the shares add up to exactly 1. The paper's
# expression has only one of them, $q_{jk} / \sum_{i'} q_{i'k}$, as if $f_k$ stood in the summand $i = j$ alone, and
# drops it because it becomes small for large $N$.
#
# Its conclusion stands, for another reason. What belongs there is the constant 1, for ten images as for a million, and
# the next section shows that a constant makes no difference. **Nothing has to be dropped, and $N$ need not be large.**
#
# Automatic differentiation agrees to the last digit:

# %%
print("    N   off by, log f + 1   off by, log f + one share")
for n in (2, 10, 100, 1000):
    q, _ = random_problem(n)
    derivative = jax.grad(lambda q: (q * jnp.log(q.mean(axis=0))).sum())(q)
    log_f, share = np.log(q.mean(axis=0)), q / q.sum(axis=0)
    print(f"{n:5d}   {abs(derivative - (log_f + 1)).max():17.1e}   {abs(derivative - (log_f + share)).max():25.3f}")
    assert np.allclose(derivative, log_f + 1, rtol=0, atol=1e-12)

# %% [markdown]
# ## 3. The condition for the minimum
#
# Every row of $Q$ has to sum to one, so each gets a multiplier $\lambda_i$. Take $N$ times the loss, to be rid of
# $\frac1N$, and set the derivative of
#
# $$\sum_{i,k} q_{ik} \log \frac{q_{ik}}{p_{ik}} + \rho \sum_{i,k} q_{ik} \log \frac{f_k}{u_k}
#   + \sum_i \lambda_i \Big(\sum_k q_{ik} - 1\Big)$$
#
# to zero:
#
# $$\log \frac{q_{ik}}{p_{ik}} + 1 + \rho \Big(\log \frac{f_k}{u_k} + 1\Big) + \lambda_i = 0
#   \qquad\Longrightarrow\qquad
#   q_{ik} = e^{-(1 + \rho + \lambda_i)} \; p_{ik} \Big(\frac{u_k}{f_k}\Big)^{\rho}.$$
#
# Both constants, the 1 of the first logarithm and the $\rho$ of the one above, stand in a factor that is the same for
# all $k$ of a row. Scaling the row to sum to one takes care of them together with $\lambda_i$:
#
# $$\boxed{\; q_{ik} \;\propto\; p_{ik} \Big(\frac{u_k}{f_k}\Big)^{\rho}, \qquad f_k = \frac1N \sum_i q_{ik} \;}$$
#
# In words: a cluster that has more than its share ($f_k > u_k$) is held back, in every row by the same factor, and one
# that has less is helped.
#
# $L_E$ is convex in $Q$ (strictly, through its first term), so there is one minimum, and this condition finds it. But
# the condition is implicit: $f$ depends on the $Q$ that we are looking for.

# %% [markdown]
# ## 4. Solving it: Sinkhorn's iteration
#
# Only $K$ numbers are unknown, the factors $v_k = (u_k / f_k)^\rho$. Given them,
#
# $$q_{ik} = \frac{p_{ik} v_k}{(Pv)_i}, \qquad
#   f_k = v_k \, s_k(v) \quad\text{with}\quad s_k(v) = \frac1N \sum_i \frac{p_{ik}}{(Pv)_i}.$$
#
# Put this $f_k$ into the definition of $v_k$ and solve for the $v_k$ that is written out:
#
# $$v_k = \Big(\frac{u_k}{v_k \, s_k(v)}\Big)^{\rho}
#   \quad\Longrightarrow\quad v_k^{1 + \rho} = \Big(\frac{u_k}{s_k(v)}\Big)^{\rho}
#   \quad\Longrightarrow\quad v_k = \Big(\frac{u_k}{s_k(v)}\Big)^{\rho / (1 + \rho)}.$$
#
# Start with $v = 1$ and repeat until $v$ is still. This is *unbalanced Sinkhorn*, known from optimal transport: hard
# marginals for the rows, soft ones for the columns. $\rho = 0$ leaves $Q = P$; $\rho \to \infty$ makes the exponent 1
# and the shares exactly those of the prior.


# %%
def sinkhorn(p, u, rho=1.0, rounds=10_000, normalise=True, tolerance=1e-6):
    """Q, and the number of rounds until log v moves by less than the tolerance."""
    power = 1.0 if np.isinf(rho) else rho / (1 + rho)
    v, done, change = np.ones(p.shape[1]), 0, np.inf
    while change > tolerance and done < rounds:
        s = (p / (p @ v)[:, None]).mean(axis=0)
        before, v = v, (u / s) ** power
        if normalise:  # section 7 says why
            v = v / np.exp(np.log(v).mean())
        change, done = abs(np.log(v / before)).max(), done + 1
    return p * v / (p @ v)[:, None], done


q, rounds = sinkhorn(p, u)
f = q.mean(axis=0)
condition = p * (u / f)
print(f"{rounds} rounds")
print("Q fulfils the condition up to", abs(q - condition / condition.sum(axis=1, keepdims=True)).max())
print("the library's rule `exact` gives the same up to", abs(q - target_distribution(p, u, "exact")).max())

# %% [markdown]
# ## 5. The first round is the paper's update: there is the square root
#
# At $v = 1$ all $(Pv)_i$ are 1, since the rows of $P$ sum to one. So the first round, with $\rho = 1$ and the exponent
# $\frac{1}{1 + 1}$, gives
#
# $$v_k = \Big(\frac{u_k}{\frac1N \sum_i p_{ik}}\Big)^{1/2}
#   \qquad\text{and}\qquad
#   q_{ik} \;\propto\; p_{ik} \Big(\frac{u_k}{\sum_{i'} p_{i'k}}\Big)^{1/2},$$
#
# which for a uniform prior is the paper's closed form (its eq. 8), $q_{ik} \propto p_{ik} / (\sum_{i'} p_{i'k})^{1/2}$.
#
# The paper gets there in another way. With $Z_i$ for what scales row $i$, $q_{ik} = p_{ik} u_k / (f_k Z_i)$. Take all
# $Z_i$ to be the same, sum over $i$, and $f_k$ comes to stand on both sides: $f_k^2 \propto u_k \sum_i p_{ik}$. To take
# all $Z_i$ as the same is the only approximation in the derivation, and it is what stopping after one round means.

# %%
first_round, _ = sinkhorn(p, u, rounds=1)
print("first round against `closed_form`: up to", abs(first_round - target_distribution(p, u, "closed_form")).max())

# %% [markdown]
# ## 6. Who reaches the minimum?
#
# A generic optimiser, which knows nothing of all this, is the referee: L-BFGS on $L_E$, with soft-max rows so that they
# sum to one, and gradients by automatic differentiation.


# %%
def referee(p, u, rho=1.0):
    """The minimum of L_E over Q by L-BFGS, from Q = P."""

    @jax.jit
    @jax.value_and_grad
    def loss(logits):
        return clustering_objective(jax.nn.softmax(logits.reshape(p.shape)), p, u, rho) * len(p)

    options = {"maxiter": 10_000, "maxfun": 20_000, "ftol": 1e-16, "gtol": 1e-6}
    with threadpool_limits(1):  # threads cost more than they save in such small problems
        found = minimize(
            lambda x: [np.asarray(y, float) for y in loss(x)],
            np.log(p).ravel(),
            jac=True,
            method="L-BFGS-B",
            options=options,
        )
    return softmax(found.x.reshape(p.shape), axis=1)


print("          L_E reached by                          largest difference from exact")
print("    N     referee     exact       closed_form     referee     closed_form")
for n in sizes:
    p, u = random_problem(n)
    answers = [referee(p, u), target_distribution(p, u, "exact"), target_distribution(p, u, "closed_form")]
    losses = [float(clustering_objective(q, p, u)) for q in answers]
    distances = [float(abs(q - answers[1]).max()) for q in answers]
    print(f"{n:5d}     " + "".join(f"{x:<12.6f}" for x in losses) + f"    {distances[0]:<12.0e}{distances[2]:.3f}")
    assert abs(losses[0] - losses[1]) < 1e-9 and distances[0] < 1e-4 < distances[2]

# %% [markdown]
# `exact` is at the referee's minimum. `closed_form` is close to it, not there, and its distance does **not** shrink as
# $N$ grows: it is not an approximation for large $N$ but one round of an iteration.
#
# The same for many random problems. The largest difference is taken over more and more entries as $N$ grows, so the
# mean difference is drawn beside it: that one does not shrink either. With more images both rules settle down, each on
# an answer of its own.


# %%
def distance(n, seed):
    """|closed_form - exact|, every entry, of one random problem."""
    p, u = random_problem(n, seed=seed)
    return abs(sinkhorn(p, u, rounds=1)[0] - sinkhorn(p, u)[0])


many, seeds = [10, 30, 100, 300, 1000, 3000], range(20)
found = [[distance(n, seed) for seed in seeds] for n in many]
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for panel, name, of in zip(axes, ["largest", "mean"], [np.max, np.mean], strict=True):
    values = np.array([[of(entries) for entries in row] for row in found])
    panel.semilogx(many, values, color="#bbbbbb", lw=0.8)
    panel.semilogx(many, np.median(values, axis=1), color="#c2456b", lw=2, label=f"median of {len(seeds)} problems")
    panel.set(title=f"{name} difference of closed_form from exact", xlabel="number of images N", ylim=(0, None))
    panel.legend(frameon=False)
plt.show()

# %% [markdown]
# ## 7. Tens of rounds where the plain iteration takes thousands
#
# $Q$ does not change when $v$ is multiplied by a number $c$, but the iteration has to settle that number too. As
# $s(cv) = s(v) / c$, a round turns a factor $c$ into $c^{\rho / (1 + \rho)}$: the error of the scale shrinks by
# $\rho / (1 + \rho)$ a round, and for a heavy prior that is next to nothing. Dividing $v$ by its geometric mean in each
# round takes the scale out of the game.

# %%
p, u = random_problem(1000)
weights = [0.1, 1, 10, 100, 1000]
counts = {flag: [sinkhorn(p, u, rho, normalise=flag)[1] for rho in weights] for flag in (True, False)}
for rho, normalised, plain in zip(weights, counts[True], counts[False], strict=True):
    print(f"rho = {rho:<5g} normalised {normalised:4d} rounds, plain {plain:5d}")

figure, axes = plt.subplots(figsize=(4.5, 3), layout="constrained")
axes.loglog(weights, counts[False], "o-", color="#888888", label="plain")
axes.loglog(weights, counts[True], "o-", color="#c2456b", label="normalised")
axes.set(xlabel="weight of the prior, rho", ylabel="rounds until log v is still")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# ## 8. Any prior, any weight, any sharpness
#
# Nothing above asked for a uniform prior. The weight $\rho$ leads from the predictions' own shares ($\rho = 0$) to the
# prior's, exactly ($\rho = \infty$, the balanced assignment of SeLa and SwAV).
#
# One more number is useful. At $\rho = 0$ the targets are the predictions, so the network has nothing to learn from
# them; $\rho$ moves images between clusters, but makes hardly any row more decided. A **sharpness** $\beta$ does: put
# $P^\beta$, rows scaled to sum to one, in the place of $P$. Together they are the library's rule `exact`:
#
# $$\min_Q \; \mathrm{KL}(Q \,\|\, P^\beta\text{ normalised}) + \rho\,\mathrm{KL}(f \,\|\, u).$$


# %%
def entropy(q):
    """Mean entropy of the rows, in nats."""
    return -(q * np.log(q)).sum(axis=1).mean()


weights, sharpnesses = np.logspace(-2, 3, 21), np.linspace(0.5, 4, 15)
shares = np.array([sinkhorn(p, u, rho)[0].mean(axis=0) for rho in weights])
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for k, colour in enumerate(plt.cm.viridis(np.linspace(0, 0.9, len(u)))):
    left.semilogx(weights, shares[:, k], color=colour)
    left.plot(weights[0], p.mean(axis=0)[k], "<", color=colour, clip_on=False)
    left.plot(weights[-1], u[k], ">", color=colour, clip_on=False)
left.set(title="shares f, from the predictions' (<) to the prior's (>)", xlabel="weight of the prior, rho")
for rho in (0, 1, 10, np.inf):
    of_q = [entropy(sinkhorn(softmax(beta * np.log(p), axis=1), u, rho)[0]) for beta in sharpnesses]
    right.plot(sharpnesses, of_q, label=f"rho = {rho}")
right.axhline(entropy(p), color="#888888", ls="--", lw=0.8)
right.set(title="mean entropy of Q (dashed: of P)", xlabel="sharpness, beta")
right.legend(frameon=False)
plt.show()

# %% [markdown]
# ## 9. The same problem in the words of optimal transport
#
# In *entropic optimal transport* a plan $\pi$ moves mass from $N$ images to $K$ clusters. Let every image have the mass
# $a_i = 1/N$, all of which has to go somewhere, let the clusters ask for the masses $b = u$, and let it cost
# $C_{ik} = -\log p_{ik}$ to move image $i$ to cluster $k$. With entropy's weight $\varepsilon = 1$ the plan is
# $\pi = Q / N$, and the terms are those of $L_E$.
#
# [ott-jax](https://ott-jax.readthedocs.io) solves such problems. It says how much a marginal counts through
# $\tau = \rho / (\rho + \varepsilon)$: for the rows, which are hard, $\tau_a = 1$; for the columns
# $\tau_b = \rho / (\rho + 1)$, the exponent of section 4. The two programs share no line of code and have to agree,
# for every prior, weight and sharpness. (This section needs `pip install ott-jax`.)

# %%
from ott.geometry.geometry import Geometry
from ott.problems.linear.linear_problem import LinearProblem
from ott.solvers.linear.sinkhorn import Sinkhorn


def transport(p, u, rho, sharpness=1.0, **options):
    """Q by ott-jax."""
    p = softmax(sharpness * np.log(p), axis=1)
    problem = LinearProblem(
        Geometry(cost_matrix=-jnp.log(p), epsilon=1.0),
        a=jnp.full(len(p), 1 / len(p)),
        b=jnp.asarray(u),
        tau_a=1.0,
        tau_b=1.0 if np.isinf(rho) else rho / (rho + 1),
    )
    return Sinkhorn(**options)(problem).matrix * len(p)


p, drawn = random_problem(sizes[-1])
for name, u in {"uniform": np.full(5, 1 / 5), "drawn": drawn, "steep": np.array([0.6, 0.2, 0.1, 0.06, 0.04])}.items():
    for rho, sharpness in [(0.5, 1), (1, 1), (10, 2), (100, 1), (np.inf, 2)]:
        ours = target_distribution(p, u, "exact", rho, sharpness)
        theirs = transport(p, u, rho, sharpness, threshold=1e-10, max_iterations=20_000)
        print(f"prior {name:8} rho {rho:<5} sharpness {sharpness}: equal up to {abs(ours - theirs).max():.0e}")
        assert abs(ours - theirs).max() < 5e-6

# %% [markdown]
# (Our iteration stops when $\log v$ moves by less than $10^{-6}$, theirs is set to a stricter limit: hence the
# tolerance of $5 \cdot 10^{-6}$.) And one round of theirs is the paper's closed form, up to rounding:

# %%
one_round = transport(p, drawn, 1.0, min_iterations=1, max_iterations=1, inner_iterations=1)
difference = abs(one_round - target_distribution(p, drawn, "closed_form")).max()
print(f"one round of ott-jax against `closed_form`: up to {difference:.0e}")
assert difference < 1e-12

# %% [markdown]
# ## 10. What the released code runs
#
# The authors' code has the paper's line commented out and runs $q_{ik} \propto p_{ik}^2 u_k / \sum_{i'} p_{i'k}$ (with
# a uniform prior), the target of DEC. The library calls it `squared`. It is no minimum of $L_E$, nor of the sharpened
# loss with $\beta = 2$, though it is near the latter: what it adds to the closed form is sharpness.

# %%
p, u = random_problem(1000)
candidates = {
    "exact, sharpness 1": target_distribution(p, u, "exact"),
    "exact, sharpness 2": target_distribution(p, u, "exact", 1.0, 2.0),
    "closed_form": target_distribution(p, u, "closed_form"),
}
squared = target_distribution(p, u, "squared")
print(f"{'entropy of P':24}{entropy(p):.3f}\n{'entropy of squared':24}{entropy(squared):.3f}")
for name, q in candidates.items():
    print(f"{name:24}{entropy(q):.3f}, mean difference from squared {abs(q - squared).mean():.3f}")

# %% [markdown]
# ## In one place
#
# * `exact` is the minimum of $L_E$, for any prior, weight and sharpness:
#   $q_{ik} \propto p_{ik}^\beta \, (u_k / f_k)^\rho$, iterated until $f$ is still.
# * `closed_form` is its first round at $\rho = \beta = 1$, the paper's update:
#   $q_{ik} \propto p_{ik} \, (u_k / \sum_{i'} p_{i'k})^{1/2}$.
# * `squared` is the released code's update, $q_{ik} \propto p_{ik}^2 \, u_k / \sum_{i'} p_{i'k}$, near `exact` at
#   $\beta = 2$.
#
# And the three questions:
#
# * The derivative of $\sum_i q_{ik} \log f_k$ is $\log f_k + 1$ for every $N$: nothing has to be dropped.
# * The square root is the exponent $\rho / (1 + \rho)$ at $\rho = 1$, and the mark of one round. More images do not
#   make one round any better.
# * The prior $u$ and its weight $\rho$ have their places in the exact update, from $Q = P$ to balanced clusters.
