"""The doctor's float64 network is the network, and it finds a step that is wrong."""

from functools import partial

import jax
import numpy as np
import pytest

from depict_jax import convolution, doctor, training
from depict_jax.cli import main
from depict_jax.networks import Depict
from depict_jax.training import scale


def test_what_numpy_computes_is_what_the_network_computes():
    """With shapes that the self-check does not have: colours, kernels that the stride does not divide, padding."""
    job = doctor._job((11, 17, 3), 4, 5, None)
    loss, p = doctor.numpy_objective(job.architecture, job.variables["params"], job.pixels, job.q)
    apply = jax.jit(partial(Depict(job.architecture).apply, noisy=False))
    pathways = apply(job.variables, scale(job.pixels))
    assert doctor.LOSS(pathways, job.q)[0] == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(jax.nn.softmax(pathways.logits), p, atol=1e-5)


def test_a_step_that_is_right_is_off_by_rounding():
    errors = doctor.step_errors(None)
    assert set(errors) == {"loss", "prediction", "gradient", "update"}
    assert max(errors.values()) < 1e-5


@pytest.fixture
def uncompiled():
    """Programs traced anew, and forgotten afterwards."""
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.slow
def test_factors_rounded_to_bfloat16_are_found(monkeypatch, uncompiled):
    true = convolution._product

    def rounded(w, x, g):
        return true(w.astype("bfloat16").astype("float32"), x.astype("bfloat16").astype("float32"), g)

    monkeypatch.setattr(convolution, "_product", rounded)
    errors = doctor.step_errors(None)
    assert errors["gradient"] > 10 * doctor.ALLOWED


def test_a_wrong_gradient_ends_with_a_sentence_and_exit_code_1(monkeypatch, uncompiled, capsys):
    """A term left out of the gradient alone: loss and predictions stay right."""
    true = training.cross_entropy
    monkeypatch.setattr(training, "cross_entropy", lambda q, *rest: jax.lax.stop_gradient(true(q, *rest)))
    monkeypatch.setattr(doctor, "fast_path", lambda mesh: doctor.Fast(0, 20, 1000.0))
    assert main(["doctor"]) == 1
    told = capsys.readouterr()
    assert "the training step is wrong on this machine: its gradient is off by" in told.err
    assert told.err.count("\n") == 1
    for name in ("jaxlib", "device 0", "memory", "threads", "compilation cache", "self-check"):
        assert name in told.out


def test_no_device_ends_with_a_sentence(monkeypatch, capsys):
    def fail():
        raise RuntimeError("Unable to initialize backend 'cuda'")

    monkeypatch.setattr(doctor.jax, "local_devices", fail)
    assert main(["doctor"]) == 1
    assert "JAX finds no device: Unable to initialize backend 'cuda'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_fast_path_is_on_and_stock_convolutions_are_seen(monkeypatch, uncompiled):
    fast = doctor.fast_path(None)
    assert fast.convolutions == 0 and fast.products >= 20 and fast.images_per_second > 0
    from test_training import stock_conv

    from depict_jax import networks

    monkeypatch.setattr(networks, "conv", stock_conv)
    jax.clear_caches()
    assert doctor.fast_path(None).convolutions > 0
