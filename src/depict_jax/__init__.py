"""DEPICT in JAX: group unlabelled images by what they show.

`from depict_jax import DEPICT` is the estimator; the functions it is made of are in the modules, one per step:
architecture, networks, objectives, assignments, agglomerative, training, stages, metrics.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .estimator import DEPICT as DEPICT

__version__ = "0.1.0"
__all__ = ["DEPICT", "__version__"]
_MODULES = (
    *("agglomerative", "architecture", "assignments", "data", "ensemble", "metrics", "networks", "objectives"),
    *("reference", "report", "settings", "stages", "training"),
)


def __getattr__(name: str) -> Any:
    # The command line's --help must not wait for JAX.
    if name == "DEPICT":
        from .estimator import DEPICT

        return DEPICT
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
