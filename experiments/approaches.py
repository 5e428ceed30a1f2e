"""The paper's learning approaches, and what the Q-step and the gradient through clean targets do: cells of an ablation.

python -m experiments.approaches mnist-test usps --seeds 3

Everything but what a cell names is the variant `paper`'s, and cells share the stages that they have in common. A cell
of the learning approaches says three things.

Noise: at no layer, on the input alone, or on all layers (the paper's: input and first convolution).
Reconstruction: of no layer, of the image alone (the ordinary autoencoder's), or of all layers. Where nothing is
    reconstructed nothing can be pretrained: the features are those of random weights, until the joint stage changes
    them by the cross entropy alone.
Learning: k-means on the pretrained features; a soft-max head trained on them, warm start and Q-steps as in the joint
    stage, while encoder and decoder stay as they are; or the joint stage, which trains everything.

`noise-all+reconstruction-all+joint` is the variant `paper` itself, and is not run twice.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import numpy as np

from depict_jax.architecture import Architecture
from depict_jax.data import Images
from depict_jax.networks import Depict, Pathways
from depict_jax.run_folder import Config
from depict_jax.runner import answer_after
from depict_jax.settings import Settings
from depict_jax.stage_names import FINISHED
from depict_jax.stages import check_job
from depict_jax.training import Loss, predict
from experiments import presets, results
from experiments.epochs import joint_rates, q_step, train, warm_rates
from experiments.jobs import STORE, Found, Job, Watch, run_missing
from experiments.presets import Preset
from experiments.run import depict
from experiments.store import trained
from experiments.variants import settings_of

DATASETS = ("mnist-test", "usps")
SEEDS = 3
NOISES = {"none": (0.0, 0.0, 0.0), "input": (0.1, 0.0, 0.0), "all": (0.1, 0.1, 0.0)}  # rates of z^0, z^1, z^2
LEARNING = ("kmeans", "head", "joint")
PAPER = "paper"
# At the 1e-3 of the others the embedding of the ordinary autoencoder, and of one that no gradient reaches through the
# clean targets, saturates in the first steps, and it gives every image the mean image for good: the validation loss
# then stays at the images' variance. So these begin at the largest of 3e-4 and 1e-4 at which the ordinary autoencoder
# does not (without labels: USPS at 3e-4 .168 after 12 epochs, of a variance of .481; MNIST-test at 3e-4 .268 for good,
# its variance, at 1e-4 .108 after 30). With stopped gradient MNIST-test was seen at 3e-4 for 14 epochs, and hardly left
# that plateau either.
SATURATING = ("image", "stop-gradient")
SLOWER_RATES = {"mnist-test": 1e-4, "usps": 3e-4}
# What is reconstructed: the settings that differ from the variant `paper`.
RECONSTRUCTIONS: dict[str, dict[str, Any]] = {
    "none": {"hidden_weight": 0.0, "pretrain_epochs": 0},
    "image": {"hidden_weight": 0.0},
    "all": {},
}


class Approach(NamedTuple):
    """Noise, reconstruction and learning of a cell."""

    noise: str
    reconstruction: str
    learning: str


def _name(approach: Approach) -> str:
    noise, reconstruction, learning = approach
    name = f"noise-{noise}+reconstruction-{reconstruction}+{learning}"
    return PAPER if name == "noise-all+reconstruction-all+joint" else name


APPROACHES = {_name(cell): cell for cell in (Approach(*of) for of in product(NOISES, RECONSTRUCTIONS, LEARNING))}
SHARPNESS = (1.0, 2.0, 4.0)
PRIOR_WEIGHTS = (0.0, 1.0, 10.0, 100.0, math.inf)


def exact(sharpness: float, prior_weight: float) -> str:
    """The name of a cell with the exact Q-step."""
    return f"exact+sharpness-{sharpness:g}+prior-weight-{prior_weight:g}"


# What the Q-step's cells change in the variant `paper`, whose rule is `squared` and whose gradient passes the targets.
Q_STEPS: dict[str, dict[str, Any]] = {
    "closed-form": {"rule": "closed_form"},
    **{
        exact(beta, rho): {"rule": "exact", "sharpness": beta, "prior_weight": rho}
        for beta, rho in product(SHARPNESS, PRIOR_WEIGHTS)
    },
    "stop-gradient": {"stop_gradient": True},
}


class FrozenFeatures(Depict):
    """DEPICT's network with a head that learns and an encoder that does not; nothing is decoded."""

    def __call__(
        self,
        images: jax.Array,
        noisy: bool = True,
        changed: jax.Array | None = None,
        first: jax.Array | int = 0,
    ) -> Pathways:
        """The clean and noisy embeddings without gradient, and the head's logits on them."""
        seen = images if changed is None else changed
        noisy_embedding = jax.lax.stop_gradient(self.encoder(seen, noisy, first)[-1])
        embedding = jax.lax.stop_gradient(self.encoder(images, False)[-1])
        return Pathways(noisy_embedding, self.head(noisy_embedding), (), (embedding,), self.head(embedding))


