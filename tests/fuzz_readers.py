"""Damaged files of every kind, and checkpoints, read until a reader does anything but give what it should or refuse.

make fuzz    # python -m tests.fuzz_readers --minutes 10

A case is a number: it decides the kind, the damage and where it falls, so that a finding can be had again with
`python -m tests.fuzz_readers --case N`. Cases run in a process of their own, with little memory and a clock, since what
is looked for includes crashes of the libraries that readers stand on, hangs, and memory without bounds. Findings stay
in runs/fuzz, a file each.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

PICTURES = ("png", "jpg", "gif", "tif")
OF_A_RUN = ("config.json", "metrics.jsonl", "scores.json", "assignments.csv")
SOURCES = ("npz", "npy", "h5", "mat", "v73.mat", "idx", "idx.gz", "csv", "csv.gz", "parquet", *PICTURES)
KINDS = (*SOURCES, *OF_A_RUN, "checkpoint")
SECONDS = 20  # that a case may take
MEMORY, MORE = 3 << 30, 3 << 29  # address space that a process may have, of which the libraries map half; or may add
CASES = 200  # of one process
FOUND = Path(__file__).resolve().parents[1] / "runs/fuzz"


def whole(kind: str) -> bytes:
    """A good file of twelve images and their labels, of 8 x 8 pixels."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (12, 8, 8), dtype=np.uint8)
    x[0, 0, 0] = 255
    y, rows, file = np.arange(12), x.reshape(12, -1), io.BytesIO()
    by_columns = x.transpose(0, 2, 1).reshape(12, -1)  # as MATLAB has them
    if kind == "npz":
        np.savez_compressed(file, x=x, y=y)
    elif kind == "npy":
        np.save(file, x)
    elif kind in ("h5", "v73.mat"):
        import h5py

        with h5py.File(file, "w") as out:
            for name, array in (("data", x[:, None] if kind == "h5" else by_columns.T), ("labels", y)):
                out.create_dataset(name, data=array, compression="gzip").attrs["MATLAB_class"] = b"uint8"
    elif kind == "mat":
        from scipy.io import savemat

        savemat(file, {"fea": by_columns.astype(float), "gnd": y[:, None] + 1.0}, do_compression=True)
    elif kind.startswith("idx"):
        file.write(b"\0\0\x08\x03" + np.array(x.shape, ">u4").tobytes() + x.tobytes())
    elif kind.startswith("csv"):
        lines = [",".join(["label", *(f"pixel{i}" for i in range(64))])]
        lines += [",".join(map(str, [label, *row])) for label, row in zip(y, rows, strict=True)]
        file.write("\n".join(lines).encode())
    elif kind == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"label": y, **{f"p{i}": rows[:, i] for i in range(64)}}), file)
    elif kind in OF_A_RUN:
        file.write(_of_a_run(kind))
    else:
        from PIL import Image

        colour = np.stack([x[0], x[1], x[2]], axis=-1).repeat(4, axis=0).repeat(4, axis=1)
        Image.fromarray(colour).save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind.upper()))
    return gzip.compress(file.getvalue()) if kind.endswith(".gz") else file.getvalue()


def _of_a_run(kind: str) -> bytes:
    """A good file of a finished run's folder, of twelve images in two clusters."""
    import json

    from depict_jax.architecture import Architecture
    from depict_jax.reading import Reading
    from depict_jax.run_folder import Config
    from depict_jax.settings import Settings

    if kind == "config.json":
        config = Config("a.npz", "f" * 64, 12, Architecture.for_image((8, 8, 1), 2), Settings(), Reading())
        return json.dumps(config.to_json(), indent=2).encode()
    if kind == "assignments.csv":
        return "".join(["index,cluster,confidence\n", *(f"{i},{i % 2},0.9\n" for i in range(12))]).encode()
    if kind == "scores.json":
        return json.dumps({"joint": {"acc": 0.9, "nmi": 0.8, "ari": 0.7}}).encode()
    records = [{"stage": "joint", "epoch": epoch, "loss": 0.5, "seconds": 1.0} for epoch in range(1, 9)]
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def damaged(kind: str, rng: np.random.Generator) -> bytes:
    """A good file with one to four changes; now and then to what lies within its compression."""
    data = whole(kind)
    if kind.endswith(".gz") and rng.random() < 0.7:
        return gzip.compress(_changed(gzip.decompress(data), rng))
    if kind == "npz" and rng.random() < 0.7:
        again = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as members, zipfile.ZipFile(again, "w") as out:
            for name in members.namelist():
                inside = members.read(name)
                out.writestr(name, _changed(inside, rng) if rng.random() < 0.7 else inside)
        return again.getvalue()
    return _changed(data, rng)


