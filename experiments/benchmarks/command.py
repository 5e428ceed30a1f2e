"""Whole commands, timed as a user waits for them."""

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

DEPICT_JAX = str(Path(sysconfig.get_path("scripts")) / "depict-jax")
# options of `fit` for the least training that makes a model
SHORT = ["--preset", "plain", "--initial", "kmeans"]
SHORT += [word for stage in ("pretrain", "warm", "joint") for word in (f"--{stage}-epochs", "1")]
KIB = 1024 if sys.platform != "darwin" else 1  # ru_maxrss counts KiB, but bytes on macOS


class Run(NamedTuple):
    """One command's cost."""

    seconds: float  # wall time, process start included
    peak_bytes: int  # most memory it held at a time


def run(words: Sequence[str | Path], **environment: str) -> Run:
    """Run a command to its end.

    Raises:
        SystemExit: the command failed; what it printed is shown.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in words],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{words[0]} failed with exit code {process.returncode}:\n{printed}")
    return Run(seconds, usage.ru_maxrss * KIB)
