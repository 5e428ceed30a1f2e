"""NumPy's files: a stream gives what `load` gives, piece by piece, and stops where the file is bad; options."""

import zipfile

import h5py
import numpy as np
import pytest

from depict_jax.data import Reading, images, load, stream

PIXELS = np.random.default_rng(0).integers(256, size=(11, 8, 9), dtype=np.uint8)
FLOATS = np.random.default_rng(1).random((11, 8, 9, 3))
ARRAYS = {"grey": PIXELS, "floats": FLOATS, "fortran": np.asfortranarray(PIXELS), "big_endian": FLOATS.astype(">f4")}


@pytest.fixture(autouse=True)
def four_at_a_time(monkeypatch):
    monkeypatch.setattr(images, "PIECE", 4)


@pytest.mark.parametrize("array", ARRAYS.values(), ids=list(ARRAYS))
@pytest.mark.parametrize("form", ["npy", "npz", "compressed"])
def test_stream_equals_load(array, form, tmp_path):
    path = tmp_path / f"images.{form[:3] if form != 'compressed' else 'npz'}"
    if form == "npy":
        np.save(path, array)
    else:
        (np.savez if form == "npz" else np.savez_compressed)(path, images=array, y=np.arange(11))
    pieces = list(stream(path))
    assert [len(piece) for piece in pieces] == [4, 4, 3]
    whole = load(path).pixels
    assert all(piece.dtype == np.uint8 for piece in pieces)
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_stream_of_the_digits():
    np.testing.assert_array_equal(np.concatenate(list(stream("digits"))), load("digits").pixels)


def test_a_member_is_read_no_further_than_asked(tmp_path, monkeypatch):
    path = tmp_path / "images.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).integers(256, size=(4000, 16, 16), dtype=np.uint8))
    read = []
    whole = zipfile.ZipExtFile.read
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda self, n=-1: read.append(n) or whole(self, n))
    next(stream(path))
    assert min(read) >= 0 and sum(read) < 4 * 16 * 16 + 1000  # four images and the headers


@pytest.mark.parametrize("value", [np.nan, 1.5, -0.5])
def test_a_bad_value_stops_the_stream_at_its_piece(value, tmp_path):
    bad = FLOATS.copy()
    bad[6, 0, 0, 0] = value
    np.savez(tmp_path / "images.npz", x=bad)
    found = stream(tmp_path / "images.npz")
    next(found)
    with pytest.raises(ValueError, match=r"expected (floats in )?\[0, 1\]"):
        next(found)


def test_a_damaged_member_is_named(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, x=PIXELS)
    content = bytearray(path.read_bytes())
    content[content.index(PIXELS[9].tobytes()) + 5] ^= 255  # a pixel changed: the archive's checksum is wrong
    path.write_bytes(content)
    with pytest.raises(ValueError, match="x cannot be read: Bad CRC"):
        list(stream(path))


def test_a_member_that_ends_early_is_named(tmp_path):
    path = tmp_path / "images.npz"
    np.save(tmp_path / "x.npy", PIXELS)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", (tmp_path / "x.npy").read_bytes()[:-300])
    with pytest.raises(ValueError, match="x cannot be read: it ends before image 8"):
        list(stream(path))


@pytest.mark.parametrize("array", [np.array(3.0), np.zeros((5, 4)), np.zeros((0, 8, 8)), np.zeros((3, 8, 8), int)])
@pytest.mark.parametrize("form", ["npy", "npz"])
def test_stream_refuses_what_load_refuses(array, form, tmp_path):
    path = tmp_path / f"images.{form}"
    np.save(path, array) if form == "npy" else np.savez(path, x=array)
    with pytest.raises((ValueError, TypeError)) as loading:
        load(path)
    with pytest.raises(loading.type) as streaming:
        list(stream(path))
    assert str(streaming.value) == str(loading.value)


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_stream_never_unpickles(form, tmp_path):
    path = tmp_path / f"images.{form}"
    objects = np.array([PIXELS, None], dtype=object)
    np.save(path, objects, allow_pickle=True) if form == "npy" else np.savez(path, x=objects)
    with pytest.raises(ValueError, match="objects are never loaded"):
        list(stream(path))


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_rows_become_images_of_the_shape_given(form, tmp_path):
    path = tmp_path / f"rows.{form}"
    rows = PIXELS.reshape(11, -1)
    np.save(path, rows) if form == "npy" else np.savez(path, x=rows)
    reading = Reading(image_shape=(8, 9))
    np.testing.assert_array_equal(load(path, reading).pixels, PIXELS[..., None])
    pieces = list(stream(path, reading))
    assert [len(piece) for piece in pieces] == [4, 4, 3]
    np.testing.assert_array_equal(np.concatenate(pieces), PIXELS[..., None])
    for shape, sentence in (
        ((8, 8), "72 numbers a row: expected 64"),
        ((2, 2, 3), "expected 12 for images of 2 x 2 x 3"),
    ):
        for read in (load, lambda *of: list(stream(*of))):
            with pytest.raises(ValueError, match=sentence):
                read(path, Reading(image_shape=shape))


def test_a_piece_of_large_images_is_small(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "PIECE_BYTES", 2 * PIXELS[0].nbytes + 1)
    np.save(tmp_path / "images.npy", PIXELS)
    assert [len(piece) for piece in stream(tmp_path / "images.npy")] == [2, 2, 2, 2, 2, 1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image_size": ()}, "image_size is empty"),
        ({"image_size": (8, 8, 3)}, "image_size is 8 8 3"),
        ({"image_size": (0,)}, "image_size is 0"),
        ({"image_shape": (64,)}, "image_shape is 64"),
        ({"fit": "stretch"}, "fit is 'stretch': expected one of pad, crop"),
        ({"colour": "blue"}, "colour is 'blue'"),
    ],
)
def test_bad_options_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Reading(**options)


def test_an_option_that_a_source_has_no_use_for_is_refused(tmp_path):
    np.save(tmp_path / "images.npy", PIXELS)
    for source, options, name in (
        (tmp_path / "images.npy", {"strict": True}, "--strict is for folders"),
        (tmp_path / "images.npy", {"image_size": (8,)}, "--image-size is for folders"),
        (tmp_path, {"image_shape": (8, 9)}, "--image-shape is for flattened images"),
        ("digits", {"fit": "crop"}, "--fit is for folders"),
        ("digits", {"image_shape": (8, 8)}, "--image-shape is for flattened images"),
    ):
        for read in (load, stream):
            with pytest.raises(ValueError, match=name):
                read(source, Reading(**options))


@pytest.mark.parametrize("form", ["npy", "npz", "h5"])
def test_a_shape_said_of_images_that_have_it_is_no_error(form, tmp_path):
    """A run on flattened images says it of what it predicts on."""
    path = tmp_path / f"images.{form}"
    if form == "h5":
        with h5py.File(path, "w") as file:
            file["x"] = PIXELS
    else:
        np.save(path, PIXELS) if form == "npy" else np.savez(path, x=PIXELS)
    for shape in ((8, 9), (8, 9, 1)):
        np.testing.assert_array_equal(load(path, Reading(image_shape=shape)).pixels, PIXELS[..., None])
        pieces = list(stream(path, Reading(image_shape=shape)))
        np.testing.assert_array_equal(np.concatenate(pieces), PIXELS[..., None])
        assert form == "h5" or len(pieces) == 3
    for read in (load, lambda *of: list(stream(*of))):
        with pytest.raises(ValueError, match=r"images of 8 x 9.*, not flattened and not 9 x 8: --image-shape is for"):
            read(path, Reading(image_shape=(9, 8)))
