"""Rows beside ours, cells of the ablations and training with a few labels, on a few real digits."""

import sys
from dataclasses import asdict, replace
from functools import partial

import jax
import numpy as np
import pytest

from depict_jax.data import Images, load
from depict_jax.metrics import clustering_accuracy
from depict_jax.runner import answer_after
from depict_jax.stages import check_job
from experiments import approaches, factors, results, rows, semi_supervised, store
from experiments.approaches import APPROACHES, Approach
from experiments.jobs import Job, Unavailable
from experiments.presets import Preset
from experiments.summary import runs_of
from experiments.variants import settings_of

PRESET = Preset("three digits", 3, "kmeans", "digits")
compute = partial(approaches.compute, slower_rate=3e-4)


def same(one, other) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def labelled() -> Images:
    digits = load("digits")
    few = np.flatnonzero(digits.labels < 3)[:150]
    return Images(digits.pixels[few], digits.labels[few], "three digits")


@pytest.fixture(scope="module")
def images(labelled) -> Images:
    return replace(labelled, labels=None)


@pytest.fixture
def short(tmp_path, monkeypatch):
    """Variants of a few epochs, and a store of their own."""

    def settings(variant, initial, seed):
        # shapes of test_experiments.py, whose compiled epochs serve here too
        of_variant = settings_of(variant, initial, seed)
        return replace(of_variant, batch_size=50, pretrain_epochs=3, warm_epochs=2, joint_epochs=2)

    for module in (rows, approaches, semi_supervised):
        monkeypatch.setattr(module, "settings_of", settings)
        monkeypatch.setattr(module, "STORE", tmp_path)
    monkeypatch.setattr("experiments.run.STORE", tmp_path)
    return settings


def ignore(event):
    pass


@pytest.mark.parametrize(("method", "acc"), [("kmeans-pixels", 0.75), ("acpic-pixels", 0.83), ("spectral", 0.75)])
def test_rows_on_pixels_find_digits(method, acc):
    digits = load("digits")
    preset = Preset("digits", 10, "kmeans", "digits")
    found = rows.compute(Job(method, rows.DEFAULT, 0), preset, replace(digits, labels=None), ignore)
    assert clustering_accuracy(digits.labels, found.answers["final"]) > acc
    assert found.seconds["final"] > 0 and found.provenance["settings"] == rows.ROWS[method].settings


@pytest.mark.slow
def test_rows_on_features_start_from_the_autoencoder_of_depict_s_own_run(images, short, tmp_path):
    found = rows.compute(Job("kmeans-features", rows.DEFAULT, 1), PRESET, images, ignore)
    settings = short("paper", "kmeans", 1)
    architecture = check_job(images.pixels, 3, settings)
    run = store.trained(
        images, architecture, settings, tmp_path, lambda e: e.stage == "pretrain" and pytest.fail("new")
    )
    answer = answer_after("pretrain", run.ends["pretrain"], images, architecture, settings)
    np.testing.assert_array_equal(found.answers["final"], answer)
    assert found.seconds["final"] > found.seconds["pretrain"] == run.seconds["pretrain"]


