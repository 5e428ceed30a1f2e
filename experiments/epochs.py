"""Epochs outside the four stages: of another network or loss, or towards other targets, than DEPICT's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from depict_jax.assignments import target_distribution
from depict_jax.augmentation import changes_of
from depict_jax.epochs import steps_per_epoch, train_epoch
from depict_jax.networks import Depict
from depict_jax.settings import Settings
from depict_jax.stages import DivergedError
from depict_jax.training import Loss, Variables, fresh_state


def train(
    model: Depict,
    loss: Loss,
    settings: Settings,
    pixels: np.ndarray,
    variables: Variables,
    p: ArrayLike,
    targets: Callable[[jax.Array], jax.Array],
    rates: np.ndarray,
    key: jax.Array,
    again: Sequence[int] | np.ndarray = (),
) -> Variables:
    """Epochs over all images, each towards the targets that the clean predictions of the one before give.

    Args:
        model: the network.
        loss: which loss.
        settings: batch size and changes of the images.
        pixels: uint8 (N, H, W, C).
        variables: to start from.
        p: clean predictions of all images, (N, K).
        targets: (N, K) from p; called before each epoch.
        rates: learning rates, (epochs, steps an epoch).
        key: for order and corruption.
        again: indices of images that an epoch shows once more, for each time that they stand there.

    Returns:
        The weights after the last epoch.

    Raises:
        DivergedError: a loss that is NaN or infinite.
    """
    on_device = jnp.asarray(pixels)
    members = np.concatenate([np.arange(len(pixels)), again]).astype(np.int32)
    changes = changes_of(settings, pixels)
    state = fresh_state(jax.tree.map(jnp.array, variables))  # a copy: an epoch uses its buffers again
    latest = jnp.asarray(p)
    for epoch, epoch_rates in enumerate(rates):
        result = train_epoch(
            model,
            loss,
            state,
            on_device,
            targets(latest),
            members,
            epoch_rates,
            jax.random.fold_in(key, epoch),
            batch_size=settings.batch_size,
            changes=changes,
            microbatches=settings.microbatches,
        )
        if not np.asarray(result.finite).all():
            raise DivergedError(f"a loss or gradient became NaN or infinite in epoch {epoch + 1}")
        state, latest = result.state, result.p
    return state.variables


def q_step(p: jax.Array, settings: Settings) -> jax.Array:
    """Q by the settings' rule."""
    return target_distribution(p, settings.prior, settings.rule, *settings.q_step)


def warm_rates(settings: Settings, n_images: int) -> np.ndarray:
    """The warm start's, constant: (epochs, steps)."""
    steps = steps_per_epoch(n_images, settings.batch_size)
    _, epochs, _ = settings.stage_epochs(steps, steps)
    return np.full((epochs, steps), settings.warm_learning_rate, np.float32)


def joint_rates(settings: Settings, n_images: int) -> np.ndarray:
    """The joint stage's, by cosine: (epochs, steps)."""
    steps = steps_per_epoch(n_images, settings.batch_size)
    _, _, epochs = settings.stage_epochs(steps, steps)
    schedule = optax.cosine_decay_schedule(settings.joint_learning_rate, epochs * steps, settings.final_learning_rate)
    return np.asarray(schedule(np.arange(epochs * steps)), np.float32).reshape(epochs, steps)
