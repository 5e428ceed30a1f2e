"""A few hundred damaged files of all kinds: refused in a sentence, or read. `make fuzz` goes on for minutes."""

import numpy as np
import pytest

pytest.importorskip("resource", reason="limits on a process's memory and time are Unix's")
from depict_jax import run_folder
from tests import fuzz_readers


@pytest.mark.parametrize("kind", fuzz_readers.SOURCES)
def test_undamaged_files_are_read(kind, tmp_path, monkeypatch):
    """Else damage would find nothing but refusals."""
    from depict_jax.data import load

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "files").mkdir()
    source = tmp_path / "files" / f"images.{kind}"
    source.write_bytes(fuzz_readers.whole(kind))
    images = load(source.parent if kind in fuzz_readers.PICTURES else source)
    pictures = kind in fuzz_readers.PICTURES
    assert images.pixels.shape == ((1, 32, 32, 3) if pictures else (12, 8, 8, 1))
    if not pictures:
        expected = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
        expected[0, 0, 0] = 255
        np.testing.assert_array_equal(images.pixels[..., 0], expected)


@pytest.mark.parametrize("kind", fuzz_readers.OF_A_RUN)
def test_undamaged_files_of_a_run_are_read(kind, tmp_path):
    (tmp_path / kind).write_bytes(fuzz_readers.whole(kind))
    fuzz_readers._read_of_a_run(kind, tmp_path)
    assert kind != "metrics.jsonl" or len(run_folder.read_metrics(tmp_path)) == 8


def test_damaged_files_are_refused_in_a_sentence_or_read():
    assert fuzz_readers.hunt(0, 60, cases=400) == {}


def test_a_reader_that_breaks_is_found(tmp_path, monkeypatch):
    from depict_jax import data

    def broken(source):
        raise KeyError("from deep within")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "load", broken)
    found = fuzz_readers.run_case(0, tmp_path)
    assert found is not None and "from deep within" in found