def main() -> None:
    """Run the cells that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=presets.NAMES, nargs="+")
    parser.add_argument("--cells", choices=("approaches", "q-steps"), nargs="+", default=["approaches", "q-steps"])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, from 0 on")
    arguments = parser.parse_args()
    for name in arguments.dataset:
        of_set = partial(compute, slower_rate=SLOWER_RATES.get(name, min(SLOWER_RATES.values())))
        run_missing(name, presets.preset(name), jobs(arguments.cells, arguments.seeds), of_set)


def jobs(tables: list[str], seeds: int) -> list[Job]:
    """Seed by seed; the variant `paper`, which stands in both tables, first."""
    cells = [PAPER, *(APPROACHES if "approaches" in tables else ()), *(Q_STEPS if "q-steps" in tables else ())]
    return [Job("depict", cell, seed) for seed in range(seeds) for cell in dict.fromkeys(cells)]


def compute(job: Job, preset: Preset, images: Images, watch: Watch, slower_rate: float) -> Found:
    """One cell, one seed; `slower_rate` is pretraining's first rate where the usual one saturates the embedding."""
    cell = APPROACHES.get(job.variant)
    changed = job.variant if cell is None else cell.reconstruction
    settings = settings_of(PAPER, preset.initial, job.seed)
    settings = replace(settings, **(Q_STEPS if cell is None else RECONSTRUCTIONS)[changed])
    if changed in SATURATING:
        settings = replace(settings, pretrain_learning_rate=slower_rate)
    architecture = check_job(images.pixels, preset.clusters, settings)
    if cell is None:
        return depict(images, architecture, settings, watch)
    architecture = replace(architecture, dropout=NOISES[cell.noise])
    if cell.learning == "kmeans":
        return _kmeans(images, architecture, settings, watch)
    if cell.learning == "joint" and cell.reconstruction != "none":
        return depict(images, architecture, settings, watch)
    if cell.learning == "head":
        return _by_cross_entropy(FrozenFeatures(architecture), Loss((), 1.0), images, settings, watch)
    nothing = (0.0,) * (1 + len(architecture.convolutions))
    return _by_cross_entropy(Depict(architecture), Loss(nothing, 1.0), images, settings, watch)


def _kmeans(images: Images, architecture: Architecture, settings: Settings, watch: Watch) -> Found:
    run = trained(images, architecture, settings, STORE, watch, last="pretrain")
    start = time.perf_counter()
    answer = answer_after("pretrain", run.ends["pretrain"], images, architecture, settings)
    seconds = run.seconds["pretrain"] + time.perf_counter() - start
    return Found({"final": answer}, {"final": seconds}, _provenance(images, architecture, settings))


def _by_cross_entropy(model: Depict, loss: Loss, images: Images, settings: Settings, watch: Watch) -> Found:
    """Initial assignment of the pretrained features, then warm start and joint stage with no reconstruction."""
    architecture, pixels = model.architecture, images.pixels
    run = trained(images, architecture, settings, STORE, watch, last="initial")
    start = time.perf_counter()
    state = run.ends["initial"]
    one_hot = jax.nn.one_hot(state.assignment, architecture.n_clusters)
    warm_key, joint_key = jax.random.split(jax.random.fold_in(jax.random.key(settings.seed), FINISHED))  # of no stage
    rates = warm_rates(settings, len(pixels))
    variables = state.train.variables
    variables = train(model, loss, settings, pixels, variables, state.p, lambda p: one_hot, rates, warm_key)
    p = predict(model, variables, pixels)[1]
    rates = joint_rates(settings, len(pixels))
    variables = train(model, loss, settings, pixels, variables, p, lambda p: q_step(p, settings), rates, joint_key)
    p = predict(model, variables, pixels)[1]
    seconds = sum(run.seconds.values()) + time.perf_counter() - start
    return Found(
        {"final": p.argmax(axis=1)},
        {"final": seconds},
        _provenance(images, architecture, settings),
        {"cluster_sizes": np.bincount(p.argmax(axis=1), minlength=architecture.n_clusters).tolist()},
    )


def _provenance(images: Images, architecture: Architecture, settings: Settings) -> dict[str, Any]:
    return results.provenance(Config(images.source, images.content_hash, len(images.pixels), architecture, settings))


if __name__ == "__main__":
    main()
