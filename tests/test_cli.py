"""The command line as a user meets it: what it writes, what it refuses, and that nothing is lost."""

import csv
import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from depict_jax.cli import main
from depict_jax.data import load
from depict_jax.metrics import scores

QUICK = ["--preset", "plain", "--initial", "kmeans"]
QUICK += ["--pretrain-epochs", "2", "--warm-epochs", "2", "--joint-epochs", "2", "--quiet"]


@pytest.fixture(scope="module")
def some_digits(tmp_path_factory) -> Path:
    digits = load("digits")
    path = tmp_path_factory.mktemp("data") / "some.npz"
    np.savez(path, x=digits.pixels[:205], y=digits.labels[:205])
    return path


@pytest.fixture(scope="module")
def run(some_digits, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["fit", str(some_digits), "--clusters", "10", "--out", str(folder), *QUICK]) == 0
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_fit_writes_the_run_folder(run, some_digits):
    assert {path.name for path in run.iterdir()} == {
        "config.json", "metrics.jsonl", "checkpoints", "assignments.csv", "scores.json", "report.html", ".lock",
    }  # fmt: skip
    rows = rows_of(run / "assignments.csv")
    assert list(rows[0]) == ["index", "cluster", "confidence"]
    assert [int(row["index"]) for row in rows] == list(range(205))
    assert all(0 <= int(row["cluster"]) < 10 and 0.1 <= float(row["confidence"]) <= 1 for row in rows)
    found = json.loads((run / "scores.json").read_text())
    assert list(found) == ["pretrain", "initial", "warm", "joint"]
    clusters = np.array([int(row["cluster"]) for row in rows])
    assert found["joint"] == scores(load(some_digits).labels, clusters)


def test_metrics_have_a_line_for_each_epoch(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(record["stage"], record["epoch"]) for record in records] == [
        (stage, epoch) for stage in ("pretrain", "warm", "joint") for epoch in (1, 2)
    ]
    assert all(record["seconds"] > 0 and record["loss"] > 0 for record in records)
    assert all("cross_entropy" in record for record in records if record["stage"] != "pretrain")


def test_predict_gives_the_run_its_own_clusters(run, some_digits, tmp_path):
    assert main(["predict", str(run), str(some_digits), "--out", str(tmp_path / "p.csv")]) == 0
    predicted, assigned = rows_of(tmp_path / "p.csv"), rows_of(run / "assignments.csv")
    assert list(predicted[0]) == ["index", "cluster", "confidence", *(f"p{k}" for k in range(10))]
    assert [row["cluster"] for row in predicted] == [row["cluster"] for row in assigned]
    p = np.array([[float(row[f"p{k}"]) for k in range(10)] for row in predicted])
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-4)
    np.testing.assert_array_equal(p.argmax(axis=1), [int(row["cluster"]) for row in predicted])
    np.testing.assert_allclose(p.max(axis=1), [float(row["confidence"]) for row in predicted])


def test_predict_keeps_a_file_that_is_there(run, some_digits, tmp_path, capsys):
    path = tmp_path / "mine.csv"
    path.write_text("precious")
    assert main(["predict", str(run), str(some_digits), "--out", str(path)]) == 2
    assert path.read_text() == "precious"
    assert "already there" in capsys.readouterr().err
    assert main(["predict", str(run), str(some_digits), "--out", str(path), "--overwrite"]) == 0
    assert path.read_text().startswith("index,cluster")


def test_score_prints_what_the_run_scored(run, some_digits, capsys):
    assert main(["score", str(run), str(some_digits)]) == 0
    printed = re.findall(r"([A-Z]+) ([0-9.]+)", capsys.readouterr().out)
    final = json.loads((run / "scores.json").read_text())["joint"]
    assert printed == [(name.upper(), f"{value:.4f}") for name, value in final.items()]


