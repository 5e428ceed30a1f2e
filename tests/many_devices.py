"""What eight emulated devices compute, run by test_parallel.py in a process of its own: XLA_FLAGS must precede JAX.

many_devices.py FOLDER pieces|runs|whole|seeds DEVICES writes pieces8.npz, say, and the compiled programs' texts.
"""

import dataclasses
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from depict_jax import assignments, ensemble
from depict_jax.architecture import Architecture, Convolution
from depict_jax.data import load
from depict_jax.epochs import steps_per_epoch, train_epoch
from depict_jax.networks import Depict
from depict_jax.parallel import AXIS, SHARED, WHOLE, data_mesh, fetch, gather, replicate, share, store
from depict_jax.settings import Settings, preset
from depict_jax.stages import EpochEnd, StageEnd, check_job, run
from depict_jax.training import Loss, fresh_state, predict

N, BATCH, K = 53, 13, 3  # what no number of devices divides
LOSS = Loss((1.0, 0.1, 0.1), 1.0)
SETTINGS = Settings(
    pretrain_epochs=2,
    warm_epochs=2,
    joint_epochs=2,
    initial="kmeans",
    batch_size=BATCH,
    rule="exact",
    prior_weight=10.0,
)
IN_MICROBATCHES = dataclasses.replace(SETTINGS, microbatches=8, brightness=0.2)  # changes go by an image's place too
RULES = [("closed_form", 1.0, 1.0), ("squared", 1.0, 1.0), ("exact", 10.0, 2.0), ("exact", np.inf, 1.0)]


def inputs():
    """The network of conftest's `small`, with weights, images and targets."""
    layers = (Convolution(4, (4, 2), (2, 2), (1, 0)), Convolution(6, (2, 2)))
    model = Depict(Architecture((8, 8, 1), layers, K, dropout=(0.1, 0.3, 0.5)))
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 8, 8, 1), np.float32))
    variables = jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), shapes)
    pixels = rng.integers(256, size=(N, 8, 8, 1), dtype=np.uint8)
    return model, variables, pixels, rng.dirichlet(np.ones(K), N).astype(np.float32)


