from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from depict_jax import networks, stages, training
from depict_jax.architecture import Architecture
from depict_jax.augmentation import UNCHANGED, Changes, random_changes
from depict_jax.epochs import steps_per_epoch, train_epoch
from depict_jax.networks import Depict, Pathways
from depict_jax.objectives import cross_entropy, reconstruction_loss
from depict_jax.settings import Settings
from depict_jax.training import (
    Loss,
    fresh_state,
    head_from_assignment,
    is_finite,
    predict,
    scale,
    train_step,
    validation_loss,
)

LOSS = Loss((1.0, 0.1, 0.1), 1.0)
AUTOENCODER = Loss((1.0, 0.1, 0.1), 0.0)
KEY, OTHER = jax.random.key(1), jax.random.key(2)
N, BATCH, RATE = 11, 4, 1e-3
EVERYONE = np.arange(N, dtype=np.int32)

step = jax.jit(train_step, static_argnums=(0, 1), static_argnames=("changes", "microbatches"))


@pytest.fixture(scope="module")
def noisy(small):
    return Depict(small)


@pytest.fixture(scope="module")
def calm(small):
    """Without dropout: what it does depends on no key but for the order of the images."""
    return Depict(Architecture(small.image, small.convolutions, small.n_clusters, (0.0, 0.0, 0.0)))


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(1).integers(256, size=(N, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def targets():
    return np.random.default_rng(2).dirichlet(np.ones(3), size=N).astype(np.float32)


def epoch(
    model, variables, pixels, targets, members=EVERYONE, rates=RATE, key=KEY, batch_size=BATCH, changes=UNCHANGED
):
    """One epoch from fresh moments; the state's buffers are donated, hence the copy."""
    rates = np.broadcast_to(np.float32(rates), steps_per_epoch(len(members), batch_size))
    state = jax.tree.map(jnp.array, fresh_state(variables))
    return train_epoch(model, LOSS, state, pixels, targets, members, rates, key, batch_size=batch_size, changes=changes)


@partial(jax.jit, static_argnums=0)
def noiseless(model, variables, pixels):
    return model.apply(variables, scale(pixels), noisy=False)


def losses_by_hand(model, variables, pixels, targets):
    """Means over the images, of the noiseless pathways."""
    pathways = noiseless(model, variables, pixels)
    reconstruction = reconstruction_loss(pathways.reconstructions, pathways.clean, LOSS.layer_weights)
    clustering = cross_entropy(targets, pathways.noisy_logits)
    return {"loss": reconstruction + clustering, "reconstruction": reconstruction, "cross_entropy": clustering}


def assert_same_step(one, other):
    """Adam divides by a gradient's size, so weights compare in units of the rate, moments and losses relatively."""
    chex.assert_trees_all_close(one[0].optimiser_state, other[0].optimiser_state, rtol=1e-3, atol=1e-7)
    chex.assert_trees_all_close(one[0].variables, other[0].variables, rtol=0, atol=0.01 * RATE)
    chex.assert_trees_all_close(one[1], other[1], rtol=1e-5)


def furthest(one, other):
    return max(np.abs(a - b).max() for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_scale():
    np.testing.assert_allclose(scale(np.array([0, 51, 255], np.uint8)), [-1, -0.6, 1], rtol=1e-6)
    assert scale(np.zeros(1, np.uint8)).dtype == np.float32


@pytest.mark.parametrize(("n_images", "batch_size", "steps"), [(1, 100, 1), (100, 100, 1), (101, 100, 2), (7, 1, 7)])
def test_steps_per_epoch(n_images, batch_size, steps):
    assert steps_per_epoch(n_images, batch_size) == steps


def test_loss_reads_targets_on_the_noisy_pathway(targets):
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(N, 2)).astype(np.float32) for _ in range(4)]
    noisy_logits, logits = (rng.normal(size=(N, 3)).astype(np.float32) for _ in range(2))
    pathways = Pathways(logits, noisy_logits, tuple(maps[:2]), (*maps[2:], logits), logits)
    loss = Loss((1.0, 0.5), 2.0)
    total, parts = loss(pathways, targets)
    reconstruction = reconstruction_loss(maps[:2], maps[2:], (1.0, 0.5))
    assert parts["reconstruction"] == reconstruction
    assert parts["cross_entropy"] == cross_entropy(targets, noisy_logits)
    assert total == parts["loss"] == pytest.approx(float(reconstruction + 2 * parts["cross_entropy"]))
    total, parts = Loss((1.0, 0.5), 0.0)(pathways, None)
    assert parts == {"loss": total, "reconstruction": reconstruction}
    assert total == reconstruction


@pytest.mark.parametrize("stop_gradient", [False, True])
def test_loss_can_hold_the_clean_targets_fixed(targets, stop_gradient):
    rng = np.random.default_rng(0)
    decoded, clean, logits = (rng.normal(size=(N, 3)).astype(np.float32) for _ in range(3))
    loss = Loss((1.0,), 1.0, stop_gradient)
    gradient = jax.grad(lambda z: loss(Pathways(logits, logits, (decoded,), (z, logits), logits), targets)[0])(clean)
    assert gradient.any() != stop_gradient


def test_adam_step_equals_one_by_hand(calm, variables, pixels, targets):
    """Two steps with different rates: the moments, their bias correction, and the update."""
    images, mask = scale(pixels), np.ones(N, np.float32)

    def total(v):
        return LOSS(calm.apply(v, images, noisy=False), targets)[0]

    gradient = jax.jit(jax.grad(total))
    state = fresh_state(variables)
    mean = square = jax.tree.map(jnp.zeros_like, variables)
    for n, rate in enumerate((1e-3, 5e-4), start=1):
        g = gradient(state.variables)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, g)
        square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, square, g)
        before = state.variables
        state, *_ = step(calm, LOSS, state, images, targets, mask, rate, KEY)
        chex.assert_trees_all_close(state.optimiser_state.mu, mean, rtol=1e-3, atol=1e-7)
        chex.assert_trees_all_close(state.optimiser_state.nu, square, rtol=2e-3, atol=1e-12)
        mean, square = state.optimiser_state.mu, state.optimiser_state.nu
        expected = jax.tree.map(
            lambda w, m, v, n=n, rate=rate: w - rate * (m / (1 - 0.9**n)) / (np.sqrt(v / (1 - 0.999**n)) + 1e-8),
            *(before, mean, square),
        )
        chex.assert_trees_all_close(state.variables, expected, rtol=0, atol=1e-3 * rate)
        assert furthest(state.variables, before) > 0.5 * rate


