"""The hyperparameters of a run: one dataclass for the library, the command line and config.json. Free of JAX."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from .reading import left_out

Initial = Literal["acpic", "kmeans"]
Rule = Literal["closed_form", "exact", "squared"]
Precision = Literal["float32", "bfloat16"]
Preset = Literal["best", "plain", "paper"]
DEFAULT_PRESET: Preset = "best"
Map = Literal["pca", "tsne", "umap"]  # how a report lays the embedding out; no setting of the training
SAVE_SECONDS = 2.0  # of training between checkpoints: a save costs some 65 ms of a core, which tells in short epochs


def _read_prior(words: list[str]) -> tuple[float, ...] | None:
    """Numbers as typed, or from a text file that holds them, parted by blanks or commas; "uniform" for None."""
    if words == ["uniform"]:
        return None
    if len(words) == 1 and Path(words[0]).is_file():
        words = Path(words[0]).read_text().replace(",", " ").split()
    try:
        return tuple(float(word) for word in words)
    except ValueError:
        typed = " ".join(words)
        raise ValueError(f"prior is {typed!r}: expected K positive numbers, a text file of them, or uniform") from None


_prior_words = PrimitiveConstructorSpec(
    nargs="*",
    metavar="FILE|NUMBERS",
    instance_from_str=_read_prior,
    is_instance=lambda value: value is None or isinstance(value, tuple),
    str_from_instance=lambda value: ["uniform"] if value is None else [repr(number) for number in value],
)


@dataclass(frozen=True)
class Settings:
    """How a run is trained; the same for every data set unless the user says otherwise.

    The defaults here are the paper's method alone; `preset` has what `depict-jax fit` and DEPICT start from.

    Raises:
        ValueError: a number out of its range, named with what was expected.
    """

    initial: Initial = "acpic"
    """Initial assignment of the embeddings: AC-PIC or k-means."""
    smallest_cluster: float = 0.0
    """With --initial acpic, in the first round: a group of fewer images than this share of what the rarest kind is \
expected to have, N / K where no prior is given, is not a cluster but strays, which join the nearest; 0, as published, \
counts every group."""
    rule: Rule = "squared"
    """Q-step: "squared" is the released code's, "closed_form" the paper's, "exact" the solution that it comes near."""
    prior: Annotated[tuple[float, ...] | None, _prior_words] = None
    """Prior u over clusters: K positive numbers, or a text file that holds them; the largest clusters of the initial \
assignment get the largest."""
    prior_weight: Annotated[float | None, left_out("FLOAT")] = None
    """Weight rho of the prior, with --rule exact; inf balances the clusters exactly; left out, 10."""
    sharpness: Annotated[float | None, left_out("FLOAT")] = None
    """Sharpness beta of the targets, with --rule exact; left out, 2."""
    seed: int = 0
    """The same seed gives the same result, bit for bit, on the same kind of machine."""
    batch_size: int = 100
    """Images a training step."""
    microbatches: int = 1
    """Equal parts of a batch, computed one after the other: the result is then the same bits on any number of devices \
