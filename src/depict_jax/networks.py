"""Encoder, decoder and soft-max head: the three pathways of DEPICT as Flax modules without state."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from .architecture import Architecture, Convolution
from .convolution import conv, conv_transpose
from .dropout import dropout

_glorot = nn.initializers.glorot_uniform()
_zeros = nn.initializers.zeros_init()


class Pathways(NamedTuple):
    """What one pass gives for B images; layers are counted as in the paper, z^0 the image and z^L the embedding."""

    noisy_embedding: jax.Array  # z~^L, (B, K)
    noisy_logits: jax.Array  # (B, K); softmax gives p~
    reconstructions: tuple[jax.Array, ...]  # z^^0 .. z^^{L-1}, each (channels, rows, columns, B)
    clean: tuple[jax.Array, ...]  # z^0 .. z^L, the maps likewise, the embedding (B, K)
    logits: jax.Array  # (B, K); softmax gives p


def leaky_relu(x: jax.Array) -> jax.Array:
    """g, slope 0.01 below zero."""
    return nn.leaky_relu(x, negative_slope=0.01)


class Encoder(nn.Module):
    """Convolutions and the fully connected embedding."""

    architecture: Architecture
    dtype: str = "float32"

    @nn.compact
    def __call__(self, images: jax.Array, noisy: bool, first: jax.Array | int = 0) -> tuple[jax.Array, ...]:
        """z^0 .. z^L, or z~^0 .. z~^L with corruption of the input and after each convolution.

        Args:
            images: (B, H, W, C), scaled to [-1, 1].
            noisy: corrupt, with the rng "dropout".
            first: place of the first image in its batch, by which its corruption goes.

        Returns:
            The image and each convolution's output, (channels, rows, columns, B), and the embedding (B, K) in (-1, 1).
        """
        rates = self.architecture.dropout

        def corrupt(z: jax.Array, rate: float) -> jax.Array:
            return dropout(self.make_rng("dropout"), z, rate, first) if noisy and rate else z

        layers = [corrupt(images.astype(self.dtype).transpose(3, 1, 2, 0), rates[0])]
        for n, convolution in enumerate(self.architecture.convolutions):
            w = self.param(f"conv{n + 1}_kernel", _glorot, _kernel_shape(convolution, len(layers[-1])))
            b = self.param(f"conv{n + 1}_bias", _zeros, (convolution.features,))
            w, b = w.astype(self.dtype), b.astype(self.dtype)
            z = leaky_relu(conv(layers[-1], w, convolution.stride, convolution.pad) + _by_channel(b))
            layers.append(corrupt(z, rates[n + 1]))
        flat = layers[-1].reshape(-1, len(images)).T
        width = self.architecture.n_clusters
        embedding = nn.Dense(width, dtype=self.dtype, kernel_init=_glorot, name="embedding")(flat)
        return (*layers, nn.tanh(embedding))


class Decoder(nn.Module):
    """The encoder mirrored, with weights of its own: fully connected, then transposed convolutions."""

    architecture: Architecture
    dtype: str = "float32"

    @nn.compact
    def __call__(self, embedding: jax.Array) -> tuple[jax.Array, ...]:
        """z^^0 .. z^^{L-1}, (channels, rows, columns, B), from embeddings (B, K); the image in (-1, 1)."""
        maps = self.architecture.maps
        rows, columns, features = maps[-1]
        width = features * rows * columns
        flat = nn.Dense(width, dtype=self.dtype, kernel_init=_glorot, name="embedding")(embedding)
        layers = [leaky_relu(flat.T).reshape(features, rows, columns, -1)]
        for n, convolution in reversed(list(enumerate(self.architecture.convolutions))):
            channels = maps[n][2]
            w = self.param(f"conv{n + 1}_kernel", _glorot, _kernel_shape(convolution, channels))
            b = self.param(f"conv{n + 1}_bias", _zeros, (channels,))
            w, b = w.astype(self.dtype), b.astype(self.dtype)
            activation: Callable[[jax.Array], jax.Array] = leaky_relu if n else nn.tanh
            layers.append(
                activation(conv_transpose(layers[-1], w, convolution.stride, convolution.pad) + _by_channel(b))
            )
        return tuple(reversed(layers))


class Depict(nn.Module):
    """The whole network: noisy encoder, decoder, clean encoder with the same weights, soft-max head.

    `Depict(architecture).init(key, images)` gives the variables; the head starts at zero, since the initial assignment
    sets it. The parameters and what a pass gives are float32; `dtype` is what lies between, float32 or bfloat16.
    """

    architecture: Architecture
    dtype: str = "float32"

    def setup(self) -> None:
        """The three parts, whose parameters are stored under their names."""
        self.encoder = Encoder(self.architecture, self.dtype)
        self.decoder = Decoder(self.architecture, self.dtype)
        self.head = nn.Dense(self.architecture.n_clusters, dtype=self.dtype, kernel_init=_zeros)

    def __call__(
        self,
        images: jax.Array,
        noisy: bool = True,
        changed: jax.Array | None = None,
        first: jax.Array | int = 0,
    ) -> Pathways:
        """All three pathways.

        Args:
            images: (B, H, W, C), scaled to [-1, 1].
            changed: what the noisy pathway sees in their place, of the same shape; None for the images themselves.
            noisy: False leaves the corruption out of the noisy pathway (validation); then no rng is needed. With it,
                `apply` takes rngs={"dropout": key} unless every rate is zero.
            first: place of the first image in its batch, where the images are one device's share of it.
        """
        noisy_embedding = self.encoder(images if changed is None else changed, noisy, first)[-1]
        clean = self.encoder(images, False)
        pathways = Pathways(
            noisy_embedding=noisy_embedding,
            noisy_logits=self.head(noisy_embedding),
            reconstructions=self.decoder(noisy_embedding),
            clean=clean,
            logits=self.head(clean[-1]),
        )
        # losses and soft-max add up in float32
        return jax.tree.map(lambda z: z.astype(jnp.float32), pathways)

    def encode(self, images: jax.Array) -> jax.Array:
        """Clean embeddings z^L, (B, K), of images (B, H, W, C) scaled to [-1, 1]."""
        return self.encoder(images, False)[-1].astype(jnp.float32)

    def predict(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Clean embeddings and probabilities p = softmax(Theta^T z^L), both (B, K)."""
        embedding = self.encode(images)
        return embedding, nn.softmax(self.head(embedding).astype(jnp.float32))


def _kernel_shape(convolution: Convolution, channels: int) -> tuple[int, int, int, int]:
    return (*convolution.kernel, channels, convolution.features)


def _by_channel(bias: jax.Array) -> jax.Array:
    """A bias (C,) that adds to maps (C, rows, columns, B)."""
    return bias[:, None, None, None]
