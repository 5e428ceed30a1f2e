"""Where results go: one JSON object for each run, results/DATASET/METHOD-VARIANT-SEED.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax

from depict_jax.data import Images
from depict_jax.run_folder import Config, write_json
from experiments.benchmarks import record

PROJECT = record.PROJECT
FOLDER = PROJECT / "experiments/results"


def path_of(dataset: str, method: str, variant: str, seed: int, folder: Path = FOLDER) -> Path:
    """The file of one result."""
    return folder / dataset / f"{method}-{variant}-{seed}.json"


def write(found: dict[str, Any], folder: Path = FOLDER) -> None:
    """Write one result, whole or not at all."""
    path = path_of(found["dataset"], found["method"], found["variant"], found["seed"], folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)


def read(path: Path) -> dict[str, Any]:
    """One result."""
    return json.loads(path.read_text())


def read_all(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """All results that are there, by path."""
    return [read(path) for path in sorted(folder.glob("*/*.json"))]


def provenance(config: Config) -> dict[str, Any]:
    """What a result of DEPICT depends on: commit, date, machine, versions, images, network and hyperparameters."""
    return {**_where(), **config.to_json()}


def provenance_of(images: Images, settings: dict[str, Any]) -> dict[str, Any]:
    """The same for a method that has no network of ours; `settings` are its own."""
    return {
        **_where(),
        "source": images.source,
        "content_hash": images.content_hash,
        "n_images": len(images.pixels),
        "settings": settings,
    }


def _where() -> dict[str, Any]:
    return {**record.provenance(), "device": jax.devices()[0].device_kind}
