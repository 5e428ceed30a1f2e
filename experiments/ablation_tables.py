"""RESULTS.md's sections on what single factors, the learning approach, the Q-step, precision and labels do."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from depict_jax.settings import Initial
from experiments import factors, imbalance, presets, published
from experiments.approaches import (
    APPROACHES,
    DATASETS,
    LEARNING,
    NOISES,
    PAPER,
    PRIOR_WEIGHTS,
    Q_STEPS,
    RECONSTRUCTIONS,
    SHARPNESS,
    SLOWER_RATES,
    Approach,
    exact,
)
from experiments.semi_supervised import LABEL_WEIGHT, METHOD, name
from experiments.summary import NONE, Result, acc_nmi, differences, on_same_seeds, runs_of, spread, table
from experiments.variants import BFLOAT16, VARIANTS, settings_of

OWN = "its own"  # a value that a variant has unchanged
LARGE = 0.01  # differences of ACC that are named in words

FACTORS_HEAD = """\
## What the scores hang on

The variants with one factor, or two, at another value and all else as it is (`make table-factors`): ACC ± standard
deviation / NMI (runs), and the difference of ACC from the variant's own, seed by seed, its mean ± standard deviation.

- Pretraining: so many times the epochs, fewer where the validation loss has not fallen for {patience} of them.
- Pretraining rate: Adam's, at the start of pretraining.
- Batches: of so many images in every stage, and as many epochs: smaller batches are more steps.
- Start: the initial assignment.
- Strays: AC-PIC's groups of less than a tenth of N / K images, kept as clusters (as published) or joined to the
  nearest group.
- Affine changes, and changes of brightness, of the noisy pathway's images: none, or as far as the images allow.
- Q-step: `squared`, or `exact` with sharpness 2 and prior weight 10.
- Joint rate: Adam's, at the start of joint training.
- Joint training: so many times each round's epochs.
- Rounds of initial assignment, warm start and joint training. One has 1,500 steps of joint training or 20 epochs,
  whichever is more; three have 1,500 or 10 each."""

APPROACHES_HEAD = """\
## Learning approaches

The paper's ablation, from the variant `paper` with its AC-PIC start: ACC ± standard deviation / NMI (runs).

