"""Named sets against a server on this machine: what it should send, what it should not, and trying again."""

import gzip
import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
import scipy.io
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums

from depict_jax.data import named
from depict_jax.data.named import NAMES, Named, builder, catalogue, load_named, prepare, sets
from depict_jax.data.named.builder import BLOCKS, NamedImages

SHARED = Path(os.environ.get("DEPICT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
RNG = np.random.default_rng(0)
TRAIN, TEST = (RNG.integers(256, size=(n, 6, 5), dtype=np.uint8) for n in (150, 30))  # 150: more than parquet's hundred
TRAIN_LABELS, TEST_LABELS = (np.arange(n, dtype=np.uint8) % 3 for n in (150, 30))
PIXELS, LABELS = np.concatenate([TRAIN, TEST])[..., None], np.concatenate([TRAIN_LABELS, TEST_LABELS])


def idx(array):
    header = b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes())


FILES = {
    "train-images-idx3-ubyte.gz": idx(TRAIN),
    "train-labels-idx1-ubyte.gz": idx(TRAIN_LABELS),
    "t10k-images-idx3-ubyte.gz": idx(TEST),
    "t10k-labels-idx1-ubyte.gz": idx(TEST_LABELS),
}
FIRST, LAST = "train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


class Server(ThreadingHTTPServer):
    """Serves `files` by name, some of them with a fault, and remembers what was asked for."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.faults, self.asked = files, {}, []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self.server.asked.append(name)
        fault, content = self.server.faults.get(name), self.server.files[name]
        if fault == "missing":
            return self.send_error(404)
        self.send_response(200)
        if fault != "short":  # without a length, an answer that ends early looks whole
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault == "wrong":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if fault in ("truncated", "short", "stalled"):
            content = content[: len(content) // 2]
        self.wfile.write(content)
        if fault == "stalled":
            self.wfile.flush()
            time.sleep(60)
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def serving(files):
    server = Server(files)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server():
    with serving(FILES) as running:
        yield running


def record(monkeypatch, tmp_path, files, base):
    """Take `files` for the ones that were recorded, under `base`."""
    table = tmp_path / "checksums.tsv"
    lines = [f"{base}/{name}\t{len(data)}\t{hashlib.sha256(data).hexdigest()}\t{name}" for name, data in files.items()]
    table.write_text(sets.CHECKSUMS.read_text() + "\n".join(lines) + "\n")
    monkeypatch.setattr(sets, "CHECKSUMS", table)
    monkeypatch.setattr(NamedImages, "url_infos", checksums.load_url_infos(table))


@pytest.fixture
def tiny(server, monkeypatch, tmp_path):
    """A set of 180 images, whose files the server has."""
    record(monkeypatch, tmp_path, FILES, server.url)
    made_up = Named("Noise", 180, (6, 5, 1), 3, "the server", sets._four_files(server.url), "tiny")
    monkeypatch.setitem(NAMES, "tiny", made_up)
    return "tiny"


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def assert_is_tiny(images):
    np.testing.assert_array_equal(images.pixels, PIXELS)
    np.testing.assert_array_equal(images.labels, LABELS)
    assert (images.pixels.dtype, images.labels.dtype, images.source) == (np.uint8, np.int32, "tiny")


def here():
    """The environment for a process that finds the package as this one does."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def row(name, data):
    return next(row for row in catalogue(data) if row.name == name)


@pytest.mark.parametrize("file_format", ["array_record", "parquet"])
def test_a_set_is_downloaded_once_and_keeps_its_order(tiny, server, data, file_format, monkeypatch):
    if file_format == "array_record":
        pytest.importorskip("array_record")
    monkeypatch.setattr(builder, "FILE_FORMAT", file_format)
    assert not row(tiny, data).prepared
    assert row(tiny, data).download == sum(map(len, FILES.values()))
    assert_is_tiny(load_named(tiny, data))
    assert row(tiny, data).prepared
    assert server.asked == list(FILES)
    assert_is_tiny(load_named(tiny, data))
    assert prepare(tiny, data) == data / "depict_tiny" / "1.0.0"
    assert server.asked == list(FILES)


def test_tensorflow_datasets_reads_what_was_prepared(tiny, data):
    prepared = tfds.builder_from_directory(prepare(tiny, data))
    blocks = [block["image"] for split in ("train", "test") for block in prepared.as_data_source(split)]
    assert len(blocks) <= 2 * BLOCKS
    np.testing.assert_array_equal(np.concatenate(blocks), PIXELS)


@pytest.mark.parametrize("name", [FIRST, LAST])
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("wrong", "{file} is not the file that was recorded .* bytes with sha256"),
        ("short", "{file} is not the file that was recorded"),
        ("truncated", "cannot be downloaded: .*(IncompleteRead|broken)"),
        ("missing", "cannot be downloaded: .*{file}.* 404; try again"),
    ],
)
def test_after_a_failed_download_the_second_try_works(tiny, server, data, fault, sentence, name):
    server.faults[name] = fault
    with pytest.raises(ValueError, match=sentence.format(file=name)) as caught:
        prepare(tiny, data)
    assert str(data / "downloads" / "manual" / "tiny") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not row(tiny, data).prepared
    assert not list(data.rglob("*.tmp.*")) and not list(data.rglob("*incomplete*"))
    assert server.asked == list(FILES)[: list(FILES).index(name) + 1]  # nothing after it
    server.faults.clear()
    server.asked.clear()
    assert_is_tiny(load_named(tiny, data))
    assert server.asked == list(FILES)[list(FILES).index(name) :]  # what had come through is there


