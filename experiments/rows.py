"""Other methods on the same images, with the same scoring: a JSON for each beside DEPICT's.

python -m experiments.rows usps mnist-test --method spectral umap-gmm --seeds 5

Methods that draw nothing at random run once. Our autoencoder's features are of the one that DEPICT's runs of the same
seed start from, in both variants, out of runs/store or trained into it.
What is not installed (umap-learn, or ClustPy in .venv-clustpy) is skipped with a word.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from depict_jax.agglomerative import path_integral_clustering
from depict_jax.data import Images
from depict_jax.networks import Depict
from depict_jax.run_folder import Config
from depict_jax.stages import check_job
from depict_jax.starts import initial_assignment
from depict_jax.training import predict
from experiments import presets, results
from experiments.benchmarks import peers
from experiments.jobs import STORE, Found, Job, Unavailable, Watch, run_missing
from experiments.presets import Preset
from experiments.store import trained
from experiments.variants import settings_of

DEFAULT = "default"  # the variant of a method that has but one
PRETRAINED = "paper"  # a variant whose autoencoder is every variant's


class Row(NamedTuple):
    """A method beside ours."""

    title: str
    kind: str  # what computes it: "pixels", "features" or "clustpy"
    settings: dict[str, Any]  # whatever is not its library's default
    random: bool = True


ROWS = {
    "kmeans-pixels": Row("k-means on pixels", "pixels", {"n_init": 20}),
    "acpic-pixels": Row("AC-PIC on pixels", "pixels", {"n_neighbors": 20, "z": 0.01}, random=False),
    "spectral": Row(
        "spectral clustering",
        "pixels",
        # The default solver gives the same scores (USPS's differ by one image), but factorises the graph's matrix: of
        # MNIST-full's 70,000 images it had not done so after eight minutes, in 5 GB.
        {
            "affinity": "nearest_neighbors",
            "n_neighbors": 10,
            "assign_labels": "cluster_qr",
            "eigen_solver": "lobpcg",
            "eigen_tol": 1e-5,
        },
        random=False,
    ),
    # as umap-learn's own page on clustering has it
    "umap-gmm": Row("UMAP + Gaussian mixture", "pixels", {"n_neighbors": 30, "min_dist": 0.0, "n_components": 2}),
    "kmeans-features": Row("k-means on our autoencoder's features", "features", {"initial": "kmeans"}),
    "acpic-features": Row("AC-PIC on our autoencoder's features", "features", {"initial": "acpic"}),
    "acpic-no-strays-features": Row(
        "AC-PIC without strays on our autoencoder's features",
        "features",
        {"initial": "acpic", "smallest_cluster": settings_of("best", "acpic", 0).smallest_cluster},
    ),
    "clustpy-dec": Row("DEC (ClustPy)", "clustpy", {}),
    "clustpy-idec": Row("IDEC (ClustPy)", "clustpy", {}),
    "clustpy-dcn": Row("DCN (ClustPy)", "clustpy", {}),
}


def main() -> None:
    """Run what has no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=presets.NAMES, nargs="+")
    parser.add_argument("--method", choices=list(ROWS), nargs="+", default=list(ROWS))
    parser.add_argument("--seeds", type=int, help="how many, from 0 on; left out, as many as the table has")
    arguments = parser.parse_args()
    for name in arguments.dataset:
        preset = presets.preset(name)
        seeds = preset.seeds if arguments.seeds is None else arguments.seeds
        run_missing(name, preset, jobs(arguments.method, seeds), compute)


def jobs(methods: list[str], seeds: int) -> list[Job]:
    """Seed by seed, methods without chance once."""
    return [
        Job(method, DEFAULT, seed) for seed in range(seeds) for method in methods if seed == 0 or ROWS[method].random
    ]


def compute(job: Job, preset: Preset, images: Images, watch: Watch) -> Found:
    """One row's answer."""
    kind = ROWS[job.method].kind
    if kind == "features":
        return _on_features(job, preset, images, watch)
    return _by_clustpy(job, preset, images) if kind == "clustpy" else _on_pixels(job, preset, images)


