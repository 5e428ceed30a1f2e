"""The command line on every kind of source: folders from fit to score, named sets, and what `data` prints."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from depict_jax.cli import main
from depict_jax.data import Reading, cache, load
from depict_jax.data.named import NAMES

QUICK = ["--pretrain-epochs", "2", "--warm-epochs", "1", "--joint-epochs", "2", "--initial", "kmeans", "--quiet"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "user_cache_path", lambda name: tmp_path / "cache")


@pytest.fixture
def pictures(tmp_path):
    """Sixty digits as PNG, in a folder for each digit, and a file that is no picture."""
    digits = load("digits")
    for number in range(60):
        folder = tmp_path / "pictures" / str(digits.labels[number])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.pixels[number, ..., 0]).save(folder / f"{number:02}.png")
    (tmp_path / "pictures/notes.txt").write_text("no picture")
    return tmp_path / "pictures"


def rows_of(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_of_pictures_from_fit_to_score(pictures, tmp_path, capsys):
    out, found = tmp_path / "run", tmp_path / "found.csv"
    words = ["fit", str(pictures), "--labels-from-folders", "--clusters", "10", "--out", str(out), *QUICK]
    assert main(words) == 0
    rows = rows_of(out / "assignments.csv")
    assert list(rows[0]) == ["index", "name", "cluster", "confidence"]
    assert [row["name"] for row in rows] == sorted(
        f"{path.parent.name}/{path.name}" for path in pictures.rglob("*.png")
    )
    assert set(json.loads((out / "scores.json").read_text())) == {"pretrain", "initial", "warm", "joint"}

    assert main(["predict", str(out), str(pictures), "--out", str(found)]) == 0
    predicted = rows_of(found)
    assert [(row["name"], row["cluster"]) for row in predicted] == [(row["name"], row["cluster"]) for row in rows]
    assert "notes.txt: not a picture" in capsys.readouterr().err

    assert main(["score", str(out), str(pictures), "--labels-from-folders"]) == 0
    acc = json.loads((out / "scores.json").read_text())["joint"]["acc"]
    assert f"ACC {acc:.4f}" in capsys.readouterr().out
    assert main(["score", str(out), str(pictures)]) == 2
    assert "--labels-from-folders" in capsys.readouterr().err


def test_predict_brings_pictures_to_the_size_that_the_run_was_trained_on(pictures, tmp_path):
    assert main(["fit", str(pictures), "--clusters", "4", "--out", str(tmp_path / "run"), *QUICK]) == 0
    for path in pictures.rglob("*.png"):
        with Image.open(path) as image:
            larger = image.resize((24, 24)).convert("RGB")
        larger.save(path)
    assert main(["predict", str(tmp_path / "run"), str(pictures), "--out", str(tmp_path / "found.csv")]) == 0
    assert len(rows_of(tmp_path / "found.csv")) == 60


def test_info_tells_what_a_folder_holds(pictures, capsys):
    assert main(["data", "info", str(pictures), "--labels-from-folders", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = load(pictures, Reading(labels_from_folders=True))
    assert found == {
        "source": str(pictures),
        "images": 60,
        "shape": [8, 8, 1],
        "labels": 10,
        "notes": ["all pictures are grey: 1 channel"],
        "skipped": [{"name": "notes.txt", "reason": "not a picture"}],
        "content_hash": expected.content_hash,
    }
    assert main(["data", "info", str(pictures)]) == 0
    printed = capsys.readouterr().out
    assert "8 x 8 x 1" in printed and "notes.txt: not a picture" in printed and expected.content_hash in printed


def test_list_shows_every_named_set(tmp_path, capsys):
    assert main(["data", "list", "--data-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(NAMES)
    assert "ready" in lines[0] and "11.6 MB to get" in lines[1]
    assert main(["data", "list", "--data-dir", str(tmp_path), "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(NAMES)


def test_a_named_set_from_the_manual_directory_is_the_real_one(real_data, tmp_path, capsys):
    dirs = ["--data-dir", str(tmp_path / "sets"), "--manual-dir", str(real_data("idx-gz"))]
    assert main(["data", "prepare", "mnist-test", *dirs]) == 0
    assert capsys.readouterr().out.strip().startswith(str(tmp_path / "sets"))
    found = load("mnist-test", Reading(data_dir=tmp_path / "sets"))  # prepared: the files are not asked for again
    whole = load(real_data("mnist_full.npz"))
    np.testing.assert_array_equal(found.pixels, whole.pixels[60_000:])
    np.testing.assert_array_equal(found.labels, whole.labels[60_000:])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["info"], "data info: expected a source after it"),
        (["prepare"], "data prepare: expected a source after it"),
        (["list", "digits"], "data list digits: expected no source after it"),
        (["info", "nothing"], "source 'nothing' is of unknown kind: expected a name that `depict-jax data list` shows"),
        (["prepare", "nothing"], "no set is named 'nothing'"),
        (["prepare", "frgc"], "frgc is not for everyone to download: ask for data.h5 from NIST"),
        (["info", "digits", "--strict"], "--strict is for folders of pictures, and 'digits' is none"),
        (["info", "digits", "--image-shape", "8", "8"], "--image-shape is for flattened images in a file"),
        (["info", ".", "--data-dir", "."], "--data-dir is for named sets, and '.' is none"),
        (["info", ".", "--image-size", "0"], "image_size is 0: expected one or two positive integers"),
    ],
)
def test_refuses_in_one_sentence(words, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert main(["data", *words]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
