"""Kinds of different frequency: what a uniform prior makes of them, and what a weaker one, or the right one, does.

python -m experiments.imbalance --seeds 3

Digits as they are, and thinned so that there are five times as many of the first kind as of the last. Which images are
left goes by the labels, as it would by a collector's habits; no training sees a label, and the prior that some cells
are told is what the thinning aims at. Every cell but `paper` is the variant `best` with another prior; cells of one
seed share the pretrained autoencoder, and where the prior is uniform the initial assignment too.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np

from depict_jax.data import Images
from depict_jax.stages import check_job
from experiments import presets
from experiments.jobs import Found, Job, Watch, run_missing
from experiments.presets import Preset
from experiments.run import depict
from experiments.variants import settings_of

SEEDS = 3
EVEN, UNEVEN = "digits", "digits-uneven"
RATIO = 5.0  # of the most frequent kind to the least
TITLE = f"digits, {RATIO:g} : 1"  # of the uneven ones
SHARES = tuple(RATIO ** -(k / 9) for k in range(10))  # of the ten kinds, up to a factor
WEIGHTS = (10.0, 3.0, 1.0, 0.0)  # the first is that of `best`


def cell(weight: float, told: bool) -> str:
    """The name of `best` with a prior weight, told the kinds' shares or left with a uniform prior."""
    weighted = "" if weight == WEIGHTS[0] else f"+prior-weight-{weight:g}"
    return f"best{weighted}+shares" if told else f"best{weighted}"


# What the cells change in `best`; with no weight it does not matter what is told.
UNIFORM: dict[str, dict[str, Any]] = {cell(weight, False): {"prior_weight": weight} for weight in WEIGHTS}
TOLD: dict[str, dict[str, Any]] = {
    cell(weight, True): {"prior_weight": weight, "prior": SHARES} for weight in WEIGHTS if weight
}


def main() -> None:
    """Run what has no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, from 0 on")
    seeds = parser.parse_args().seeds
    even = presets.preset(EVEN)
    uneven = replace(even, title=TITLE, thinned=thinned)
    run_missing(UNEVEN, uneven, jobs(["paper", *UNIFORM, *TOLD], seeds), compute)
    run_missing(EVEN, even, jobs(["paper", *UNIFORM], seeds), compute)


def jobs(variants: list[str], seeds: int) -> list[Job]:
    """Seed by seed."""
    return [Job("depict", variant, seed) for seed in range(seeds) for variant in variants]


def compute(job: Job, preset: Preset, images: Images, watch: Watch) -> Found:
    """One seed of a cell."""
    changes = {**UNIFORM, **TOLD}.get(job.variant, {})
    settings = replace(settings_of(job.variant.partition("+")[0], preset.initial, job.seed), **changes)
    return depict(images, check_job(images.pixels, preset.clusters, settings), settings, watch)


def thinned(labels: np.ndarray) -> np.ndarray:
    """Rows that are left, sorted: of kind k the first ones, a share of SHARES[k]."""
    of_each = [np.flatnonzero(labels == kind) for kind in np.unique(labels)]
    left = [rows[: round(len(rows) * share)] for rows, share in zip(of_each, SHARES, strict=True)]
    return np.sort(np.concatenate(left))


if __name__ == "__main__":
    main()
