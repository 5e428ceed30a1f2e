"""What a seed costs in one vmapped program of several, beside several in turn: a joint epoch of MNIST's shapes.

make bench-seeds

Both are the training's own epochs, and alternate, so that both meet the same minutes of a shared machine. With one
device, 2 and 4 seeds; with eight, emulated ones on a CPU, 8 seeds, one to a device, beside 8 in turn on the first.
"""

from __future__ import annotations

import argparse
import os
import time
from multiprocessing import get_context
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from depict_jax.architecture import Architecture
from depict_jax.augmentation import UNCHANGED
from depict_jax.ensemble import train_epochs
from depict_jax.epochs import train_epoch
from depict_jax.networks import Depict
from depict_jax.parallel import data_mesh, replicate
from depict_jax.training import Loss, fresh_state
from experiments.benchmarks.record import save, spread

CASES = ((1, 2), (1, 4), (8, 8))  # devices, seeds
STEPS, BATCH_SIZE, CLUSTERS = 10, 100, 10
LOSS = Loss((1.0, 0.1, 0.1), 1.0)


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    turns = parser.parse_args().turns
    found = {}
    for devices, count in CASES:
        os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"  # of the CPU alone
        with get_context("spawn").Pool(1) as pool:
            found[devices, count] = pool.apply(measured, (count, turns))
    rows = [
        (
            f"{count} seeds as one vmapped program, {devices} device(s): time, as a multiple of the same in turn",
            f"{one['ratio']['median']:.2f} ({one['ratio']['min']:.2f} to {one['ratio']['max']:.2f})",
        )
        for (devices, count), one in found.items()
    ]
    save("seeds", {f"{count} on {devices}": one for (devices, count), one in found.items()}, rows)


def measured(count: int, turns: int) -> dict[str, Any]:
    """Seconds a seed both ways, and their ratio turn by turn, of `count` seeds on all devices and on the first."""
    model = Depict(Architecture.for_image((28, 28, 1), CLUSTERS))
    n_images = STEPS * BATCH_SIZE
    rng = np.random.default_rng(0)
    mesh = data_mesh()
    pixels = jnp.asarray(rng.integers(0, 256, (n_images, 28, 28, 1), np.uint8))
    everywhere = replicate(pixels, mesh)
    targets = jax.nn.one_hot(rng.integers(0, CLUSTERS, n_images), CLUSTERS)
    members, rates = np.arange(n_images, dtype=np.int32), np.full(STEPS, 1e-3, np.float32)
    keys = jax.random.split(jax.random.key(0), count)
    initial = jax.jit(lambda key: fresh_state(model.init(key, jnp.zeros((1, 28, 28, 1)), noisy=False)))
    rest = [np.stack([np.asarray(one)] * count) for one in (targets, members, rates)]

    def together(states: list[Any]) -> float:
        stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *states)
        start = time.perf_counter()
        jax.block_until_ready(
            train_epochs(model, LOSS, BATCH_SIZE, UNCHANGED, 1, mesh, everywhere, stacked, *rest, keys)
        )
        return (time.perf_counter() - start) / count

    def in_turn(states: list[Any]) -> float:
        start = time.perf_counter()
        for state, key in zip(states, keys, strict=True):
            data = pixels, targets, members, rates, key
            jax.block_until_ready(train_epoch(model, LOSS, state, *data, batch_size=BATCH_SIZE))
        return (time.perf_counter() - start) / count

    both = []
    for turn in range(turns + 1):
        pair = tuple(way(jax.block_until_ready([initial(key) for key in keys])) for way in (together, in_turn))
        if turn:  # the first compiles
            both.append(pair)
    vmapped, turn_by_turn = zip(*both, strict=True)
    return {
        "device": jax.devices()[0].device_kind,
        "vmapped_seconds": spread(vmapped),
        "in_turn_seconds": spread(turn_by_turn),
        "ratio": spread([one / other for one, other in both]),
    }


if __name__ == "__main__":
    main()
