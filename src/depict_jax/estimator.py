"""DEPICT with scikit-learn's contract: fit, predict, transform, over the stages."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from . import run_folder
from .architecture import SMALLEST_SIDE
from .checkpoints import Checkpoints, load_finished
from .data import Images, as_pixels
from .data.images import cut, in_words
from .data.numbers import SLACK, check_own_shape, plain_white, row_shape, to_uint8
from .networks import Depict
from .parallel import data_mesh
from .reading import Reading
from .run_folder import Config
from .settings import Initial, Precision, Rule, Settings, preset
from .stages import EpochEnd, RunState, check_job, run
from .training import predict

_default = preset()


class DEPICT(ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin, BaseEstimator):
    """Deep embedded clustering of images with a convolutional autoencoder (Ghasedi Dizaji et al., ICCV 2017).

    X is images (N, H, W) or (N, H, W, C), at least 7 x 7 pixels, or flattened ones, (N, H * W * C), each row by row: an
    array, a data frame, nested lists, or what `numpy.asarray` takes. Its numbers are uint8, bool (true is white), or of
    any other dtype with white at 255 or at 1; which of the two, `fit` must see plainly: numbers that end at 16, or at
    0.3, are refused and not guessed at. `predict` and `transform` take them as `fit` did. Sparse data, NaN, infinity
    and negative numbers are refused.

    `save` and `load` keep a fitted model in a run's folder, as the command line does. Pickle and joblib work as for any
    scikit-learn estimator, with what that means: the file runs code when it is opened, and is tied to the versions it
    was written with.

    Args:
        n_clusters: K, at least 2.
        random_state: seed; the same one gives the same result, bit for bit, on the same kind of machine. None draws
            one, a RandomState gives one.
        verbose: show progress.
        image_shape: (H, W) or (H, W, C) of flattened images; None for grey squares. Images that are not flattened have
            their own shape, and one that differs from it is refused.
        devices: how many of this machine's devices share the images and each batch; None for all. The result is the
            same but for the order of additions; with `microbatches` to the bit.
        initial: see `depict_jax.settings.Settings`, as for all the following; the defaults are the preset `best`.
        smallest_cluster: for initial="acpic", in the first round: groups of fewer images than this share of what is
            expected of the rarest kind are strays, which join the nearest; 0 counts every group.
        rule: the Q-step, "squared", "closed_form" or "exact".
        prior: u over clusters, K positive numbers; None is uniform.
        prior_weight: rho, for rule="exact"; None for 10.
        sharpness: beta, for rule="exact"; None for 2.
        batch_size: images a training step.
        microbatches: equal parts of a batch, computed one after the other: the result is then the same bits on any
            number of devices that divides them; slower than 1.
        precision: arithmetic of the training step, "float32" or "bfloat16".
        pretrain_epochs: most epochs of pretraining; None for as many as make 5,000 steps, at least 30.
        warm_epochs: most epochs of the warm start; None for as many as make 450 steps, at least 3.
        joint_epochs: most epochs of a round's joint training; None for as many as make 1,500 steps, at least 20, or
            10 where there are several rounds.
        rounds: of initial assignment, warm start and joint training; from the second on, the assignment is of the
            embeddings that the round before has trained.
        pretrain_learning_rate: Adam's rate at the start of pretraining.
        warm_learning_rate: Adam's rate in the warm start.
        joint_learning_rate: Adam's rate at the start of joint training.
        final_learning_rate: the rate at a stage's end, as a share of its start.
        pretrain_patience: epochs without a better validation loss before pretraining stops.
        warm_patience: epochs without better agreement before the warm start stops.
        kmeans_restarts: restarts for initial="kmeans".
        dropout: rate of the corruption.
        affine: how far images are changed in the noisy pathway of warm start and joint training, as a share of their
            size; None for as far as they allow, at most 0.15.
        brightness: how far their brightness is changed there, as a share of it; None for as far as theirs differs, at
            most 0.5.
        hidden_weight: lambda of the hidden layers' reconstruction.
        clustering_weight: gamma of the cross entropy.
        stop_gradient: hold the clean targets of the reconstruction fixed.

    Attributes:
        labels_: (N,) int32, the cluster of each image, 0 .. K-1.
        probabilities_: (N, K) float32, the clean soft-max predictions p.
        history_: a dict for each epoch: stage, epoch, losses, seconds, images_per_second and label-free indicators.
        architecture_: the network's shape.
        white_: 255 or 1, what stood for white in `fit`'s X; None where that was uint8, whose white is always 255.
        n_features_in_: H * W * C.
        feature_names_in_: the columns' names, where X was a data frame with names that are strings.
    """

    def __init__(
        self,
        n_clusters: int = 10,
        *,
        random_state: int | np.random.RandomState | None = 0,
        verbose: bool = False,
        image_shape: tuple[int, ...] | None = None,
        devices: int | None = None,
        initial: Initial = _default.initial,
        smallest_cluster: float = _default.smallest_cluster,
        rule: Rule = _default.rule,
        prior: Any = _default.prior,
        prior_weight: float | None = _default.prior_weight,
        sharpness: float | None = _default.sharpness,
        batch_size: int = _default.batch_size,
        microbatches: int = _default.microbatches,
        precision: Precision = _default.precision,
        pretrain_epochs: int | None = _default.pretrain_epochs,
        warm_epochs: int | None = _default.warm_epochs,
        joint_epochs: int | None = _default.joint_epochs,
        rounds: int = _default.rounds,
        pretrain_learning_rate: float = _default.pretrain_learning_rate,
        warm_learning_rate: float = _default.warm_learning_rate,
        joint_learning_rate: float = _default.joint_learning_rate,
        final_learning_rate: float = _default.final_learning_rate,
        pretrain_patience: int = _default.pretrain_patience,
        warm_patience: int = _default.warm_patience,
        kmeans_restarts: int = _default.kmeans_restarts,
        dropout: float = _default.dropout,
        affine: float | None = _default.affine,
        brightness: float | None = _default.brightness,
        hidden_weight: float = _default.hidden_weight,
        clustering_weight: float = _default.clustering_weight,
        stop_gradient: bool = _default.stop_gradient,
    ):
        self.n_clusters = n_clusters
        self.random_state = random_state
        self.verbose = verbose
        self.image_shape = image_shape
        self.devices = devices
        self.initial = initial
        self.smallest_cluster = smallest_cluster
        self.rule = rule
        self.prior = prior
        self.prior_weight = prior_weight
        self.sharpness = sharpness
        self.batch_size = batch_size
        self.microbatches = microbatches
        self.precision = precision
        self.pretrain_epochs = pretrain_epochs
        self.warm_epochs = warm_epochs
        self.joint_epochs = joint_epochs
        self.rounds = rounds
        self.pretrain_learning_rate = pretrain_learning_rate
        self.warm_learning_rate = warm_learning_rate
        self.joint_learning_rate = joint_learning_rate
        self.final_learning_rate = final_learning_rate
        self.pretrain_patience = pretrain_patience
        self.warm_patience = warm_patience
        self.kmeans_restarts = kmeans_restarts
        self.dropout = dropout
        self.affine = affine
        self.brightness = brightness
        self.hidden_weight = hidden_weight
        self.clustering_weight = clustering_weight
        self.stop_gradient = stop_gradient

    def fit(self, X: Any, y: Any = None) -> DEPICT:
        """Cluster the images X; y is ignored. A fit that fails leaves the estimator as it was.

        Raises:
            TypeError: numbers of a dtype that cannot be pixels, sparse data, n_clusters that is no integer.
            ValueError: other bad input, named with what was expected; nothing is computed before.
            DivergedError: a loss, gradient or prediction that became NaN or infinite.
        """
        settings = self._settings()
        X = _with_shape(X)
        array = _plain_array(X, least=2)
        columns = BaseEstimator()  # learns of X's columns before anything is computed; ours once all is
        if array.ndim == 2:
            validate_data(columns, X, skip_check_array=True)
        images = self._unflattened(array)
        white = _white(array, None)
        pixels = _pixels(images, white)
        architecture = check_job(pixels, self.n_clusters, settings)
        history = []
        with _display(self.verbose) as show:
            for event in run(pixels, architecture, settings, devices=self.devices):
                show(event)
                if isinstance(event, EpochEnd):
                    history.append(event.record())
        content_hash = Images(pixels, None, "array").content_hash
        known = None if array.dtype == np.uint8 else white
        flattened = Reading(image_shape=architecture.image)  # for `depict-jax predict` on rows of a file
        config = Config("array", content_hash, len(pixels), architecture, settings, flattened, known)
        self._adopt(config, event.state, history)
        self.__dict__.update(columns.__dict__)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The cluster of each image, (N,) int32; images of the shape trained on, flattened or not.

        Raises:
            ValueError: images of another shape, numbers above what was white in `fit`; and TypeError or ValueError as
                `fit`.
        """
        return self.predict_proba(X).argmax(axis=1).astype(np.int32)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The clean soft-max predictions p, (N, K) float32, rows that sum to 1; errors as `predict`."""
        return self._outputs(X)[1]

    def transform(self, X: Any) -> np.ndarray:
        """The clean embeddings z^L, (N, K) float32 in (-1, 1); errors as `predict`."""
        return self._outputs(X)[0]

    def save(self, path: str | Path) -> None:
        """Write a run's folder: config.json, metrics.jsonl, checkpoints/, assignments.csv. No pickle.

        Raises:
            ValueError: a folder that already holds something.
            NotFittedError: nothing to save.
        """
        check_is_fitted(self)
        folder = Path(path)
        with run_folder.claim(folder, self._config, resume=False, overwrite=False):
            run_folder.keep_metrics(folder, self.history_)
            run_folder.write_assignments(folder / run_folder.ASSIGNMENTS, [self.probabilities_])
            with Checkpoints(folder / run_folder.CHECKPOINTS) as saved:
                saved.save(self._state)

    @classmethod
    def load(cls, path: str | Path) -> DEPICT:
        """The model in a run's folder, of `save` or of `depict-jax fit`. Nothing is unpickled.

        It predicts to the same bits; names of columns are not kept.

        Raises:
            ValueError: a folder that is no run, or one that has not come to its end.
        """
        config, state = load_finished(Path(path))
        settings = {name: value for name, value in vars(config.settings).items() if name != "seed"}
        h, w, c = config.architecture.image
        settings["image_shape"] = None if (h, c) == (w, 1) else (h, w, c)
        model = cls(config.architecture.n_clusters, random_state=config.settings.seed, **settings)
        model._adopt(config, state, run_folder.read_metrics(Path(path)))
        return model

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_state")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = []  # float32 whatever comes in
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.architecture_.n_clusters

    def _settings(self) -> Settings:
        given = self.get_params()
        for name in ("n_clusters", "verbose", "random_state", "image_shape", "devices"):
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
        self.white_ = config.white
        self.n_features_in_ = math.prod(config.architecture.image)
        self.__dict__.pop("feature_names_in_", None)  # of an earlier fit
        self.probabilities_ = self._state.p
        self.labels_ = self.probabilities_.argmax(axis=1).astype(np.int32)
        self.history_ = history

    def _unflattened(self, array: np.ndarray) -> np.ndarray:
        """`fit`'s X with rows as images (N, H, W, C)."""
        shape = Reading(image_shape=None if self.image_shape is None else tuple(np.ravel(self.image_shape))).image_shape
        if array.ndim != 2:
            check_own_shape(array.shape[1:], shape, "X")
            return array
        if array.shape[1] < SMALLEST_SIDE**2:
            raise ValueError(
                f"X has shape {array.shape}, n_features = {array.shape[1]} to a row: expected images (N, H, W) or "
                f"(N, H, W, C), or flattened ones of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels; X[None] is a "
                "single image"
            )
        return array.reshape(len(array), *row_shape(array.shape[1], shape, "X"))

    def _outputs(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        check_is_fitted(self)
        X = _with_shape(X)
        if len(X.shape) == 2 and hasattr(self, "feature_names_in_"):  # else the columns' names say nothing
            validate_data(self, X, reset=False, skip_check_array=True)
        array = _plain_array(X, least=1)
        image = self.architecture_.image
        if array.ndim == 2:
            if array.shape[1] != self.n_features_in_:
                raise ValueError(
                    f"X has {array.shape[1]} features, but DEPICT is expecting {self.n_features_in_} features as "
                    f"input: flattened images of {in_words(image)}"
                )
            array = array.reshape(len(array), *image)
        if (*array.shape[1:], 1)[:3] != image:
            raise ValueError(f"images are {in_words(array.shape[1:])}: expected {in_words(image)}, as trained on")
        known = 255 if self.white_ is None and array.dtype.kind in "iu" else self.white_
        pixels = _pixels(array, _white(array, known))
        return predict(Depict(self.architecture_), self._state.train.variables, pixels, data_mesh(self.devices))


def _with_shape(X: Any) -> Any:
    """X itself where it has a shape, else as an array."""
    if hasattr(X, "shape"):
        return X
    try:
        return np.asarray(X)
    except ValueError as error:
        raise ValueError("X holds images of different shapes: bring them to one shape first") from error


def _plain_array(X: Any, least: int) -> np.ndarray:
    """X as an array of finite numbers, of 2, 3 or 4 axes, and of at least `least` images."""
    array = check_array(X, allow_nd=True, ensure_min_samples=least, input_name="X")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"X has dtype {array.dtype}: expected uint8, bool, or other numbers from 0 to 255 or in [0, 1]")
    if array.ndim > 4 or 0 in array.shape:
        raise ValueError(
            f"X has shape {array.shape}: expected images (N, H, W) or (N, H, W, C), or flattened ones (N, D), with at "
            "least one pixel"
        )
    return array


