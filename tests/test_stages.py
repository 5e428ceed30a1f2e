"""The four stages: labels stay out, resuming changes nothing, every image counts, divergence is named."""

import dataclasses
import inspect

import jax
import numpy as np
import pytest

from depict_jax import stages
from depict_jax.data import load
from depict_jax.settings import Settings, preset
from depict_jax.stage_names import JOINT, place_of
from depict_jax.stages import EpochEnd, StageEnd, check_job, run

QUICK = Settings(pretrain_epochs=2, warm_epochs=2, joint_epochs=2, initial="kmeans", batch_size=32)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return load("digits").pixels[:205]


def states(pixels, settings, start=None):
    """Each event's stage and a copy of its state, whose buffers the next epoch would use again."""
    architecture = check_job(pixels, 10, settings)
    return [(event, jax.tree.map(np.array, event.state)) for event in run(pixels, architecture, settings, start)]


def same(a, b) -> bool:
    leaves, others = jax.tree.leaves(a), jax.tree.leaves(b)
    return len(leaves) == len(others) and all(np.array_equal(x, y) for x, y in zip(leaves, others, strict=True))


@pytest.fixture(scope="module")
def uninterrupted(pixels):
    return states(pixels, QUICK)


def test_events_come_in_the_paper_s_order(uninterrupted):
    named = [(event.stage, event.epoch if isinstance(event, EpochEnd) else "end") for event, _ in uninterrupted]
    assert named == [
        ("pretrain", 1), ("pretrain", 2), ("pretrain", "end"), ("initial", "end"),
        ("warm", 1), ("warm", 2), ("warm", "end"), ("joint", 1), ("joint", 2), ("joint", "end"),
    ]  # fmt: skip


def test_a_second_round_goes_from_where_the_first_ended_to_weights_of_its_own(pixels, uninterrupted):
    twice = states(pixels, dataclasses.replace(QUICK, rounds=2))
    named = [(event.stage, event.epoch if isinstance(event, EpochEnd) else "end") for event, _ in twice]
    assert named[len(uninterrupted) :] == [
        ("initial-2", "end"),
        ("warm-2", 1), ("warm-2", 2), ("warm-2", "end"), ("joint-2", 1), ("joint-2", 2), ("joint-2", "end"),
    ]  # fmt: skip
    ended = twice[len(uninterrupted) - 1][1]
    assert same(ended.train.variables, uninterrupted[-1][1].train.variables) and same(ended.p, uninterrupted[-1][1].p)
    start = twice[len(uninterrupted)][1]  # the head is set anew, the rest goes on
    for part in ("encoder", "decoder"):
        assert same(start.train.variables["params"][part], ended.train.variables["params"][part])
    assert not same(twice[-1][1].p, ended.p) and np.isfinite(twice[-1][1].p).all()
    assert twice[-1][1].stage == stages.FINISHED and twice[-1][1].round == 1


def test_pretraining_sees_unchanged_images_alone(pixels, uninterrupted):
    """So that runs which differ in how images are changed share it."""
    changed = states(pixels, dataclasses.replace(QUICK, affine=None, brightness=0.5))
    for (event, one), (_, other) in zip(changed, uninterrupted, strict=True):
        assert same(one, other) == (event.stage in ("pretrain", "initial"))


def test_same_seed_same_bits_and_another_seed_others(pixels, uninterrupted):
    assert same(states(pixels, QUICK)[-1][1], uninterrupted[-1][1])
    other = states(pixels, dataclasses.replace(QUICK, seed=1))[-1][1]
    assert not same(other.train.variables, uninterrupted[-1][1].train.variables)


@pytest.mark.parametrize(
    "settings", [QUICK, dataclasses.replace(QUICK, rule="exact", prior_weight=10.0, sharpness=2.0, rounds=2)]
)
def test_resuming_from_any_event_ends_on_the_same_bits(pixels, settings):
    whole = states(pixels, settings)
    for _, state in whole[:-1]:
        assert same(states(pixels, settings, state)[-1][1], whole[-1][1])
    assert states(pixels, settings, whole[-1][1]) == []


def test_no_function_of_the_training_takes_labels():
    from depict_jax import assignments, networks, objectives, training

    for module in (stages, training, objectives, networks, assignments):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__:
                assert not {"y", "labels", "labels_true"} & set(inspect.signature(function).parameters), name


def test_the_held_out_tenth_is_trained_on_in_the_joint_stage_only(pixels):
    trainer = stages.Trainer(pixels, check_job(pixels, 10, QUICK), QUICK)
    everyone = set(range(len(pixels)))
    for stage in (stages.PRETRAIN, stages.WARM):
        assert len(trainer.held_out) == len(pixels) // 10
        assert sorted([*trainer.members[stage], *trainer.held_out]) == sorted(everyone)
    assert sorted(trainer.members[stages.JOINT]) == sorted(everyone)


def test_the_end_of_pretraining_and_of_the_warm_start_keeps_the_best(pixels):
    settings = dataclasses.replace(QUICK, pretrain_epochs=6, warm_epochs=5, pretrain_learning_rate=0.02)
    seen: dict[str, list] = {"pretrain": [], "warm": []}
    for event, state in states(pixels, settings):
        if isinstance(event, EpochEnd) and event.stage in seen:
            score = event.losses["validation"] if event.stage == "pretrain" else -event.losses["agreement"]
            seen[event.stage].append((score, state.train.variables))
        elif isinstance(event, StageEnd) and event.stage in seen:
            best = min(seen[event.stage], key=lambda pair: pair[0])  # the first of equals, as the stage keeps it
            assert same(state.train.variables, best[1])