def test_step_reports_what_was_before_the_update(calm, variables, pixels, targets):
    mask = np.ones(N, np.float32)
    _, parts, p = step(calm, LOSS, fresh_state(variables), scale(pixels), targets, mask, RATE, KEY)
    chex.assert_trees_all_close(parts, losses_by_hand(calm, variables, pixels, targets), rtol=1e-5)
    np.testing.assert_allclose(p, predict(calm, variables, pixels)[1], atol=1e-6)


def test_padding_changes_no_step(noisy, variables, pixels, targets):
    """Not even the corruption of the real images."""
    real = np.ones(5, np.float32)
    images = scale(pixels[:5])
    narrow = step(noisy, LOSS, fresh_state(variables), images, targets[:5], real, RATE, KEY)
    padded = np.concatenate([images, np.full((3, 8, 8, 1), 50.0, np.float32)])
    wide_targets, mask = np.concatenate([targets[:5], np.eye(3, dtype=np.float32)]), np.pad(real, (0, 3))
    wide = step(noisy, LOSS, fresh_state(variables), padded, wide_targets, mask, RATE, KEY)
    assert_same_step(narrow, wide)
    np.testing.assert_allclose(wide[2][:5], narrow[2], atol=1e-6)
    other = step(noisy, LOSS, fresh_state(variables), images, targets[:5], real, RATE, OTHER)
    assert abs(other[1]["loss"] - narrow[1]["loss"]) > 1e-4  # the corruption does count here


@pytest.mark.parametrize("microbatches", [2, 4])
def test_microbatches_change_nothing_but_the_order_of_additions(noisy, variables, pixels, targets, microbatches):
    """With padding, dropout and changes of the images, which go by an image's place in the whole batch."""
    images, mask = scale(pixels[:8]), np.array([1] * 7 + [0], np.float32)
    batch = noisy, LOSS, fresh_state(variables), images, targets[:8], mask, RATE, KEY
    whole, parts = (step(*batch, changes=Changes(0.2, 0.3), microbatches=n) for n in (1, microbatches))
    assert_same_step(whole, parts)
    np.testing.assert_allclose(parts[2], whole[2], atol=1e-6)