def _changed(data: bytes, rng: np.random.Generator) -> bytes:
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, max(1, len(data))))
        if rng.random() < 0.6:  # headers are where the numbers stand that a reader believes
            at = int(rng.integers(0, max(1, min(len(data), 200))))
        length = int(rng.integers(1, 9))
        change = rng.integers(0, 7)
        if change == 0:
            data = data[:at]
        elif change == 1:
            data = data[:at] + data[at + length :]
        elif change == 2:
            data = data[:at] + rng.bytes(length) + data[at:]
        elif change == 3:
            data = data[:at] + bytes([rng.choice([0, 1, 0x7F, 0x80, 0xFF])]) * length + data[at + length :]
        elif change == 4:
            data = data[:at] + rng.bytes(length) + data[at + length :]
        elif change == 5 and len(data) > at:
            data = data[:at] + bytes([data[at] ^ (1 << int(rng.integers(0, 8)))]) + data[at + 1 :]
        else:  # digits, as in the headers of numpy and in tables
            words = [b"-1", b"99999999999", b"nan", b"1e999", b"'", b",", b"\n", b"\0", b"(", b"\xff\xfe"]
            data = data[:at] + words[rng.integers(0, len(words))] + data[at + 1 :]
    return data


def run_case(case: int, folder: Path) -> str | None:
    """Read what case `case` damages, whole and in pieces; what went wrong, or None."""
    from depict_jax.data import load, mapped, stream

    rng = np.random.default_rng(case)
    kind = KINDS[case % len(KINDS)]
    if kind == "checkpoint":
        return _trouble(lambda: _restore_damaged(folder / "checkpoints", rng))
    if kind in OF_A_RUN:
        (folder / kind).write_bytes(damaged(kind, rng))
        return _trouble(lambda: _read_of_a_run(kind, folder))
    source = folder / f"images.{kind}"
    if kind in PICTURES:
        source = folder / f"pictures-{case}"
        source.mkdir()
        (source / f"a.{kind}").write_bytes(damaged(kind, rng))
        (source / f"b.{kind}").write_bytes(whole(kind))
    else:
        source.write_bytes(damaged(kind, rng))

    def checked(read: Callable) -> None:
        images = read(source)
        assert images.pixels.dtype == np.uint8 and images.pixels.ndim == 4 and len(images.pixels), images.pixels.shape
        assert images.labels is None or images.labels.shape == (len(images.pixels),)
        images.summary()

    def in_pieces() -> None:
        for piece in stream(source):
            assert piece.dtype == np.uint8 and piece.ndim == 4 and len(piece)

    return _trouble(lambda: checked(load)) or _trouble(in_pieces) or _trouble(lambda: checked(mapped))


def _read_of_a_run(kind: str, folder: Path) -> None:
    from depict_jax import run_folder

    if kind == "config.json":
        run_folder.Config.read(folder).to_json()
    elif kind == "assignments.csv":
        assert len(run_folder.read_clusters(folder / kind, 12)) == 12
    elif kind == "scores.json":
        run_folder.read_scores(folder)
    else:
        assert all({"stage", "epoch"} <= record.keys() for record in run_folder.read_metrics(folder))


@cache
def _saved_checkpoints(folder: Path) -> tuple[Callable, list]:
    """Two checkpoints of a small run; what makes a state of their shapes, and both states."""
    import jax

    from depict_jax.architecture import Architecture
    from depict_jax.checkpoints import Checkpoints
    from depict_jax.settings import Settings
    from depict_jax.stages import initial_state

    def like() -> Any:
        return initial_state(Architecture.for_image((8, 8, 1), 2), Settings(), 12)

    shapes = jax.eval_shape(like)
    states = [jax.tree.map(lambda leaf, i=i: np.full(leaf.shape, i, leaf.dtype), shapes) for i in (1, 2)]
    with Checkpoints(folder) as saved:
        for state in states:
            saved.save(state)
    return like, states