def test_patience_ends_pretraining_early(pixels):
    settings = dataclasses.replace(QUICK, pretrain_epochs=30, pretrain_patience=1, pretrain_learning_rate=0.05)
    validation = [
        e.losses["validation"] for e, _ in states(pixels, settings) if isinstance(e, EpochEnd) and e.stage == "pretrain"
    ]
    assert len(validation) < 30
    assert validation[-1] >= min(validation[:-1])


def test_head_and_targets_start_from_the_initial_assignment(uninterrupted):
    state = next(state for event, state in uninterrupted if event.stage == "initial")
    kernel = state.train.variables["params"]["head"]["kernel"]
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 1, rtol=1e-5)
    assert set(state.assignment) == set(range(10))
    assert all(not leaf.any() for leaf in jax.tree.leaves(state.train.optimiser_state))  # a fresh optimiser


def test_final_predictions_are_the_final_weights_own(pixels, uninterrupted):
    from depict_jax.networks import Depict
    from depict_jax.training import predict

    final = uninterrupted[-1][1]
    _, p = predict(Depict(check_job(pixels, 10, QUICK)), final.train.variables, pixels)
    assert np.array_equal(p, final.p)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


def test_joint_training_stops_when_the_targets_stand_still(pixels):
    settings = dataclasses.replace(QUICK, joint_epochs=50, joint_learning_rate=1e-12)
    joint = [event for event, _ in states(pixels, settings) if event.stage == "joint"]
    assert len(joint) == 2  # one epoch and the stage's end
    assert joint[0].losses["target_change"] < stages.STILL


def test_the_last_of_several_rounds_goes_to_its_end_though_the_targets_stand_still(pixels):
    settings = dataclasses.replace(QUICK, rounds=3, joint_epochs=3, joint_learning_rate=1e-12)
    found = [event.stage for event, _ in states(pixels, settings)]
    # epochs, and the stage's end
    assert [found.count(stage) for stage in ("joint", "joint-2", "joint-3")] == [2, 2, 4]


def test_a_loss_that_becomes_nan_stops_the_run_and_names_the_batch(pixels):
    settings = dataclasses.replace(QUICK, pretrain_learning_rate=1e30)
    with pytest.raises(stages.DivergedError, match="NaN or infinite in pretrain epoch 1, batch 2 of 6"):
        states(pixels, settings)


def test_final_weights_that_give_nan_are_no_answer(pixels):
    """One batch an epoch: its loss is that of the weights before it."""
    settings = dataclasses.replace(QUICK, pretrain_epochs=1, warm_epochs=0, joint_epochs=1, batch_size=205)
    with pytest.raises(stages.DivergedError, match="predictions became NaN or infinite after"):
        states(pixels, dataclasses.replace(settings, joint_learning_rate=1e38))


@pytest.mark.parametrize("name", ["joint-0", "joint-1", "joint-", "joint-2-2", "finished-2", "end"])
def test_what_no_stage_is_called_is_refused(name):
    with pytest.raises(ValueError, match=f"stage is '{name}': expected one of pretrain, initial"):
        place_of(name)
    assert place_of("joint-2") == (1, JOINT)


def test_epochs_follow_the_number_of_steps():
    automatic = Settings()
    assert automatic.stage_epochs(pretrain_steps=90, joint_steps=100) == (56, 5, 20)
    assert automatic.stage_epochs(pretrain_steps=630, joint_steps=700) == (30, 3, 20)
    assert automatic.stage_epochs(pretrain_steps=26, joint_steps=29) == (193, 18, 52)
    assert preset("best").stage_epochs(pretrain_steps=26, joint_steps=29) == (193, 18, 52)
    assert preset("best").stage_epochs(pretrain_steps=630, joint_steps=700) == (30, 3, 10)
    assert dataclasses.replace(automatic, pretrain_epochs=3, joint_epochs=0).stage_epochs(90, 100) == (3, 5, 0)
    assert preset("paper").stage_epochs(90, 100) == (4000, 1000, 4000)


def test_learning_rates_decay_by_cosine_over_the_stage(pixels):
    trainer = stages.Trainer(pixels, check_job(pixels, 10, QUICK), QUICK)
    rates = np.concatenate([trainer.learning_rates(stages.JOINT, epoch) for epoch in range(2)])
    steps = np.arange(len(rates)) / len(rates)
    np.testing.assert_allclose(rates, 1e-3 * (0.05 + 0.95 * (1 + np.cos(np.pi * steps)) / 2), rtol=1e-5)


def test_clusters_start_with_the_numbers_that_the_prior_has_for_their_sizes(pixels):
    prior = tuple(float(share) for share in np.random.default_rng(0).permutation(10) + 1)
    settings = dataclasses.replace(QUICK, pretrain_epochs=1, prior=prior)
    event = next(event for event in run(pixels, check_job(pixels, 10, settings), settings) if event.stage == "initial")
    sizes = np.bincount(event.state.assignment, minlength=10)
    assert (np.diff(sizes[np.argsort(prior)]) >= 0).all() and sizes.min() < sizes.max()


def test_prior_of_another_length_is_refused(pixels):
    with pytest.raises(ValueError, match=r"prior has shape \(3,\): expected \(10,\)"):
        check_job(pixels, 10, dataclasses.replace(QUICK, prior=(1.0, 1.0, 1.0)))


@pytest.mark.parametrize("n_clusters", [2.0, "10", True, None])
def test_number_of_clusters_must_be_an_integer(pixels, n_clusters):
    with pytest.raises(TypeError, match="n_clusters is"):
        check_job(pixels, n_clusters, QUICK)