def test_only_the_noisy_pathway_sees_changed_images(calm, variables, pixels, targets):
    """What is reconstructed, and p, are the unchanged images': so are Q and the assignment."""
    images, mask, key = scale(pixels), jnp.ones(N), jax.random.key(5)
    state = fresh_state(variables)
    _, parts, p = step(calm, LOSS, state, images, targets, mask, RATE, key, changes=Changes(0.2, 0.3))
    _, still, p_still = step(calm, LOSS, state, images, targets, mask, RATE, key)
    np.testing.assert_allclose(p, p_still, rtol=1e-6)
    changed = random_changes(jax.random.split(key)[1], images, Changes(0.2, 0.3))
    seen, unseen = calm.apply(variables, changed, noisy=False), calm.apply(variables, images, noisy=False)
    expected = reconstruction_loss(seen.reconstructions, unseen.clean, LOSS.layer_weights)
    assert parts["reconstruction"] == pytest.approx(float(expected), rel=1e-5)
    assert parts["cross_entropy"] == pytest.approx(float(cross_entropy(targets, seen.noisy_logits)), rel=1e-5)
    assert abs(parts["reconstruction"] - still["reconstruction"]) > 1e-3 * still["reconstruction"]


def test_an_epoch_passes_the_amount_of_change_on(calm, variables, pixels, targets):
    amounts = (UNCHANGED, Changes(affine=0.2), Changes(brightness=0.5))
    losses = [epoch(calm, variables, pixels, targets, changes=changes).losses["reconstruction"] for changes in amounts]
    assert all(abs(loss - losses[0]) > 1e-3 * losses[0] for loss in losses[1:])


