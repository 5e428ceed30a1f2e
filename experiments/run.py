"""DEPICT on one of the paper's data sets, seed by seed: a JSON for each into experiments/results.

python -m experiments.run usps --variant best --seeds 5

A seed whose result is there is not run again; one that was interrupted goes on where it stopped. Stages lie in
runs/store under the hash of all that went into them, so runs that begin alike share what they have in common. Labels
are read after training, for the scores alone.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console

from depict_jax.architecture import Architecture
from depict_jax.assignments import target_distribution
from depict_jax.data import Images
from depict_jax.metrics import scores
from depict_jax.networks import Depict
from depict_jax.objectives import clustering_objective
from depict_jax.progress import Display
from depict_jax.run_folder import Config
from depict_jax.runner import answer_after
from depict_jax.settings import Settings
from depict_jax.stages import STAGES, RunState, check_job
from depict_jax.training import Loss, validation_loss
from experiments import presets, results
from experiments.store import Trained, trained
from experiments.variants import VARIANTS, settings_of

STORE = results.PROJECT / "runs/store"
AFTER = dict(zip(STAGES, ("pretrain", "initial", "warm", "final"), strict=False))  # what a stage's scores are called


def main() -> None:
    """Run the seeds that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=presets.NAMES)
    parser.add_argument("--variant", choices=VARIANTS, nargs="+", default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, help="how many, from 0 on; left out, as many as the table has")
    arguments = parser.parse_args()
    console = Console()
    preset = presets.preset(arguments.dataset)
    wanted = [
        (variant, seed)
        for seed in range(preset.seeds if arguments.seeds is None else arguments.seeds)
        for variant in arguments.variant
        if not results.path_of(arguments.dataset, "depict", variant, seed).exists()
    ]
    if not wanted:
        console.print(f"{preset.title}: nothing to do, all results are there")
        return
    try:
        images = preset.images()
    except ValueError as error:
        raise SystemExit(f"{preset.title} cannot be run: {error}") from None
    if images.labels is None:
        raise SystemExit(f"{preset.title} cannot be scored: {images.source} has no labels")
    unlabelled = replace(images, labels=None)
    try:
        for variant, seed in wanted:
            console.print(f"{preset.title}, {variant}, seed {seed}")
            settings = settings_of(variant, preset.initial, seed)
            architecture = check_job(images.pixels, preset.clusters, settings)
            with Display(console) as display:
                run = trained(unlabelled, architecture, settings, STORE, display)
            found = result(run, unlabelled, architecture, settings, images.labels)
            results.write({"dataset": arguments.dataset, "method": "depict", "variant": variant, "seed": seed, **found})
            final, seconds = found["scores"]["final"], sum(run.seconds.values())
            console.print(f"  ACC {final['acc']:.4f}  NMI {final['nmi']:.4f}  {seconds / 60:.1f} min")
    except KeyboardInterrupt:
        raise SystemExit("interrupted; the same command goes on where it stopped") from None


def result(
    run: Trained, images: Images, architecture: Architecture, settings: Settings, labels: np.ndarray
) -> dict[str, Any]:
    """Scores and seconds after each stage, the final objective, and what the result depends on."""
    total, after = 0.0, {}
    for name, seconds in run.seconds.items():
        total += seconds
        after[AFTER[name]] = total
    p = np.asarray(run.ends["joint"].p)
    config = Config(images.source, images.content_hash, len(images.pixels), architecture, settings)
    return {
        "scores": {
            AFTER[name]: scores(labels, answer_after(name, state, images, architecture, settings))
            for name, state in run.ends.items()
        },
        "seconds": after,
        "objective": objective(run.ends["joint"], images, architecture, settings),
        "cluster_sizes": np.bincount(p.argmax(axis=1), minlength=architecture.n_clusters).tolist(),
        "provenance": results.provenance(config),
    }


def objective(state: RunState, images: Images, architecture: Architecture, settings: Settings) -> float:
    """L_R + gamma L_E of a finished run, without noise: what seeds are compared by, since it needs no label."""
    weights = (1.0, *(settings.hidden_weight,) * len(architecture.convolutions))
    reconstruction = validation_loss(Depict(architecture), Loss(weights, 0.0), state.train.variables, images.pixels)
    q = target_distribution(state.p, settings.prior, settings.rule, settings.prior_weight, settings.sharpness)
    return reconstruction + settings.clustering_weight * float(clustering_objective(q, state.p, settings.prior))


if __name__ == "__main__":
    main()