def test_a_machine_offline_is_told_what_to_get_at_once(tiny, server, data):
    server.shutdown()
    server.server_close()
    started = time.monotonic()
    with pytest.raises(ValueError, match=f"127.0.0.1:{server.server_port} cannot be reached") as caught:
        prepare(tiny, data)
    assert time.monotonic() - started < 5
    assert all(part in str(caught.value) for part in (*FILES, server.url, str(data / "downloads" / "manual" / "tiny")))


def put(folder, files=FILES):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("place", ["given", "given/tiny", "data/downloads/manual/tiny"])
def test_files_in_the_manual_directory_are_used_without_a_network(tiny, server, data, tmp_path, place):
    put(tmp_path / place)
    server.shutdown()
    server.server_close()
    assert_is_tiny(load_named(tiny, data, None if place.startswith("data") else tmp_path / "given"))


def test_only_what_is_not_in_the_manual_directory_is_downloaded(tiny, server, data, tmp_path):
    put(tmp_path / "manual", {FIRST: FILES[FIRST]})
    assert_is_tiny(load_named(tiny, data, tmp_path / "manual"))
    assert server.asked == list(FILES)[1:]


def test_another_file_in_the_manual_directory_is_refused(tiny, server, data, tmp_path):
    folder = put(tmp_path / "manual", FILES | {LAST: idx(1 - TEST_LABELS % 2)})
    with pytest.raises(ValueError, match=rf"{LAST} is not the file that tiny is made from .*sha256 [0-9a-f]{{64}}"):
        prepare(tiny, data, folder)
    assert not server.asked and not row(tiny, data).prepared
    put(folder)
    assert_is_tiny(load_named(tiny, data, folder))


def test_folders_that_cannot_be_used(tiny, data, tmp_path):
    with pytest.raises(ValueError, match=r"manual directory '.*nowhere' is not there"):
        prepare(tiny, data, tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"tiny cannot be prepared in .*file"):
        prepare(tiny, tmp_path / "file")