that divides them (1, 2, 4 and 8 for 8); slower than 1."""
    precision: Precision = "float32"
    """Arithmetic of the training step; with bfloat16, weights, losses and predictions stay float32."""
    pretrain_epochs: Annotated[int | None, left_out("INT")] = None
    """Most epochs of pretraining the autoencoder; left out, as many as make 5,000 steps, at least 30."""
    warm_epochs: Annotated[int | None, left_out("INT")] = None
    """Most epochs of the warm start on the initial assignment; left out, as many as make 450 steps, at least 3."""
    joint_epochs: Annotated[int | None, left_out("INT")] = None
    """Most epochs of a round's joint training; left out, as many as make 1,500 steps, at least 20, or 10 where there \
are several rounds."""
    rounds: int = 1
    """Rounds of initial assignment, warm start and joint training; from the second on, the assignment is of the \
embeddings that the round before has trained."""
    pretrain_learning_rate: float = 1e-3
    """Adam's rate at the start of pretraining."""
    warm_learning_rate: float = 1e-3
    """Adam's rate at the start of the warm start."""
    joint_learning_rate: float = 1e-3
    """Adam's rate at the start of the joint training."""
    final_learning_rate: float = 0.05
    """Rate at the end of pretraining and joint training as a share of the start's, by cosine; 1 keeps it constant."""
    pretrain_patience: int = 100
    """Epochs without a better validation loss before pretraining stops."""
    warm_patience: int = 5
    """Epochs without better agreement with the initial assignment before the warm start stops."""
    kmeans_restarts: int = 20
    """Restarts of k-means for --initial kmeans."""
    dropout: float = 0.1
    """Corruption of the input and of every hidden layer but the last convolution's."""
    affine: Annotated[float | None, tyro.conf.arg(metavar="FLOAT|None")] = 0.0
    """Corruption by random affine changes of the image, in warm start and joint training: how far, as a share of its \
size; 0 for none, None for as far as the images allow, at most 0.15."""
    brightness: Annotated[float | None, tyro.conf.arg(metavar="FLOAT|None")] = 0.0
    """Corruption by random changes of the image's brightness, in warm start and joint training: how far, as a share; \
0 for none, None for as far as the images' own brightness differs, at most 0.5."""
    hidden_weight: float = 0.1
    """Weight lambda_l of each hidden layer's reconstruction; the image's is 1."""
    clustering_weight: float = 1.0
    """Weight gamma of the cross entropy beside the reconstruction."""
    stop_gradient: bool = False
    """Hold the clean targets of the reconstruction fixed; the released code lets the gradient through."""

    @property
    def q_step(self) -> tuple[float, float]:
        """Prior weight and sharpness: where left out, those with which `exact` keeps clusters alive; 1 otherwise."""
        weight, sharpness = (10.0, 2.0) if self.rule == "exact" else (1.0, 1.0)
        return (
            weight if self.prior_weight is None else self.prior_weight,
            sharpness if self.sharpness is None else self.sharpness,
        )

    def stage_epochs(self, pretrain_steps: int, joint_steps: int) -> tuple[int, int, int]:
        """Most epochs of pretraining, and of a round's warm start and joint training, for so many steps an epoch.

        Small data sets need more epochs for the same training: what counts is the number of steps.

        Args:
            pretrain_steps: in pretraining and in the warm start.
            joint_steps: in joint training.
        """
        pretrain, warm, joint = self.pretrain_epochs, self.warm_epochs, self.joint_epochs
        return (
            max(30, math.ceil(5000 / pretrain_steps)) if pretrain is None else pretrain,
            max(3, math.ceil(450 / pretrain_steps)) if warm is None else warm,
            max(20 if self.rounds == 1 else 10, math.ceil(1500 / joint_steps)) if joint is None else joint,
        )

    def __post_init__(self) -> None:
        if self.initial not in get_args(Initial):
            raise ValueError(f"initial is {self.initial!r}: expected one of {', '.join(get_args(Initial))}")
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision is {self.precision!r}: expected one of {', '.join(get_args(Precision))}")
        for name, least in _INTEGERS.items():
            value = getattr(self, name)
            if value is None and name in ("pretrain_epochs", "warm_epochs", "joint_epochs"):
                continue
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise ValueError(f"{name} is {value!r}: expected an integer")
            if value < least:
                raise ValueError(f"{name} is {value}: expected at least {least}")
        if self.microbatches > self.batch_size:
            raise ValueError(
                f"microbatches is {self.microbatches}: expected at most the batch_size, which is {self.batch_size}"
            )
        if self.seed >= 2**32:
            raise ValueError(f"seed is {self.seed}: expected less than 2**32")
        for name in ("pretrain_learning_rate", "warm_learning_rate", "joint_learning_rate", "clustering_weight"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: expected a positive number")
        if not 0 < self.final_learning_rate <= 1:
            raise ValueError(f"final_learning_rate is {self.final_learning_rate}: expected more than 0, at most 1")
        if not 0 <= self.smallest_cluster < 1:
            raise ValueError(f"smallest_cluster is {self.smallest_cluster}: expected at least 0 and below 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}: expected at least 0 and below 1")
        if self.affine is not None and not 0 <= self.affine <= 0.5:
            raise ValueError(f"affine is {self.affine}: expected at least 0 and at most 0.5")
        if self.brightness is not None and not 0 <= self.brightness < 1:
            raise ValueError(f"brightness is {self.brightness}: expected at least 0 and below 1")
        if not 0 <= self.hidden_weight < math.inf:
            raise ValueError(f"hidden_weight is {self.hidden_weight}: expected a number of at least 0")
        check_rule(self.rule, *self.q_step)
        if self.prior is not None and not all(0 < number < math.inf for number in self.prior):
            raise ValueError(f"prior is {list(self.prior)}: expected positive numbers, one per cluster")


def check_rule(rule: str, prior_weight: float, sharpness: float) -> None:
    """Refuse a rule of the Q-step, or numbers that it cannot use.

    Raises:
        ValueError: an unknown rule; a negative prior weight or a sharpness that is not positive; one of them other
            than 1 with another rule than `exact`.
    """
    if rule not in get_args(Rule):
        raise ValueError(f"rule is {rule!r}: expected one of {', '.join(get_args(Rule))}")
    if not prior_weight >= 0:
        raise ValueError(f"prior_weight is {prior_weight}: expected a number of at least 0 (inf balances exactly)")
    if not 0 < sharpness < math.inf:
        raise ValueError(f"sharpness is {sharpness}: expected a positive number")
    for name, value in (("prior_weight", prior_weight), ("sharpness", sharpness)):
        if rule != "exact" and value != 1:
            raise ValueError(
                f"{name} is {value} with rule {rule!r}: it belongs to the rule 'exact'; choose that rule, or leave "
                f"{name} out"
            )


_INTEGERS = {
    "seed": 0,
    "batch_size": 1,
    "microbatches": 1,
    "pretrain_epochs": 0,
    "warm_epochs": 0,
    "joint_epochs": 0,
    "rounds": 1,
    "pretrain_patience": 1,
    "warm_patience": 1,
    "kmeans_restarts": 1,
}

# Beyond the paper: corruption that images of one cluster differ by, targets that are sharp and keep clusters alive, and
# better starts: a few strays are no cluster, and AC-PIC on embeddings that tell clusters apart finds what it could not
# find on the autoencoder's.
_BEST = Settings(smallest_cluster=0.1, affine=None, brightness=None, rule="exact", joint_learning_rate=2e-3, rounds=3)
# The released code: Adam 1e-4 throughout, thousands of epochs with early stopping, 40 restarts.
_PAPER = Settings(
    pretrain_epochs=4000,
    warm_epochs=1000,
    joint_epochs=4000,
    pretrain_learning_rate=1e-4,
    warm_learning_rate=1e-4,
    joint_learning_rate=1e-4,
    final_learning_rate=1.0,
    kmeans_restarts=40,
)


def preset(name: str = DEFAULT_PRESET) -> Settings:
    """The settings called `name`: "best", what `depict-jax fit` and DEPICT start from (see the documentation); "plain",
    the paper's losses and noise with the released code's Q-step; "paper", the released code's long training too.

    Raises:
        ValueError: an unknown name.
    """
    if name not in get_args(Preset):
        raise ValueError(f"preset is {name!r}: expected one of {', '.join(get_args(Preset))}")
    return {"best": _BEST, "plain": Settings(), "paper": _PAPER}[name]
