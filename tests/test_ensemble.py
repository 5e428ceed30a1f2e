"""Several seeds: the votes are those of matched clusters, the choice needs no label, each seed's run is its own."""

import csv
import shutil

import jax
import numpy as np
import pytest

from depict_jax import DEPICT, ensemble
from depict_jax.cli import main
from depict_jax.data import load
from depict_jax.ensemble import consensus, stability
from depict_jax.metrics import clustering_accuracy
from depict_jax.settings import Settings
from depict_jax.stages import EpochEnd, check_job, initial_state, run

SHELL = {"pretrain_epochs": 0, "warm_epochs": 0, "joint_epochs": 0, "initial": "kmeans", "kmeans_restarts": 1}
SHELL |= {"rounds": 1, "affine": 0.0, "brightness": 0.0}


def test_renamed_clusters_vote_as_one():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 7, 500)
    assignments = [rng.permutation(7)[truth] for _ in range(4)]
    for reference in range(4):
        found = consensus(assignments, 7, reference)
        assert np.array_equal(found.clusters, assignments[reference])
        assert np.array_equal(found.agreement, np.ones(500))
    assert np.array_equal(stability(assignments), np.ones(4))


def test_votes_are_counted_image_by_image():
    first, second, third = [0, 0, 1, 1, 2, 2], [1, 1, 0, 0, 2, 0], [2, 2, 0, 0, 1, 1]
    found = consensus([np.array(one) for one in (first, second, third)], 3)
    assert found.clusters.tolist() == first and found.clusters.dtype == np.int32
    assert found.agreement.tolist() == [1, 1, 1, 1, 1, 2 / 3]
    assert found.votes[5].tolist() == [0, 1 / 3, 2 / 3]


def test_the_reference_decides_between_equal_votes():
    ours, theirs = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 1])
    for reference, expected in enumerate((ours, theirs)):
        found = consensus([ours, theirs], 2, reference)
        assert np.array_equal(found.clusters, expected)
        assert found.agreement.tolist() == [1, 1, 0.5, 1, 1, 1]


def test_empty_clusters_are_matched_too():
    found = consensus([np.array([0, 0, 3, 3]), np.array([2, 2, 2, 1])], 4)
    assert found.clusters.tolist() == [0, 0, 3, 3] and found.agreement.tolist() == [1, 1, 0.5, 1]


def test_a_vote_is_better_than_its_voters():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 2000)
    voters = []
    for _ in range(7):
        wrong = rng.random(2000) < 0.3
        voters.append(rng.permutation(5)[np.where(wrong, rng.integers(0, 5, 2000), truth)])
    found = consensus(voters, 5)
    assert clustering_accuracy(truth, found.clusters) > 0.97 > max(clustering_accuracy(truth, v) for v in voters) + 0.15
    right = found.clusters == consensus([voters[0], truth], 5).votes.argmax(axis=1)
    assert found.agreement[right].mean() > found.agreement[~right].mean()  # few agree on what is wrong


def test_stability_is_the_mean_over_pairs():
    one, two = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert stability([one, two, two]).tolist() == [0.75, 0.875, 0.875]
    with pytest.raises(ValueError, match="1 assignment"):
        stability([one])


def test_other_images_are_refused():
    with pytest.raises(ValueError, match="of 3 and 4 images"):
        consensus([np.zeros(4, int), np.zeros(3, int)], 2)


@pytest.fixture(scope="module")
def digits():
    found = load("digits")
    return found.pixels[:80], found.labels[:80]


@pytest.fixture
def fit(digits, tmp_path):
    np.savez(tmp_path / "some.npz", x=digits[0], y=digits[1])
    options = [word for name, value in SHELL.items() for word in ("--" + name.replace("_", "-"), str(value))]

    def call(*words: str) -> int:
        source, out = str(tmp_path / "some.npz"), str(tmp_path / "out")
        return main(["fit", source, "--clusters", "2", "--out", out, *options, *words])

    return call


