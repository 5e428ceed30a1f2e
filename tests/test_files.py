"""HDF5, MATLAB, idx, CSV, parquet: written as others write them, read back pixel by pixel; nothing guessed silently."""

import gzip
import re
import struct
import zipfile

import h5py
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from scipy.io import savemat

from depict_jax.data import Reading, images, load, stream

PIXELS = np.random.default_rng(0).integers(256, size=(11, 8, 9, 3), dtype=np.uint8)
PIXELS[0, 0, 0], PIXELS[0, 0, 1] = 0, 255  # both ends of the range
GREY = PIXELS[:, :, :8, :1]
LABELS = np.arange(11) % 3
SCALES = {
    "uint8": (lambda x: x, "uint8, taken as they are"),
    "doubles": (lambda x: x.astype(float), "whole numbers from 0 to 255, taken as 0 to 255"),
    "int16": (lambda x: x.astype(np.int16), "whole numbers from 0 to 255, taken as 0 to 255"),
    "unit": (lambda x: x / 255, r"floats from 0 to 1, taken as \[0, 1\]"),
    "float32": (lambda x: (x / 255).astype(np.float32), r"floats from 0 to 1, taken as \[0, 1\]"),
    "signed": (lambda x: x / 127.5 - 1, r"floats from -1 to 1, taken as \[-1, 1\]"),
    "signed32": (lambda x: (x / 127.5 - 1).astype(np.float32), r"floats from -1 to 1, taken as \[-1, 1\]"),
}


@pytest.fixture(autouse=True)
def four_at_a_time(monkeypatch):
    monkeypatch.setattr(images, "PIECE", 4)


