"""Images that stay in their file: the same batches, the same noise, the same weights as of images on the device."""

import gzip
import struct
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest

from depict_jax import epochs
from depict_jax.augmentation import Changes
from depict_jax.cli import main
from depict_jax.data import load, mapped
from depict_jax.epochs import steps_per_epoch, stream_epoch, train_epoch
from depict_jax.networks import Depict
from depict_jax.run_folder import read_metrics
from depict_jax.training import Loss, fresh_state

N, BATCH = 53, 7


@pytest.fixture
def data(small):
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(N, *small.image), dtype=np.uint8)
    return pixels, rng.dirichlet(np.ones(small.n_clusters), N).astype(np.float32)


@pytest.mark.parametrize("steps_a_piece", [1, 3, 100])
@pytest.mark.parametrize("clustering_weight", [0.0, 1.0])
def test_a_streamed_epoch_is_the_epoch(small, variables, data, monkeypatch, steps_a_piece, clustering_weight):
    """Of all images but a few, with noise and affine changes, in pieces that do and do not divide the steps."""
    pixels, targets = data
    monkeypatch.setattr(epochs, "PIECE_BYTES", steps_a_piece * BATCH * pixels[0].nbytes)
    loss = Loss((1.0, 0.1, 0.1), clustering_weight)
    members = np.random.default_rng(1).permutation(N)[: N - 4].astype(np.int32)
    rates = np.linspace(1e-2, 1e-3, steps_per_epoch(len(members), BATCH), dtype=np.float32)

    def after(epoch):
        state = fresh_state(jax.tree.map(jax.numpy.array, variables))
        how = {"batch_size": BATCH, "changes": Changes(0.1, 0.3)}
        return epoch(
            Depict(small), loss, state, pixels, jax.numpy.array(targets), members, rates, jax.random.key(5), **how
        )

    whole, streamed = after(train_epoch), after(stream_epoch)
    for expected, found in zip(jax.tree.leaves(whole.state), jax.tree.leaves(streamed.state), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(streamed.p, whole.p, rtol=0, atol=1e-6)
    assert streamed.losses.keys() == whole.losses.keys()
    for name, value in whole.losses.items():
        np.testing.assert_allclose(streamed.losses[name], value, rtol=1e-6)
    assert streamed.finite.shape == (len(rates),) and streamed.finite.all()


def test_a_batch_that_is_not_finite_is_told_where_it_was(small, variables, data, monkeypatch):
    pixels, targets = data
    monkeypatch.setattr(epochs, "PIECE_BYTES", 3 * BATCH * pixels[0].nbytes)
    rates = np.full(steps_per_epoch(N, BATCH), 1e-3, np.float32)
    rates[4] = 1e30
    state = fresh_state(jax.tree.map(jax.numpy.array, variables))
    found = stream_epoch(
        *(Depict(small), Loss((1.0, 0.1, 0.1), 1.0), state, pixels, jax.numpy.array(targets)),
        *(np.arange(N, dtype=np.int32), rates, jax.random.key(0)),
        batch_size=BATCH,
    )
    assert found.finite.tolist() == [True] * 5 + [False] * (len(rates) - 5)


def test_a_run_that_streams_is_the_run(tmp_path):
    digits = load("digits")
    np.savez(tmp_path / "some.npz", x=digits.pixels[:205], y=digits.labels[:205])
    epochs_of = ["--preset", "plain", "--pretrain-epochs", "2", "--warm-epochs", "2", "--joint-epochs", "2", "--quiet"]
    for name, stream in (("whole", []), ("streamed", ["--stream"])):
        source, out = str(tmp_path / "some.npz"), str(tmp_path / name)
        assert main(["fit", source, "--clusters", "10", "--out", out, *epochs_of, *stream]) == 0
    whole, streamed = (read_metrics(tmp_path / name) for name in ("whole", "streamed"))
    for expected, found in zip(whole, streamed, strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    clusters = [(tmp_path / name / "assignments.csv").read_text().splitlines() for name in ("whole", "streamed")]
    assert [line.split(",")[:2] for line in clusters[0]] == [line.split(",")[:2] for line in clusters[1]]
    # what was begun one way may be ended the other
    (tmp_path / "whole" / "report.html").unlink()
    assert (
        main(
            [
                "fit",
                str(tmp_path / "some.npz"),
                "--clusters",
                "10",
                "--out",
                str(tmp_path / "whole"),
                *epochs_of,
                "--resume",
                "--stream",
            ]
        )
        == 0
    )


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The same 7,000 images in files of many kinds, more than a piece of a stream."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images = np.random.default_rng(0).integers(256, size=(7000, 5, 4), dtype=np.uint8)
    labels = np.arange(7000) % 3
    np.save(tmp_path / "plain.npy", images)
    np.save(tmp_path / "rows.npy", images.reshape(7000, 20))
    np.save(tmp_path / "fortran.npy", np.asfortranarray(images))
    np.save(tmp_path / "floats.npy", (images / 255).astype(np.float32))
    np.savez_compressed(tmp_path / "named.npz", images=images, labels=labels)
    np.savez(tmp_path / "colour.npz", x=np.stack([images] * 3, axis=-1))
    with h5py.File(tmp_path / "some.h5", "w") as file:
        file["x"], file["y"] = images, labels
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    return tmp_path


KINDS = ["plain.npy", "rows.npy", "fortran.npy", "floats.npy", "named.npz", "colour.npz", "some.h5"]


@pytest.mark.parametrize("name", [*KINDS, "train-images-idx3-ubyte.gz"])
def test_mapped_images_are_the_loaded_ones(files, name):
    from depict_jax.data import Reading

    reading = Reading(image_shape=(5, 4)) if name == "rows.npy" else None
    expected = load(files / name, reading)
    for _ in range(2):  # made, then found
        found = mapped(files / name, reading)
        base = found.pixels
        while not isinstance(base, np.memmap):
            base = base.base
        assert not found.pixels.flags.writeable
        assert (Path(base.filename) == files / name) == (name in ("plain.npy", "rows.npy"))
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        assert found.content_hash == expected.content_hash and found.source == expected.source
        assert found.notes == expected.notes
        assert (found.labels is None) == (expected.labels is None)
        if expected.labels is not None:
            np.testing.assert_array_equal(found.labels, expected.labels)


def test_a_file_that_has_changed_is_copied_anew(files):
    before = mapped(files / "named.npz").pixels[0].copy()
    np.savez_compressed(files / "named.npz", images=np.full((9, 5, 4), 3, np.uint8))
    found = mapped(files / "named.npz")
    assert len(found.pixels) == 9 and (found.pixels == 3).all() and not (before == 3).all()


@pytest.mark.parametrize("name", ["plain.npy", "named.npz"])
def test_a_file_cut_short_is_refused_in_a_sentence(files, name):
    whole = (files / name).read_bytes()
    (files / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"{name}.*cannot be read"):
        mapped(files / name)
    entries = files / "cache" / "depict-jax" / "pictures"
    assert not entries.exists() or not any(entries.iterdir())