def test_the_command_line_makes_a_run_for_each_seed_and_a_consensus(digits, fit, tmp_path, capsys):
    assert fit("--seeds", "3", "--seed", "5") == 0
    printed = capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["consensus.csv", "seed-5", "seed-6", "seed-7"]
    models = [DEPICT(2, random_state=seed, **SHELL).fit(digits[0]) for seed in (5, 6, 7)]
    for seed, model in zip((5, 6, 7), models, strict=True):
        assert np.array_equal(DEPICT.load(tmp_path / f"out/seed-{seed}").probabilities_, model.probabilities_)
    objectives = [
        ensemble.objective(model._state, digits[0], model.architecture_, model._settings()) for model in models
    ]
    best = int(np.argmin(objectives))
    assert f"best: {tmp_path / 'out'}/seed-{5 + best}" in printed
    assert all(f"{value:.4f}" in printed for value in objectives)
    expected = consensus([model.labels_ for model in models], 2, best)
    with (tmp_path / "out/consensus.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["cluster"]) for row in rows] == expected.clusters.tolist()
    assert [float(row["agreement"]) for row in rows] == [float(f"{share:.6g}") for share in expected.agreement]


def test_side_by_side_is_one_after_another(digits):
    """From where each was left: at its start, two epochs on, and in the next stage, which waits for the others."""
    settings = [
        Settings(
            pretrain_epochs=4, warm_epochs=2, joint_epochs=2, initial="kmeans", kmeans_restarts=1, batch_size=20,
            rounds=2, affine=0.1, brightness=0.2, rule="exact", prior_weight=5.0, seed=seed,
        )
        for seed in (3, 4, 5)
    ]  # fmt: skip
    architecture = check_job(digits[0], 2, settings[0])
    skipped = (0, 2, 7)  # events
    alone, states = [], []
    for one, n in zip(settings, skipped, strict=True):
        state, events = initial_state(architecture, one, len(digits[0])), []
        for event in run(digits[0], architecture, one):
            if len(events) < n:  # copied: the next epoch uses the buffers again
                state = jax.tree.map(np.array, event.state)
            events.append(summary(event))
        alone.append(events[n:])
        states.append(state)
    together: list[list] = [[], [], []]
    for i, event in ensemble.run(digits[0], architecture, settings, states):
        together[i].append(summary(event))
    assert [events[0][:2] for events in alone] == [("pretrain", 1), ("pretrain", 3), ("warm", 2)]
    for expected, found in zip(alone, together, strict=True):
        assert [event[:2] for event in found] == [event[:2] for event in expected]
        for one, other in zip(expected, found, strict=True):
            assert other[2] == pytest.approx(one[2], rel=1e-4)
        assert (found[-1][3] == expected[-1][3]).mean() > 0.98


def summary(event):
    losses = event.losses["loss"] if isinstance(event, EpochEnd) else 0.0
    return event.stage, getattr(event, "epoch", None), losses, np.asarray(event.state.p).argmax(axis=1)


def test_runs_that_differ_in_more_than_seeds_are_not_one_program(digits):
    settings = [Settings(seed=0), Settings(seed=1, batch_size=50)]
    with pytest.raises(ValueError, match="differ in more than their seeds"):
        next(ensemble.run(digits[0], check_job(digits[0], 2, settings[0]), settings))


@pytest.mark.slow
def test_the_command_line_trains_seeds_side_by_side(fit, tmp_path):
    """The same folders, objectives' order and consensus as one after another."""
    short = ["--pretrain-epochs", "2", "--joint-epochs", "2", "--seeds", "2"]
    assert fit(*short, "--quiet") == 0
    (tmp_path / "out").rename(tmp_path / "in-turn")
    assert fit(*short, "--seeds-at-once", "yes") == 0
    for name in ("seed-0", "seed-1"):
        found = [DEPICT.load(tmp_path / where / name).probabilities_ for where in ("in-turn", "out")]
        np.testing.assert_allclose(found[1], found[0], atol=1e-3)
        files = {path.name for path in (tmp_path / "out" / name).iterdir()}
        assert files >= {"assignments.csv", "report.html", "scores.json", "metrics.jsonl", "config.json"}
    assert fit(*short, "--seeds-at-once", "yes", "--resume") == 0
    assert fit(*short, "--seeds-at-once", "yes", "--stream", "--resume") == 2


def test_seeds_resume_and_nothing_is_lost(fit, tmp_path, capsys):
    assert fit("--seeds", "2", "--quiet") == 0
    consensus_before = (tmp_path / "out/consensus.csv").read_text()
    written = (tmp_path / "out/seed-0/assignments.csv").stat().st_mtime_ns
    assert fit("--seeds", "2", "--quiet") == 2 and "already holds a run" in capsys.readouterr().err
    assert fit("--seeds", "2", "--seed", "2") == 2 and "consensus.csv is already there" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "out/seed-1")
    (tmp_path / "out/consensus.csv").unlink()
    assert fit("--seeds", "2", "--quiet", "--resume") == 0
    assert (tmp_path / "out/consensus.csv").read_text() == consensus_before
    assert (tmp_path / "out/seed-0/assignments.csv").stat().st_mtime_ns == written  # what is finished stays
    assert fit("--quiet") == 2 and "other files and no run" in capsys.readouterr().err
    assert fit("--seeds", "0") == 2 and "--seeds is 0: expected at least 1" in capsys.readouterr().err
    assert fit("--seeds", "2", "--seed", str(2**32 - 1), "--resume") == 2 and "2**32" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "out")
    assert fit("--quiet") == 0
    assert fit("--seeds", "2") == 2 and "holds the run of one seed" in capsys.readouterr().err
