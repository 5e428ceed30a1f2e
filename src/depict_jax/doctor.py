"""What JAX runs on here, whether the fast path is on, and a training step against plain numpy in float64."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from scipy.special import log_softmax, softmax

from .architecture import Architecture
from .epochs import train_epoch
from .networks import Depict
from .parallel import data_mesh, gather, replicate, share
from .training import PRODUCTS, Loss, TrainState, fresh_state

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "scikit-learn")
ALLOWED = 1e-4  # float32 is off by some 1e-6 here, TF32 by 1e-3, bfloat16 by 1e-2
BATCH, RATE = 100, 1e-3
LOSS = Loss((1.0, 0.1, 0.1), 1.0)


class FailedCheckError(FloatingPointError):
    """JAX does not run here, or its numbers are wrong."""


class Fast(NamedTuple):
    """How a joint training step of MNIST's shape runs here."""

    convolutions: int  # instructions of the compiled program that are stock convolutions
    products: int  # and those that are matrix products
    images_per_second: float


def examine(devices: int | None = None) -> Iterator[tuple[str, str]]:
    """What there is to tell, line by line as (name, finding).

    Args:
        devices: how many devices share the step that is checked; None for all.

    Raises:
        FailedCheckError: JAX finds no device, or the training step is not numpy's.
        ValueError: more devices than there are.
    """
    yield "depict-jax", f"{version('depict-jax')}, Python {platform.python_version()}, {platform.platform()}"
    yield "versions", ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    try:
        found = jax.local_devices()
    except RuntimeError as error:
        raise FailedCheckError(f"JAX finds no device: {error}") from error
    mesh = data_mesh(devices)
    yield "backend", f"{jax.default_backend()}{_unused_accelerator()}"
    for device in found:
        yield f"device {device.id}", f"{device.device_kind}, {_memory_of(device)}"
    yield "memory", _machine_memory()
    yield "threads", f"{_cores()} of {os.cpu_count()} cores are this process's to use"
    yield "compilation cache", _cache()
    yield "float32 products", f"{PRODUCTS}, on purpose: no TF32 or bfloat16 in their place"
    fast = fast_path(mesh)
    how = "as matrix products" if not fast.convolutions else "NOT all as matrix products"
    yield "convolutions", f"{how} ({fast.products} products, {fast.convolutions} stock convolutions in the step)"
    sharing = f"{1 if mesh is None else mesh.size} device(s)"
    yield "speed", f"{fast.images_per_second:,.0f} images/s in a joint step, 28 x 28, batch {BATCH}, {sharing}"
    start = time.perf_counter()
    errors = step_errors(mesh)
    off = ", ".join(f"{name} {error:.0e}" for name, error in errors.items())
    yield "self-check", f"off from float64 by {off} (allowed {ALLOWED:.0e}); {time.perf_counter() - start:.1f} s"
    name = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
    if not errors[name] < ALLOWED:
        raise FailedCheckError(
            f"the training step is wrong on this machine: its {name} is off by {errors[name]:.0e} from numpy in "
            f"float64, where {ALLOWED:.0e} is allowed; check the versions of jaxlib and the driver, or set "
            "JAX_PLATFORMS=cpu"
        )


class _Job(NamedTuple):
    """An epoch of one step, from random weights, without dropout, whose bits numpy would have to be given."""

    architecture: Architecture
    variables: Any
    pixels: np.ndarray
    q: np.ndarray
    mesh: Mesh | None

    def state(self) -> TrainState:
        return replicate(jax.tree.map(jnp.array, fresh_state(self.variables)), self.mesh)

    def data(self) -> tuple[Any, ...]:
        everyone, rates = np.arange(len(self.pixels), dtype=np.int32), np.full(1, RATE, np.float32)
        return share(self.pixels, self.mesh), share(self.q, self.mesh), everyone, rates, jax.random.key(0)


def _job(image: tuple[int, int, int], n_clusters: int, batch: int, mesh: Mesh | None) -> _Job:
    architecture = Architecture.for_image(image, n_clusters, dropout=0.0)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(Depict(architecture).init, jax.random.key(0), jnp.zeros((1, *image)))
    return _Job(
        architecture,
        jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(np.float32), shapes),
        rng.integers(256, size=(batch, *image), dtype=np.uint8),
        rng.dirichlet(np.ones(n_clusters), batch).astype(np.float32),
        mesh,
    )


