from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from depict_jax.settings import Settings, preset

RATES = ("pretrain_learning_rate", "warm_learning_rate", "joint_learning_rate")
COUNTS = ("batch_size", "rounds", "pretrain_patience", "warm_patience", "kmeans_restarts")
EPOCHS = ("pretrain_epochs", "warm_epochs", "joint_epochs")
NAN, INF = float("nan"), float("inf")

REFUSED = [
    *((name, value) for name in (*RATES, "clustering_weight") for value in (0.0, -1e-3, INF, NAN)),
    *((name, value) for name in COUNTS for value in (0, -1)),
    *((name, -1) for name in (*EPOCHS, "seed")),
    *((name, value) for name in (*COUNTS, *EPOCHS, "seed") for value in (2.0, "3", True)),
    *((name, None) for name in (*COUNTS, "seed")),
    ("seed", 2**32),
    *(("final_learning_rate", value) for value in (0.0, -0.1, 1.5, NAN)),
    *(("smallest_cluster", value) for value in (-0.1, 1.0, NAN)),
    *(("dropout", value) for value in (-0.1, 1.0, NAN)),
    *(("hidden_weight", value) for value in (-0.1, INF, NAN)),
    *(("affine", value) for value in (-0.1, 0.6, NAN)),
    *(("brightness", value) for value in (-0.1, 1.0, NAN)),
    ("initial", "spectral"),
    ("rule", "sinkhorn"),
    ("precision", "float16"),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_refuses_and_names_the_value(name, value):
    with pytest.raises(ValueError, match=f"^{name} is ") as error:
        Settings(**{name: value})
    message = str(error.value)
    assert message.startswith((f"{name} is {value}: expected", f"{name} is {value!r}: expected"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prior_weight": 2.0}, "prior_weight is 2.0 with rule 'squared'"),
        ({"rule": "closed_form", "sharpness": 2.0}, "sharpness is 2.0 with rule 'closed_form'"),
        ({"rule": "exact", "prior_weight": -1.0}, "prior_weight is -1.0"),
        ({"rule": "exact", "prior_weight": NAN}, "prior_weight is nan"),
        ({"rule": "exact", "sharpness": 0.0}, "sharpness is 0.0"),
        ({"prior": (0.5, 0.5, 0.0)}, r"prior is \[0.5, 0.5, 0.0\]: expected positive"),
        ({"prior": (0.5, -0.5)}, r"prior is \[0.5, -0.5\]: expected positive"),
        ({"prior": (0.5, NAN)}, r"prior is \[0.5, nan\]: expected positive"),
        ({"prior": (0.5, INF)}, r"prior is \[0.5, inf\]: expected positive"),
    ],
)
def test_refuses_rules_and_priors(fields, message):
    with pytest.raises(ValueError, match=message):
        Settings(**fields)


def test_takes_the_ends_of_the_ranges():
    Settings(final_learning_rate=1.0, dropout=0.0, hidden_weight=0.0, seed=2**32 - 1, batch_size=np.int64(1))
    Settings(smallest_cluster=0.0)
    Settings(pretrain_epochs=0, warm_epochs=0, joint_epochs=0)
    Settings(rule="exact", prior_weight=INF, sharpness=2.0, prior=(1, 2, 3))


def test_plain_is_the_paper_s_method_and_best_what_the_commands_start_from():
    assert preset("plain") == Settings() and preset() == preset("best")
    assert (Settings().rule, Settings().initial, Settings().dropout) == ("squared", "acpic", 0.1)
    assert (Settings().hidden_weight, Settings().clustering_weight) == (0.1, 1.0)
    assert not Settings().stop_gradient


def test_paper_is_the_released_code():
    paper = preset("paper")
    assert [getattr(paper, name) for name in RATES] == [1e-4] * 3
    assert paper.final_learning_rate == 1  # constant
    assert (paper.batch_size, paper.pretrain_epochs, paper.pretrain_patience) == (100, 4000, 100)
    assert (paper.warm_epochs, paper.warm_patience, paper.kmeans_restarts) == (1000, 5, 40)
    assert (paper.rule, paper.prior, paper.dropout) == ("squared", None, 0.1)
    assert (paper.hidden_weight, paper.clustering_weight, paper.stop_gradient) == (0.1, 1.0, False)


def test_best_adds_changes_of_the_images_rounds_a_start_without_strays_and_a_q_step_that_keeps_clusters_alive():
    best = preset("best")
    assert best.smallest_cluster == 0.1 and Settings().smallest_cluster == 0
    assert best.brightness is None
    assert (best.affine, best.rounds, best.rule, best.q_step) == (None, 3, "exact", (10.0, 2.0))


def test_a_prior_weight_and_a_sharpness_that_are_left_out_are_the_rule_s_own():
    assert Settings(rule="squared").q_step == Settings(rule="closed_form").q_step == (1.0, 1.0)
    assert Settings(rule="exact").q_step == (10.0, 2.0)
    assert Settings(rule="exact", sharpness=1.0).q_step == (10.0, 1.0)
    assert Settings(rule="exact", prior_weight=0.0).q_step == (0.0, 2.0)
    assert replace(preset("best"), rule="squared").q_step == (1.0, 1.0)  # as with --rule squared


def test_refuses_an_unknown_preset():
    with pytest.raises(ValueError, match="preset is 'fast': expected one of best, plain, paper"):
        preset("fast")


def test_epochs_left_out_make_as_many_steps_for_every_size():
    steps = Settings().stage_epochs(1, 1)  # one step an epoch
    least = Settings().stage_epochs(10**6, 10**6)
    assert min(least) >= 1
    for n in (3, 7, 90):
        assert Settings().stage_epochs(n, n) == tuple(max(m, -(-s // n)) for s, m in zip(steps, least, strict=True))
    assert Settings().stage_epochs(1, 7) == (*steps[:2], Settings().stage_epochs(7, 7)[2])
    assert Settings(pretrain_epochs=0, warm_epochs=3, joint_epochs=7).stage_epochs(90, 100) == (0, 3, 7)


def test_is_a_frozen_value():
    settings = Settings(seed=3)
    assert settings == replace(Settings(), seed=3)
    assert hash(settings) == hash(replace(Settings(), seed=3))
    with pytest.raises(FrozenInstanceError):
        settings.seed = 4
    with pytest.raises(ValueError, match="batch_size is 0"):
        replace(settings, batch_size=0)