def _restore_damaged(folder: Path, rng: np.random.Generator) -> None:
    """One to three files of the newer of two checkpoints changed or lost: one of the two comes back, to the bit."""
    import jax

    from depict_jax.checkpoints import Checkpoints

    whole = folder.with_name("whole-checkpoints")
    like, states = _saved_checkpoints(whole)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    files = sorted(path for path in (folder / "2").rglob("*") if path.is_file())
    for path in rng.choice(np.array(files, object), rng.integers(1, 4)):
        if rng.random() < 0.1:
            path.unlink(missing_ok=True)
        elif path.exists():
            path.write_bytes(_changed(path.read_bytes(), rng))
    with warnings.catch_warnings(record=True) as told, Checkpoints(folder) as saved:
        warnings.simplefilter("always")
        restored = saved.restore(like)
    bits = [[np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)] for state in (*states, restored)]
    assert bits[2] in bits[:2], "neither of the two that were saved"
    assert bits[2] == bits[1] or any("is damaged" in str(one.message) for one in told), "passed over without a word"


def _trouble(work: Callable[[], None]) -> str | None:
    try:
        work()
    except (ValueError, TypeError) as error:
        if "\n" in str(error) or not str(error):
            return f"not one sentence: {str(error)!r}"
        if "Traceback" in str(error) or len(str(error)) > 2000:
            return f"not a sentence for people: {str(error)!r}"
    except Exception:
        return traceback.format_exc()
    return None


def worker(first: int, last: int, folder: Path) -> None:
    """Run cases, each one's number put down before it begins, so that a crash can be told."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")
    for case in range(first, last):
        (folder / "case").write_text(str(case))
        _limit_memory(KINDS[case % len(KINDS)])
        signal.alarm(SECONDS)  # its signal ends the process, inside a library too
        found = run_case(case, folder)
        signal.alarm(0)
        if found is not None:
            print(f"CASE {case}\n{found}", flush=True)


def _limit_memory(kind: str) -> None:
    """So much more than is mapped now; JAX, which checkpoints need, maps some GB of its own, and hardly uses them."""
    unlimited = resource.RLIM_INFINITY
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = unlimited if kind == "checkpoint" else max(MEMORY, mapped + MORE)
    resource.setrlimit(resource.RLIMIT_AS, (most, unlimited))


def hunt(first: int, seconds: float, cases: int | None = None) -> dict[int, str]:
    """Run cases from `first` on for so long, or so many; the findings by case."""
    import tempfile

    found: dict[int, str] = {}
    end, case = time.monotonic() + seconds, first
    while time.monotonic() < end and (cases is None or case < first + cases):
        last = case + CASES if cases is None else min(case + CASES, first + cases)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "tests.fuzz_readers", "--worker", str(case), str(last), folder]
            environment = {**os.environ, "XDG_CACHE_HOME": folder, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
            for finding in done.stdout.split("CASE ")[1:]:
                number, _, text = finding.partition("\n")
                found[int(number)] = text
            if done.returncode:
                at = Path(folder, "case")
                last = int(at.read_text()) if at.exists() else case  # go on after the case that ended the process
                end_of = signal.strsignal(-done.returncode) if done.returncode < 0 else f"exit {done.returncode}"
                found[last] = f"the process ended: {end_of}\n{done.stderr[-2000:]}"
                last += 1
        case = last
    print(f"cases {first} to {case - 1}: {len(found)} findings")
    return found


def main() -> None:
    """Hunt, or run one case again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--first", type=int, help="number of the first case; left out, one that the clock gives")
    parser.add_argument("--case", type=int, help="run this one again, in this process")
    parser.add_argument("--worker", nargs=3, metavar=("FIRST", "LAST", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        first, last, folder = arguments.worker
        worker(int(first), int(last), Path(folder))
        return
    if arguments.case is not None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            os.environ["XDG_CACHE_HOME"] = folder
            warnings.simplefilter("error")
            print(run_case(arguments.case, Path(folder)) or "nothing wrong")
        return
    first = int(time.time()) * 1000 if arguments.first is None else arguments.first
    found = hunt(first, 60 * arguments.minutes)
    FOUND.mkdir(parents=True, exist_ok=True)
    for case, text in found.items():
        kind = KINDS[case % len(KINDS)]
        (FOUND / f"{case}.txt").write_text(f"{kind}\n{text}\n")
        print(f"\ncase {case} ({kind}): {text}")
    if found:
        raise SystemExit(f"{len(found)} findings, kept in {FOUND}; --case N runs one again")


if __name__ == "__main__":
    main()