def test_vmap_over_seeds_equals_separate_steps(noisy, variables, pixels, targets):
    keys = jax.random.split(KEY, 2)
    states = [fresh_state(jax.tree.map(lambda w, factor=factor: factor * w, variables)) for factor in (1.0, 0.5)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    batch = scale(pixels[:5]), targets[:5], np.ones(5, np.float32), RATE
    together = jax.jit(jax.vmap(lambda state, key: train_step(noisy, LOSS, state, *batch, key)))(stacked, keys)
    for n, (state, key) in enumerate(zip(states, keys, strict=True)):
        alone = step(noisy, LOSS, state, *batch, key)
        assert_same_step(jax.tree.map(lambda leaf, n=n: leaf[n], together), alone)


def test_epoch_of_one_padded_batch_is_one_step(calm, variables, pixels, targets):
    found = epoch(calm, variables, pixels, targets, batch_size=16)
    alone = step(calm, LOSS, fresh_state(variables), scale(pixels), targets, np.ones(N, np.float32), RATE, KEY)
    assert_same_step(found, alone)


def test_epoch_takes_its_steps_in_turn_with_their_rates(calm, variables, pixels, targets):
    """With equal images their order is no matter, and a batch of 4 gives the mean of all 11."""
    pixels, targets, rates = np.repeat(pixels[:1], N, 0), np.repeat(targets[:1], N, 0), (1e-3, 4e-3, 2e-3)
    found = epoch(calm, variables, pixels, targets, rates=rates)
    state, weighted = fresh_state(variables), 0.0
    for rate, n_images in zip(rates, (4, 4, 3), strict=True):
        state, parts, _ = step(calm, LOSS, state, scale(pixels), targets, np.ones(N, np.float32), rate, KEY)
        weighted += n_images / N * parts["loss"]
    chex.assert_trees_all_close(found.state.variables, state.variables, rtol=0, atol=0.01 * RATE)
    assert found.state.optimiser_state.count == 3
    assert found.losses["loss"] == pytest.approx(float(weighted), rel=1e-5)


@pytest.mark.parametrize("members", [EVERYONE, np.array([9, 0, 3, 10, 6, 1, 4], np.int32)])
def test_epoch_counts_every_member_once(calm, variables, pixels, targets, members):
    """At rate 0 the batches share their weights, so that their losses add up to those of all members."""
    found = epoch(calm, variables, pixels, targets, members, rates=0)
    chex.assert_trees_all_equal(found.state.variables, variables)
    expected = losses_by_hand(calm, variables, pixels[members], targets[members])
    chex.assert_trees_all_close(found.losses, expected, rtol=1e-5)
    p = predict(calm, variables, pixels)[1]
    np.testing.assert_allclose(found.p[members], p[members], atol=1e-6)
    left_out = np.setdiff1d(EVERYONE, members)
    assert not found.p[left_out].any()


def test_epoch_is_decided_by_its_key(noisy, variables, pixels, targets):
    one, again, other = (epoch(noisy, variables, pixels, targets, key=key) for key in (KEY, KEY, OTHER))
    chex.assert_trees_all_equal(one, again)
    assert furthest(one.state.variables, other.state.variables) > 0.1 * RATE


def test_key_decides_order_and_corruption(calm, noisy, variables, pixels, targets):
    one, other = (epoch(calm, variables, pixels, targets, key=key) for key in (KEY, OTHER))
    assert furthest(one.state.variables, other.state.variables) > 0.1 * RATE  # nothing but the order is random here
    one, other = (epoch(noisy, variables, pixels, targets, rates=0, key=key) for key in (KEY, OTHER))
    assert abs(one.losses["loss"] - other.losses["loss"]) > 1e-4  # and here nothing but the corruption counts
    chex.assert_trees_all_close(one.p, other.p, atol=1e-6)  # which p never sees


def test_batches_are_corrupted_differently(noisy, variables, pixels, targets):
    """Equal images at rate 0: with one mask for all batches, two full ones would have the same loss."""
    pixels, targets = np.repeat(pixels[:1], N, 0), np.repeat(targets[:1], N, 0)
    members = EVERYONE[: 2 * BATCH]
    both = epoch(noisy, variables, pixels, targets, members, rates=0)
    gradients = both.state.optimiser_state  # m = .9 * .1 g1 + .1 g2 and v = .999 * .001 g1^2 + .001 g2^2
    same = jax.tree.map(lambda m, v: np.square(m / 0.19) - v / 0.001999, gradients.mu, gradients.nu)
    assert furthest(same, jax.tree.map(np.zeros_like, same)) > 1e-4


def test_an_epoch_tells_the_first_step_with_a_bad_loss_or_gradient(calm, variables, pixels, targets):
    """Three batches; a gradient may be bad where its loss is finite, and in the last step no later loss tells."""
    assert epoch(calm, variables, pixels, targets).finite.tolist() == [True] * 3
    head = {**variables["params"]["head"], "bias": np.full(3, np.inf, np.float32)}
    broken = {**variables, "params": {**variables["params"], "head": head}}
    assert epoch(calm, broken, pixels, targets).finite.tolist() == [False] * 3
    for rates in ([0, 1e38, 0], [0, 0, 1e38]):
        finite = epoch(calm, variables, pixels, targets, rates=rates).finite.tolist()
        assert finite == ([True, True, False] if rates[1] else [True] * 3)  # the last step's weights are not yet used
    state = fresh_state(variables)
    bad = jax.tree.map(lambda leaf: leaf.at[(0,) * leaf.ndim].set(np.nan), state.optimiser_state.mu)
    assert is_finite(state, np.float32(1))
    assert not is_finite(state, np.float32(np.inf))
    assert not is_finite(state._replace(optimiser_state=state.optimiser_state._replace(mu=bad)), np.float32(1))


def test_training_lowers_the_loss(noisy, variables, pixels, targets):
    before = validation_loss(noisy, AUTOENCODER, variables, pixels)
    for n in range(30):
        variables = epoch(noisy, variables, pixels, targets, rates=0.01, key=jax.random.key(n)).state.variables
    assert validation_loss(noisy, AUTOENCODER, variables, pixels) < 0.9 * before


def test_prediction_is_the_same_bits_however_images_are_split(noisy, variables):
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(10 * training.CHUNK + 7, 8, 8, 1), dtype=np.uint8)
    whole = predict(noisy, variables, pixels)
    for cuts in ([1, 300, 999], [500], [3, 4]):
        parts = [predict(noisy, variables, part) for part in np.split(pixels, cuts)]
        chex.assert_trees_all_equal(whole, tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    chex.assert_shape(whole, (len(pixels), 3))
    chex.assert_type(whole, np.float32)
    np.testing.assert_allclose(whole[1].sum(axis=1), 1, atol=1e-6)
    clean = noiseless(noisy, variables, pixels[-N:])
    np.testing.assert_allclose(whole[0][-N:], clean.clean[-1], atol=1e-6)
    np.testing.assert_allclose(whole[1][-N:], jax.nn.softmax(clean.logits), atol=1e-6)


def test_prediction_has_no_noise(noisy, calm, variables, pixels):
    chex.assert_trees_all_equal(predict(noisy, variables, pixels), predict(calm, variables, pixels))


@pytest.mark.parametrize("n_images", [4, N])
def test_validation_loss_equals_one_by_hand(noisy, variables, pixels, n_images, monkeypatch):
    monkeypatch.setattr(training, "CHUNK", 4)
    pathways = noiseless(noisy, variables, pixels)
    errors = [
        np.square(a - b)[..., :n_images].mean() for a, b in zip(pathways.reconstructions, pathways.clean, strict=False)
    ]
    expected = float(np.dot((1.0, 0.1, 0.1), errors))
    assert validation_loss(noisy, AUTOENCODER, variables, pixels[:n_images]) == pytest.approx(float(expected), rel=1e-5)


def test_the_head_has_no_column_for_a_cluster_without_images(variables):
    found = head_from_assignment(variables, np.ones((4, 3), np.float32), np.array([0, 0, 2, 2]))
    np.testing.assert_allclose(np.linalg.norm(found["params"]["head"]["kernel"], axis=0), [1, 0, 1], rtol=1e-6)


def test_head_from_assignment(variables):
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(30, 3)).astype(np.float32)
    assignment = rng.permutation(np.arange(30) % 3)
    given = jax.tree.map(np.copy, variables)
    found = head_from_assignment(variables, embeddings, assignment)
    kernel, bias = found["params"]["head"]["kernel"], found["params"]["head"]["bias"]
    for k in range(3):
        mean = embeddings[assignment == k].mean(axis=0)
        np.testing.assert_allclose(kernel[:, k], mean / np.linalg.norm(mean), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 1, rtol=1e-6)
    np.testing.assert_array_equal(bias, np.zeros(3))
    chex.assert_trees_all_equal_shapes_and_dtypes(found, given)
    for part in ("encoder", "decoder"):
        chex.assert_trees_all_equal(found["params"][part], given["params"][part])
    chex.assert_trees_all_equal(variables, given)  # it copies


