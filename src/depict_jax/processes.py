"""Several processes as one run, each with devices of its own: how they meet, what they tell each other, how they part.

All run the same program; the first alone writes to the run's folder. What is computed on devices goes between them by
way of the mesh, see `parallel`; here is what goes between the programs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from .sentences import in_a_line

AUTO = "auto"
SILENT = 30  # seconds after which a process that says nothing counts as lost
PATIENT = 24 * 3600  # seconds that those who are done wait for the first, which still writes the report
MESSAGE = 600  # bytes of a sentence that goes between processes


def connect(coordinator: str, num_processes: int | None = None, process_id: int | None = None) -> None:
    """Meet the other processes of the run; before any computation of JAX's.

    Args:
        coordinator: "host:port" where the first process is reached by all; "auto" for what Slurm, Open MPI, a TPU pod
            or Kubernetes says, numbers included.
        num_processes: how many there are.
        process_id: which of them this is, from 0 on.

    Raises:
        ValueError: numbers that cannot be, or are missing; nothing that a cluster says.
        OSError: the others did not come.
    """
    if coordinator == AUTO:
        if num_processes is not None or process_id is not None:
            raise ValueError("--coordinator auto: the cluster says --num-processes and --process-id; leave them out")
        where = None
    else:
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"--coordinator is {coordinator!r}: expected HOST:PORT of the first process, or auto")
        if num_processes is None or process_id is None:
            raise ValueError("--coordinator: expected --num-processes and --process-id with it, or --coordinator auto")
        if not 0 <= process_id < num_processes:
            raise ValueError(
                f"--process-id is {process_id} of --num-processes {num_processes}: expected 0 to {num_processes - 1}"
            )
        where = coordinator
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM for itself
    try:
        jax.distributed.initialize(
            where,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=SILENT,
            shutdown_timeout_seconds=PATIENT,
        )
    except ValueError as error:  # what is missing of an address, number or count
        raise ValueError(
            "--coordinator auto: nothing that JAX knows (Slurm's srun, Open MPI's mpirun, a TPU pod, Kubernetes) says "
            "what to do here: give --coordinator HOST:PORT, --num-processes and --process-id"
        ) from error
    except RuntimeError as error:
        raise OSError(f"the run's processes did not meet at {coordinator}: {in_a_line(error)}") from error


def is_first() -> bool:
    """Whether this process writes; a run of one process has only this one."""
    return jax.process_index() == 0


@contextmanager
def together() -> Iterator[None]:
    """What every process must succeed in: if one of them raises what bad input raises, all do, and none waits.

    Raises:
        ValueError: another process's sentence; this one's own error, where it has one.
    """
    own: Exception | None = None
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        own = error
    if jax.process_count() == 1:
        if own is not None:
            raise own
        return
    said = b"" if own is None else str(own).encode()[:MESSAGE] or b"an error without words"
    everyone = multihost_utils.process_allgather(np.frombuffer(said.ljust(MESSAGE, b"\0"), np.uint8))
    if own is not None:
        raise own
    for number, row in enumerate(everyone):
        sentence = row.tobytes().rstrip(b"\0").decode(errors="replace")
        if sentence:
            raise ValueError(f"process {number} of this run stopped: {sentence}")


def of_first(tree: Any) -> Any:
    """The first process's arrays, the same bits, in all; elsewhere only shapes and dtypes of what is given count."""
    if jax.process_count() == 1:
        return tree

    def of_leaf(leaf: Any) -> np.ndarray:
        array = np.ascontiguousarray(leaf)  # 1-D at least
        sent = multihost_utils.broadcast_one_to_all(array.reshape(-1).view(np.uint8))  # as numbers, -0.0 would be 0.0
        return np.asarray(sent).view(array.dtype).reshape(np.shape(leaf))

    return jax.tree.map(of_leaf, tree)


@contextmanager
def loss_told() -> Iterator[None]:
    """The end of another process, which ends this one's part, in one sentence.

    Raises:
        ConnectionError: it was lost, or stopped by an error of its own.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        raise ConnectionError(
            f"process {jax.process_index()} of {jax.process_count()} lost another one ({in_a_line(error)}): start all "
            "of them again, or another number, with --resume; the run goes on from its newest checkpoint"
        ) from error


def leave(code: int) -> None:
    """End this process at once, where it is one of several: an orderly end would wait for the others."""
    if code and jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
