"""DEPICT keeps scikit-learn's contract, and its results are those of the stages."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from depict_jax import DEPICT
from depict_jax.cli import main
from depict_jax.data import load
from depict_jax.metrics import scores

QUICK = {"pretrain_epochs": 2, "warm_epochs": 2, "joint_epochs": 2, "initial": "kmeans", "batch_size": 32}
QUICK |= {"rounds": 2}


@pytest.fixture(scope="module")
def digits():
    images = load("digits")
    return images.pixels[:205], images.labels[:205]


@pytest.fixture(scope="module")
def fitted(digits) -> DEPICT:
    return DEPICT(10, **QUICK).fit(digits[0])


def unseen():
    images = load("digits")
    return images.pixels[205:300], images.labels[205:300]


def weights(model: DEPICT) -> list[np.ndarray]:
    import jax

    return jax.tree.leaves(model._state.train.variables)


def test_training_with_y_permuted_y_or_none_gives_the_same_bits(digits, fitted):
    pixels, labels = digits
    permuted = np.random.default_rng(0).permutation(labels)
    for y in (labels, permuted):
        other = DEPICT(10, **QUICK).fit(pixels, y)
        assert all(np.array_equal(a, b) for a, b in zip(weights(other), weights(fitted), strict=True))
        assert np.array_equal(other.labels_, fitted.labels_)


def test_outputs(digits, fitted):
    pixels, _ = digits
    assert fitted.labels_.shape == (205,) and fitted.labels_.dtype == np.int32
    assert np.array_equal(fitted.predict(pixels), fitted.labels_)
    assert np.array_equal(fitted.predict_proba(pixels), fitted.probabilities_)
    assert np.array_equal(fitted.probabilities_.argmax(axis=1), fitted.labels_)
    embeddings = fitted.transform(pixels)
    assert embeddings.shape == (205, 10) and np.abs(embeddings).max() < 1
    assert [record["stage"] for record in fitted.history_] == [
        stage for stage in ("pretrain", "warm", "joint", "warm-2", "joint-2") for _ in range(2)
    ]
    assert np.array_equal(DEPICT(10, **QUICK).fit_predict(pixels), fitted.labels_)


def test_the_batch_predicted_with_changes_no_bit(digits, fitted):
    pixels, _ = digits
    whole = fitted.predict_proba(pixels)
    pieces = [fitted.predict_proba(pixels[start : start + 37]) for start in range(0, 205, 37)]
    assert np.array_equal(np.concatenate(pieces), whole)


def test_one_image_may_be_predicted(digits, fitted):
    assert fitted.predict(digits[0][:1]).tolist() == [fitted.labels_[0]]


def test_grey_images_need_no_channel_and_floats_give_the_same(digits, fitted):
    pixels, _ = digits
    assert np.array_equal(fitted.predict_proba(pixels[..., 0]), fitted.probabilities_)
    assert np.array_equal(fitted.predict_proba(pixels / 255), fitted.probabilities_)
    assert np.array_equal(fitted.predict_proba((pixels / 255).astype(np.float32)), fitted.probabilities_)


def test_save_and_load_give_the_same_model(digits, fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = DEPICT.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(digits[0]), fitted.probabilities_)
    assert np.array_equal(loaded.labels_, fitted.labels_)
    assert loaded.get_params() == fitted.get_params()
    assert loaded.history_ == fitted.history_
    assert all(np.array_equal(a, b) for a, b in zip(weights(loaded), weights(fitted), strict=True))


def test_save_keeps_what_is_there(fitted, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files and no run"):
        fitted.save(tmp_path)
    fitted.save(tmp_path / "model")
    with pytest.raises(ValueError, match="already holds a run"):
        fitted.save(tmp_path / "model")


def test_library_and_command_line_make_the_same_run(digits, fitted, tmp_path):
    np.savez(tmp_path / "some.npz", x=digits[0])
    words = ["fit", str(tmp_path / "some.npz"), "--clusters", "10", "--out", str(tmp_path / "run"), "--quiet"]
    for name, value in QUICK.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    assert main(words) == 0
    loaded = DEPICT.load(tmp_path / "run")
    assert np.array_equal(loaded.probabilities_, fitted.probabilities_)
    assert np.array_equal(loaded.predict_proba(unseen()[0]), fitted.predict_proba(unseen()[0]))
    assert np.array_equal(loaded.transform(unseen()[0]), fitted.transform(unseen()[0]))
    fitted.save(tmp_path / "saved")
    ours, theirs = (tmp_path / name / "assignments.csv" for name in ("saved", "run"))
    assert ours.read_text() == theirs.read_text()


def test_the_command_line_predicts_and_scores_with_a_saved_model(fitted, tmp_path, capsys):
    pixels, labels = unseen()
    np.savez(tmp_path / "new.npz", x=pixels, y=labels)
    fitted.save(tmp_path / "saved")
    assert (
        main(["predict", str(tmp_path / "saved"), str(tmp_path / "new.npz"), "--out", str(tmp_path / "new.csv")]) == 0
    )
    table = np.loadtxt(tmp_path / "new.csv", delimiter=",", skiprows=1)
    p = fitted.predict_proba(pixels)
    assert np.array_equal(table[:, 0], np.arange(len(pixels)))
    assert np.array_equal(table[:, 1], p.argmax(axis=1))
    assert np.array_equal(table[:, 2:], [[float(f"{x:.6g}") for x in (max(row), *row)] for row in p])
    assert main(["score", str(tmp_path / "saved"), str(tmp_path / "new.npz")]) == 0
    found = scores(labels, fitted.predict(pixels))
    assert capsys.readouterr().out == "  ".join(f"{name.upper()} {value:.4f}" for name, value in found.items()) + "\n"


def test_what_is_loaded_can_be_saved_and_fitted_again(digits, fitted, tmp_path):
    fitted.save(tmp_path / "one")
    DEPICT.load(tmp_path / "one").save(tmp_path / "two")
    for name in ("config.json", "assignments.csv", "metrics.jsonl"):
        assert (tmp_path / "one" / name).read_text() == (tmp_path / "two" / name).read_text()
    again = DEPICT.load(tmp_path / "two").fit(digits[0])
    assert np.array_equal(again.probabilities_, fitted.probabilities_)


def test_an_unfinished_run_is_not_loaded(digits, tmp_path):
    from depict_jax.checkpoints import Checkpoints
    from depict_jax.run_folder import Config, claim
    from depict_jax.settings import Settings
    from depict_jax.stages import check_job, initial_state

    settings = Settings()
    architecture = check_job(digits[0], 10, settings)
    with claim(tmp_path / "run", Config("x", "", 205, architecture, settings), resume=False, overwrite=False):
        pass
    with pytest.raises(ValueError, match="not finished"):
        DEPICT.load(tmp_path / "run")
    with Checkpoints(tmp_path / "run" / "checkpoints") as saved:
        saved.save(initial_state(architecture, settings, 205))
    with pytest.raises(ValueError, match="not finished"):
        DEPICT.load(tmp_path / "run")


def test_clone_and_parameters():
    model = DEPICT(7, rule="exact", prior=[1, 2, 3, 4, 5, 6, 7], random_state=3)
    assert clone(model).get_params() == model.get_params()
    assert model.set_params(n_clusters=8).n_clusters == 8


def test_every_setting_is_a_parameter():
    from dataclasses import fields

    from depict_jax.settings import Settings, preset

    parameters, expected = DEPICT().get_params(), vars(preset("best"))
    for field in fields(Settings):
        if field.name != "seed":
            assert parameters.pop(field.name) == expected[field.name], field.name
    assert parameters.keys() == {"n_clusters", "random_state", "verbose", "image_shape", "devices"}


def test_unfitted_models_say_so(digits, tmp_path):
    for call in (lambda: DEPICT().predict(digits[0]), lambda: DEPICT().save(tmp_path / "model")):
        with pytest.raises(NotFittedError):
            call()
    assert not (tmp_path / "model").exists()


def test_random_state_may_be_none_or_a_generator(digits):
    tiny = {**QUICK, "pretrain_epochs": 1, "warm_epochs": 0, "joint_epochs": 0}
    seeds = [DEPICT(10, random_state=None, **tiny)._settings().seed for _ in range(2)]
    assert seeds[0] != seeds[1]
    generators = [np.random.RandomState(5) for _ in range(2)]
    assert len({DEPICT(10, random_state=generator, **tiny)._settings().seed for generator in generators}) == 1
