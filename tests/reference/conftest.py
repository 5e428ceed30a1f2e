"""What the reference tests share: the authors' released results, from a folder that is no part of the project."""

import os
from pathlib import Path

import numpy as np
import pytest

from depict_jax.networks import Depict
from depict_jax.reference import load_lasagne
from depict_jax.training import predict

SHARED = Path(os.environ.get("DEPICT_SHARED", Path(__file__).resolve().parents[3] / "shared"))


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        pytest.skip(f"{path.name} is not in the folder `shared` beside this checkout, nor in $DEPICT_SHARED")
    with np.load(path) as file:
        return dict(file)


@pytest.fixture(scope="session")
def released():
    """The authors' arrays: parameters in Lasagne's layout, and acpic_labels (10000,)."""
    return arrays_of(SHARED / "reference" / "depict_mnist_test.npz")


@pytest.fixture(scope="session")
def mnist_test():
    """MNIST-test: pixels (10000, 28, 28, 1) uint8, labels (10000,)."""
    everything = arrays_of(SHARED / "data" / "mnist_full.npz")
    return everything["x"][60_000:].reshape(-1, 28, 28, 1), everything["y"][60_000:]


@pytest.fixture(scope="session")
def pretrained(released):
    """Architecture and variables of the authors' autoencoder."""
    return load_lasagne(released)


@pytest.fixture(scope="session")
def embeddings(pretrained, mnist_test):
    """(10000, 10), by our network."""
    architecture, variables = pretrained
    return predict(Depict(architecture), variables, mnist_test[0])[0]