def test_report_makes_the_page_anew(run, some_digits, tmp_path, capsys):
    first = (run / "report.html").read_bytes()
    assert main(["report", str(run), str(some_digits), "--out", str(tmp_path / "again.html")]) == 0
    assert str(tmp_path / "again.html") in capsys.readouterr().out.replace("\n", "")
    assert (tmp_path / "again.html").read_bytes() == first
    assert main(["report", str(run), str(some_digits), "--out", str(tmp_path / "again.html")]) == 2
    assert "already there" in capsys.readouterr().err
    bare = make(tmp_path / "bare.npz", x=load(some_digits).pixels)  # the same images without labels
    before = contents(run)
    assert main(["report", str(run), bare, "--map", "tsne"]) == 0
    page = (run / "report.html").read_text()
    assert "t-SNE, coloured by cluster" in page and "coloured by label" not in page
    assert contents(run) == before | {"report.html": page.encode()}  # nothing else is touched
    assert main(["report", str(run), str(some_digits)]) == 0
    assert contents(run) == before


def test_report_refuses_what_is_not_the_run_s(run, some_digits, tmp_path, capsys, monkeypatch):
    before = contents(run)
    pixels = load(some_digits).pixels
    pixels = pixels.copy()
    pixels[0, 0, 0] ^= 1
    other = make(tmp_path / "other.npz", x=pixels)
    monkeypatch.setattr("depict_jax.report.maps.find_spec", lambda name: None)
    for words, sentence in (
        ([other], "does not hold the images of the run"),
        ([make(tmp_path / "few.npz", x=pixels[:50])], "50 of 8 x 8 x 1"),
        ([str(some_digits), "--map", "umap"], "pip install umap-learn"),
        ([str(some_digits), "--out", str(tmp_path)], "already there"),
    ):
        assert main(["report", str(run), *words]) == 2
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1
    out = tmp_path / "run"
    assert main(["fit", str(some_digits), "--clusters", "10", "--out", str(out), "--map", "umap", *QUICK]) == 2
    assert "pip install umap-learn" in capsys.readouterr().err and not out.exists()
    assert contents(run) == before


def test_resume_on_a_finished_run_changes_nothing(run, some_digits):
    before = contents(run)
    assert main(["fit", str(some_digits), "--clusters", "10", "--out", str(run), *QUICK, "--resume"]) == 0
    assert contents(run) == before


def test_resume_starts_where_there_is_nothing(some_digits, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "missing", tmp_path / "empty"):
        assert main(["fit", str(some_digits), "--clusters", "10", "--out", str(folder), *QUICK, "--resume"]) == 0
        assert len(rows_of(folder / "assignments.csv")) == 205


def test_resume_with_other_settings_is_refused(run, some_digits, capsys):
    before = contents(run)
    for other in (["--seed", "1"], ["--rule", "exact"], ["--joint-epochs", "3"]):
        words = ["fit", str(some_digits), "--clusters", "10", "--out", str(run), *QUICK, "--resume", *other]
        assert main(words) == 2
        assert other[0].strip("-").replace("-", "_") in capsys.readouterr().err
    assert main(["fit", str(some_digits), "--clusters", "9", "--out", str(run), *QUICK, "--resume"]) == 2
    assert "n_clusters: 10, not 9" in capsys.readouterr().err
    assert main(["fit", "digits", "--clusters", "10", "--out", str(run), *QUICK, "--resume"]) == 2
    assert "content_hash" in capsys.readouterr().err
    assert contents(run) == before


def test_a_folder_with_a_run_is_kept(run, some_digits, capsys):
    before = contents(run)
    assert main(["fit", str(some_digits), "--clusters", "10", "--out", str(run), *QUICK]) == 2
    assert "already holds a run" in capsys.readouterr().err
    words = ["fit", str(some_digits), "--clusters", "10", "--out", str(run), *QUICK, "--resume", "--overwrite"]
    assert main(words) == 2
    assert contents(run) == before


