"""The command line on every kind of source: folders from fit to score, named sets, and what `data` prints."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from depict_jax.cli import main
from depict_jax.data import Reading, cache, load
from depict_jax.data.named import NAMES

QUICK = ["--preset", "plain", "--initial", "kmeans"]
QUICK += ["--pretrain-epochs", "2", "--warm-epochs", "1", "--joint-epochs", "2", "--quiet"]
UNTRAINED = ["0" if word in ("1", "2") else word for word in QUICK]  # nothing to compile for it


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


def test_predict_brings_pictures_to_the_size_that_the_run_was_trained_on(pictures, tmp_path):
    assert main(["fit", str(pictures), "--clusters", "4", "--out", str(tmp_path / "run"), *UNTRAINED]) == 0
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
        (["info", "nothing"], "source 'nothing' is not there: expected a name that `depict-jax data list` shows"),
        (["info", "one.png"], "source 'one.png' is a single picture: expected a folder of pictures"),
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
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("one.png")
    assert main(["data", *words]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


@pytest.fixture
def wide(pictures):
    """The pictures, with columns of noise at their sides: cropped and padded they differ."""
    noise = np.random.default_rng(0)
    for path in pictures.rglob("*.png"):
        with Image.open(path) as image:
            sides = noise.integers(256, size=(2, 8, 3), dtype=np.uint8)
            Image.fromarray(np.hstack([sides[0], np.asarray(image), sides[1]])).save(path)
    return pictures


def test_a_run_knows_how_its_pictures_were_read(wide, tmp_path, capsys):
    out, found = tmp_path / "run", tmp_path / "found.csv"
    how = ["--image-size", "8", "--fit", "crop", "--labels-from-folders"]
    words = ["fit", str(wide), *how, "--clusters", "10", "--out", str(out), *UNTRAINED]
    assert main(words) == 0
    assert json.loads((out / "config.json").read_text())["reading"] == {
        "image_size": [8], "fit": "crop", "colour": "auto", "labels_from_folders": True, "strict": False,
        "image_shape": None, "data_dir": None, "manual_dir": None,
    }  # fmt: skip
    assigned = rows_of(out / "assignments.csv")
    assert main(["predict", str(out), str(wide), "--out", str(found)]) == 0
    confidences = [(row["cluster"], row["confidence"]) for row in assigned]
    assert [(row["cluster"], row["confidence"]) for row in rows_of(found)] == confidences
    assert main(["predict", str(out), str(wide), "--out", str(found), "--overwrite", "--fit", "pad"]) == 0
    assert [(row["cluster"], row["confidence"]) for row in rows_of(found)] != confidences
    capsys.readouterr()
    assert main(["score", str(out), str(wide)]) == 0
    assert f"ACC {json.loads((out / 'scores.json').read_text())['joint']['acc']:.4f}" in capsys.readouterr().out

    (wide / "notes.txt").unlink()
    assert main([*words, "--resume", "--strict"]) == 0  # the same images
    others = [word for word in words if word not in ("--fit", "crop")]
    assert main([*others, "--resume"]) == 2
    assert "fit: crop, not None" in capsys.readouterr().err

    config = json.loads((out / "config.json").read_text())
    del config["reading"]
    (out / "config.json").write_text(json.dumps(config))  # as an older version wrote it
    assert main([*words, "--resume"]) == 0
    assert main(["predict", str(out), str(wide), "--out", str(found), "--overwrite", "--fit", "crop"]) == 0
    assert [(row["cluster"], row["confidence"]) for row in rows_of(found)] == confidences


def test_a_run_knows_the_shape_of_its_flattened_images(tmp_path):
    images = load("digits").pixels[:60, :, :7]
    rows, shaped, out = tmp_path / "rows.npy", tmp_path / "shaped.npy", tmp_path / "run"
    np.save(rows, images.reshape(60, -1))
    np.save(shaped, images)
    words = ["fit", str(rows), "--image-shape", "8", "7", "--clusters", "5", "--out", str(out), *UNTRAINED]
    assert main(words) == 0
    for number, source in enumerate((rows, shaped)):
        assert main(["predict", str(out), str(source), "--out", str(tmp_path / f"{number}.csv")]) == 0
    predicted = [rows_of(tmp_path / f"{number}.csv") for number in range(2)]
    assert predicted[0] == predicted[1]
    assert [row["cluster"] for row in predicted[0]] == [row["cluster"] for row in rows_of(out / "assignments.csv")]


def test_a_named_set_goes_before_a_folder_called_the_same(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    np.savez("some.npz", x=load("digits").pixels[:60])
    assert main(["fit", "some.npz", "--clusters", "4", "--out", "run", *UNTRAINED]) == 0
    assert main(["predict", "run", "digits", "--out", "found.csv"]) == 0
    assert len(rows_of(tmp_path / "found.csv")) == 1797


def sorted_as(rows):
    return {f"cluster-{int(row['cluster']):02}/{row['name']}" for row in rows}


def files_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_fit_and_predict_sort_the_pictures(pictures, tmp_path, monkeypatch, capsys):
    out, words = tmp_path / "run", ["fit", str(pictures), "--clusters", "4", "--out", str(tmp_path / "run"), *UNTRAINED]
    assert main([*words, "--copy-into", str(tmp_path / "copies")]) == 0
    rows = rows_of(out / "assignments.csv")
    assert len(rows) == 60 and files_in(tmp_path / "copies") == sorted_as(rows)
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "cache", "run", "copies"}

    with monkeypatch.context() as patched:
        patched.setattr("depict_jax.runner.run", lambda *_: pytest.fail("trained again"))
        assert main([*words, "--resume", "--link-into", str(tmp_path / "links")]) == 0
    assert files_in(tmp_path / "links") == sorted_as(rows)
    assert all(path.is_symlink() for path in (tmp_path / "links").rglob("*.png"))

    new = tmp_path / "new"
    new.mkdir()
    for path in sorted(pictures.rglob("*.png"))[:7]:
        (new / path.name).write_bytes(path.read_bytes())
    found = tmp_path / "found.csv"
    assert main(["predict", str(out), str(new), "--out", str(found), "--copy-into", str(tmp_path / "sorted")]) == 0
    assert len(rows_of(found)) == 7 and files_in(tmp_path / "sorted") == sorted_as(rows_of(found))

    assert main(["score", str(out), str(pictures)]) == 2
    assert "or a folder of subfolders with --labels-from-folders" in capsys.readouterr().err

    (out / "assignments.csv").write_text("index,name,cluster,confidence\n0,a,1,0.5\n")
    capsys.readouterr()
    assert main([*words, "--resume", "--copy-into", str(tmp_path / "again")]) == 2
    assert "assignments.csv has 1 lines for 60 images" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()


def test_a_folder_to_sort_into_that_cannot_be_is_refused_before_any_compute(pictures, tmp_path, monkeypatch, capsys):
    np.savez(tmp_path / "some.npz", x=load("digits").pixels[:60])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    monkeypatch.chdir(tmp_path)
    for name in ("depict_jax.data.load", "depict_jax.data.stream"):
        monkeypatch.setattr(name, lambda *_: pytest.fail("images were read"))
    for source, into, sentence in (
        ("pictures", ["--copy-into", "a", "--link-into", "b"], "--copy-into and --link-into: expected at most one"),
        ("pictures", ["--copy-into", "full"], "--copy-into full is there and not empty"),
        ("pictures", ["--link-into", "pictures/sorted"], "--link-into pictures/sorted lies in pictures"),
        ("some.npz", ["--copy-into", "a"], "'some.npz' is none: leave it out; the CSV file has the cluster"),
        ("digits", ["--link-into", "a"], "'digits' is none"),
    ):
        for words in (["fit", source, "--clusters", "4", *QUICK], ["predict", "run", source]):
            assert main([*words, "--out", "out", *into]) == 2
            error = capsys.readouterr().err
            assert sentence in error and error.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "some.npz", "full"}


def test_quiet_prints_nothing_but_errors(pictures, tmp_path, capfd):
    words = ["fit", str(pictures), "--clusters", "4", "--out", str(tmp_path / "run"), *UNTRAINED]
    assert main([*words, "--copy-into", str(tmp_path / "copies"), "--labels-from-folders"]) == 0
    assert capfd.readouterr() == ("", "")
    assert main(words) == 2
    printed = capfd.readouterr()
    assert printed.out == "" and "already holds a run" in printed.err


def test_files_of_a_kind_that_is_no_picture_do_not_hide_the_others(pictures, tmp_path, capsys):
    for number in range(30):
        (pictures / f"{number}.txt").write_text("no picture")
    (pictures / "notes").write_text("no picture")
    (pictures / "zero.png").write_bytes(b"")
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(256, size=(64, 64), dtype=np.uint8)).save(whole, "JPEG")
    (pictures / "zz.jpg").write_bytes(whole.getvalue()[:900])
    assert main(["fit", str(pictures), "--clusters", "61", "--out", str(tmp_path / "run"), *QUICK[:-1]]) == 2
    printed = capsys.readouterr().out.splitlines()
    assert printed[:4] == ["34 skipped:", "  31 .txt files: not a picture", "  notes: not a picture",
                           "  zero.png: not a picture"]  # fmt: skip
    assert printed[4].startswith("  zz.jpg: unreadable: ") and len(printed) == 5


def test_a_folder_that_holds_a_run_is_refused_before_pictures_are_read(pictures, tmp_path, monkeypatch, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    monkeypatch.setattr("depict_jax.data.load", lambda *_: pytest.fail("images were read"))
    assert main(["fit", str(pictures), "--clusters", "4", "--out", str(tmp_path / "run")]) == 2
    assert "already holds a run" in capsys.readouterr().err
