"""What the decoder makes of every layer: reconstructions from the clean and from the noisy pathway."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

from ..architecture import Architecture
from ..augmentation import UNCHANGED, Changes, random_changes
from ..networks import Depict
from ..training import Variables, scale
from .mosaics import Strip, contact_sheet, strips_figure, thumbnails

Maps = tuple[np.ndarray, ...]


class Layers(NamedTuple):
    """Layers 0 (the image, scaled to [-1, 1]) to L-1 of B images, float32 (B, rows, columns, channels) each."""

    clean: Maps  # z^l
    noisy: Maps  # z~^l, of the corrupted image
    from_clean: Maps  # z^^l, decoded from the clean embedding
    from_noisy: Maps  # z^^l, decoded from the noisy embedding, as in training


def reconstruct(
    architecture: Architecture,
    variables: Variables,
    pixels: np.ndarray,
    changes: Changes = UNCHANGED,
    seed: int = 0,
) -> Layers:
    """Both pathways and what the decoder makes of them, in one call of the network.

    Args:
        architecture: of the run; its dropout is the corruption.
        variables: of the network.
        pixels: uint8 (B, H, W, C); all are computed at once, so give a hundred at most.
        changes: the run's, see `augmentation.changes_of`.
        seed: of the corruption.
    """
    found = _pathways(Depict(architecture), variables, pixels, jax.random.key(seed), changes)
    return Layers(*(tuple(np.asarray(z).transpose(3, 1, 2, 0) for z in layers) for layers in found))


def layer_errors(layers: Layers) -> tuple[list[float], list[float]]:
    """The mean over images and units of (z^^l - z^l)^2 for each layer l: decoded from clean, decoded from noisy."""
    clean, noisy = (
        [float(np.square(decoded - z).mean()) for decoded, z in zip(of, layers.clean, strict=True)]
        for of in (layers.from_clean, layers.from_noisy)
    )
    return clean, noisy


def reconstruction_sheet(layers: Layers, images: int = 8) -> Figure:
    """The first images: as they are, corrupted, and decoded from the clean and from the noisy embedding.

    Args:
        layers: see `reconstruct`.
        images: at most so many.
    """
    return strips_figure(image_strips(layers, images))


def feature_maps(layers: Layers, image: int = 0, maps: int = 8) -> Figure:
    """Some of one image's hidden maps beside their reconstructions, row by row: see `map_strips`.

    Args:
        layers: see `reconstruct`.
        image: which of the images.
        maps: at most so many of a layer's maps, those that vary most over the image.
    """
    return strips_figure(map_strips(layers, image, maps))


def image_strips(layers: Layers, images: int = 8) -> list[Strip]:
    """The rows of `reconstruction_sheet`, with the mean squared error of each reconstruction over all B images."""
    clean, noisy = layer_errors(layers)
    rows = [
        ("image", "", layers.clean),
        ("corrupted", "as the run did", layers.noisy),
        ("decoded from clean", _error(clean[0]), layers.from_clean),
        ("decoded from noisy", _error(noisy[0]), layers.from_noisy),
    ]
    return [Strip(title, note, _sheet(_bytes(maps[0][:images], -1, 1))) for title, note, maps in rows]


def map_strips(layers: Layers, image: int = 0, maps: int = 8) -> list[Strip]:
    """The rows of `feature_maps`: for each hidden layer its maps, and those decoded from clean and from noisy.

    A map and its reconstructions share one scale: black is the map's smallest value, white its largest. The errors
    are means over all B images and all maps.
    """
    clean, noisy = layer_errors(layers)
    strips = []
    for layer, z in enumerate(layers.clean[1:], start=1):
        of = z[image]
        chosen = np.sort(np.argsort(-of.var(axis=(0, 1)), kind="stable")[:maps])
        low, high = of[..., chosen].min(axis=(0, 1)), of[..., chosen].max(axis=(0, 1))
        rows = [
            (f"layer {layer}", f"{z.shape[1]} × {z.shape[2]}, {len(chosen)} of {z.shape[3]} maps", z),
            ("decoded from clean", _error(clean[layer]), layers.from_clean[layer]),
            ("decoded from noisy", _error(noisy[layer]), layers.from_noisy[layer]),
        ]
        for title, note, values in rows:
            shown = _bytes(values[image][..., chosen], low, high)
            strips.append(Strip(title, note, _sheet(shown.transpose(2, 0, 1)[..., None])))
    return strips


def _sheet(pixels: np.ndarray) -> np.ndarray:
    return contact_sheet(thumbnails(pixels), len(pixels))


def _bytes(values: np.ndarray, low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    return np.rint(255 * np.clip((values - low) / np.maximum(np.subtract(high, low), 1e-12), 0, 1)).astype(np.uint8)


def _error(error: float) -> str:
    return f"MSE {error:.3g}"


@partial(jax.jit, static_argnames=("model", "changes"))
def _pathways(model: Depict, variables: Variables, pixels: jax.Array, key: jax.Array, changes: Changes):
    """z^0 .. z^{L-1}, z~^0 .. z~^{L-1} and the decoder's from each embedding, all (channels, rows, columns, B)."""
    changes_key, dropout_key = jax.random.split(key)
    images = scale(pixels)
    changed = random_changes(changes_key, images, changes)

    def both(network: Depict):
        clean, noisy = network.encoder(images, False), network.encoder(changed, True)
        return clean[:-1], noisy[:-1], network.decoder(clean[-1]), network.decoder(noisy[-1])

    return model.apply(variables, method=both, rngs={"dropout": dropout_key})
