"""The same run on any number of devices, and what goes between them; devices are emulated, in other processes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import many_devices
import numpy as np
import pytest

from depict_jax.cli import main
from depict_jax.parallel import data_mesh, gather, replicate, share

COLLECTIVE = re.compile(r"= (.+?) (all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(")


def compute(folder: Path, what: str, devices: int) -> dict[str, np.ndarray]:
    """The arrays that many_devices.py writes, in a process with eight CPU devices."""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", many_devices.__file__, str(folder), what, str(devices)]
    done = subprocess.run(command, env=os.environ | flags | path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / f"{what}{devices}.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the programs' texts are, once `eight` is there."""
    return tmp_path_factory.mktemp("devices")


@pytest.fixture(scope="module")
def eight(folder):
    """What eight devices compute."""
    return compute(folder, "pieces", 8)


@pytest.fixture(scope="module")
def one():
    """The same of the tests' own, single device."""
    return many_devices.short_run(1)


def collectives(text: str) -> list[tuple[str, list[int]]]:
    """Kind and number of entries, of each array, of what goes between the devices in a compiled program."""
    return [
        (
            kind,
            [int(np.prod([int(n) for n in shape.split(",") if n])) for shape in re.findall(r"\w\[([\d,]*)\]", shapes)],
        )
        for shapes, kind in COLLECTIVE.findall(text)
    ]


def body_of_the_loop(text: str) -> str:
    """The computations that the while loop of a compiled program runs each round."""
    (name,) = re.findall(r"while\(.*body=%?([\w.\-]+)", text)
    return next(part for part in text.split("\n\n") if re.match(rf"%?{re.escape(name)} ", part))


def share_in_the_same_cluster(p: np.ndarray, other: np.ndarray) -> float:
    return float((p.argmax(axis=1) == other.argmax(axis=1)).mean())


def test_a_run_on_eight_devices_is_one_s(eight, one):
    """With dropout, an exact Q-step, a tenth held out, and N and batch that eight does not divide."""
    for stage in ("pretrain", "warm", "joint"):
        np.testing.assert_allclose(eight[f"{stage} losses"], one[f"{stage} losses"], rtol=1e-5, err_msg=stage)
    np.testing.assert_array_equal(eight["assignment"], one["assignment"])
    np.testing.assert_allclose(eight["p"], one["p"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(eight["weights"], one["weights"], rtol=0, atol=1e-4)
    assert share_in_the_same_cluster(eight["p"], one["p"]) == 1


def test_images_that_are_streamed_to_eight_devices_train_the_same_weights(eight):
    for name in ("pretrain losses", "warm losses", "joint losses"):
        np.testing.assert_allclose(eight[f"streamed {name}"], eight[name], rtol=1e-5, err_msg=name)
    np.testing.assert_array_equal(eight["streamed assignment"], eight["assignment"])
    np.testing.assert_allclose(eight["streamed weights"], eight["weights"], rtol=0, atol=1e-5)


def test_in_microbatches_eight_devices_to_which_images_are_streamed_give_one_s_bits(eight, one):
    """Of losses, initial assignment, weights and p; and the training is that of whole batches."""
    alone = many_devices.short_run_in_microbatches(1)
    for name, expected in alone.items():
        np.testing.assert_array_equal(eight[f"streamed in microbatches {name}"], expected, err_msg=name)
    np.testing.assert_allclose(alone["pretrain losses"], one["pretrain losses"], rtol=1e-5)  # of unchanged images


@pytest.mark.slow
def test_in_microbatches_all_digits_end_in_the_same_bits_on_1_2_4_and_8_devices(tmp_path):
    """A whole run, whose every step could make of another rounding another grouping."""
    one = compute(tmp_path, "whole", 1)
    for devices in (2, 4, 8):
        found = compute(tmp_path, "whole", devices)
        for name, expected in one.items():
            np.testing.assert_array_equal(found[name], expected, err_msg=f"{name}, {devices} devices")


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 8])
def test_three_seeds_that_share_devices_are_each_its_own(tmp_path, one, devices):
    found = compute(tmp_path, "seeds", devices)
    np.testing.assert_allclose(found["seed 0 p"], one["p"], rtol=0, atol=1e-3)
    alone = many_devices.short_run(1, seed=2)
    np.testing.assert_allclose(found["seed 2 p"], alone["p"], rtol=0, atol=1e-3)
    assert np.abs(alone["p"] - one["p"]).max() > 0.01  # seeds differ


