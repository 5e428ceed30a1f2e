"""The joint training step, ours beside PyTorch's, XLA's stock convolutions and the machine's own matrix products.

make bench-step

Ours is the training's own epoch: a single device call, shuffling, gathering and collecting p included. PyTorch's
(experiments/peers/torch_step.py, in an environment of its own) does the same step by hand. Epochs alternate, so that
all meet the same minutes of a shared machine; ratios are medians over the turns, with the smallest and largest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from depict_jax.architecture import Architecture
from depict_jax.epochs import train_epoch
from depict_jax.networks import Depict
from depict_jax.training import Loss, TrainState, fresh_state, scale, train_step
from experiments.benchmarks import stock
from experiments.benchmarks.record import missing, save, spread

EXPERIMENTS = Path(__file__).resolve().parents[1]
PEER_PYTHON = EXPERIMENTS.parent / ".venv-peers/bin/python"
STEPS = 20  # of a timed epoch
LOSS = Loss((1.0, 0.1, 0.1), 1.0)
PEAK_SIZE = 4096  # of the square matrices whose product is the machine's peak


@dataclass(frozen=True)
class Case:
    """What is trained: a data set's shapes, on random images."""

    name: str
    side: int
    clusters: int
    batch_size: int

    @property
    def architecture(self) -> Architecture:
        """The paper's."""
        return Architecture.for_image((self.side, self.side, 1), self.clusters)


CASES = (
    Case("MNIST", 28, 10, 100),
    Case("MNIST", 28, 10, 256),
    Case("USPS", 16, 10, 100),
    Case("CMU-PIE", 32, 68, 100),
)


class Side(Protocol):
    """One of those that are timed turn by turn."""

    def epoch(self) -> float:
        """Milliseconds a step."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class Ours:
    """Epochs of our joint training."""

    def __init__(self, case: Case, microbatches: int = 1):
        self.case, self.model, image = case, Depict(case.architecture), case.architecture.image
        self.microbatches = microbatches
        variables = jax.jit(lambda key: self.model.init(key, jnp.zeros((1, *image)), noisy=False))(jax.random.key(0))
        self.state = fresh_state(variables)
        n = STEPS * case.batch_size
        self.pixels = jnp.asarray(np.random.default_rng(0).integers(0, 256, (n, *image), dtype=np.uint8))
        self.targets = jnp.full((n, case.clusters), 1 / case.clusters, jnp.float32)
        self.members, self.rates = jnp.arange(n, dtype=jnp.int32), jnp.full(STEPS, 1e-4)
        self.epoch()  # compiles

    def epoch(self) -> float:
        """Milliseconds a step."""
        start = time.perf_counter()
        result = train_epoch(
            self.model,
            LOSS,
            self.state,
            self.pixels,
            self.targets,
            self.members,
            self.rates,
            jax.random.key(1),
            batch_size=self.case.batch_size,
            microbatches=self.microbatches,
        )
        self.state = jax.block_until_ready(result).state
        return (time.perf_counter() - start) * 1000 / STEPS

    def close(self) -> None:
        """Nothing is held."""


class Stock(Ours):
    """The same step with XLA's stock convolutions, a device call each: inside `lax.scan` they lose their threads."""

    def __init__(self, case: Case):
        @partial(jax.jit, donate_argnums=0)
        def step(state: TrainState, pixels: jax.Array, targets: jax.Array, key: jax.Array) -> TrainState:
            mask = jnp.ones(len(pixels))
            return train_step(self.model, LOSS, state, scale(pixels), targets, mask, jnp.float32(1e-4), key)[0]

        self._step = step
        with stock.in_place_of_ours():
            super().__init__(case)

    def epoch(self) -> float:
        """Milliseconds a step; the step alone, without the shuffling and collecting that ours does."""
        batch = self.case.batch_size
        start = time.perf_counter()
        for n, key in enumerate(jax.random.split(jax.random.key(1), STEPS)):
            chosen = slice(n * batch, (n + 1) * batch)
            self.state = self._step(self.state, self.pixels[chosen], self.targets[chosen], key)
        jax.block_until_ready(self.state)
        return (time.perf_counter() - start) * 1000 / STEPS


class Peer:
    """The same in PyTorch, in a process that times an epoch whenever it is told to."""

    def __init__(self, case: Case, *options: str):
        layers = [f"{layer.kernel[0]},{layer.stride[0]},{layer.pad[0]}" for layer in case.architecture.convolutions]
        command: list[object] = [PEER_PYTHON, EXPERIMENTS / "peers/torch_step.py", "--serve", *options]
        command += ["--side", case.side, "--first", layers[0], "--second", layers[1], "--clusters", case.clusters]
        command += ["--images", STEPS * case.batch_size, "--batch-size", case.batch_size]
        words = [str(word) for word in command]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line()

    def epoch(self) -> float:
        """Milliseconds a step."""
        assert self.process.stdin is not None
        self.process.stdin.write("epoch\n")
        self.process.stdin.flush()
        return json.loads(self._line())["ms_per_step"]

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the PyTorch peer stopped; its own message stands above")
        return line


