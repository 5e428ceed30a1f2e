"""Semi-supervised DEPICT: a few labels join the joint stage of a finished, unsupervised run.

python -m experiments.semi_supervised mnist-full --labels 100 1000 3000 --seeds 3

`taught` is the one function of this project in which labels train. The labelled images are drawn class by class, as
many of each class as of the others: with 100 labels a draw regardless of class could leave a digit with three or four,
and the classes are matched to the clusters on these images alone. Choice s of the labels continues the unsupervised
run of seed s, so that the spread is of both. The error is of all other images, an image being of the class that its
largest p says.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from depict_jax.architecture import Architecture
from depict_jax.data import Images
from depict_jax.metrics import scores
from depict_jax.networks import Depict
from depict_jax.progress import Display
from depict_jax.run_folder import Config
from depict_jax.settings import Settings
from depict_jax.stages import FINISHED, RunState, check_job
from depict_jax.training import Loss, Variables, predict
from experiments import presets, results
from experiments.epochs import joint_rates, q_step, train
from experiments.jobs import CONSOLE, STORE, Found, Job, images_for, keep, missing
from experiments.presets import Preset
from experiments.store import trained
from experiments.variants import VARIANTS, settings_of

METHOD = "semi-supervised"
COUNTS = (100, 1_000, 3_000)
SEEDS = 3
LABEL_WEIGHT = 10.0  # of a labelled image's cross entropy against its label, beside that against its Q
SHARE = 0.1  # of the images that an epoch shows, at least this share are labelled: they are shown again and again


def main() -> None:
    """Run what has no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=presets.NAMES, nargs="?", default="mnist-full")
    parser.add_argument("--labels", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--variant", choices=VARIANTS, nargs="+", default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many choices of labels, from 0 on")
    arguments = parser.parse_args()
    wanted = missing(arguments.dataset, jobs(arguments.variant, arguments.labels, arguments.seeds))
    preset = presets.preset(arguments.dataset)
    images = images_for(preset, wanted)
    if images is None:
        return
    try:
        for job in wanted:
            CONSOLE.print(f"{preset.title}, {job.method}, {job.variant}, choice {job.seed}")
            scored, found = compute(job, preset, images)
            keep(arguments.dataset, job, scored, found)
    except KeyboardInterrupt:
        raise SystemExit("interrupted; the same command goes on where it stopped") from None
    except ValueError as error:
        raise SystemExit(str(error)) from None


def jobs(variants: list[str], counts: list[int], seeds: int) -> list[Job]:
    """Choice by choice of the labels."""
    return [Job(METHOD, name(v, n), seed) for seed in range(seeds) for v in variants for n in counts]


def name(variant: str, n_labels: int) -> str:
    """What a result of so many labels, begun from a variant's run, is called."""
    return f"{variant}+{n_labels}-labels"


def compute(job: Job, preset: Preset, images: Images) -> tuple[dict[str, Any], Found]:
    """The unsupervised run out of the store, or trained into it; then labels, and the scores of all other images."""
    variant, _, n_labels = job.variant.removesuffix("-labels").partition("+")
    assert images.labels is not None
    classes, labels = np.unique(images.labels, return_inverse=True)
    if len(classes) != preset.clusters:
        raise ValueError(f"{preset.title} has {len(classes)} classes: expected {preset.clusters}, one for each cluster")
    chosen = choice(labels, int(n_labels), np.random.default_rng(job.seed))
    settings = settings_of(variant, preset.initial, job.seed)
    architecture = check_job(images.pixels, preset.clusters, settings)
    unlabelled = replace(images, labels=None)
    with Display(CONSOLE) as display:
        run = trained(unlabelled, architecture, settings, STORE, display)
    start = time.perf_counter()
    before, after = taught(images.pixels, architecture, settings, run.final, chosen, labels[chosen])
    seconds = time.perf_counter() - start
    others = np.setdiff1d(np.arange(len(labels)), chosen)
    found = Found(
        {},
        {"final": sum(run.seconds.values()) + seconds},
        results.provenance(Config(images.source, images.content_hash, len(images.pixels), architecture, settings)),
        {
            "labels": int(n_labels),
            "label_weight": LABEL_WEIGHT,
            "error_percent": {
                when: 100 * float((answer[others] != labels[others]).mean())
                for when, answer in (("unsupervised", before), ("final", after))
            },
        },
    )
    return {"final": scores(labels[others], after[others])}, found


