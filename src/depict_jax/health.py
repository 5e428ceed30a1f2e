"""Clusters that die or swallow the rest are told: a consumer of the stages' events."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .assignments import checked_prior
from .settings import Settings
from .stages import EpochEnd, StageEnd

EPOCHS = 2  # in a row that a cluster must be without images: in a stage's first epoch the head is still finding them


class ClusterWatch:
    """Tells once a stage, in a sentence with what to try, when a cluster is dead and when one swallows the others.

    Dead: in two epochs in a row some cluster has no image. Swallowing: the largest one's share of the images is more
    than half-way from the largest share that the prior expects to all of them: 0.55 for ten clusters and no prior
    given, 0.75 for two.
    """

    def __init__(self, settings: Settings, n_clusters: int, tell: Callable[[str], None]):
        self._tell = tell
        self._n_clusters = n_clusters
        self._swallowed = (1 + float(np.max(checked_prior(settings.prior, n_clusters)))) / 2
        self._balance = (
            "a larger --prior-weight, or a smaller --joint-learning-rate"
            if settings.rule == "exact"
            else "--preset best, whose Q-step keeps clusters alive, or a smaller --joint-learning-rate"
        )
        self._epochs_dead = 0
        self._told: set[tuple[str, str]] = set()

    def __call__(self, event: EpochEnd | StageEnd) -> None:
        """Look at one event; epochs of pretraining have no clusters yet."""
        if isinstance(event, StageEnd) or "clusters_in_use" not in event.indicators:
            self._epochs_dead = 0
            return
        dead = self._n_clusters - int(event.indicators["clusters_in_use"])
        largest = event.indicators["largest_share"]
        self._epochs_dead = self._epochs_dead + 1 if dead else 0
        if self._epochs_dead >= EPOCHS:
            which = "1 cluster has" if dead == 1 else f"{dead} clusters have"
            self._once(event, "dead", f"{which} no image: try {self._balance}, or fewer clusters")
        if largest > self._swallowed:
            holds = f"one cluster holds {largest:.0%} of the images"
            self._once(event, "swallowing", f"{holds}: try {self._balance}, or give a --prior if that is expected")

    def _once(self, event: EpochEnd, kind: str, what: str) -> None:
        if (event.stage, kind) not in self._told:
            self._told.add((event.stage, kind))
            self._tell(f"after {event.stage} epoch {event.epoch} {what}")
