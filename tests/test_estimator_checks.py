"""scikit-learn's own checks of an estimator, on images."""

import numpy as np
import pytest
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from depict_jax import DEPICT

SIDE = 8
SMALL = {"initial": "kmeans", "kmeans_restarts": 1, "batch_size": 32, "rounds": 1, "affine": 0.0, "brightness": 0.0}
NONE = {"pretrain_epochs": 0, "warm_epochs": 0, "joint_epochs": 0}  # nothing to compile, for every number of images
ONE = {"pretrain_epochs": 1, "warm_epochs": 1, "joint_epochs": 1}

_ONE_CLUSTER = "sets n_clusters to 1, which is refused: see test_checks_that_ask_for_one_cluster"
_NO_IMAGES = "gives points of two features, negative ones too: see test_results.py for clusters found in images"
NOT_OF_IMAGES = {
    "check_clustering": _NO_IMAGES,
    "check_dont_overwrite_parameters": _ONE_CLUSTER,
    "check_fit2d_predict1d": _ONE_CLUSTER,
    "check_methods_subset_invariance": _ONE_CLUSTER,
}


@pytest.fixture(autouse=True)
def images_for_the_checks(monkeypatch):
    """What the checks bring X to, by an estimator's tags: rows of a few features become images, 0 to 255."""

    def as_images(estimator, X, X_test=None, kernel=None):
        assert get_tags(estimator).input_tags.positive_only and X_test is None
        if X.shape[1] == 1:  # what these checks are about
            return X
        return ((X - X.min()) / np.ptp(X) * 255)[:, np.arange(SIDE * SIDE) % X.shape[1]]

    monkeypatch.setattr(estimator_checks, "_enforce_estimator_tags_X", as_images)


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")  # of the matrices that a check makes
@parametrize_with_checks(
    [DEPICT(2, **SMALL, **NONE)], expected_failed_checks=lambda estimator: NOT_OF_IMAGES, xfail_strict=True
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")  # of the matrices that a check makes
@parametrize_with_checks(
    [DEPICT(2, **SMALL, **ONE)], expected_failed_checks=lambda estimator: NOT_OF_IMAGES, xfail_strict=True
)
def test_scikit_learns_checks_with_training(estimator, check):
    check(estimator)


class AtLeastTwo(DEPICT):
    """DEPICT with two clusters where one is asked for."""

    def __setattr__(self, name, value):
        super().__setattr__(name, 2 if (name, value) == ("n_clusters", 1) else value)


@pytest.mark.parametrize("name", [name for name, reason in NOT_OF_IMAGES.items() if reason is _ONE_CLUSTER])
def test_checks_that_ask_for_one_cluster(name):
    getattr(estimator_checks, name)("DEPICT", AtLeastTwo(2, **SMALL, **NONE))


def test_every_check_that_is_left_out_exists():
    named = {check.func.__name__ for _, check in estimator_checks_generator(DEPICT(), mark=None)}
    assert set(NOT_OF_IMAGES) <= named


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # as in scikit-learn's tests
@pytest.mark.parametrize(
    "name",
    [
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_global_output_transform_pandas",
        "check_dataframe_column_names_consistency",
    ],
)
def test_checks_that_scikit_learn_keeps_for_its_own(name):
    getattr(estimator_checks, name)("DEPICT", DEPICT(2, **SMALL, **NONE))
