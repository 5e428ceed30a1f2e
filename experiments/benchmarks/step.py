"""A joint epoch of MNIST-test's shapes (10,000 images, batch 100), ours and PyTorch's, turn by turn.

make bench-step

Ours is the training's own epoch: a single device call, shuffling, gathering and collecting p included. PyTorch's
(experiments/peers/torch_step.py, in an environment of its own) does the same step by hand. Epochs alternate, so that
both meet the same minutes of a shared machine; the ratio is of medians, with the spread of the pairs beside it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from depict_jax.architecture import Architecture
from depict_jax.networks import Depict
from depict_jax.training import Loss, fresh_state, steps_per_epoch, train_epoch

EXPERIMENTS = Path(__file__).resolve().parents[1]
PEER_PYTHON = EXPERIMENTS.parent / ".venv-peers/bin/python"


class Ours:
    """Epochs of our joint training on random images."""

    def __init__(self, n_images: int, batch_size: int):
        architecture = Architecture.for_image((28, 28, 1), 10)
        self.model = Depict(architecture)
        variables = self.model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)), noisy=False)
        self.state = fresh_state(variables)
        self.pixels = jnp.asarray(np.random.default_rng(0).integers(0, 256, (n_images, 28, 28, 1), dtype=np.uint8))
        self.targets = jnp.full((n_images, 10), 0.1)
        self.steps, self.batch_size = steps_per_epoch(n_images, batch_size), batch_size
        self.epoch()  # compiles

    def epoch(self) -> float:
        """Milliseconds a step."""
        start = time.perf_counter()
        result = train_epoch(
            self.model,
            Loss((1.0, 0.1, 0.1), 1.0),
            self.state,
            self.pixels,
            self.targets,
            jnp.arange(len(self.pixels), dtype=jnp.int32),
            jnp.full(self.steps, 1e-4),
            jax.random.key(1),
            batch_size=self.batch_size,
        )
        self.state = jax.block_until_ready(result).state
        return (time.perf_counter() - start) * 1000 / self.steps


class Peer:
    """The same in PyTorch, in a process that times an epoch whenever it is told to."""

    def __init__(self, layout: str, n_images: int, batch_size: int):
        command = [PEER_PYTHON, EXPERIMENTS / "peers/torch_step.py", "--serve", "--layout", layout]
        command += ["--images", n_images, "--batch-size", batch_size]
        words = [str(word) for word in command]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line()

    def epoch(self) -> float:
        """Milliseconds a step."""
        assert self.process.stdin is not None
        self.process.stdin.write("epoch\n")
        self.process.stdin.flush()
        return json.loads(self._line())["ms_per_step"]

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the PyTorch peer stopped; its own message stands above")
        return line


def main() -> None:
    """Print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=100)
    arguments = parser.parse_args()

    sides: dict[str, Ours | Peer] = {"depict-jax": Ours(arguments.images, arguments.batch_size)}
    if PEER_PYTHON.exists():
        for layout in ("channels_last", "nchw"):
            sides[f"PyTorch {layout}"] = Peer(layout, arguments.images, arguments.batch_size)
    else:
        print(
            "PyTorch is not installed in .venv-peers: only ours is timed (make bench-step installs it)", file=sys.stderr
        )
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(arguments.rounds):
        for name, side in sides.items():
            times[name].append(side.epoch())
    ours = times["depict-jax"]
    for name, found in times.items():
        ratios = [mine / theirs for mine, theirs in zip(ours, found, strict=True)]
        print(
            f"{name:24} {statistics.median(found):6.1f} ms a step ({min(found):.1f} to {max(found):.1f})   "
            f"ours / this {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    print(json.dumps({"ms_per_step": times, "images": arguments.images, "batch_size": arguments.batch_size}))


if __name__ == "__main__":
    main()