def test_a_share_of_a_batch_adds_its_part_to_the_whole_one_s_loss(noisy, variables, pixels, targets):
    pathways = noiseless(noisy, variables, pixels)
    whole, parts = LOSS(pathways, targets, np.ones(N, np.float32))
    masks = [(np.arange(N) < 4).astype(np.float32), (np.arange(N) >= 4).astype(np.float32), np.zeros(N, np.float32)]
    shares = [LOSS(pathways, targets, mask, count=N) for mask in masks]  # the last has padding alone
    assert sum(total for total, _ in shares) == pytest.approx(float(whole), rel=1e-5)
    for name, value in parts.items():
        assert sum(found[name] for _, found in shares) == pytest.approx(float(value), rel=1e-5)


@pytest.fixture(scope="module")
def programs(noisy, variables, pixels, targets):
    """The three programs as they reach the compiler, where the user asks for less than float32."""
    state, mask = fresh_state(variables), np.ones(N, np.float32)
    with jax.default_matmul_precision("bfloat16"):
        rates = np.ones(steps_per_epoch(N, BATCH), np.float32)
        data = state, pixels, targets, EVERYONE, rates, KEY
        lowered = {
            "epoch": train_epoch.lower(noisy, LOSS, *data, batch_size=BATCH, changes=Changes(0.1)),
            "prediction": training._predict_chunk.lower(noisy, variables, pixels, None),
            "validation": training._validation_sums.lower(noisy, AUTOENCODER, variables, pixels, mask, None),
        }
    return {name: program.as_text() for name, program in lowered.items()}


@pytest.mark.parametrize("name", ["epoch", "prediction", "validation"])
def test_products_are_of_float32_factors_whatever_the_default(programs, name):
    """Else a GPU would round them to TF32, a TPU to bfloat16."""
    products = [line for line in programs[name].splitlines() if "dot_general" in line]
    assert len(products) >= 4
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32(small, noisy, variables, pixels, targets):
    rounded = Depict(small, "bfloat16")
    state, mask = fresh_state(variables), np.ones(N, np.float32)
    arguments = LOSS, state, scale(pixels), targets, mask, RATE, KEY
    found, expected = step(rounded, *arguments), step(noisy, *arguments)
    chex.assert_trees_all_equal_shapes_and_dtypes(found, expected)
    chex.assert_trees_all_close(found[1], expected[1], rtol=0.02)
    np.testing.assert_allclose(found[2], expected[2], atol=0.02)
    for name, value in expected[1].items():
        assert found[1][name] != value
    off = jax.tree.map(
        lambda a, b: np.linalg.norm(a - b) / np.linalg.norm(b),
        found[0].optimiser_state.mu,
        expected[0].optimiser_state.mu,
    )
    assert max(jax.tree.leaves(off)) < 0.15
    text = step.lower(rounded, *arguments).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products and all("bf16" in line and "f32" not in line.split(":")[-1] for line in products)


