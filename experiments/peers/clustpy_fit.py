"""One of ClustPy's deep clusterings of a file's images: labels, seconds and peak memory into another file.

.venv-clustpy/bin/python experiments/peers/clustpy_fit.py IDEC mnist_full.npz --clusters 10 --first 60000 --out idec.npz

Run by experiments/benchmarks/peers.py and experiments/rows.py in an environment of its own (requirements-clustpy.txt).
The algorithms have ClustPy's defaults, but for n_clusters, the seed, and for N2D what `SETTINGS` says. The file's
labels are not read.

Pixels are prepared as ClustPy's documentation does for MNIST and feed-forward autoencoders, which are its default
(pages "Stacked Denoising Autoencoder" and `get_dataloader`): flattened, float32, one mean taken from all pixels and
divided by one standard deviation.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import resource
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

# N2D's default asks t-SNE for as many components as there are clusters. scikit-learn's t-SNE gives at most 3, so with
# 10 clusters the default raises ValueError; 2 is what N2D's own docstring and ClustPy's DDC use.
SETTINGS: dict[str, dict[str, Any]] = {
    "DEC": {},
    "IDEC": {},
    "DCN": {},
    "N2D": {"manifold_params": {"n_components": 2}},
}
OWN_LABELS = {"DEC": "dec_labels_", "IDEC": "dec_labels_", "DCN": "dcn_labels_"}  # labels_ is a last k-means there


def import_torchvision() -> None:
    """Import torchvision, which ClustPy imports everywhere and these algorithms never call.

    The ordinary Linux package of torchvision is compiled for CUDA. Beside a CPU build of torch its operators do not
    load, and its import fails since it describes two of them that are not there. Their signatures are all that it
    misses: declared here, without an implementation; whoever calls them still gets an error.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        declared = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")


def read(path: Path, first: int, n_images: int | None) -> np.ndarray:
    """The images from row `first` on, or `n_images` of them: float32 (N, H * W * C), standardised."""
    with np.load(path, allow_pickle=False) as file:
        pixels = file["x"]
    if pixels.ndim != 4 or pixels.dtype != np.uint8 or first >= len(pixels):
        raise SystemExit(f"{path} holds x {pixels.dtype} {pixels.shape}: expected images, uint8 (N > {first}, H, W, C)")
    chosen = pixels[first:][:n_images]
    flat = chosen.reshape(len(chosen), -1).astype(np.float32)
    return (flat - flat.mean(dtype=np.float64).astype(np.float32)) / flat.std(dtype=np.float64).astype(np.float32)


def peak_bytes() -> int:
    """The most memory that this process has held at once, imports included."""
    try:  # on Linux ru_maxrss may hold the peak of the process that started this one; VmHWM is this one's alone
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    """Read, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=list(SETTINGS))
    parser.add_argument("file", type=Path, help=".npz with images as x, uint8 (N, H, W, C)")
    parser.add_argument("--clusters", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz")
    parser.add_argument("--first", type=int, default=0, help="row that the images begin at")
    parser.add_argument("--images", type=int, help="only so many, for a try")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    method: str = arguments.method

    import_torchvision()
    algorithm = getattr(importlib.import_module("clustpy.deep"), method)

    start = time.perf_counter()
    images = read(arguments.file, arguments.first, arguments.images)
    read_seconds = time.perf_counter() - start
    print(f"{method}: {len(images)} images, read in {read_seconds:.1f} s", flush=True)

    # the CPU by name: by default ClustPy would take a GPU where there is one, and the figures are of one machine's CPU
    estimator = algorithm(
        n_clusters=arguments.clusters, random_state=arguments.seed, device=torch.device("cpu"), **SETTINGS[method]
    )
    start = time.perf_counter()
    estimator.fit(images)
    seconds = time.perf_counter() - start
    print(f"{method}: fitted in {seconds:.1f} s", flush=True)

    found: dict[str, Any] = {
        "labels": np.asarray(estimator.labels_, np.int32),
        "seconds": seconds,
        "read_seconds": read_seconds,
        "peak_bytes": peak_bytes(),
        "details": json.dumps(
            {
                "method": method,
                "clusters": arguments.clusters,
                "first": arguments.first,
                "seed": arguments.seed,
                "settings": SETTINGS[method],
                "date": datetime.now(UTC).date().isoformat(),
                "threads": torch.get_num_threads(),
                "python": platform.python_version(),
                "versions": {package: version(package) for package in ("clustpy", "torch", "scikit-learn", "numpy")},
            }
        ),
    }
    if method in OWN_LABELS:
        found["own_labels"] = np.asarray(getattr(estimator, OWN_LABELS[method]), np.int32)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    partial = arguments.out.with_name(arguments.out.name + ".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, **found)
    partial.replace(arguments.out)  # whole or not there: a file under this name is a finished fit


if __name__ == "__main__":
    main()