def test_files_of_another_set_are_refused(tiny, data, monkeypatch):
    monkeypatch.setitem(NAMES, tiny, replace(NAMES[tiny], images=181))
    with pytest.raises(ValueError, match="found 180 images of 3 classes, but tiny is 181 of 3"):
        prepare(tiny, data)
    monkeypatch.setitem(NAMES, tiny, replace(NAMES[tiny], images=180, shape=(5, 6, 1)))
    with pytest.raises(ValueError, match=r"cannot be read: it holds 150 images of \(6, 5, 1\)"):
        prepare(tiny, data)


# named: gzip's bytes hold the second in which they were made, and two workers may not collect tests in the same one
@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"no idx"), idx(TRAIN)[:-500], idx(TRAIN[:, :, 0])],
    ids=["no gzip", "no idx", "cut short", "of two dimensions"],
)
def test_an_unreadable_file_is_named(content, monkeypatch, tmp_path, data):
    files = FILES | {FIRST: content}
    record(monkeypatch, tmp_path, files, "http://127.0.0.1:9")
    monkeypatch.setitem(NAMES, "tiny", Named("", 180, (6, 5, 1), 3, "", sets._four_files("http://127.0.0.1:9"), "tiny"))
    with pytest.raises(ValueError, match=f"{FIRST} .*cannot be read: .*; take it away"):
        prepare("tiny", data, put(tmp_path / "manual", files))