def test_prediction_is_the_same_bits_on_any_number_of_devices(eight, one):
    np.testing.assert_array_equal(eight["predicted"], one["predicted"])


def test_targets_do_not_depend_on_the_devices_or_the_padding(eight):
    for name, q in many_devices.q_steps(1).items():
        np.testing.assert_allclose(eight[name], q, rtol=0, atol=2e-6, err_msg=name)


def test_rows_are_fetched_and_stored_exactly(eight):
    for name in ("rows", "stored"):
        np.testing.assert_array_equal(eight[name], eight[f"expected {name}"])


def test_a_round_of_the_exact_q_step_sends_a_number_for_each_cluster(eight, folder):
    text = (folder / "q_step.txt").read_text()
    inside, everywhere = collectives(body_of_the_loop(text)), collectives(text)
    assert ("all-reduce", [10]) in inside
    assert len(everywhere) > len(inside)  # the sums of p before the loop
    assert {kind for kind, _ in everywhere} == {"all-reduce"}
    # and one number in some rounds: whether Q has settled on every device
    assert {entries for _, sizes in everywhere for entries in sizes} <= {1, 10}


def test_a_training_step_sends_a_batch_and_the_gradient_and_no_table(eight, folder):
    seen = collectives((folder / "epoch.txt").read_text())
    batch, table = 16, many_devices.N * many_devices.K  # 13 images, padded for eight devices
    largest = max(leaf.size for leaf in jax.tree.leaves(many_devices.inputs()[1]))
    sizes = {kind: {size for other, sizes in seen if other == kind for size in sizes} for kind, _ in seen}
    assert set(sizes) == {"all-reduce", "all-gather", "reduce-scatter"}
    assert sizes["all-gather"] == {batch * many_devices.K}
    assert sizes["reduce-scatter"] == {batch // 8 * 64, batch // 8 * many_devices.K}
    assert max(sizes["all-reduce"]) == largest < table


@pytest.mark.slow
def test_all_digits_are_trained_alike_on_1_2_4_and_8_devices(tmp_path):
    """From one start: before it, what rounding makes of AC-PIC's merges is another grouping, as of another seed.

    Training too grows what rounding differs by, so that a few images on a border end on its other side.
    """
    one = compute(tmp_path, "runs", 1)
    for devices in (2, 4, 8):
        found = compute(tmp_path, "runs", devices)
        assert found["pretrain loss"] == pytest.approx(one["pretrain loss"], rel=1e-5)
        shares = {stage: share_in_the_same_cluster(found[stage], one[stage]) for stage in ("warm", "joint")}
        print(devices, shares)
        assert shares["warm"] >= 0.999 and shares["joint"] >= 0.995


@pytest.mark.parametrize(("devices", "said"), [(0, "devices is 0"), (2, r"devices is 2: JAX finds 1 \(cpu\)")])
def test_devices_that_are_not_there_are_refused(devices, said):
    with pytest.raises(ValueError, match=said):
        data_mesh(devices)


def test_microbatches_that_the_devices_cannot_share_equally_are_refused(tmp_path):
    code = "from depict_jax import cli; raise SystemExit(cli.main())"
    command = [sys.executable, "-c", code, "fit", "none.npz", "--clusters", "3", "--out", str(tmp_path / "run")]
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=3", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([*command, "--microbatches", "8"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "microbatches is 8 for 3 devices: expected a multiple of their number" in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_command_line_refuses_devices_before_anything_is_read(tmp_path, capsys):
    for words in (["fit", "none.npz", "--clusters", "3"], ["doctor"]):
        out = ["--out", str(tmp_path / "run")] if words[0] == "fit" else []
        assert main([*words, *out, "--devices", "3"]) == 2
        assert "devices is 3: JAX finds 1 (cpu) here; expected 1 to 1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("devices", [True, 1.0, "1"])
def test_devices_must_be_an_integer(devices):
    with pytest.raises(TypeError, match="devices is"):
        data_mesh(devices)


def test_one_device_needs_no_mesh():
    assert data_mesh() is None and data_mesh(1) is None
    x = jax.numpy.ones(3)
    assert gather(x, 3, None) is x and replicate(x, None) is x
    assert isinstance(share(np.ones(3), None), jax.Array)