def choice(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` images, equally many of each class; sorted indices.

    Args:
        labels: (N,) classes, 0 .. K-1.
        count: a multiple of K.
        rng: to draw with.

    Raises:
        ValueError: a count that is no positive multiple of K, or more than a class has.
    """
    n_classes = int(labels.max()) + 1
    each, rest = divmod(count, n_classes)
    least = int(np.bincount(labels).min())
    if rest or not 0 < each <= least:
        raise ValueError(
            f"{count} labels of {n_classes} classes: expected a multiple of {n_classes} up to {least * n_classes}, "
            "since every class gets equally many"
        )
    drawn = [rng.choice(np.flatnonzero(labels == k), each, replace=False) for k in range(n_classes)]
    return np.sort(np.concatenate(drawn))


def taught(
    pixels: np.ndarray,
    architecture: Architecture,
    settings: Settings,
    start: RunState,
    labelled: np.ndarray,
    labels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The joint stage once more, with the labelled images' cross entropy against their labels in its loss.

    The loss is L_R - (1/N) sum_i sum_k (q_ik + w y_ik) log p~_ik, y_i the one-hot label, or 0 for an image without;
    w is LABEL_WEIGHT. Clusters become classes first: the head's columns are reordered by the one-to-one matching
    that agrees with the most labelled images.

    Args:
        pixels: uint8 (N, H, W, C).
        architecture: the network.
        settings: the unsupervised run's.
        start: its final state.
        labelled: (M,) indices of the images whose labels are known.
        labels: (M,) their classes, 0 .. K-1.

    Returns:
        The class of each image (N,) before, by the unsupervised run with matched clusters, and after.
    """
    order = _clusters_of_classes(labels, np.asarray(start.p)[labelled].argmax(axis=1), architecture.n_clusters)
    p = jnp.asarray(start.p)[:, order]
    known = jnp.zeros_like(p).at[labelled, labels].set(LABEL_WEIGHT)
    again = np.tile(labelled, int(SHARE * len(p) / len(labelled)))
    weights = (1.0, *(settings.hidden_weight,) * len(architecture.convolutions))
    model = Depict(architecture)
    variables = train(
        model,
        Loss(weights, settings.clustering_weight, settings.stop_gradient),
        settings,
        pixels,
        _with_head(start.train.variables, order),
        p,
        lambda p: q_step(p, settings) + known,
        joint_rates(settings, len(pixels) + len(again)),
        jax.random.fold_in(jax.random.key(settings.seed), FINISHED + 1),  # of no stage
        again,
    )
    return np.asarray(p).argmax(axis=1), predict(model, variables, pixels)[1].argmax(axis=1)


def _clusters_of_classes(labels: np.ndarray, clusters: np.ndarray, n_clusters: int) -> np.ndarray:
    """(K,) the cluster matched to each class; what no labelled image speaks for is matched by what is left over."""
    counts = np.zeros((n_clusters, n_clusters), int)
    np.add.at(counts, (labels, clusters), 1)
    return linear_sum_assignment(counts, maximize=True)[1]


def _with_head(variables: Variables, order: np.ndarray) -> Variables:
    head = variables["params"]["head"]
    head = {"kernel": head["kernel"][:, order], "bias": head["bias"][order]}
    return {**variables, "params": {**variables["params"], "head": head}}


if __name__ == "__main__":
    main()
