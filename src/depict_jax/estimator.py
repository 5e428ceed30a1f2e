"""DEPICT with scikit-learn's contract: fit, predict, transform, over the stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from . import run_folder
from .checkpoints import Checkpoints
from .data import Images, as_pixels
from .data.images import in_words
from .networks import Depict
from .run_folder import Config
from .runner import load_finished
from .settings import Initial, Rule, Settings
from .stages import EpochEnd, RunState, check_job, run
from .training import predict

_default = Settings()


class DEPICT(ClusterMixin, TransformerMixin, BaseEstimator):
    """Deep embedded clustering of images with a convolutional autoencoder (Ghasedi Dizaji et al., ICCV 2017).

    Images are (N, H, W) or (N, H, W, C), uint8 or floats in [0, 1], at least 7 x 7 pixels.

    Args:
        n_clusters: K, at least 2.
        random_state: seed; the same one gives the same result, bit for bit, on the same kind of machine. None draws
            one, a RandomState gives one.
        verbose: show progress.
        initial: see `depict_jax.settings.Settings`, as for all the following.
        rule: the Q-step, "squared", "closed_form" or "exact".
        prior: u over clusters, K positive numbers; None is uniform.
        prior_weight: rho, for rule="exact".
        sharpness: beta, for rule="exact".
        batch_size: images a training step.
        pretrain_epochs: most epochs of pretraining; None for as many as make 5,000 steps, at least 30.
        warm_epochs: most epochs of the warm start.
        joint_epochs: most epochs of joint training; None for as many as make 1,500 steps, at least 20.
        pretrain_learning_rate: Adam's rate at the start of pretraining.
        warm_learning_rate: Adam's rate in the warm start.
        joint_learning_rate: Adam's rate at the start of joint training.
        final_learning_rate: the rate at a stage's end, as a share of its start.
        pretrain_patience: epochs without a better validation loss before pretraining stops.
        warm_patience: epochs without better agreement before the warm start stops.
        kmeans_restarts: restarts for initial="kmeans".
        dropout: rate of the corruption.
        affine: how far images are changed in the noisy pathway, as a share of their size.
        hidden_weight: lambda of the hidden layers' reconstruction.
        clustering_weight: gamma of the cross entropy.
        stop_gradient: hold the clean targets of the reconstruction fixed.

    Attributes:
        labels_: (N,) int32, the cluster of each image, 0 .. K-1.
        probabilities_: (N, K) float32, the clean soft-max predictions p.
        history_: a dict for each epoch: stage, epoch, losses, seconds, images_per_second and label-free indicators.
        architecture_: the network's shape.
    """

    def __init__(
        self,
        n_clusters: int = 10,
        *,
        random_state: int | np.random.RandomState | None = 0,
        verbose: bool = False,
        initial: Initial = _default.initial,
        rule: Rule = _default.rule,
        prior: Any = _default.prior,
        prior_weight: float = _default.prior_weight,
        sharpness: float = _default.sharpness,
        batch_size: int = _default.batch_size,
        pretrain_epochs: int | None = _default.pretrain_epochs,
        warm_epochs: int = _default.warm_epochs,
        joint_epochs: int | None = _default.joint_epochs,
        pretrain_learning_rate: float = _default.pretrain_learning_rate,
        warm_learning_rate: float = _default.warm_learning_rate,
        joint_learning_rate: float = _default.joint_learning_rate,
        final_learning_rate: float = _default.final_learning_rate,
        pretrain_patience: int = _default.pretrain_patience,
        warm_patience: int = _default.warm_patience,
        kmeans_restarts: int = _default.kmeans_restarts,
        dropout: float = _default.dropout,
        affine: float = _default.affine,
        hidden_weight: float = _default.hidden_weight,
        clustering_weight: float = _default.clustering_weight,
        stop_gradient: bool = _default.stop_gradient,
    ):
        self.n_clusters = n_clusters
        self.random_state = random_state
        self.verbose = verbose
        self.initial = initial
        self.rule = rule
        self.prior = prior
        self.prior_weight = prior_weight
        self.sharpness = sharpness
        self.batch_size = batch_size
        self.pretrain_epochs = pretrain_epochs
        self.warm_epochs = warm_epochs
        self.joint_epochs = joint_epochs
        self.pretrain_learning_rate = pretrain_learning_rate
        self.warm_learning_rate = warm_learning_rate
        self.joint_learning_rate = joint_learning_rate
        self.final_learning_rate = final_learning_rate
        self.pretrain_patience = pretrain_patience
        self.warm_patience = warm_patience
        self.kmeans_restarts = kmeans_restarts
        self.dropout = dropout
        self.affine = affine
        self.hidden_weight = hidden_weight
        self.clustering_weight = clustering_weight
        self.stop_gradient = stop_gradient

    def fit(self, X: Any, y: Any = None) -> DEPICT:
        """Cluster the images X; y is ignored.

        Raises:
            TypeError: images of a dtype that cannot be images, n_clusters that is no integer.
            ValueError: other bad input, named with what was expected; nothing is computed before.
            DivergedError: a loss that became NaN or infinite.
        """
        settings = self._settings()
        pixels = as_pixels(X)
        architecture = check_job(pixels, self.n_clusters, settings)
        history = []
        with _display(self.verbose) as show:
            for event in run(pixels, architecture, settings):
                show(event)
                if isinstance(event, EpochEnd):
                    history.append(event.record())
        config = Config("array", Images(pixels, None, "array").content_hash, len(pixels), architecture, settings)
        self._adopt(config, event.state, history)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The cluster of each image, (N,) int32; images of the shape trained on.

        Raises:
            ValueError: images of another shape; and TypeError or ValueError as `fit`.
        """
        return self.predict_proba(X).argmax(axis=1).astype(np.int32)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The clean soft-max predictions p, (N, K) float32, rows that sum to 1; errors as `predict`."""
        return self._outputs(X)[1]

    def transform(self, X: Any) -> np.ndarray:
        """The clean embeddings z^L, (N, K) float32 in (-1, 1); errors as `predict`."""
        return self._outputs(X)[0]

    def save(self, path: str | Path) -> None:
        """Write a run's folder: config.json, metrics.jsonl, checkpoints/, assignments.csv.

        Raises:
            ValueError: a folder that already holds something.
            NotFittedError: nothing to save.
        """
        check_is_fitted(self)
        folder = Path(path)
        run_folder.claim(folder, self._config, resume=False, overwrite=False)
        run_folder.keep_metrics(folder, self.history_)
        run_folder.write_assignments(folder / run_folder.ASSIGNMENTS, [self.probabilities_])
        with Checkpoints(folder / run_folder.CHECKPOINTS) as saved:
            saved.save(self._state)

    @classmethod
    def load(cls, path: str | Path) -> DEPICT:
        """The model in a run's folder, of `save` or of `depict-jax fit`. Nothing is unpickled.

        Raises:
            ValueError: a folder that is no run, or one that has not come to its end.
        """
        config, state = load_finished(Path(path))
        settings = {name: value for name, value in vars(config.settings).items() if name != "seed"}
        model = cls(config.architecture.n_clusters, random_state=config.settings.seed, **settings)
        model._adopt(config, state, run_folder.read_metrics(Path(path)))
        return model

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_state")

    def _settings(self) -> Settings:
        given = self.get_params()
        for name in ("n_clusters", "verbose", "random_state"):
            given.pop(name)
        seed = self.random_state
        if not isinstance(seed, (int, np.integer)):
            seed = check_random_state(seed).randint(2**31)
        prior = None if self.prior is None else tuple(float(number) for number in self.prior)
        return Settings(**{**given, "prior": prior, "seed": int(seed)})

    def _adopt(self, config: Config, state: RunState, history: list[dict[str, Any]]) -> None:
        self._config = config
        self._state = jax.tree.map(np.array, state)
        self.architecture_ = config.architecture
        self.probabilities_ = self._state.p
        self.labels_ = self.probabilities_.argmax(axis=1).astype(np.int32)
        self.history_ = history

    def _outputs(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        check_is_fitted(self)
        pixels = as_pixels(X)
        if pixels.shape[1:] != self.architecture_.image:
            raise ValueError(
                f"images are {in_words(pixels.shape[1:])}: expected {in_words(self.architecture_.image)}, as trained on"
            )
        return predict(Depict(self.architecture_), self._state.train.variables, pixels)


def _display(verbose: bool):
    if not verbose:
        from contextlib import nullcontext

        return nullcontext(lambda event: None)
    from rich.console import Console

    from .progress import Display

    return Display(Console(stderr=True))
