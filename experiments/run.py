"""DEPICT on the paper's data sets, seed by seed: a JSON for each into experiments/results.

python -m experiments.run usps --variant best --seeds 5

A seed whose result is there is not run again; one that was interrupted goes on where it stopped. Stages lie in
runs/store under the hash of all that went into them, so runs that begin alike share what they have in common. Labels
are read after training, for the scores alone.
"""

from __future__ import annotations

import argparse
from itertools import accumulate
from typing import get_args

import numpy as np

from depict_jax.architecture import Architecture
from depict_jax.augmentation import changes_of
from depict_jax.data import Images
from depict_jax.ensemble import objective
from depict_jax.run_folder import Config
from depict_jax.runner import answer_after
from depict_jax.settings import Precision, Settings
from depict_jax.stages import check_job
from experiments import presets, results
from experiments.jobs import STORE, Found, Job, Watch, run_missing
from experiments.presets import Preset
from experiments.store import trained
from experiments.variants import BFLOAT16, VARIANTS, settings_of


def main() -> None:
    """Run the seeds that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=presets.NAMES, nargs="+")
    parser.add_argument("--variant", choices=VARIANTS, nargs="+", default=list(VARIANTS))
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--seeds", type=int, help="how many, from 0 on; left out, as many as the table has")
    arguments = parser.parse_args()
    precision = BFLOAT16 if arguments.precision == "bfloat16" else ""
    variants = [variant + precision for variant in arguments.variant]
    for name in arguments.dataset:
        preset = presets.preset(name)
        seeds = preset.seeds if arguments.seeds is None else arguments.seeds
        run_missing(name, preset, jobs(variants, seeds), compute)


def jobs(variants: list[str], seeds: int) -> list[Job]:
    """Seed by seed, so that an interrupted table has something of every variant."""
    return [Job("depict", variant, seed) for seed in range(seeds) for variant in variants]


def compute(job: Job, preset: Preset, images: Images, watch: Watch) -> Found:
    """One seed of a variant."""
    settings = settings_of(job.variant, preset.initial, job.seed)
    return depict(images, check_job(images.pixels, preset.clusters, settings), settings, watch)


def depict(images: Images, architecture: Architecture, settings: Settings, watch: Watch) -> Found:
    """All stages: the answer and the seconds after each, the final objective, and what they depend on."""
    run = trained(images, architecture, settings, STORE, watch)
    answers = {name: answer_after(name, state, images, architecture, settings) for name, state in run.ends.items()}
    seconds = dict(zip(run.seconds, accumulate(run.seconds.values()), strict=True))
    last = list(answers)[-1]
    answers["final"], seconds["final"] = answers.pop(last), seconds.pop(last)
    p = np.asarray(run.final.p)
    return Found(
        answers,
        seconds,
        results.provenance(Config(images.source, images.content_hash, len(images.pixels), architecture, settings)),
        {
            "objective": objective(run.final, images.pixels, architecture, settings),
            "cluster_sizes": np.bincount(p.argmax(axis=1), minlength=architecture.n_clusters).tolist(),
            "changes": changes_of(settings, images.pixels)._asdict(),
        },
    )


if __name__ == "__main__":
    main()