def write_hdf5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def write_v73(path, **arrays):
    """As MATLAB does with -v7.3: HDF5 behind 512 bytes of its own, axes backwards, the class as an attribute."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            kind = {"f": "double", "b": "logical"}.get(array.dtype.kind, array.dtype.name)
            file[name] = (array.astype(np.uint8) if kind == "logical" else array).T
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
    return path


def write_idx(path, array, code=8):
    content = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_csv(path, rows, header=None, labels=None):
    lines = [] if header is None else [",".join(header)]
    for i, row in enumerate(rows):
        lines.append(",".join(([] if labels is None else [str(labels[i])]) + [f"{value:g}" for value in row]))
    content = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return path


def write_parquet(path, rows, **columns):
    table = {**columns, **{f"pixel{i}": column for i, column in enumerate(rows.T)}}
    parquet.write_table(pyarrow.table(table), path, row_group_size=5)
    return path


def read(path, reading=None):
    """What `load` gives, after a check that the stream gives the same in pieces."""
    found, streamed = load(path, reading), stream(path, reading)
    assert streamed.notes == found.notes
    pieces = list(streamed)
    assert all(piece.dtype == np.uint8 and piece.ndim == 4 for piece in pieces)
    if not str(path).endswith((".csv", ".csv.gz")):  # Arrow cuts CSV where it likes
        assert max(map(len, pieces)) <= 4
    np.testing.assert_array_equal(np.concatenate(pieces), found.pixels)
    assert found.names is None and found.skipped == () and found.source == str(path)
    return found


@pytest.mark.parametrize("scale", SCALES)
def test_the_authors_layout(scale, tmp_path):
    scaled, note = SCALES[scale]
    path = write_hdf5(tmp_path / "faces.h5", data=scaled(PIXELS).transpose(0, 3, 1, 2), labels=LABELS)
    found = read(path)
    np.testing.assert_array_equal(found.pixels, PIXELS)
    np.testing.assert_array_equal(found.labels, LABELS)
    assert any(re.match(note, line) for line in found.notes)
    assert any("N, C, H, W" in line for line in found.notes)


@pytest.mark.parametrize(("x", "y"), [("x", "y"), ("images", "labels"), ("X", "Labels"), ("data", None)])
def test_hdf5_by_other_names(x, y, tmp_path):
    arrays = {x: GREY[..., 0]} | ({} if y is None else {y: LABELS[:, None]})
    found = read(write_hdf5(tmp_path / "digits.hdf5", **arrays, other=np.zeros(3)))
    np.testing.assert_array_equal(found.pixels, GREY)
    assert (found.labels is None) if y is None else (found.labels == LABELS).all()


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("x", PIXELS),  # the shape says where the channels are, whatever the name
        ("data", PIXELS),
        ("x", PIXELS.transpose(0, 3, 1, 2)),
        ("data", PIXELS.transpose(0, 3, 1, 2)),
    ],
)
def test_channels_are_where_the_shape_says(name, stored, tmp_path):
    np.testing.assert_array_equal(read(write_hdf5(tmp_path / "x.h5", **{name: stored})).pixels, PIXELS)


@pytest.mark.parametrize("name", ["x", "data"])
def test_where_the_shape_does_not_say_the_name_does(name, tmp_path):
    both = PIXELS[:, :3]  # (11, 3, 9, 3)
    found = read(write_hdf5(tmp_path / "x.h5", **{name: both}))
    np.testing.assert_array_equal(found.pixels, both if name == "x" else both.transpose(0, 2, 3, 1))


RANGES = {
    "unit_rows": (GREY / 255 * 0.3, "floats from 0 to 0.3"),
    "standardised": (GREY / 255 * 1.4 - 0.5, "floats from -0.5 to 0.9"),
    "half_signed": (GREY / 255 * 1.6 - 0.8, "floats from -0.8 to 0.8"),
    "digits": (GREY // 16, None),  # uint8 is what it is
    "sixteen_levels": ((GREY // 16).astype(float), "whole numbers from 0 to 15"),
    "integers_to_1": (np.int32(GREY > 99), "whole numbers from 0 to 1:"),
    "floats_to_16": (GREY / 16.0, "floats from 0 to 15.9375"),
    "beyond_255": (GREY * 2.0, "whole numbers from 0 to 510"),
    "uint16": (GREY.astype(np.uint16) * 257, "whole numbers from 0 to 65535"),
    "negative": (GREY.astype(np.int64) - 3, "whole numbers from -3 to 252"),
    "nan": (np.where(GREY == 255, np.nan, GREY / 255), "NaN or infinity"),
    "infinite": (np.where(GREY == 255, np.inf, GREY / 255), "NaN or infinity"),
    "complex": (GREY * 1j, "dtype complex128"),
}


@pytest.mark.parametrize("name", RANGES)
def test_an_ambiguous_range_is_refused(name, tmp_path):
    values, sentence = RANGES[name]
    path = write_hdf5(tmp_path / "x.h5", x=values)
    if sentence is None:
        np.testing.assert_array_equal(read(path).pixels, values)
        return
    for reader in (load, stream):
        with pytest.raises((ValueError, TypeError), match=sentence) as error:
            reader(path)
        assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_true_and_false_are_white_and_black(tmp_path):
    found = read(write_hdf5(tmp_path / "x.h5", x=GREY > 99))
    np.testing.assert_array_equal(found.pixels, np.where(GREY > 99, 255, 0))
    assert "true is 255, false is 0" in found.notes


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"faces": GREY}, "holds faces: expected images under data, x, images or fea"),
        ({"x": GREY, "data": GREY}, "holds data and x: expected one of them"),
        ({"x": GREY, "y": LABELS[:5]}, r"labels of shape \(5,\) for 11 images"),
        ({"x": np.zeros(9, np.uint8)}, r"shape \(9,\)"),
        ({"x": GREY[:0]}, "at least one image"),
        ({"x": PIXELS[:, 0, :, 0]}, "9 numbers a row"),
        ({"x": PIXELS[:, :, 0, 0][:, :7]}, "7 numbers a row, which is no square: say their --image-shape"),
    ],
)
def test_hdf5_without_usable_images_is_refused(arrays, sentence, tmp_path):
    path = write_hdf5(tmp_path / "x.h5", **arrays)
    if sentence == "9 numbers a row":  # a square after all
        assert read(path).pixels.shape == (11, 3, 3, 1)
        return
    with pytest.raises(ValueError, match=sentence):
        load(path)


def test_objects_and_links_are_never_followed(tmp_path):
    text = h5py.string_dtype()
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["x"] = GREY
        file.create_dataset("y", data=["a"] * 11, dtype=text)
    with pytest.raises(ValueError, match="y holds objects, which are never loaded"):
        load(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=[["a"] * 4] * 3, dtype=text)
    with pytest.raises(TypeError, match="objects are never loaded"):
        load(path)
    write_hdf5(tmp_path / "other.h5", x=GREY)
    with h5py.File(path, "w") as file:
        file["x"] = h5py.ExternalLink("other.h5", "x")
    with pytest.raises(ValueError, match="holds nothing"):
        load(path)


@pytest.mark.parametrize("link", [h5py.ExternalLink("other.h5", "x"), h5py.SoftLink("/nowhere")])
def test_links_of_a_new_mat_are_never_followed(link, tmp_path):
    write_hdf5(tmp_path / "other.h5", x=GREY)
    path = tmp_path / "x.mat"
    with h5py.File(path, "w") as file:
        file["x"] = link
    with pytest.raises(ValueError, match="holds nothing"):
        load(path)


def test_a_member_that_is_no_array_and_a_damaged_header_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", b"not an array")
    with pytest.raises(ValueError, match="x cannot be read: it is no array"):
        load(tmp_path / "x.npz")
    np.save(tmp_path / "x.npy", GREY)
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content.replace(b"'shape': (", b"'shape': ((", 1))
    with pytest.raises(ValueError, match=r"x\.npy cannot be read"):
        load(tmp_path / "x.npy")


def test_a_header_that_counts_more_than_there_is_memory_for_is_refused(tmp_path):
    (tmp_path / "x.idx").write_bytes(
        b"\0\0\x08\x03" + np.array([3, 2**32 - 1, 2**32 - 1], ">u4").tobytes() + bytes(100)
    )
    with pytest.raises(ValueError, match=r"x\.idx cannot be read: "):
        load(tmp_path / "x.idx")


@pytest.mark.parametrize("name", ["x.h5", "x.mat", "x.parquet", "x-images-idx3-ubyte", "x.idx.gz"])
@pytest.mark.parametrize("content", [b"", b"nothing of that kind" * 40])
def test_a_file_that_is_not_what_its_name_says(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read") as error:
        load(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["x.h5", "x.mat", "v73.mat", "x.parquet", "x-images-idx3-ubyte", "x.idx.gz"])
def test_a_file_cut_short_is_refused(name, tmp_path):
    path, rows = tmp_path / name, GREY.reshape(11, -1)
    writers = {
        "x.h5": lambda: write_hdf5(path, x=GREY),
        "x.mat": lambda: savemat(path, {"X": rows}),
        "v73.mat": lambda: write_v73(path, X=rows),
        "x.parquet": lambda: write_parquet(path, rows),
        "x-images-idx3-ubyte": lambda: write_idx(path, GREY[..., 0]),
        "x.idx.gz": lambda: write_idx(path, GREY[..., 0]),
    }
    writers[name]()
    read(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 150])
    with pytest.raises(ValueError, match="cannot be read") as error:
        load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("x", "y"), [("X", "Y"), ("fea", "gnd"), ("data", "labels")])
@pytest.mark.parametrize("write", [lambda path, **arrays: savemat(path, arrays), write_v73], ids=["v5", "v7.3"])
def test_matlabs_rows_column_by_column(scale, x, y, write, tmp_path):
    scaled, note = SCALES[scale]
    rows = np.stack([image.ravel(order="F") for image in GREY])
    write(tmp_path / "faces.mat", **{x: scaled(rows), y: LABELS[:, None].astype(float)})
    found = read(tmp_path / "faces.mat")
    np.testing.assert_array_equal(found.pixels, GREY)
    np.testing.assert_array_equal(found.labels, LABELS)
    assert found.labels.dtype == np.int64
    assert any(re.match(note, line) for line in found.notes)
    assert "a row of 64 numbers is an image of 8 x 8 x 1, column by column" in found.notes


@pytest.mark.parametrize("file", ["usps_11000.npz", "cmu_pie_32x32.npz"])
@pytest.mark.parametrize("scale", ["uint8", "unit", "signed"])
def test_real_images_written_as_mat_come_back(file, scale, real_data, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "PIECE", 5000)
    real = load(real_data(file))
    rows = real.pixels[..., 0].transpose(0, 2, 1).reshape(len(real.pixels), -1)
    savemat(tmp_path / "real.mat", {"fea": SCALES[scale][0](rows), "gnd": real.labels[:, None]}, do_compression=True)
    found = load(tmp_path / "real.mat")
    assert found.content_hash == real.content_hash
    np.testing.assert_array_equal(found.labels, real.labels)


def test_a_mat_of_colour_rows_and_of_other_axes(tmp_path):
    path = tmp_path / "x.mat"
    rows = np.stack([image.ravel(order="F") for image in PIXELS])
    savemat(path, {"X": rows})
    np.testing.assert_array_equal(read(path, Reading(image_shape=(8, 9, 3))).pixels, PIXELS)
    for stored, y in ((PIXELS.transpose(1, 2, 3, 0), LABELS), (PIXELS, LABELS[:, None])):
        savemat(path, {"X": stored, "y": y})
        np.testing.assert_array_equal(read(path).pixels, PIXELS)
    savemat(path, {"X": GREY[..., 0].transpose(1, 2, 0), "y": LABELS})
    np.testing.assert_array_equal(read(path).pixels, GREY)
    savemat(path, {"X": np.stack([image.ravel(order="F") for image in GREY], axis=1), "y": LABELS})  # (64, 11)
    found = read(path)
    np.testing.assert_array_equal(found.pixels, GREY)
    assert "of shape 64 x 11 the last axis counts the images" in found.notes


def test_doubles_that_matlab_stores_in_fewer_bytes_are_doubles(tmp_path):
    """0 and 1 as doubles are black and white, though the file holds them as bytes."""
    path = tmp_path / "x.mat"
    rows = (GREY > 99).reshape(11, -1)
    savemat(path, {"X": rows.astype(float)})
    packed = path.read_bytes().replace(
        struct.pack("<II", 9, rows.size * 8) + rows.astype(float).tobytes(order="F"),
        struct.pack("<II", 2, rows.size) + rows.astype(np.uint8).tobytes(order="F"),
    )
    size = struct.unpack_from("<I", packed, 132)[0]
    path.write_bytes(packed[:132] + struct.pack("<I", size - rows.size * 7) + packed[136:])
    assert len(packed) < rows.size * 8
    np.testing.assert_array_equal(read(path).pixels.max(), 255)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"X": np.array([GREY, "a"], dtype=object)}, "X is of MATLAB's class cell"),
        ({"X": {"a": 1.0}}, "X is of MATLAB's class struct"),
        ({"X": GREY.reshape(11, -1), "gnd": np.array(["a"] * 11, dtype=object)}, "gnd is of MATLAB's class cell"),
        ({"X": GREY.reshape(11, -1), "Y": LABELS[:5]}, r"shape \(11, 64\) for 5 labels"),
        ({"X": GREY[..., 0]}, "no labels to say which axis counts images"),
        ({"X": GREY.reshape(11, -1)[:, :63]}, "63 numbers a row, which is no square"),
        ({"X": GREY.reshape(11, -1), "fea": GREY}, "holds X and fea"),
        ({"pictures": GREY}, "expected images under"),
    ],
)
def test_a_mat_without_usable_images_is_refused(variables, sentence, tmp_path):
    savemat(tmp_path / "x.mat", variables)
    with pytest.raises(ValueError, match=sentence):
        load(tmp_path / "x.mat")


def test_mnists_own_files_are_the_real_rows(real_data, monkeypatch):
    monkeypatch.setattr(images, "PIECE", 5000)
    real = load(real_data("mnist_full.npz"))
    for part, rows in (("train", slice(60_000)), ("t10k", slice(60_000, None))):
        found = load(real_data(f"idx-gz/{part}-images-idx3-ubyte.gz"))
        np.testing.assert_array_equal(found.pixels, real.pixels[rows])
        np.testing.assert_array_equal(found.labels, real.labels[rows])
        assert f"labels from {part}-labels-idx1-ubyte.gz" in found.notes


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("a-images-idx3-ubyte", "a-labels-idx1-ubyte"),
        ("a-images.idx3-ubyte", "a-labels.idx1-ubyte"),
        ("a-images-idx3-ubyte.gz", "a-labels-idx1-ubyte"),
        ("a-images-idx3-ubyte", "a-labels-idx1-ubyte.gz"),
    ],
)
def test_labels_beside_an_idx_file_are_found(x, y, tmp_path):
    path = write_idx(tmp_path / x, GREY[..., 0])
    without = read(path)
    assert without.labels is None and any(line.startswith("no labels: a-labels") for line in without.notes)
    write_idx(tmp_path / y, LABELS.astype(np.uint8))
    found = read(path)
    np.testing.assert_array_equal(found.pixels, GREY)
    np.testing.assert_array_equal(found.labels, LABELS)
    assert f"labels from {y}" in found.notes
    write_idx(tmp_path / y, LABELS[:5].astype(np.uint8))
    with pytest.raises(ValueError, match=r"labels of shape \(5,\) for 11 images"):
        load(path)
    with pytest.raises(ValueError, match="holds 5 labels: expected images"):
        load(tmp_path / y)


def test_idx_of_floats_and_of_more_than_it_counts(tmp_path):
    path = write_idx(tmp_path / "floats.idx", (GREY[..., 0] / 255).astype(">f4"), 0x0D)
    np.testing.assert_array_equal(read(path).pixels, GREY)
    with path.open("ab") as file:
        file.write(b"!")
    with pytest.raises(ValueError, match="goes on after the 11 items"):
        load(path)


@pytest.mark.parametrize("label", ["label", "labels", "Y", "class", None])
@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet"])
@pytest.mark.parametrize("scale", SCALES)
def test_tables_of_pixels(label, form, scale, tmp_path):
    scaled, note = SCALES[scale]
    path, rows = tmp_path / f"pixels.{form}", scaled(GREY).reshape(11, -1)
    if form == "parquet":
        write_parquet(path, rows, **({} if label is None else {label: LABELS}))
    else:
        header = [f"pixel{i}" for i in range(64)]
        write_csv(path, rows, header if label is None else [label, *header], None if label is None else LABELS)
    found = read(path)
    np.testing.assert_array_equal(found.pixels, GREY)
    assert (found.labels is None) if label is None else (found.labels == LABELS).all()
    if form == "parquet" or scale != "uint8":
        assert any(re.match(note, line) for line in found.notes)
    assert "a row of 64 numbers is an image of 8 x 8 x 1, row by row" in found.notes


def test_a_table_of_colour_images_and_words_as_labels(tmp_path):
    words = np.array(["cat", "dog", "bird"])[LABELS]
    reading = Reading(image_shape=(8, 9, 3))
    header = ["class", *(f"p{i}" for i in range(216))]
    for path in (
        write_csv(tmp_path / "x.csv", PIXELS.reshape(11, -1), header, words),
        write_parquet(tmp_path / "x.parquet", PIXELS.reshape(11, -1), **{"class": words}),
    ):
        found = read(path, reading)
        np.testing.assert_array_equal(found.pixels, PIXELS)
        np.testing.assert_array_equal(found.labels, words)


def test_a_csv_without_header_loses_no_image(tmp_path):
    path = write_csv(tmp_path / "x.csv", GREY.reshape(11, -1))
    found = read(path)
    np.testing.assert_array_equal(found.pixels, GREY)
    assert "no header line: every column is a pixel" in found.notes
    write_csv(path, GREY.reshape(11, -1), map(str, range(64)))  # pandas' names of columns
    np.testing.assert_array_equal(read(path).pixels, GREY)


def test_a_long_csv_is_read_in_pieces(tmp_path, monkeypatch):
    from depict_jax.data import tables

    monkeypatch.setattr(tables, "BLOCK", 1)  # several lines at a time still: a line must fit
    rows = np.tile(GREY.reshape(11, -1), (50, 1))
    found = stream(write_csv(tmp_path / "x.csv", rows))
    pieces = list(found)
    assert len(pieces) > 50
    np.testing.assert_array_equal(np.concatenate(pieces).reshape(550, -1), rows)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ("a,b,c,d\n", "at least one image"),
        ("a,b,c,d\n0,255,3,\n", "column d lacks values"),
        ("a,b,c,d\n0,255,3,x\n", "cannot be read"),
        ("a,b,c,d\n0,255,3\n", "cannot be read"),
        ("label,a,b,c\n0,255,3,4\n", "3 numbers a row, which is no square"),
        ("label,y,a\n0,255,3\n", "holds label and y"),
    ],
)
def test_a_bad_csv_is_refused(content, sentence, tmp_path):
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(ValueError, match=sentence) as error:
        load(tmp_path / "x.csv")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"a": [0, 255], "b": ["x", "y"]}, "column b is of type string"),
        ({"a": [0, 255], "b": [[1], [2]]}, r"column b is of type list"),
        ({"a": [0, 255], "b": [1, None], "c": [1, 2], "d": [1, 2]}, "column b lacks values"),
        ({"label": [0, 1]}, "no column of pixels"),
    ],
)
def test_a_bad_parquet_is_refused(columns, sentence, tmp_path):
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=sentence):
        load(tmp_path / "x.parquet")


def test_hdf5_streams_without_reading_all(tmp_path, monkeypatch):
    path = write_hdf5(tmp_path / "x.h5", data=np.repeat(GREY, 100, axis=0))
    asked = []
    whole = h5py.Dataset.__getitem__
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda self, rows: asked.append(rows) or whole(self, rows))
    found = stream(path)
    assert asked == []  # uint8 needs no look at the range
    next(found)
    assert asked == [slice(0, 4)]