- Noise: dropout at no layer, of the input alone, or at all layers (the paper's: input and first convolution).
- Reconstruction: of no layer, of the image alone (the ordinary autoencoder's), or of all layers. Where nothing is
  reconstructed there is no pretraining: the features are those of random weights. Of the image alone, pretraining
  begins at a slower rate ({rates}), the larger of 3e-4 and 1e-4 that trains: at the
  1e-3 of the others, and on MNIST-test at 3e-4, the embedding saturates in the first steps for good.
- k-means on features: of the pretrained encoder.
- Head on frozen features: initial assignment, warm start and joint stage train the soft-max head on the noisy
  embeddings, while encoder and decoder stay as pretrained; the warm start has all its epochs and all images.
- Joint training: all weights, by cross entropy and whatever is reconstructed. The last row's is `paper` itself, of the
  other cells' seeds."""

Q_STEPS_HEAD = """\
## Q-step

From the pretrained autoencoders, initial assignments and warm starts of the variant `paper`; only the joint stage
differs (with stopped gradient, pretraining too, which begins at the slower rates above: at 1e-3 the embedding
saturates). Cluster sizes are the smallest's and the largest's share of the images, as means over the seeds: a cluster
that dies has 0. `paper` is of the seeds that the other rows have."""

PRECISION_HEAD = """\
## Precision

The same seeds with the training step's activations and gradients in bfloat16 (`make table-precision`): ACC ± standard
deviation / NMI (runs). The difference is bfloat16's ACC less float32's, seed by seed, its mean ± standard deviation:
what rounding does to single runs is as much chance as another seed is."""

IMBALANCE_HEAD = """\
## Kinds of different frequency

Digits as they are, and thinned to {ratio:g} images of the first kind for each of the last (`make table-imbalance`):
ACC ± standard deviation / NMI (runs), on the seeds that all rows of a column have. `best` with its prior weight,
{weight:g}, and with less; the prior is uniform, as where nothing is said, or the shares that the thinning aims at."""

LABELS_HEAD = """\
## A few labels

The joint stage once more from the unsupervised run's end, with w = {weight:g} times the labelled images' cross entropy
against their labels in its loss. As many labels of each class, since clusters are matched to classes on them alone;
choice s of the labels continues the run of seed s. The error is of all other images, in percent, the mean over the
choices; "unsupervised" is the run before, on the same images with the same matching. A class is the largest p, with no
matching afterwards. The paper's choice of labels is not known to us, so its figures are a mark to aim at. `best`'s
seeds 0 and 2 and `paper`'s seed 2 were trained anew for their choices, on another machine than the clustering table's
runs, whose processor may round otherwise: "unsupervised" is of these runs, and `best`'s is lower than that table's mean
error."""


def one_factor(found: Sequence[Result]) -> list[str]:
    """Factor by factor what its values do to both variants, a table for each data set."""
    head = ["changed", "to", "`paper`", "difference", "`best`", "difference"]
    lines: list[str] = []
    for dataset in presets.NAMES:
        preset = presets.preset(dataset)
        cells = {job.variant for job in factors.jobs(list(factors.FACTORS), preset.initial, 1)}
        runs = {cell: runs_of(found, dataset, "depict", cell) for cell in cells}
        if not any(of for cell, of in runs.items() if cell not in VARIANTS):
            continue
        rows = _factor_rows(runs, preset.initial)
        said = _what_changes(runs, preset.initial)
        lines += ["", f"### {preset.title}", "", *table(head, rows, left=2), *(["", *said] if said else [])]
    patience = settings_of("best", "acpic", seed=0).pretrain_patience
    return [FACTORS_HEAD.format(patience=patience), *lines] if lines else []


def _factor_rows(runs: Mapping[str, Sequence[Result]], initial: Initial) -> list[list[str]]:
    """The variants, then all that has run but what is both variants' own or stands above."""
    rows = [["nothing", "", *(text for variant in VARIANTS for text in (acc_nmi(runs[variant]), ""))]]
    shown = set(VARIANTS)
    for values in factors.TRIED:
        cells = {variant: factors.cell(variant, values, initial) for variant in VARIANTS}
        if any(runs[cell] for cell in set(cells.values()) - shown):
            names = [" and ".join(words) for words in zip(*values, strict=True)]
            texts = (text for variant, cell in cells.items() for text in _beside_own(runs, variant, cell))
            rows.append([*names, *texts])
        shown.update(cells.values())
    return rows


def _beside_own(runs: Mapping[str, Sequence[Result]], variant: str, cell: str) -> tuple[str, str]:
    """A cell's scores, and how far its ACC is above the variant's."""
    if cell == variant:
        return OWN, ""
    apart = differences(runs[cell], runs[variant])
    return acc_nmi(runs[cell]), spread(apart) if apart else NONE


def _what_changes(runs: Mapping[str, Sequence[Result]], initial: Initial) -> list[str]:
    """A sentence for each variant on the values that change its ACC much, the largest difference first."""
    said = []
    for variant in VARIANTS:
        found = [
            (statistics.mean(apart), " and ".join(map(" ".join, values)), len(apart))
            for cell, values in factors.cells(variant, initial).items()
            if (apart := differences(runs[cell], runs[variant]))
        ]
        large = sorted((one for one in found if abs(one[0]) >= LARGE), key=lambda one: -abs(one[0]))
        if large:
            words = ", ".join(f"{what} {mean:+.3f} ({count})" for mean, what, count in large)
            said.append(f"- What changes `{variant}` by {LARGE} or more: {words}.")
    return said


def approaches(found: Sequence[Result]) -> list[str]:
    """Noise x reconstruction x learning, a table for each data set."""
    titles = ["noise", "reconstruction", "k-means on features", "head on frozen features", "joint training"]
    lines: list[str] = []
    for dataset in DATASETS:
        cells = {cell: runs_of(found, dataset, "depict", variant) for variant, cell in APPROACHES.items()}
        if not any(runs for cell, runs in cells.items() if APPROACHES.get(PAPER) != cell):
            continue
        cells = _with_papers_of_their_seeds(cells, APPROACHES[PAPER])
        rows = [
            [noise, reconstruction, *(acc_nmi(cells[Approach(noise, reconstruction, how)]) for how in LEARNING)]
            for noise in NOISES
            for reconstruction in RECONSTRUCTIONS
        ]
        lines += ["", f"### {presets.preset(dataset).title}", "", *table(titles, rows, left=2)]
    return [APPROACHES_HEAD.format(rates=_slower_rates()), *lines] if lines else []


def _with_papers_of_their_seeds(cells: dict[Any, list[Result]], paper: Any) -> dict[Any, list[Result]]:
    """The table's cells, `paper` on no other seeds than they: it has more, whose mean would be no match."""
    seeds = {run["seed"] for cell, runs in cells.items() if cell != paper for run in runs}
    return {**cells, paper: [run for run in cells[paper] if run["seed"] in seeds]}


def _slower_rates() -> str:
    return ", ".join(f"{presets.preset(dataset).title} {rate:g}" for dataset, rate in SLOWER_RATES.items())


def q_steps(found: Sequence[Result]) -> list[str]:
    """The rules, and the exact one's sharpness x prior weight, for each data set."""
    rules = {
        "squared (`paper`)": PAPER,
        "closed form, as printed": "closed-form",
        "exact": exact(1, 1),
        "squared, gradient through clean targets stopped": "stop-gradient",
    }
    lines: list[str] = []
    for dataset in DATASETS:
        if not any(runs_of(found, dataset, "depict", variant) for variant in Q_STEPS):
            continue
        cells = {variant: runs_of(found, dataset, "depict", variant) for variant in (PAPER, *Q_STEPS)}
        cells = _with_papers_of_their_seeds(cells, PAPER)
        lines += ["", f"### {presets.preset(dataset).title}", ""]
        rows = [[title, acc_nmi(cells[variant]), sizes(cells[variant])] for title, variant in rules.items()]
        lines += table(["rule", "ACC / NMI (runs)", "smallest, largest cluster"], rows)
        grid = [
            [f"{beta:g}", *(f"{acc_nmi(runs)}; {sizes(runs)}" if runs else NONE for runs in of_row)]
            for beta in SHARPNESS
            for of_row in [[cells[exact(beta, rho)] for rho in PRIOR_WEIGHTS]]
        ]
        head = ["exact: sharpness \\ prior weight", *(f"{rho:g}" for rho in PRIOR_WEIGHTS)]
        lines += ["", *table(head, grid)]
    return [Q_STEPS_HEAD, *lines] if lines else []


def sizes(runs: Sequence[Result]) -> str:
    """Mean share of the smallest and of the largest cluster."""
    if not runs:
        return NONE
    shares = [np.array(run["cluster_sizes"]) / sum(run["cluster_sizes"]) for run in runs]
    return f"{np.mean([s.min() for s in shares]):.3f}, {np.mean([s.max() for s in shares]):.3f}"


def precision(found: Sequence[Result]) -> list[str]:
    """Both precisions of the seeds that have been run in both."""
    rows = []
    for dataset in presets.NAMES:
        for variant in VARIANTS:
            names = (variant, variant + BFLOAT16)
            whole, half = on_same_seeds({name: runs_of(found, dataset, "depict", name) for name in names}).values()
            if whole and half:
                cells = acc_nmi(whole), acc_nmi(half), spread(differences(half, whole))
                rows.append([presets.preset(dataset).title, variant, *cells])
    head = ["data set", "variant", "float32", "bfloat16", "difference of ACC"]
    return [PRECISION_HEAD, "", *table(head, rows, left=2)] if rows else []


def uneven(found: Sequence[Result]) -> list[str]:
    """The prior and its weight on even and uneven kinds."""
    if not any(one["dataset"] == imbalance.UNEVEN for one in found):
        return []
    cells = [("`paper`", NONE, PAPER)]
    for title, changed in (("`best`", imbalance.UNIFORM), ("`best`, told the shares", imbalance.TOLD)):
        cells += [(title, f"{settings['prior_weight']:g}", variant) for variant, settings in changed.items()]
    columns = [
        on_same_seeds({variant: runs_of(found, dataset, "depict", variant) for *_, variant in cells})
        for dataset in (imbalance.EVEN, imbalance.UNEVEN)
    ]
    rows = [[title, weight, *(acc_nmi(runs[variant]) for runs in columns)] for title, weight, variant in cells]
    head = IMBALANCE_HEAD.format(ratio=imbalance.RATIO, weight=imbalance.WEIGHTS[0])
    return [head, "", *table(["variant", "prior weight", "digits", imbalance.TITLE], rows)]


def labels(found: Sequence[Result]) -> list[str]:
    """Error against the number of labels."""
    rows = []
    for dataset in presets.NAMES:
        counts = sorted({one["labels"] for one in found if (one["dataset"], one["method"]) == (dataset, METHOD)})
        for variant in VARIANTS:
            for count in counts:
                if runs := runs_of(found, dataset, METHOD, name(variant, count)):
                    errors = {
                        when: spread([run["error_percent"][when] for run in runs], 2)
                        for when in ("unsupervised", "final")
                    }
                    title = presets.preset(dataset).title
                    reported = NONE
                    if dataset == "mnist-full" and count in published.SEMI_SUPERVISED:
                        reported = "*{:.2f} ± {:.2f}*".format(*published.SEMI_SUPERVISED[count])
                    rows.append([title, variant, f"{count:,}", str(len(runs)), *errors.values(), reported])
    if not rows:
        return []
    head = ["data set", "variant", "labels", "choices", "unsupervised", "with labels", "published"]
    return [LABELS_HEAD.format(weight=LABEL_WEIGHT), "", *table(head, rows, left=2)]