def fast_path(mesh: Mesh | None) -> Fast:
    """Compile and time a joint step of MNIST's shape.

    Args:
        mesh: of the devices that share the batch, see `parallel`; None for one.
    """
    job = _job((28, 28, 1), 10, BATCH, mesh)
    data, state = job.data(), job.state()
    step = train_epoch.lower(Depict(job.architecture), LOSS, state, *data, batch_size=BATCH, mesh=mesh).compile()
    state = jax.block_until_ready(step(state, *data)).state
    rounds, start = 0, time.perf_counter()
    while rounds < 3 or time.perf_counter() - start < 0.5:
        state = jax.block_until_ready(step(state, *data)).state
        rounds += 1
    speed = rounds * BATCH / (time.perf_counter() - start)
    program = step.as_text() or ""
    convolutions = program.count(" convolution(") + program.count("__cudnn$conv")
    return Fast(convolutions, program.count(" dot(") + program.count("__cublas$"), speed)


def step_errors(mesh: Mesh | None) -> dict[str, float]:
    """How far a joint step is off from float64, as shares of what is compared: loss, prediction, gradient and update.

    The gradient is compared along random directions, in which every parameter counts alike, with central differences
    of the loss that numpy computes. The images are few and small: among a million units, some would be so near the
    kink of leaky ReLU that float32 and float64, or the two sides of a difference, fall on either side of it.

    Args:
        mesh: of the devices that share the batch, see `parallel`; None for one.
    """
    job = _job((8, 8, 1), 3, 8, mesh)
    result = train_epoch(
        Depict(job.architecture), LOSS, job.state(), *job.data(), batch_size=len(job.pixels), mesh=mesh
    )
    p = gather(result.p, len(job.pixels), mesh)
    before = jax.tree.map(np.float64, job.variables)
    loss, expected_p = numpy_objective(job.architecture, before["params"], job.pixels, job.q)
    gradient = jax.tree.map(lambda m: np.float64(m) / 0.1, result.state.optimiser_state.mu)
    update = jax.tree.map(lambda w, g: w - RATE * g / (np.abs(g) + 1e-8), before, gradient)
    off = jax.tree.map(lambda a, b: np.abs(a - b).max() / np.abs(b).max(), result.state.variables, update)
    return {
        "loss": abs(float(result.losses["loss"]) / loss - 1),
        "prediction": float(np.abs(np.asarray(p) - expected_p).max()),
        "gradient": max(_slope_error(job, before, gradient, np.random.default_rng(seed)) for seed in range(5)),
        "update": float(max(jax.tree.leaves(off))),
    }


def _slope_error(job: _Job, variables: Any, gradient: Any, rng: np.random.Generator) -> float:
    """|g . d - (f(w + h d) - f(w - h d)) / 2h| for a random d along which each parameter's g has a slope of about 1."""
    h = 1e-8
    d = jax.tree.map(lambda g: rng.normal(size=g.shape) / (np.linalg.norm(g) or 1.0), gradient)
    ahead, behind = (
        numpy_objective(
            job.architecture, jax.tree.map(lambda w, d, by=by: w + by * d, variables, d)["params"], job.pixels, job.q
        )[0]
        for by in (h, -h)
    )
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), gradient, d)))
    return float(abs(slope - (ahead - behind) / (2 * h)))