class Peak:
    """The machine's float32 matrix product, as milliseconds for the floating-point operations of a case's step."""

    def __init__(self, case: Case):
        self.operations = step_operations(case.architecture, case.batch_size)
        rng = np.random.default_rng(0)
        self.factors = [jnp.asarray(rng.normal(size=(PEAK_SIZE, PEAK_SIZE)), jnp.float32) for _ in range(2)]
        self._product = jax.jit(jnp.matmul)
        self.epoch()

    def epoch(self) -> float:
        """Milliseconds that a step's operations would take at the peak."""
        start = time.perf_counter()
        jax.block_until_ready(self._product(*self.factors))
        return (time.perf_counter() - start) * 1000 * self.operations / (2 * PEAK_SIZE**3)

    def close(self) -> None:
        """Nothing is held."""


def step_operations(architecture: Architecture, batch_size: int) -> int:
    """Floating-point operations of a step's products, as usually counted: every tap of every output, on padding too.

    Each layer is a product forwards, and two backwards (by its input and by its weights), in the noisy encoder, the
    clean encoder and the decoder; the image itself has no gradient.
    """
    maps, k = architecture.maps, architecture.n_clusters
    total = 0
    for n, layer in enumerate(architecture.convolutions):
        rows, columns, features = maps[n + 1]
        product = rows * columns * features * layer.kernel[0] * layer.kernel[1] * maps[n][2]
        total += product * (9 if n else 7)
    flat = maps[-1][0] * maps[-1][1] * maps[-1][2]
    total += 9 * flat * k + 4 * k**2
    return 2 * total * batch_size


PEERS = {
    "PyTorch NCHW": ("--layout", "nchw"),
    "PyTorch channels_last": ("--layout", "channels_last"),
    "PyTorch NCHW, torch.compile": ("--layout", "nchw", "--compile"),
    "PyTorch channels_last, torch.compile": ("--layout", "channels_last", "--compile"),
}


def measure(case: Case, turns: int) -> dict[str, Any]:
    """Milliseconds a step of every side, the turns' ratios, and ours as a share of the peak."""
    sides: dict[str, Side] = {"depict-jax": Ours(case), "stock lax": Stock(case), "matmul peak": Peak(case)}
    if PEER_PYTHON.exists():
        for name, options in PEERS.items():
            try:
                sides[name] = Peer(case, *options)
            except RuntimeError as error:
                missing(name, str(error))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, side in sides.items():
            times[name].append(side.epoch())
    for side in sides.values():
        side.close()
    ours = times["depict-jax"]
    ratios = {
        name: spread([theirs / mine for mine, theirs in zip(ours, found, strict=True)])
        for name, found in times.items()
        if name != "depict-jax"
    }
    peers = [name for name in PEERS if name in times]
    return {
        "ms_per_step": {name: spread(found) for name, found in times.items()},
        "images_per_second": spread([1000 * case.batch_size / mine for mine in ours]),
        "times_as_fast_as": ratios,
        "best_pytorch": min(peers, key=lambda name: statistics.median(times[name])) if peers else None,
        "operations": step_operations(case.architecture, case.batch_size),
    }


def rows_of(case: Case, found: dict[str, Any]) -> tuple[str, str]:
    """One line for people."""

    def shown(name: str, percent: bool = False) -> str:
        ratio = found["times_as_fast_as"][name]
        if percent:
            return f"{ratio['median']:.0%} ({ratio['min']:.0%} to {ratio['max']:.0%}) of the matmul peak"
        return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}) times {name}"

    best = [shown(found["best_pytorch"])] if found["best_pytorch"] else []
    return (
        f"joint step, {case.name} ({case.side} x {case.side}, {case.clusters} clusters), batch {case.batch_size}",
        "; ".join(
            [
                f"{found['images_per_second']['median']:,.0f} images/s",
                *best,
                shown("stock lax"),
                shown("matmul peak", percent=True),
            ]
        ),
    )


def main() -> None:
    """Measure every case, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=7)
    turns = parser.parse_args().turns
    if not PEER_PYTHON.exists():
        missing("PyTorch is not installed in .venv-peers", "make bench-step installs it")
    found = {case: measure(case, turns) for case in CASES}
    save(
        "step",
        {f"{case.name}, batch {case.batch_size}": figures for case, figures in found.items()},
        [rows_of(case, figures) for case, figures in found.items()],
    )


if __name__ == "__main__":
    main()
