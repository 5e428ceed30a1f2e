"""What the tests share: float32 arithmetic, a small network whose every parameter matters, and real data."""

import os

# Before numpy is there: pytest's processes share the cores, where a second thread of OpenBLAS mostly spins.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from depict_jax.architecture import Architecture, Convolution
from depict_jax.networks import Depict

SHARED = Path(os.environ.get("DEPICT_SHARED", Path(__file__).resolve().parents[2] / "shared"))

# Not the user's own cache; removed at the end. Side by side, pytest's processes share that of the one which began.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _compiled = tempfile.TemporaryDirectory(prefix="depict-jax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name  # for the commands that tests start too
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_enable_x64", False)
jax.config.update("jax_default_matmul_precision", "float32")  # accelerators would round products to fewer bits


@pytest.fixture(scope="session")
def small() -> Architecture:
    """8 x 8 images, maps 4 and 2 wide, three clusters, a rate of its own for every layer."""
    layers = (Convolution(4, (4, 2), (2, 2), (1, 0)), Convolution(6, (2, 2)))
    return Architecture((8, 8, 1), layers, 3, dropout=(0.1, 0.3, 0.5))


@pytest.fixture(scope="session")
def variables(small):
    """Random numbers in place of every parameter of `small`, biases and head too."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(Depict(small).init, jax.random.key(0), np.zeros((1, *small.image), np.float32))
    return jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), shapes)


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """A file of real data, by name; the test is skipped where it is not there."""

    def find(name: str) -> Path:
        path = SHARED / "data" / name
        if not path.exists():
            pytest.skip(f"{name} is not in the folder `shared` beside this checkout, nor in $DEPICT_SHARED")
        return path

    return find
