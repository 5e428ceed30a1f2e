"""What the stages of a run are called, and their order. Free of JAX."""

from __future__ import annotations

STAGES = ("pretrain", "initial", "warm", "joint", "finished")
PRETRAIN, INITIAL, WARM, JOINT, FINISHED = range(len(STAGES))


def stage_name(round_: int, stage: int) -> str:
    """What a stage is called in events, metrics and scores: "joint" in the first round, "joint-2" in the second.

    Args:
        round_: from 0 on; pretraining belongs to the first.
        stage: index into STAGES.
    """
    return STAGES[stage] if round_ == 0 or stage == FINISHED else f"{STAGES[stage]}-{round_ + 1}"


def place_of(name: str) -> tuple[int, int]:
    """A stage's round and index by its name; in the order of a run.

    Raises:
        ValueError: no stage of that name.
    """
    kind, _, number = name.partition("-")
    round_ = int(number) - 1 if number.isdecimal() else 0
    if kind not in STAGES or round_ < 0 or name != stage_name(round_, STAGES.index(kind)):
        raise ValueError(f"stage is {name!r}: expected one of {', '.join(STAGES)}, or joint-2 and the like")
    return round_, STAGES.index(kind)