def test_overwrite_replaces_the_run_and_nothing_else(some_digits, tmp_path):
    words = ["fit", str(some_digits), "--clusters", "10", "--out", str(tmp_path / "run"), *QUICK]
    assert main(words) == 0
    (tmp_path / "run" / "notes.txt").write_text("mine")
    first = contents(tmp_path / "run")
    assert main([*words, "--overwrite", "--seed", "1"]) == 0
    second = contents(tmp_path / "run")
    assert second["notes.txt"] == b"mine"
    assert second["assignments.csv"] != first["assignments.csv"]
    assert len(second["metrics.jsonl"].splitlines()) == 6


def test_overwrite_spares_a_folder_that_is_no_run(some_digits, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    words = ["fit", str(some_digits), "--clusters", "10", "--out", str(tmp_path), *QUICK, "--overwrite"]
    assert main(words) == 2
    assert "holds other files and no run" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.tex"}


def make(path: Path, **arrays) -> str:
    np.savez(path, **arrays)
    return str(path)


GOOD = np.arange(12 * 8 * 8, dtype=np.uint32).astype(np.uint8).reshape(12, 8, 8) * np.uint8(7)


@pytest.mark.parametrize(
    ("images", "clusters", "sentence"),
    [
        (GOOD[:0], 2, "at least one image"),
        (GOOD[:1], 2, "expected at least one image per cluster"),
        (GOOD[:3], 4, "3 image(s) for 4 clusters"),
        (GOOD, 1, "n_clusters is 1"),
        (np.where(np.arange(8) == 3, np.nan, GOOD / 255), 2, "NaN or infinity"),
        (np.where(np.arange(8) == 3, np.inf, GOOD / 255), 2, "NaN or infinity"),
        (GOOD / 254, 2, "expected [0, 1]"),
        (-(GOOD / 255), 2, "expected [0, 1]"),
        (GOOD.reshape(12, -1), 2, "expected (N, H, W)"),
        (GOOD[..., None, None], 2, "expected (N, H, W)"),
        (GOOD.astype(np.int64), 2, "dtype int64"),
        (GOOD[:, :6, :6], 2, "too small for the network"),
        (np.repeat(GOOD[:1], 9, axis=0), 2, "1 distinct image(s)"),
    ],
)
def test_bad_images_are_refused_in_a_sentence(images, clusters, sentence, tmp_path, capsys):
    source = make(tmp_path / "bad.npz", x=images)
    assert main(["fit", source, "--clusters", str(clusters), "--out", str(tmp_path / "run"), *QUICK]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def sources(folder: Path) -> dict[str, str]:
    (folder / "text.npz").write_text("not a zip")
    (folder / "cut.npz").write_bytes(Path(make(folder / "whole.npz", x=GOOD)).read_bytes()[:-40])
    (folder / "pictures.gif").write_text("GIF89a")
    (folder / "words.doc").write_text("once upon a time")
    np.save(folder / "objects.npy", np.array([None, {}], dtype=object), allow_pickle=True)
    (folder / "pickle.npy").write_bytes(b"\x80\x04K\x01.")
    with (folder / "renamed.npz").open("wb") as file:
        np.save(file, GOOD)
    return {
        "missing.npz": "is not there",
        "text.npz": "cannot be read",
        "cut.npz": "cannot be read",
        "pictures.gif": "is a single picture",
        "words.doc": "unknown kind",
        "nothing": "is not there: expected a name that",
        "objects.npy": "never loaded",
        "pickle.npy": "never loaded",
        "renamed.npz": "not what its name says",
        make(folder / "other.npz", pictures=GOOD): "expected images under x or images",
        make(folder / "pickled.npz", x=np.array([None] * 3, dtype=object)): "never loaded",
        make(folder / "labels.npz", x=GOOD, y=np.zeros(3)): "expected one for each",
    }


def test_bad_sources_are_refused_in_a_sentence(tmp_path, capsys):
    for source, sentence in sources(tmp_path).items():
        words = ["fit", str(tmp_path / source), "--clusters", "3", "--out", str(tmp_path / "run"), *QUICK]
        assert main(words) == 2, source
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1, error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--prior", "1", "2", "-1"], "expected positive numbers"),
        (["--prior", "0", "0", "0"], "expected positive numbers"),
        (["--prior", "1", "2"], "expected (3,)"),
        (["--rule", "squared", "--sharpness", "2"], "belongs to the rule 'exact'"),
        (["--rule", "squared", "--prior-weight", "2"], "belongs to the rule 'exact'"),
        (["--rule", "exact", "--prior-weight", "-1"], "prior_weight is -1.0"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--batch-size", "4", "--microbatches", "8"], "expected at most the batch_size, which is 4"),
        (["--save-seconds", "-1"], "--save-seconds is -1.0: expected at least 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--pretrain-epochs", "-1"], "pretrain_epochs is -1"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(words, sentence, tmp_path, capsys):
    source = make(tmp_path / "good.npz", x=GOOD)
    assert main(["fit", source, "--clusters", "3", "--out", str(tmp_path / "run"), "--quiet", *words]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_prior_may_be_a_file(some_digits, tmp_path):
    (tmp_path / "prior.txt").write_text("1, 1 1 1 1\n1 1 1 1 2\n")
    words = ["fit", str(some_digits), "--clusters", "10", "--out", str(tmp_path / "run"), *QUICK, "--prior"]
    assert main([*words, str(tmp_path / "prior.txt")]) == 0
    assert json.loads((tmp_path / "run/config.json").read_text())["settings"]["prior"] == [1] * 9 + [2]
    assert main([*words, *"1111111112", "--resume"]) == 0


def test_unfit_runs_and_images_are_refused(run, some_digits, tmp_path, capsys):
    out = ["--out", str(tmp_path / "p.csv")]
    assert main(["predict", str(tmp_path), str(some_digits), *out]) == 2
    assert "is no run" in capsys.readouterr().err
    other = make(tmp_path / "other.npz", x=np.zeros((3, 9, 9), np.uint8))
    assert main(["predict", str(run), other, *out]) == 2
    assert "images are 9 x 9 x 1: expected 8 x 8 x 1" in capsys.readouterr().err
    assert main(["score", str(run), make(tmp_path / "bare.npz", x=GOOD)]) == 2
    assert "no labels" in capsys.readouterr().err
    assert not (tmp_path / "p.csv").exists()


def test_wrong_words_exit_with_2(capsys):
    for words in (
        [],
        ["cluster"],
        ["fit", "digits", "--out", "x"],
        ["fit", "digits", "--clusters", "ten", "--out", "x"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2


def test_help_does_not_wait_for_jax():
    code = (
        "import sys; from depict_jax.cli import main\n"
        "try: main(['fit', '--help'])\n"
        "except SystemExit: print(sorted({'jax', 'flax', 'sklearn', 'numpy', 'orbax'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "--joint-epochs" in printed and printed.strip().endswith("[]")


def test_the_package_never_imports_tensorflow_or_torch():
    code = (
        "import sys, pkgutil, importlib, depict_jax\n"
        "for module in pkgutil.walk_packages(depict_jax.__path__, 'depict_jax.'):\n"
        "    importlib.import_module(module.name)\n"
        "print({'tensorflow', 'torch'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"


def test_only_the_first_command_compiles(run, some_digits, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path), "JAX_LOG_COMPILES": "1"}
    command = [sys.executable, "-m", "depict_jax.cli", "score", str(run), str(some_digits)]
    hits = []
    for _ in range(2):
        log = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr
        hits.append("Persistent compilation cache hit for 'jit__predict_chunk'" in log)
    assert hits == [False, True]


def test_profile_traces_the_second_epoch_of_each_stage(some_digits, tmp_path):
    words = ["fit", str(some_digits), "--clusters", "10", "--out", str(tmp_path / "run"), *QUICK]
    assert main([*words, "--profile", str(tmp_path / "traces")]) == 0
    for stage in ("pretrain", "warm", "joint"):
        (path,) = (tmp_path / "traces" / stage).glob("plugins/profile/*/*.trace.json.gz")
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
        epochs = {
            event["args"]["run_id"] for event in events if "train_epoch" in event.get("args", {}).get("hlo_module", "")
        }
        assert len(epochs) == 1
