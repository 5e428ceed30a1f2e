"""The authors' released parameters (Theano and Lasagne) as ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from .architecture import Architecture


def load_lasagne(arrays: Mapping[str, np.ndarray]) -> tuple[Architecture, dict[str, Any]]:
    """Architecture and variables from the authors' pretrained autoencoder for 28 x 28 images.

    Lasagne flattens the last map channels first, as we do, but flips its kernels: a true convolution, where ours
    correlates. Its convolution weights are (out, in, rows, columns), its transposed ones (in, out, rows, columns).

    Args:
        arrays: encoder1_W, encoder1_b, encoder2_W, encoder2_b, embedding_W, embedding_b, and decoder3, decoder2,
            decoder1 (from the embedding outwards) likewise, float; further entries are ignored.

    Returns:
        The architecture, and the variables that `Depict(architecture).apply` takes; the head, which the file lacks,
        is zero.

    Raises:
        ValueError: an entry that is missing or of another shape than the network for 28 x 28 images has.
    """
    names = [f"{layer}_{kind}" for layer in _LAYERS for kind in "Wb"]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"the parameters lack {', '.join(missing)}: expected the authors' {', '.join(names)}")
    values = {name: np.asarray(arrays[name], np.float32) for name in names}
    n_clusters = values["embedding_b"].size
    architecture = Architecture.for_image((28, 28, 1), n_clusters)
    for name, shape in _shapes(architecture).items():
        if values[name].shape != shape:
            raise ValueError(f"{name} has shape {values[name].shape}: expected {shape}")

    def kernel(name: str) -> np.ndarray:
        return values[name][:, :, ::-1, ::-1]

    params = {
        "encoder": {
            "conv1_kernel": kernel("encoder1_W").transpose(2, 3, 1, 0),
            "conv1_bias": values["encoder1_b"],
            "conv2_kernel": kernel("encoder2_W").transpose(2, 3, 1, 0),
            "conv2_bias": values["encoder2_b"],
            "embedding": {"kernel": values["embedding_W"], "bias": values["embedding_b"]},
        },
        "decoder": {
            "embedding": {"kernel": values["decoder3_W"], "bias": values["decoder3_b"]},
            # ours are the mirrored convolution's, (rows, columns, its in, its out); theirs (its out, its in, ...)
            "conv2_kernel": kernel("decoder2_W").transpose(2, 3, 1, 0),
            "conv2_bias": values["decoder2_b"],
            "conv1_kernel": kernel("decoder1_W").transpose(2, 3, 1, 0),
            "conv1_bias": values["decoder1_b"],
        },
        "head": {"kernel": np.zeros((n_clusters, n_clusters)), "bias": np.zeros(n_clusters)},
    }
    return architecture, {"params": _as_jax(params)}


_LAYERS = ("encoder1", "encoder2", "embedding", "decoder3", "decoder2", "decoder1")


def _shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    first, second = architecture.convolutions
    maps, k = architecture.maps, architecture.n_clusters
    flat = maps[-1][0] * maps[-1][1] * maps[-1][2]
    conv1 = (first.features, maps[0][2], *first.kernel)
    conv2 = (second.features, first.features, *second.kernel)
    return {
        **{"encoder1_W": conv1, "encoder1_b": (first.features,)},
        **{"encoder2_W": conv2, "encoder2_b": (second.features,)},
        **{"embedding_W": (flat, k), "embedding_b": (k,)},
        **{"decoder3_W": (k, flat), "decoder3_b": (flat,)},
        **{"decoder2_W": (second.features, first.features, *second.kernel), "decoder2_b": (first.features,)},
        **{"decoder1_W": (first.features, maps[0][2], *first.kernel), "decoder1_b": (maps[0][2],)},
    }


def _as_jax(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _as_jax(leaf) for name, leaf in tree.items()}
    return jnp.asarray(np.ascontiguousarray(tree), jnp.float32)
