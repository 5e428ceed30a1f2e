"""What DEPICT takes as images: containers, dtypes, flattened rows, ranges; and what it refuses."""

import re

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler

from depict_jax import DEPICT
from depict_jax.cli import main
from depict_jax.data import load

# no training, for what comes before and after it
SHELL = {"pretrain_epochs": 0, "warm_epochs": 0, "joint_epochs": 0, "initial": "kmeans", "kmeans_restarts": 1}
SHELL |= {"rounds": 1, "affine": 0.0, "brightness": 0.0}


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return load("digits").pixels[:80]


@pytest.fixture(scope="module")
def fitted(pixels) -> DEPICT:
    return DEPICT(2, **SHELL).fit(pixels)


class Wrapped:
    """Nothing but `__array__`."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self._array, dtype=dtype)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def strided(array):
    twice = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    twice[::2] = array
    return twice[::2]


def rows(array):
    return array.reshape(len(array), -1)


FORMS = {
    "lists": np.ndarray.tolist,
    "lists of rows": lambda x: rows(x).tolist(),
    "a list of images": list,
    "no channel": lambda x: x[..., 0],
    "rows": rows,
    "int64": lambda x: x.astype(np.int64),
    "int16 rows": lambda x: rows(x).astype(np.int16),
    "uint16, big-endian": lambda x: x.astype(">u2"),
    "float16": lambda x: x.astype(np.float16),
    "float32": lambda x: x.astype(np.float32),
    "float64 rows": lambda x: rows(x).astype(np.float64),
    "float32 in [0, 1]": lambda x: x.astype(np.float32) / 255,
    "float64 in [0, 1]": lambda x: rows(x) / 255,
    "a little above 1": lambda x: x / 255 * (1 + 4e-16),
    "objects": lambda x: rows(x).astype(object),
    "in Fortran's order": lambda x: np.asfortranarray(x.astype(np.float32)),
    "every other one": strided,
    "read-only": read_only,
    "__array__": lambda x: Wrapped(x / 255),
    "jax": jnp.asarray,
    "data frame": lambda x: pd.DataFrame(rows(x)),
    "named columns": lambda x: pd.DataFrame(rows(x) / 255, columns=[f"pixel{i}" for i in range(64)]),
    "columns of several dtypes": lambda x: pd.DataFrame(rows(x)).astype({0: np.int64, 1: np.float32}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_images_in_any_form_give_the_same_bits(form, pixels, fitted):
    other = FORMS[form](pixels)
    model = DEPICT(2, **SHELL).fit(other)
    assert np.array_equal(model.probabilities_, fitted.probabilities_)
    assert np.array_equal(model.labels_, fitted.labels_)
    assert model.n_features_in_ == 64 and model.architecture_.image == (8, 8, 1)
    assert np.array_equal(model.predict_proba(other), fitted.probabilities_)
    assert np.array_equal(model.predict_proba(pixels), fitted.probabilities_)
    assert np.array_equal(fitted.predict_proba(other), fitted.probabilities_)


def test_a_memory_map_is_left_as_it_is(pixels, fitted, tmp_path):
    np.save(tmp_path / "images.npy", pixels)
    for mode in ("r", "c"):
        images = np.load(tmp_path / "images.npy", mmap_mode=mode)
        model = DEPICT(2, **SHELL).fit(images)
        assert np.array_equal(model.probabilities_, fitted.probabilities_)
        assert np.array_equal(images, pixels)


def test_true_is_white(pixels):
    binary = pixels > 127
    expected = DEPICT(2, **SHELL).fit(binary.astype(np.uint8) * 255)
    model = DEPICT(2, **SHELL).fit(binary)
    assert np.array_equal(model.probabilities_, expected.probabilities_)
    assert np.array_equal(model.predict_proba(binary.astype(int)), expected.probabilities_)  # in the units of fit


def test_rows_of_colour_and_of_other_shapes(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 9, 8, 3), np.uint8)
    expected = DEPICT(2, **SHELL).fit(images)
    model = DEPICT(2, image_shape=(9, 8, 3), **SHELL).fit(rows(images))
    assert np.array_equal(model.probabilities_, expected.probabilities_)
    assert np.array_equal(expected.predict_proba(rows(images)), expected.probabilities_)  # the shape is known by then
    assert DEPICT(2, image_shape=[9, 8, 3], **SHELL).fit(images).n_features_in_ == 216
    expected.save(tmp_path / "run")
    assert DEPICT.load(tmp_path / "run").image_shape == (9, 8, 3)
    np.savetxt(tmp_path / "rows.csv", rows(images), "%d", ",")
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "rows.csv"), "--out", str(tmp_path / "out.csv")]) == 0
    assert np.array_equal(np.loadtxt(tmp_path / "out.csv", delimiter=",", skiprows=1)[:, 1], expected.labels_)


@pytest.mark.parametrize("scale", [1, 1 / 255])
def test_a_dark_image_alone_is_read_as_among_the_others(pixels, scale, tmp_path):
    images = rows(pixels) * scale if scale < 1 else rows(pixels).astype(float)
    images[0] /= 10  # its numbers alone would not say what white is
    model = DEPICT(2, **SHELL).fit(images)
    assert np.array_equal(model.predict_proba(images[:1]), model.probabilities_[:1])
    model.save(tmp_path / "run")
    loaded = DEPICT.load(tmp_path / "run")
    assert loaded.white_ == model.white_ == (255 if scale == 1 else 1)
    assert np.array_equal(loaded.predict_proba(images[:1]), model.probabilities_[:1])
    with pytest.raises(ValueError, match=r"X holds numbers up to .*: expected at most .*, white in the X of fit"):
        model.predict(images * 16)


def test_after_uint8_integers_are_taken_alike_and_floats_must_be_plain(pixels, fitted):
    dark = (pixels[:1] // 20).astype(np.int64)
    assert np.array_equal(fitted.predict_proba(dark), fitted.predict_proba(dark.astype(np.uint8)))
    with pytest.raises(ValueError, match="plainly"):
        fitted.predict(dark.astype(float))


def test_scikit_learns_digits_are_not_misread(fitted):
    digits = load_digits()
    for images in (digits.data, digits.images, digits.data.astype(int), pd.DataFrame(digits.data)):
        with pytest.raises(ValueError, match=r"from 0 to 16: .* divide X by the number that stands for white"):
            DEPICT(10, **SHELL).fit(images)
    for images in (digits.data, digits.images):
        with pytest.raises(ValueError, match="from 0 to 16"):
            fitted.predict(images)
    ours = DEPICT(2, **SHELL).fit(digits.data[:80] / 16)
    assert np.array_equal(ours.probabilities_, fitted.probabilities_)


@pytest.mark.parametrize(
    ("images", "error", "sentence"),
    [
        (np.array([[["a"]]], dtype=object), ValueError, "could not convert string to float: 'a'"),
        (np.full((4, 8, 8), "1"), ValueError, "not compatible with arrays of bytes/strings"),
        (np.zeros((4, 8, 8), "M8[s]"), TypeError, "dtype datetime64[s]: expected uint8"),
        (np.zeros((8, 8), np.uint8), ValueError, "expected images (N, H, W) or (N, H, W, C), or flattened ones of"),
        (np.zeros((4, 50), np.uint8), ValueError, "X has 50 numbers a row, which is no square"),
        (np.zeros((0, 8, 8), np.uint8), ValueError, "Found array with 0 sample(s)"),
        (np.zeros((1, 8, 8), np.uint8), ValueError, "Found array with 1 sample(s)"),
        (np.zeros((4, 8, 0), np.uint8), ValueError, "at least one pixel"),
        (np.zeros((4, 8, 8, 1, 1), np.uint8), ValueError, "X has shape (4, 8, 8, 1, 1): expected images"),
        (np.full((4, 8, 8), 1.5), ValueError, "from 1.5 to 1.5: expected uint8, bool, or a range that is plainly"),
        (np.full((4, 64), 0.3), ValueError, "from 0.3 to 0.3: expected uint8, bool, or a range that is plainly"),
        (np.full((4, 8, 8), 1000), ValueError, "X holds int64 from 1000 to 1000: expected uint8"),
        (np.linspace(-1, 1, 256).reshape(4, 64), ValueError, "Negative values in data passed to DEPICT"),
        (np.full((4, 8, 8), np.nan), ValueError, "Input X contains NaN."),
        (np.array([np.inf] + [0.5] * 255).reshape(4, 64), ValueError, "Input X contains infinity"),
        (pd.DataFrame({f"p{i}": [0.1, None, 1.0] for i in range(64)}), ValueError, "Input X contains NaN."),
        (sparse.csr_array(np.eye(64)), TypeError, "Sparse data was passed for X, but dense data is required"),
        (sparse.csr_matrix(np.eye(64)), TypeError, "Sparse data was passed for X, but dense data is required"),
        ([np.zeros((8, 8)), np.zeros((9, 8))], ValueError, "X holds images of different shapes"),
        (pd.DataFrame(np.eye(64), columns=[*range(63), "last"]), TypeError, "string"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_images_are_refused(images, error, sentence, monkeypatch):
    monkeypatch.setattr("depict_jax.estimator.run", None)  # before anything is computed
    with pytest.raises(error, match=re.escape(sentence)):
        DEPICT(2).fit(images)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((8,), "image_shape is 8: expected two or three positive integers"),
        (64, "image_shape is 64: expected two or three positive integers"),
        ((8, 0), "image_shape is 8 0: expected"),
        ((8, 7), "X has 64 numbers a row: expected 56 for images of 8 x 7"),
    ],
)
def test_bad_image_shapes_are_refused(pixels, shape, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        DEPICT(2, image_shape=shape).fit(rows(pixels))


def test_images_of_another_shape_are_refused(pixels, fitted):
    with pytest.raises(ValueError, match="images are 9 x 9 x 1: expected 8 x 8 x 1"):
        fitted.predict(np.zeros((2, 9, 9, 1), np.uint8))
    with pytest.raises(ValueError, match="images are 9 x 9: expected 8 x 8 x 1"):
        fitted.predict(np.zeros((2, 9, 9), np.uint8))
    with pytest.raises(ValueError, match="X has 81 features, but DEPICT is expecting 64 features"):
        fitted.predict(np.zeros((2, 81), np.uint8))
    with pytest.raises(ValueError, match="images of 8 x 8 x 1, not flattened and not 4 x 16"):
        DEPICT(2, image_shape=(4, 16)).fit(pixels)


def test_names_of_columns(pixels, fitted):
    names = [f"pixel{i}" for i in range(64)]
    frame = pd.DataFrame(rows(pixels), columns=names)
    model = DEPICT(2, **SHELL).fit(frame)
    assert model.feature_names_in_.tolist() == names
    with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
        model.predict(frame[names[::-1]])
    assert np.array_equal(
        fitted.predict(frame), fitted.labels_
    )  # fitted to images: what the columns are called is nothing
    model.fit(pixels)
    assert not hasattr(model, "feature_names_in_")


def test_a_fit_that_fails_leaves_the_model(pixels):
    names = [f"pixel{i}" for i in range(64)]
    model = DEPICT(2, **SHELL).fit(pd.DataFrame(rows(pixels), columns=names))
    before = dict(vars(model))
    for images in (np.zeros((20, 9, 9), np.uint8), pd.DataFrame(np.zeros((20, 81), np.uint8))):
        with pytest.raises(ValueError, match="distinct"):
            model.fit(images)
    assert vars(model).keys() == before.keys() and all(vars(model)[name] is before[name] for name in before)


def test_output_as_a_data_frame(pixels, fitted):
    frame = pd.DataFrame(rows(pixels), index=[f"image {i}" for i in range(80)])
    model = clone(fitted).set_output(transform="pandas")
    found = model.fit_transform(frame)
    assert found.columns.tolist() == ["depict0", "depict1"] == model.get_feature_names_out().tolist()
    assert found.index.tolist() == frame.index.tolist()
    assert np.array_equal(found.to_numpy(), fitted.transform(pixels))
    assert model.transform(pixels).columns.tolist() == found.columns.tolist()  # for images too


def test_in_a_pipeline(pixels, fitted):
    scaled = make_pipeline(MinMaxScaler((0, 255), clip=True), DEPICT(2, **SHELL))
    assert np.array_equal(scaled.fit_predict(rows(pixels)), scaled.predict(rows(pixels)))
    divided = make_pipeline(FunctionTransformer(lambda x: x / 255), DEPICT(2, **SHELL)).fit(pixels)
    assert np.array_equal(divided.predict_proba(pixels), fitted.probabilities_)
    assert not np.array_equal(
        divided.set_params(depict__random_state=1).fit(pixels).predict_proba(pixels), fitted.probabilities_
    )
    embedded = make_pipeline(DEPICT(2, **SHELL), KMeans(3, n_init=1, random_state=0)).fit(pixels)
    expected = KMeans(3, n_init=1, random_state=0).fit_predict(fitted.transform(pixels))
    assert np.array_equal(embedded.predict(pixels), expected)


def test_weights_of_samples_are_not_claimed(pixels):
    from sklearn.utils.validation import has_fit_parameter

    assert not has_fit_parameter(DEPICT(), "sample_weight")
    with pytest.raises(TypeError, match="sample_weight"):
        DEPICT(2, **SHELL).fit_predict(pixels, sample_weight=np.ones(80))
