"""Where results go: one JSON object for each run, results/DATASET/METHOD-VARIANT-SEED.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax

from depict_jax.run_folder import Config, write_json
from experiments.benchmarks import record

PROJECT = record.PROJECT
FOLDER = PROJECT / "experiments/results"


def path_of(dataset: str, method: str, variant: str, seed: int) -> Path:
    """The file of one result."""
    return FOLDER / dataset / f"{method}-{variant}-{seed}.json"


def write(found: dict[str, Any]) -> None:
    """Write one result, whole or not at all."""
    path = path_of(found["dataset"], found["method"], found["variant"], found["seed"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)


def read_all() -> list[dict[str, Any]]:
    """All results that are there, by path."""
    return [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*/*.json"))]


def provenance(config: Config) -> dict[str, Any]:
    """What a result depends on: commit, date, machine, versions, images, network and hyperparameters."""
    return {**record.provenance(), "device": jax.devices()[0].device_kind, **config.to_json()}
