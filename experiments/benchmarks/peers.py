"""ClustPy's DEC, IDEC, DCN and N2D on MNIST-test and its IDEC on MNIST-full, as our job: time and ACC. One run each.

make bench-peers    # python -m experiments.benchmarks.peers test, then full: some 15 and 30 minutes on two cores

Each peer is fitted once, seed 0, with ClustPy's defaults (experiments/peers/clustpy_fit.py, in an environment of its
own) on the same file and machine as ours, by the CPU. What a fit gives lies in runs/peers/METHOD-PART.npz: a peer that
is there is not fitted again, so an interrupted benchmark goes on with the next peer; remove a file to fit it again.
Labels are read here, for the scores only. `make bench-job-PART` has ours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from depict_jax.data import load
from depict_jax.metrics import scores
from experiments.benchmarks import record

PEERS = {"test": ("DEC", "IDEC", "DCN", "N2D"), "full": ("IDEC",)}
FIRST = {"test": 60_000, "full": 0}  # row of MNIST's 70,000 at which a part begins
PYTHON = record.PROJECT / ".venv-clustpy/bin/python"
ADAPTER = record.PROJECT / "experiments/peers/clustpy_fit.py"
FOLDER = record.PROJECT / "runs/peers"
REMARKS = {"N2D": " with t-SNE to 2 dimensions"}  # the only setting that is not a default: see the adapter


def fit(
    method: str, file: Path, clusters: int, out: Path, seed: int = 0, first: int = 0, n_images: int | None = None
) -> None:
    """Let the adapter fit one peer to a file's images; its progress and messages go to the terminal.

    Raises:
        subprocess.CalledProcessError: it failed; what it said stands above.
    """
    command = [PYTHON, ADAPTER, method, file, "--clusters", clusters, "--out", out, "--seed", seed, "--first", first]
    if n_images is not None:
        command += ["--images", n_images]
    subprocess.run([str(word) for word in command], check=True)


def figures_of(out: Path, labels: np.ndarray) -> dict[str, Any]:
    """Scores, seconds and memory of a peer's file.

    Raises:
        ValueError: its assignments are not of as many images as there are labels, or it is not a whole file.
        KeyError: it is not an adapter's file.
    """
    with np.load(out, allow_pickle=False) as kept:
        found: dict[str, Any] = {
            "images": len(labels),
            **scores(labels, kept["labels"]),
            "seconds": float(kept["seconds"]),
            "read_seconds": float(kept["read_seconds"]),
            "peak_bytes": int(kept["peak_bytes"]),
            "runs": 1,
            **json.loads(str(kept["details"])),
        }
        if "own_labels" in kept:  # the method's own assignment; labels_ is that of a last k-means on its embedding
            found["own_assignment"] = scores(labels, kept["own_labels"])
    return found


def row(name: str, part: str, figures: dict[str, Any]) -> tuple[str, str]:
    """One line of the table."""
    return (
        f"MNIST-{part}, one run: {name}",
        f"ACC {figures['acc']:.4f}, NMI {figures['nmi']:.4f}, {figures['seconds'] / 60:.1f} min, "
        f"{figures['peak_bytes'] / 1e9:.2f} GB",
    )


def table(part: str, found: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """A line for each peer."""
    return [
        row(f"ClustPy {figures['versions']['clustpy']} {method}{REMARKS.get(method, '')}", part, figures)
        for method, figures in found.items()
    ]


def main() -> None:
    """Fit the peers that are not there yet, score all that are, record after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PEERS)
    parser.add_argument("--mnist", type=Path, default=record.SHARED / "data/mnist_full.npz", metavar="FILE")
    parser.add_argument("--images", type=int, help="only the first so many of a part, for a try: nothing is recorded")
    arguments = parser.parse_args()
    part: str = arguments.part
    n_images: int | None = arguments.images

    try:
        everything = load(arguments.mnist)
        if everything.labels is None or len(everything.pixels) != 70_000:
            raise ValueError(f"{arguments.mnist} is not MNIST's 70,000 images with labels")
    except (ValueError, TypeError) as error:
        record.missing(f"the peers: {error}", "give --mnist a file with MNIST's 70,000 images")
        return
    labels = everything.labels[FIRST[part] :][:n_images]
    del everything

    folder = FOLDER if n_images is None else FOLDER / f"try-{n_images}"  # never among the real ones
    found: dict[str, dict[str, Any]] = {}

    def file_of(method: str) -> Path:
        return folder / f"{method}-{part}.npz"

    def score(method: str) -> bool:
        try:
            found[method] = figures_of(file_of(method), labels)
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            record.missing(
                f"{method}: its result cannot be scored ({error})", f"remove {file_of(method)} to fit it again"
            )
            return False
        return True

    def write() -> None:
        in_order = {method: found[method] for method in PEERS[part] if method in found}
        rows = table(part, in_order)
        if n_images is None:
            record.save(f"peers-{part}", {"peers": in_order}, rows)
        else:
            record.show([{"rows": rows, "command": f"a try of {n_images} images, not recorded"}])

    for method in PEERS[part]:
        if file_of(method).exists():
            score(method)
    missing = [method for method in PEERS[part] if not file_of(method).exists()]
    if found:
        print(f"already fitted: {', '.join(found)}", flush=True)
        write()
    if missing and not PYTHON.exists():
        record.missing(
            f"{', '.join(missing)}: ClustPy is not installed in .venv-clustpy", "make bench-peers installs it"
        )
        return
    for method in missing:
        print(f"{method}: fitting, one run", flush=True)
        try:
            fit(method, arguments.mnist, 10, file_of(method), first=FIRST[part], n_images=n_images)
        except subprocess.CalledProcessError as error:
            record.missing(f"{method}: it ended with {error.returncode}", "its own message stands above")
            continue
        except OSError as error:
            record.missing(f"{method}: {error}", "make bench-peers installs .venv-clustpy")
            continue
        except KeyboardInterrupt:
            raise SystemExit("interrupted; the same command goes on with the peers that are not fitted yet") from None
        if score(method):
            write()


if __name__ == "__main__":
    main()