def test_loss_and_gradients_are_those_of_the_stock_convolutions(monkeypatch):
    """On the network of the real data, every parameter's gradient within 1e-5 of its largest entry."""
    model = Depict(Architecture.for_image((16, 16, 1), 10, dropout=0.0))
    images = np.random.default_rng(0).uniform(-1, 1, (32, 16, 16, 1)).astype(np.float32)
    variables = jax.jit(partial(model.init, noisy=False))(KEY, images)
    q = np.eye(10, dtype=np.float32)[np.arange(32) % 10]

    def loss(variables):
        return LOSS(model.apply(variables, images), q)[0]

    value, gradients = jax.jit(jax.value_and_grad(loss))(variables)
    monkeypatch.setattr(networks, "conv", stock_conv)
    monkeypatch.setattr(networks, "conv_transpose", stock_conv_transpose)
    expected, right = jax.jit(jax.value_and_grad(lambda variables: loss(variables)))(variables)
    assert value == pytest.approx(float(expected), rel=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max()), gradients, right)


def stock_conv(x, w, stride, pad):
    return jax.lax.conv_general_dilated(
        x, w, stride, [(p, p) for p in pad], dimension_numbers=("CHWN", "HWIO", "CHWN"), precision="highest"
    )


def stock_conv_transpose(y, w, stride, pad):
    sizes = [(n - 1) * s + k - 2 * p for n, s, k, p in zip(y.shape[1:3], stride, w.shape[:2], pad, strict=True)]
    shape = jax.ShapeDtypeStruct((w.shape[2], *sizes, y.shape[-1]), y.dtype)
    return jax.linear_transpose(lambda x: stock_conv(x, w, stride, pad), shape)(y)[0]


@pytest.mark.parametrize(("side", "share"), [(32, 1.0), (64, (4050 / 9800) ** 2)])
def test_the_embedding_of_large_maps_moves_slower_and_nothing_else(side, share):
    """Adam's first step moves every parameter that has a gradient by the learning rate."""
    model = Depict(Architecture.for_image((side, side), 3))
    key = jax.random.key(0)
    images = jax.random.uniform(key, (4, side, side, 1), minval=-1.0)
    before = jax.jit(model.init)(key, images)
    step = jax.jit(partial(train_step, model, Loss((1.0, 0.1, 0.1), 0.0)))
    for rate, expected in ((1e-3, 1e-3 * share), (1e-5, 1e-5)):  # a small rate is left alone
        state, _, _ = step(fresh_state(before), images, jnp.zeros((4, 3)), jnp.ones(4), jnp.float32(rate), key)
        moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state.variables, before)["params"]
        assert moved["encoder"]["embedding"]["kernel"] == pytest.approx(expected, rel=0.05)
        others = [moved["encoder"]["embedding"]["bias"], *moved["decoder"].values()]
        assert jax.tree.leaves(others) == pytest.approx([rate] * len(jax.tree.leaves(others)), rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("side", [48, 64])
def test_embeddings_of_large_images_do_not_saturate(side, real_data):
    with np.load(real_data("mnist_full.npz")) as file:
        small = file["x"][60_000:61_000, :, :, 0]
    pixels = np.stack([np.asarray(Image.fromarray(image).resize((side, side))) for image in small])[..., None]
    settings = Settings(pretrain_epochs=14)
    architecture = stages.check_job(pixels, 10, settings)
    for event in stages.run(pixels, architecture, settings):
        if isinstance(event, stages.StageEnd):
            break
    embeddings, _ = predict(Depict(architecture), event.state.train.variables, pixels)
    assert (np.abs(embeddings) > 0.999).mean() < 0.01
    assert np.ptp(embeddings, axis=0).min() > 0.1