def test_what_is_not_installed_says_so(images, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(Unavailable, match="umap-learn is not installed; make setup-rows"):
        rows.compute(Job("umap-gmm", "default", 0), PRESET, images, ignore)
    monkeypatch.setattr(rows.peers, "PYTHON", tmp_path / "python")
    with pytest.raises(Unavailable, match=r"ClustPy is not installed in .venv-clustpy; make setup-rows"):
        rows.compute(Job("clustpy-dec", "default", 0), PRESET, images, ignore)


def test_rows_without_chance_run_once():
    jobs = rows.jobs(["acpic-pixels", "kmeans-features"], 2)
    assert jobs == [
        ("acpic-pixels", "default", 0),
        ("kmeans-features", "default", 0),
        ("kmeans-features", "default", 1),
    ]


def test_the_last_cell_is_the_paper_s_own_network(images):
    assert APPROACHES["paper"] == Approach("all", "all", "joint") and len(APPROACHES) == 27
    settings = settings_of("paper", "acpic", 0)
    assert check_job(images.pixels, 3, settings).dropout == approaches.NOISES["all"]
    assert set(approaches.Q_STEPS).isdisjoint(APPROACHES) and len(approaches.Q_STEPS) == 17


def trained_by(monkeypatch):
    """The weights before and after each call of `train`."""
    seen = []
    original = approaches.train

    def spy(*arguments):
        after = original(*arguments)
        seen.append((arguments[4]["params"], after["params"]))
        return after

    monkeypatch.setattr(approaches, "train", spy)
    return seen


def test_cells_share_their_pretraining_and_a_head_on_frozen_features_learns_alone(images, short, monkeypatch):
    compute(Job("depict", "noise-all+reconstruction-all+kmeans", 0), PRESET, images, ignore)

    def watch(event):
        assert event.stage != "pretrain"

    assert "objective" in compute(Job("depict", "paper", 0), PRESET, images, watch).more
    seen = trained_by(monkeypatch)
    compute(Job("depict", "noise-all+reconstruction-all+head", 0), PRESET, images, watch)
    assert len(seen) == 2  # warm start, joint stage
    for before, after in seen:
        assert same(before["encoder"], after["encoder"]) and same(before["decoder"], after["decoder"])
        assert not same(before["head"], after["head"])


def test_without_reconstruction_nothing_is_pretrained_or_decoded(images, short, monkeypatch):
    seen = trained_by(monkeypatch)
    watched = []
    name = "noise-input+reconstruction-none+joint"
    found = compute(Job("depict", name, 0), PRESET, images, lambda event: watched.append(type(event)))
    assert all(event.__name__ == "StageEnd" for event in watched)  # not one epoch of pretraining
    for before, after in seen:
        assert same(before["decoder"], after["decoder"]) and not same(before["encoder"], after["encoder"])
    assert found.provenance["architecture"]["dropout"] == [0.1, 0.0, 0.0]


def test_q_step_cells_change_the_joint_stage_alone(images, short):
    compute(Job("depict", approaches.exact(2, 10), 0), PRESET, images, ignore)

    def watch(event):
        assert event.stage == "joint"

    found = compute(Job("depict", approaches.exact(2, np.inf), 0), PRESET, images, watch)
    assert found.provenance["settings"]["prior_weight"] == "inf"


def test_pretraining_begins_slower_only_where_it_would_saturate(images, monkeypatch):
    for function in ("depict", "_kmeans", "_by_cross_entropy"):
        monkeypatch.setattr(approaches, function, lambda *arguments: arguments[-2])  # the settings
    cells = (*APPROACHES, *approaches.Q_STEPS)
    rates = {cell: compute(Job("depict", cell, 0), PRESET, images, ignore).pretrain_learning_rate for cell in cells}
    slower = {cell for cell in cells if "reconstruction-image" in cell} | {"stop-gradient"}
    assert rates == {cell: 3e-4 if cell in slower else 1e-3 for cell in cells}
    found = results.read_all()
    for dataset, rate in approaches.SLOWER_RATES.items():  # what RESULTS.md says of its runs
        runs = [run for cell in slower for run in runs_of(found, dataset, "depict", cell)]
        assert {run["provenance"]["settings"]["pretrain_learning_rate"] for run in runs} == {rate}


@pytest.mark.parametrize("initial", ["kmeans", "acpic"])
def test_a_cell_changes_factors_of_its_variant_to_values_that_this_has_not(initial):
    jobs = factors.jobs(list(factors.FACTORS), initial, 1)
    assert [job.variant for job in jobs[:2]] == ["paper", "best"]
    # pretraining has two other values; k-means leaves `paper` no strays; most pairs come down to a single value
    singles = 2 * (len(factors.FACTORS) + 1) - (initial == "kmeans")
    pairs = [name for _, name, _ in jobs if name.count("+") == 2]
    assert len(pairs) == (1 if initial == "kmeans" else 2) and all(name.startswith("paper+") for name in pairs)
    assert len(set(jobs)) == len(jobs) == 2 + singles + len(pairs)
    for _, name, _ in jobs[2:]:
        variant, *changed = name.split("+")
        own, cell = (
            {**asdict(settings), **factors.epochs_of(settings, 1_797)}
            for settings in (settings_of(variant, initial, 3), factors.settings_in(name, initial, 3, 1_797))
        )
        assert len([key for key in cell if cell[key] != own[key]]) == len(changed), name


def test_a_pair_is_tried_where_both_its_factors_are():
    names = {job.variant for job in factors.jobs(["pretraining"], "acpic", 1)}
    assert names == {v + c for v in ("paper", "best") for c in ("", "+pretraining-a-third", "+pretraining-three-times")}


def test_training_is_so_many_times_as_long():
    cells = ("pretraining-a-third", "pretraining-three-times", "joint-training-three-times")
    found = [factors.settings_in(f"best+{cell}", "acpic", 0, 1_797) for cell in cells]
    # of 295, which are 5,000 steps on nine tenths of the images, and of 84, which are 1,500 on all
    assert [settings.pretrain_epochs for settings in found] == [99, 885, None]
    assert [settings.joint_epochs for settings in found] == [None, None, 252]


def test_labels_are_drawn_class_by_class():
    labels = np.array([0] * 50 + [1] * 10 + [2] * 40)
    chosen = semi_supervised.choice(labels, 30, np.random.default_rng(0))
    assert np.bincount(labels[chosen]).tolist() == [10, 10, 10] and len(set(chosen)) == 30
    assert not np.array_equal(chosen, semi_supervised.choice(labels, 30, np.random.default_rng(1)))
    for count in (0, 31, 33):
        with pytest.raises(ValueError, match=f"{count} labels of 3 classes: expected a multiple of 3 up to 30"):
            semi_supervised.choice(labels, count, np.random.default_rng(0))


def test_clusters_take_their_classes_names():
    labels, clusters = np.array([0, 0, 1, 1, 2, 2]), np.array([2, 2, 0, 0, 0, 1])
    assert semi_supervised._clusters_of_classes(labels, clusters, 3).tolist() == [2, 0, 1]


def test_a_few_labels_lower_the_error(labelled, short, monkeypatch):
    """From a run so short that it confuses digits, and below what as much training without labels reaches."""

    def longer(*of):
        return replace(short(*of), pretrain_epochs=20, warm_epochs=5, joint_epochs=20, joint_learning_rate=5e-3)

    monkeypatch.setattr(semi_supervised, "settings_of", longer)
    job = Job(semi_supervised.METHOD, semi_supervised.name("paper", 30), 0)
    scored, found = semi_supervised.compute(job, PRESET, labelled)
    error = found.more["error_percent"]
    assert scored["final"]["acc"] >= 1 - error["final"] / 100 - 1e-9  # the best matching is at least the labels' own
    monkeypatch.setattr(semi_supervised, "LABEL_WEIGHT", 0.0)
    without = semi_supervised.compute(job, PRESET, labelled)[1].more["error_percent"]
    assert error["unsupervised"] == without["unsupervised"]
    assert error["final"] < min(without.values()) / 2, (error, without)