def short_run(devices: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Two epochs of each stage, with dropout, and N and batches that no number of devices divides."""
    model, _, pixels, _ = inputs()
    return events_of(pixels, model.architecture, dataclasses.replace(SETTINGS, seed=seed), devices) | {
        "predicted": np.concatenate(predict(model, inputs()[1], pixels, data_mesh(devices)))
    }


def short_run_in_microbatches(devices: int, stream: bool = False) -> dict[str, np.ndarray]:
    """The same with each batch in eight parts, the last of them padding alone."""
    model, _, pixels, _ = inputs()
    return events_of(pixels, model.architecture, IN_MICROBATCHES, devices, stream)


def epoch_program(devices: int) -> str:
    """An epoch of the short run's joint stage as compiled."""
    model, variables, pixels, q = inputs()
    mesh = data_mesh(devices)
    state = replicate(jax.tree.map(jnp.array, fresh_state(variables)), mesh)
    rates = np.full(steps_per_epoch(N, BATCH), 1e-3, np.float32)
    data = share(pixels, mesh), share(q, mesh), np.arange(N, dtype=np.int32), rates, jax.random.key(3)
    how = {"batch_size": BATCH, "mesh": mesh}
    return train_epoch.lower(model, LOSS, state, *data, **how).compile().as_text()


def q_steps(devices: int) -> dict[str, np.ndarray]:
    """Q by every rule from predictions of which one cluster has none and one image is certain, padding after them."""
    p = np.random.default_rng(1).dirichlet(np.full(6, 0.5), N).astype(np.float32)
    p[:, 4] = 0
    p[7] = np.eye(6)[2]
    mesh = data_mesh(devices)
    shares = share(p / p.sum(axis=1, keepdims=True), mesh)
    prior = np.arange(1.0, 7.0)
    return {
        f"{rule} {weight}": np.asarray(
            gather(assignments.target_distribution(shares, prior, rule, weight, sharpness, N), N, mesh)
        )
        for rule, weight, sharpness in RULES
    }


def q_step_program(n_images: int, n_clusters: int) -> str:
    """The exact Q-step as compiled for a table of predictions in eight shares."""
    shares = share(np.full((n_images, n_clusters), 1 / n_clusters, np.float32), data_mesh(8))
    prior = assignments.checked_prior(None, n_clusters)
    found = assignments._distribution.lower(shares, prior, "exact", 10 / 11, 2.0, n_images).compile()
    assert found.output_shardings.is_equivalent_to(shares.sharding, 2)
    return found.as_text()


def there_and_back() -> dict[str, np.ndarray]:
    """Rows fetched and stored, beside numpy's."""
    mesh = data_mesh(8)
    table = np.random.default_rng(2).integers(256, size=(N, 5), dtype=np.uint8)
    indices = np.random.default_rng(3).permutation(N)[:24].astype(np.int32)
    indices[[3, 20]] = 1000  # beyond the table

    def both(shares, indices):
        rows = fetch(shares, indices, AXIS)
        return rows, store(jnp.zeros_like(shares), indices, rows, AXIS)

    run = jax.jit(jax.shard_map(both, mesh=mesh, in_specs=(SHARED, WHOLE), out_specs=(SHARED, SHARED)))
    rows, stored = run(share(table, mesh), indices)
    expected = np.where((indices < N)[:, None], table[np.minimum(indices, N - 1)], 0)
    kept = np.zeros_like(table)
    kept[indices[indices < N]] = table[indices[indices < N]]
    return {"rows": rows, "expected rows": expected, "stored": gather(stored, N, mesh), "expected stored": kept}


def pieces(folder: Path, devices: int) -> dict[str, np.ndarray]:
    """A short run, the Q-step and the fetching of rows."""
    (folder / "q_step.txt").write_text(q_step_program(2000, 10))
    (folder / "epoch.txt").write_text(epoch_program(devices))
    streamed = events_of(inputs()[2], inputs()[0].architecture, SETTINGS, devices, stream=True)
    in_parts = short_run_in_microbatches(devices, stream=True)
    return (
        there_and_back()
        | q_steps(devices)
        | short_run(devices)
        | {f"streamed {name}": found for name, found in streamed.items()}
        | {f"streamed in microbatches {name}": found for name, found in in_parts.items()}
    )


def seeds_side_by_side(devices: int) -> list[np.ndarray]:
    """The final p of three runs that share the devices."""
    model, _, pixels, _ = inputs()
    settings = [dataclasses.replace(SETTINGS, seed=seed) for seed in range(3)]
    final = [np.zeros(0)] * 3
    for i, event in ensemble.run(pixels, model.architecture, settings, devices=devices):
        final[i] = np.asarray(event.state.p)
    return final


def events_of(
    pixels: np.ndarray,
    architecture: Architecture,
    settings: Settings,
    devices: int,
    stream: bool = False,
) -> dict[str, np.ndarray]:
    """A run's losses epoch by epoch, by stage; its initial assignment; p and the weights at its end."""
    losses: dict[str, list[float]] = {}
    for event in run(pixels, architecture, settings, devices=devices, stream=stream):
        if isinstance(event, EpochEnd):
            losses.setdefault(f"{event.stage} losses", []).append(event.losses["loss"])
    weights = [np.ravel(leaf) for leaf in jax.tree.leaves(event.state.train.variables)]
    return {name: np.array(values) for name, values in losses.items()} | {
        "assignment": event.state.assignment,
        "p": np.asarray(event.state.p),
        "weights": np.concatenate(weights),
    }


def whole_run(devices: int) -> dict[str, np.ndarray]:
    """All digits from pixels to clusters in microbatches: two rounds, both of AC-PIC, as long as they need."""
    pixels = load("digits").pixels
    settings = dataclasses.replace(preset(), pretrain_epochs=60, joint_epochs=15, rounds=2, microbatches=8)
    return events_of(pixels, check_job(pixels, 10, settings), settings, devices)


def runs(devices: int) -> dict[str, np.ndarray]:
    """All digits: an epoch of pretraining; and what follows the initial assignment, which one device has made."""
    pixels = load("digits").pixels
    settings = Settings(
        pretrain_epochs=30,
        warm_epochs=5,
        joint_epochs=30,
        affine=0.1,
        brightness=0.3,
        rule="exact",
        sharpness=2.0,
        prior_weight=10.0,
    )
    architecture = check_job(pixels, 10, settings)
    first = next(run(pixels, architecture, settings, devices=devices))
    assert isinstance(first, EpochEnd)
    for event in run(pixels, architecture, settings, devices=1):
        if event.stage == "initial":
            break
    begun = jax.tree.map(np.array, event.state)
    found = {"pretrain loss": np.array(first.losses["loss"])}
    for event in run(pixels, architecture, settings, begun, devices):
        if isinstance(event, StageEnd):
            found[event.stage] = np.asarray(event.state.p)
    return found


if __name__ == "__main__":
    folder, what, devices = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    if what == "seeds":
        found = {f"seed {i} p": p for i, p in enumerate(seeds_side_by_side(devices))}
    else:
        found = {"runs": runs, "whole": whole_run, "pieces": partial(pieces, folder)}[what](devices)
    np.savez(folder / f"{what}{devices}.npz", **found)