def _white(array: np.ndarray, known: float | None) -> float:
    """What stands for white in X: as its dtype says, as known, or as its range plainly says."""
    if array.dtype == np.uint8:
        return 255
    if array.dtype == bool:
        return 1
    low, high = float(array.min()), float(array.max())
    if low < -SLACK:
        raise ValueError(
            f"Negative values in data passed to DEPICT: X holds numbers from {low:.6g} to {high:.6g}; expected 0 to "
            "255 or [0, 1]: rescale them"
        )
    white = plain_white(array.dtype.kind, low, high) if known is None else known
    if white is None:
        raise ValueError(
            f"X holds {array.dtype} from {low:.6g} to {high:.6g}: expected uint8, bool, or a range that is plainly 0 "
            "to 255 or [0, 1]; divide X by the number that stands for white"
        )
    if high > white * (1 + SLACK):
        raise ValueError(f"X holds numbers up to {high:.6g}: expected at most {white:g}, white in the X of fit")
    return white


def _pixels(array: np.ndarray, white: float) -> np.ndarray:
    """uint8 (N, H, W, C) of images whose white is `white`."""
    if array.dtype != np.uint8:
        array = np.concatenate([to_uint8(piece, 255 / white) for piece in cut(array)])
    return as_pixels(array)


def _display(verbose: bool):
    if not verbose:
        from contextlib import nullcontext

        return nullcontext(lambda event: None)
    from rich.console import Console

    from .progress import Display

    return Display(Console(stderr=True))