def _on_pixels(job: Job, preset: Preset, images: Images) -> Found:
    flat = images.pixels.reshape(len(images.pixels), -1).astype(np.float32) / 255
    settings = ROWS[job.method].settings
    method = _ON_PIXELS[job.method]
    start = time.perf_counter()
    answer = method(flat, preset.clusters, job.seed, settings)
    seconds = time.perf_counter() - start
    provenance = results.provenance_of(images, settings)
    if job.method == "umap-gmm":
        provenance["versions"]["umap-learn"] = version("umap-learn")
    return Found({"final": answer}, {"final": seconds}, provenance)


def _kmeans(flat: np.ndarray, clusters: int, seed: int, settings: dict[str, Any]) -> np.ndarray:
    from sklearn.cluster import KMeans

    return KMeans(clusters, random_state=seed, **settings).fit_predict(flat)


def _acpic(flat: np.ndarray, clusters: int, _: int, settings: dict[str, Any]) -> np.ndarray:
    return path_integral_clustering(flat, clusters, **settings)


def _spectral(flat: np.ndarray, clusters: int, seed: int, settings: dict[str, Any]) -> np.ndarray:
    from sklearn.cluster import SpectralClustering

    return SpectralClustering(clusters, random_state=seed, n_jobs=-1, **settings).fit_predict(flat)


def _umap_gmm(flat: np.ndarray, clusters: int, seed: int, settings: dict[str, Any]) -> np.ndarray:
    try:
        from umap import UMAP
    except ModuleNotFoundError:
        raise Unavailable("umap-learn is not installed; make setup-rows installs it") from None
    from sklearn.mixture import GaussianMixture

    embedding = UMAP(random_state=seed, n_jobs=1, **settings).fit_transform(flat)  # a seed allows one job alone
    return GaussianMixture(clusters, n_init=5, random_state=seed).fit_predict(embedding)


_ON_PIXELS: dict[str, Callable[[np.ndarray, int, int, dict[str, Any]], np.ndarray]] = {
    "kmeans-pixels": _kmeans,
    "acpic-pixels": _acpic,
    "spectral": _spectral,
    "umap-gmm": _umap_gmm,
}


def _on_features(job: Job, preset: Preset, images: Images, watch: Watch) -> Found:
    settings = settings_of(PRETRAINED, preset.initial, job.seed)
    architecture = check_job(images.pixels, preset.clusters, settings)
    run = trained(images, architecture, settings, STORE, watch, last="pretrain")
    start = time.perf_counter()
    embeddings, _ = predict(Depict(architecture), run.ends["pretrain"].train.variables, images.pixels)
    settings = replace(settings, **ROWS[job.method].settings)
    answer = initial_assignment(embeddings, preset.clusters, settings)
    pretrained = run.seconds["pretrain"]
    return Found(
        {"final": answer},
        {"pretrain": pretrained, "final": pretrained + time.perf_counter() - start},
        results.provenance(Config(images.source, images.content_hash, len(images.pixels), architecture, settings)),
    )


def _by_clustpy(job: Job, preset: Preset, images: Images) -> Found:
    if not peers.PYTHON.exists():
        raise Unavailable("ClustPy is not installed in .venv-clustpy; make setup-rows installs it")
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder, "images.npz"), Path(folder, "found.npz")
        np.savez(file, x=images.pixels)  # and no labels
        try:
            peers.fit(job.method.removeprefix("clustpy-").upper(), file, preset.clusters, out, job.seed)
        except subprocess.CalledProcessError as error:
            raise Unavailable(f"it ended with {error.returncode}; its own message stands above") from None
        with np.load(out, allow_pickle=False) as kept:
            details = json.loads(str(kept["details"]))
            provenance = results.provenance_of(images, details["settings"])
            provenance["versions"] |= details["versions"]
            return Found({"final": kept["labels"]}, {"final": float(kept["seconds"])}, provenance)


if __name__ == "__main__":
    main()
