"""The two sets of hyperparameters that stand side by side in every table; nothing in them depends on the data set."""

from __future__ import annotations

from dataclasses import replace

from depict_jax.settings import Initial, Settings, preset

# The paper's losses and noise, the released code's Q-step, no augmentation.
_PAPER = preset("plain")
_BEST = preset("best")

VARIANTS = ("paper", "best")
BFLOAT16 = "+bfloat16"  # after a variant's name: the same with the training step in bfloat16


def settings_of(variant: str, initial: Initial, seed: int) -> Settings:
    """The hyperparameters of a run.

    Args:
        variant: "paper" or "best", "+bfloat16" after it for that precision.
        initial: the paper's initial assignment for the data set; read by "paper" alone.
        seed: of the run.

    Raises:
        ValueError: an unknown variant.
    """
    if variant.endswith(BFLOAT16):
        return replace(settings_of(variant.removesuffix(BFLOAT16), initial, seed), precision="bfloat16")
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}: expected one of {', '.join(VARIANTS)}")
    return replace(_PAPER, initial=initial, seed=seed) if variant == "paper" else replace(_BEST, seed=seed)