def test_what_was_interrupted_does_not_look_prepared(tiny, server, data, monkeypatch):
    def interrupted(self, pixels, labels):
        yield 0, {"image": pixels[:1], "label": labels[:1]}
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(NamedImages, "_generate_examples", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(tiny, data)
    assert not row(tiny, data).prepared
    server.shutdown()
    server.server_close()
    assert_is_tiny(load_named(tiny, data))  # from what is downloaded already


def test_what_was_killed_does_not_look_prepared(tiny, server, data):
    server.faults[LAST] = "stalled"
    script = f"""
from depict_jax.data.named import NAMES, Named, builder, prepare, sets
from tensorflow_datasets.core.download import checksums
builder.NamedImages.url_infos = checksums.load_url_infos({str(sets.CHECKSUMS)!r})
NAMES["tiny"] = Named("", 180, (6, 5, 1), 3, "", sets._four_files({server.url!r}), "tiny")
prepare("tiny", {str(data)!r}, progress=False)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": ":".join(sys.path)}
    ) as process:
        until = time.monotonic() + 60
        while LAST not in server.asked and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not row(tiny, data).prepared
    server.faults.clear()
    server.asked.clear()
    assert_is_tiny(load_named(tiny, data))
    assert server.asked == [LAST]


def test_two_at_once_both_succeed(tiny, data, monkeypatch):
    generate = NamedImages._generate_examples
    first = []

    def overtaken(self, *arrays):
        if not first:
            first.append(self)
            prepare(tiny, data)  # another process, faster
        yield from generate(self, *arrays)

    monkeypatch.setattr(NamedImages, "_generate_examples", overtaken)
    assert_is_tiny(load_named(tiny, data))
    assert first and not list(data.rglob("*incomplete*"))


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:900])])
def test_a_damaged_set_is_named(tiny, data, damage):
    folder = prepare(tiny, data)
    damage(next(folder.glob("*train*")))
    with pytest.raises(ValueError, match=rf"{folder} cannot be read: .*; delete it"):
        load_named(tiny, data)


def test_a_set_that_lost_images_is_not_loaded(tiny, data, monkeypatch):
    prepare(tiny, data)
    monkeypatch.setitem(NAMES, tiny, replace(NAMES[tiny], images=181))
    with pytest.raises(ValueError, match="cannot be read: it holds 180 images instead of 181"):
        load_named(tiny, data)


@pytest.mark.parametrize("progress", [True, False])
def test_downloads_show_their_progress_on_standard_error(tiny, data, capfd, progress):
    prepare(tiny, data, progress=progress)
    printed = capfd.readouterr()
    assert ("Dl Size" in printed.err) == progress
    assert not printed.out and (progress or not printed.err)
    assert list(tfds.core.utils.tqdm_utils.tqdm([1])) == [1] and "it/s" in capfd.readouterr().err  # as it was before


def test_the_data_dir_is_that_of_tensorflow_datasets(tiny, data, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(data))
    assert prepare(tiny).is_relative_to(data)
    assert row(tiny, None).prepared
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert str(named._root(None)) == tfds.core.constants.get_default_data_dir()


def rows_of_pixels(images):
    """As MATLAB flattens them: a row for each image, column after column."""
    return images.transpose(0, 2, 1).reshape(len(images), -1)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "first"), [("usps", (16, 16), 10, 1), ("cmu-pie", (32, 32), 68, 1)]
)
@pytest.mark.parametrize("kind", [np.uint8, np.float64, "unit"])
def test_sets_in_matlab_files(name, shape, classes, first, kind, monkeypatch, tmp_path, data):
    images = RNG.integers(256, size=(2 * classes, *shape), dtype=np.uint8)
    labels = np.repeat(np.arange(classes), 2) + first
    rows = rows_of_pixels(images) / 255 if kind == "unit" else rows_of_pixels(images).astype(kind)
    url = NAMES[name].sources[0]
    path = tmp_path / "manual" / sets.filename(url)
    path.parent.mkdir()
    scipy.io.savemat(path, {"gnd": labels[:, None].astype(float), "fea": rows})
    record(monkeypatch, tmp_path, {path.name: path.read_bytes()}, url.rpartition("/")[0])
    monkeypatch.setitem(NAMES, name, replace(NAMES[name], images=len(images)))
    found = load_named(name, data, path.parent)
    np.testing.assert_array_equal(found.pixels, images[..., None])
    # of ten digits the tenth, MATLAB's last, is the 0
    np.testing.assert_array_equal(found.labels, labels % 10 if classes == 10 else labels - 1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"fea": np.full((4, 256), 300.0), "gnd": np.ones(4)}, "its pixels go from 300 to 300"),
        ({"fea": np.full((4, 256), 2.5), "gnd": np.ones(4)}, "its pixels go from 2.5"),
        ({"fea": np.full((4, 256), np.nan), "gnd": np.ones(4)}, "NaN"),
        ({"fea": np.zeros((4, 255)), "gnd": np.ones(4)}, "no rows of 256 pixels"),
        ({"fea": np.zeros((4, 256)), "gnd": np.ones(5)}, "no labels for its 4 images"),
    ],
)
def test_other_matlab_files_are_refused(content, sentence, monkeypatch, tmp_path, data):
    path = tmp_path / "manual" / "USPS.mat"
    path.parent.mkdir()
    scipy.io.savemat(path, content)
    record(monkeypatch, tmp_path, {path.name: path.read_bytes()}, NAMES["usps"].sources[0].rpartition("/")[0])
    with pytest.raises(ValueError, match=f"USPS.mat cannot be read: .*{sentence}"):
        prepare("usps", data, path.parent)


@pytest.mark.parametrize(("name", "file"), [("cmu-pie", "PIE.mat"), ("frgc", "data.h5"), ("ytf", "data.h5")])
def test_sets_by_agreement_say_what_to_get_from_whom_and_where_to_put_it(name, file, data, tmp_path):
    with pytest.raises(ValueError, match=f"{name} is not for everyone to download: ask for {file} from ") as caught:
        load_named(name, data)
    assert NAMES[name].agreement in str(caught.value)
    assert str(data / "downloads" / "manual" / name) in str(caught.value)
    with pytest.raises(ValueError, match=f"put it into {tmp_path}"):
        load_named(name, data, tmp_path)
    assert not data.exists()
    assert row(name, data).by_agreement and row(name, data).download == 0


def test_the_authors_hdf5_file(monkeypatch, tmp_path, data):
    h5py = pytest.importorskip("h5py")
    monkeypatch.setitem(NAMES, "frgc", replace(NAMES["frgc"], images=40))
    images = RNG.integers(256, size=(40, 3, 32, 32), dtype=np.uint8)
    folder = data / "downloads" / "manual" / "frgc"
    folder.mkdir(parents=True)
    with h5py.File(folder / "data.h5", "w") as file:
        file["data"], file["labels"] = images.astype(np.float32), np.arange(40) // 2 + 1
    found = load_named("frgc", data)
    np.testing.assert_array_equal(found.pixels, images.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(found.labels, np.arange(40) // 2)


def test_digits_are_listed_and_need_no_preparation(data):
    assert row("digits", data).prepared
    assert list(prepare("digits", data).glob("digits.csv*"))
    assert load_named("digits", data).pixels.shape == (NAMES["digits"].images, *NAMES["digits"].shape)


def test_an_unknown_name_is_refused(data):
    with pytest.raises(ValueError, match="no set is named 'mnits': expected one of digits, mnist, "):
        load_named("mnits", data)
    assert named.is_name("mnist") and named.is_name("tfds:cifar10") and not named.is_name("mnits")


def test_the_recorded_checksums_are_those_of_tensorflow_datasets():
    ours, theirs = sets.recorded(), {}
    for name in ("mnist", "fashion_mnist", "kmnist"):
        theirs |= checksums.load_url_infos(tfds.core.utils.tfds_path("url_checksums") / f"{name}.txt")
    assert len(theirs) == 12
    assert all(ours[url][:2] == (info.size, info.checksum) for url, info in theirs.items())
    public = {url for named_set in NAMES.values() for url in named_set.sources if "://" in url}
    assert public == set(ours)
    assert all(filename == sets.filename(url) for url, (_, _, filename) in ours.items())
    assert NamedImages.url_infos == checksums.load_url_infos(sets.CHECKSUMS)


class Stock:
    """Stands for one of TensorFlow's builders."""

    data_dir = "folder"

    def __init__(self, splits, supervised=("picture", "class")):
        self.splits, self.prepared = splits, False
        self.info = type("Info", (), {"splits": splits, "supervised_keys": supervised})

    def download_and_prepare(self, download_config):
        self.prepared = True

    def as_dataset(self, split, read_config):
        assert self.prepared
        return self.splits[split]


@pytest.fixture
def stock(monkeypatch):
    def use(found):
        monkeypatch.setattr(tfds, "builder", lambda name, data_dir: found)
        monkeypatch.setattr(tfds, "ReadConfig", lambda **_: None)
        monkeypatch.setattr(tfds, "as_numpy", lambda examples: examples)
        monkeypatch.setattr(named, "find_spec", lambda name: name)

    return use


def test_the_stock_catalogue_needs_tensorflow(monkeypatch, data):
    monkeypatch.setattr(named, "find_spec", lambda name: None)
    for use in (load_named, prepare):
        with pytest.raises(ValueError, match=r"tfds:cifar10 .* needs tensorflow, .*: pip install"):
            use("tfds:cifar10", data)


def test_a_stock_set_is_all_its_splits(stock, data):
    examples = [{"picture": image, "class": label} for image, label in zip(PIXELS, LABELS, strict=True)]
    stock(Stock({"train": examples[:150], "test": examples[150:]}))
    found = load_named("tfds:thing", data)
    np.testing.assert_array_equal(found.pixels, PIXELS)
    np.testing.assert_array_equal(found.labels, LABELS)
    assert found.source == "tfds:thing" and prepare("tfds:thing", data) == Path("folder")


def test_a_stock_set_without_labels_or_without_images(stock, data):
    stock(Stock({"train": [{"image": image} for image in PIXELS]}, None))
    assert load_named("tfds:thing", data).labels is None
    stock(Stock({"train": [{"image": PIXELS[0]}, {"image": PIXELS[0, 1:]}]}, None))
    with pytest.raises(ValueError, match="images of different sizes"):
        load_named("tfds:thing", data)
    stock(Stock({"train": [{"text": b"words"}]}, None))
    with pytest.raises(ValueError, match="tfds:thing holds text: expected images"):
        load_named("tfds:thing", data)


def test_an_unknown_stock_set_is_refused_in_a_sentence(monkeypatch, data):
    monkeypatch.setattr(named, "find_spec", lambda name: name)
    with pytest.raises(ValueError, match="tfds:no_such_thing is not in tensorflow-datasets' catalogue"):
        load_named("tfds:no_such_thing", data)


def test_a_stock_set_that_cannot_be_prepared_says_why_in_a_sentence(stock, data):
    found = Stock({})
    found.download_and_prepare = lambda download_config: 1 / 0
    stock(found)
    with pytest.raises(ValueError, match=r"tfds:thing cannot be prepared: division by zero"):
        load_named("tfds:thing", data)


def test_the_package_waits_for_neither_tensorflow_datasets_nor_tensorflow():
    script = (
        "import sys, depict_jax.data.named as named; named.catalogue('nowhere'); "
        "print(*({'tensorflow', 'tensorflow_datasets', 'scipy', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=here(), capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.fixture
def mnist():
    """MNIST's four original files, and their rows."""
    folder, rows = SHARED / "data" / "idx-gz", SHARED / "data" / "mnist_full.npz"
    if not (folder.is_dir() and rows.is_file()):
        pytest.skip("MNIST's files are not in the folder `shared` beside this checkout, nor in $DEPICT_SHARED")
    with np.load(rows) as file:
        return {path.name: path.read_bytes() for path in folder.iterdir()}, dict(file)


@pytest.mark.parametrize("name", ["mnist", "mnist-test"])
def test_real_mnist_is_its_70_000_rows(name, mnist, data, monkeypatch):
    files, rows = mnist
    first = 60_000 if name == "mnist-test" else 0
    ask = requests.Session.request
    with serving(files) as server:

        def redirected(self, method, url, **options):
            assert url in sets.recorded()
            return ask(self, method, server.url + urlsplit(url).path, **options)

        monkeypatch.setattr(requests.Session, "request", redirected)
        found = load_named(name, data)
        assert server.asked == list(map(sets.filename, NAMES[name].sources))
    np.testing.assert_array_equal(found.pixels, rows["x"][first:])
    np.testing.assert_array_equal(found.labels, rows["y"][first:])
    assert importlib.util.find_spec("tensorflow") or "tensorflow" not in sys.modules


def test_fashion_mnist_is_not_mnist(mnist, data, tmp_path):
    folder = put(tmp_path / "manual", mnist[0])
    with pytest.raises(ValueError, match=r"train-.*gz is not the file that fashion-mnist is made from"):
        prepare("fashion-mnist", data, folder)


@pytest.mark.parametrize(("name", "file"), [("usps", "usps_11000.npz"), ("cmu-pie", "cmu_pie_32x32.npz")])
def test_real_rows_come_back_from_a_matlab_file(name, file, monkeypatch, tmp_path, data):
    if not (SHARED / "data" / file).is_file():
        pytest.skip(f"{file} is not in the folder `shared` beside this checkout, nor in $DEPICT_SHARED")
    with np.load(SHARED / "data" / file) as archive:
        rows = dict(archive)
    url = NAMES[name].sources[0]
    path = tmp_path / "manual" / name / sets.filename(url)
    path.parent.mkdir(parents=True)
    gnd = np.where(rows["y"] == 0, 10, rows["y"]) if name == "usps" else rows["y"] + 1
    scipy.io.savemat(path, {"fea": rows_of_pixels(rows["x"][..., 0]), "gnd": gnd[:, None]})
    record(monkeypatch, tmp_path, {path.name: path.read_bytes()}, url.rpartition("/")[0])
    found = load_named(name, data, tmp_path / "manual")
    np.testing.assert_array_equal(found.pixels, rows["x"])
    np.testing.assert_array_equal(found.labels, rows["y"])