def numpy_objective(
    architecture: Architecture, parameters: Any, pixels: np.ndarray, q: np.ndarray
) -> tuple[float, np.ndarray]:
    """L_R + cross entropy without corruption, and p, by numpy alone in the parameters' precision.

    Written from the paper's equations, apart from the network that it checks: maps are (B, rows, columns, channels),
    convolutions sums over windows, transposed ones sums of shifted copies.

    Args:
        architecture: the network's shape.
        parameters: its parameters.
        pixels: uint8 (B, H, W, C).
        q: targets, (B, K).
    """
    encoder, decoder, head = (parameters[name] for name in ("encoder", "decoder", "head"))
    strides_and_pads = [(c.stride, c.pad) for c in architecture.convolutions]
    clean = [(pixels.astype(np.float64) - 127.5) / 127.5]
    for n, (stride, pad) in enumerate(strides_and_pads, start=1):
        z = _convolved(clean[-1], encoder[f"conv{n}_kernel"], stride, pad) + encoder[f"conv{n}_bias"]
        clean.append(np.where(z > 0, z, 0.01 * z))
    flat = clean[-1].transpose(0, 3, 1, 2).reshape(len(pixels), -1)  # channels first, as the dense layers count
    embedding = np.tanh(flat @ encoder["embedding"]["kernel"] + encoder["embedding"]["bias"])
    rows, columns, features = clean[-1].shape[1:]
    flat = embedding @ decoder["embedding"]["kernel"] + decoder["embedding"]["bias"]
    z = np.where(flat > 0, flat, 0.01 * flat).reshape(-1, features, rows, columns).transpose(0, 2, 3, 1)
    decoded = [z]
    for n, (stride, pad) in reversed(list(enumerate(strides_and_pads, start=1))):
        z = _convolved_back(decoded[0], decoder[f"conv{n}_kernel"], stride, pad) + decoder[f"conv{n}_bias"]
        decoded.insert(0, np.tanh(z) if n == 1 else np.where(z > 0, z, 0.01 * z))
    logits = embedding @ head["kernel"] + head["bias"]
    reconstruction = sum(
        weight * np.square(a - b).mean() for weight, a, b in zip(LOSS.layer_weights, decoded, clean, strict=True)
    )
    cross_entropy = -(q * log_softmax(logits, axis=1)).sum(axis=1).mean()
    return float(reconstruction + LOSS.clustering_weight * cross_entropy), softmax(logits, axis=1)


def _convolved(x: np.ndarray, w: np.ndarray, stride: tuple[int, int], pad: tuple[int, int]) -> np.ndarray:
    x = np.pad(x, ((0, 0), (pad[0], pad[0]), (pad[1], pad[1]), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[:2], axis=(1, 2))[:, :: stride[0], :: stride[1]]
    return np.tensordot(windows, w, axes=((4, 5, 3), (0, 1, 2)))


def _convolved_back(y: np.ndarray, w: np.ndarray, stride: tuple[int, int], pad: tuple[int, int]) -> np.ndarray:
    reach = [s * (n - 1) + 1 for s, n in zip(stride, y.shape[1:3], strict=True)]
    x = np.zeros((len(y), reach[0] + w.shape[0] - 1, reach[1] + w.shape[1] - 1, w.shape[2]))
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            x[:, i : i + reach[0] : stride[0], j : j + reach[1] : stride[1]] += y @ w[i, j].T
    return x[:, pad[0] : x.shape[1] - pad[0], pad[1] : x.shape[2] - pad[1]]


def _unused_accelerator() -> str:
    if jax.default_backend() != "cpu":
        return ""
    if Path("/dev/nvidiactl").exists():
        return '; this machine has an NVIDIA GPU: pip install "jax[cuda12]" lets JAX use it'
    if any(Path("/dev").glob("accel[0-9]*")):
        return '; this machine has a TPU: pip install "jax[tpu]" lets JAX use it'
    return ""


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_of(device: jax.Device) -> str:
    found = device.memory_stats() or {}
    if "bytes_limit" not in found:
        return "shares the machine's memory"
    return f"{found.get('bytes_in_use', 0) / 1e9:.1f} GB of {found['bytes_limit'] / 1e9:.1f} GB in use"


def _machine_memory() -> str:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        free, whole = (page * os.sysconf(f"SC_{name}_PAGES") / 1e9 for name in ("AVPHYS", "PHYS"))
    except (AttributeError, ValueError):  # not on every system
        return "unknown here"
    return f"{free:.1f} GB of {whole:.1f} GB free"


def _cache() -> str:
    folder = jax.config.values["jax_compilation_cache_dir"]
    if not folder:
        return "off: every run waits for the compiler"
    kept = list(Path(folder).glob("*-cache"))
    return f"on, {len(kept)} programs, {sum(path.stat().st_size for path in kept) / 1e6:.0f} MB in {folder}"
