"""What the commands have in common: options, checks before any compute, what is said and how."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from .reading import Reading, left_out
from .settings import Map, Settings

if TYPE_CHECKING:
    from rich.console import Console

    from .data import Skipped

SHOWN = 20  # skipped files that are listed; `data info` lists all


class Typed(Settings):
    """How the run is trained; what fits one data set fits most."""

    def __post_init__(self) -> None:  # checked after parsing, so that a bad one gets our sentence and not the parser's
        pass


class TypedReading(Reading):
    """How folders of pictures and flattened images are read."""

    def __post_init__(self) -> None:
        pass

    def checked(self) -> Reading:
        """What was typed, or a sentence."""
        return Reading(**vars(self))


@dataclass(frozen=True)
class Sorting:
    """Pictures of a folder sorted into a folder for each cluster; the originals stay as they are."""

    copy_into: Annotated[Path | None, left_out("DIR")] = None
    """Copy each picture into its cluster's folder: cluster-00, cluster-01, ... in this one, which is new or empty."""
    link_into: Annotated[Path | None, left_out("DIR")] = None
    """The same with symbolic links to the pictures."""

    @property
    def target(self) -> Path | None:
        """The folder that is filled, if any."""
        return self.copy_into or self.link_into

    def check(self, source: str, written: Path) -> None:
        """Refuse before any compute what could not be done after it; `written` is what the command writes besides."""
        if self.copy_into and self.link_into:
            raise ValueError("--copy-into and --link-into: expected at most one of them")
        if self.target:
            from .sorting import check_target

            check_target(source, self.target, self.link_into is not None, written)

    def sort(self, source: str, names: Sequence[str] | None, assignments: Path, console: Console) -> None:
        """Sort the pictures `names` as the CSV file says."""
        if self.target and names is not None:
            from rich.console import Console

            from .run_folder import read_clusters
            from .sorting import sort_pictures

            clusters = read_clusters(assignments, len(names))
            missing = sort_pictures(Path(source), names, clusters, self.target, self.link_into is not None, console)
            list_skipped(Console(stderr=True), missing)  # an error even where all else is quiet
            console.print(f"sorted pictures: {self.target}, {len(set(clusters))} cluster(s)", soft_wrap=True)


@dataclass(frozen=True)
class Processes:
    """One run over several processes, on one machine or many, each with devices of its own."""

    coordinator: Annotated[str | None, left_out("HOST:PORT")] = None
    """Where the first process is reached by all; or "auto", on Slurm (srun), Open MPI, a TPU pod or Kubernetes, which \
say the rest too. Each process is given the same command but for --process-id; the first alone writes."""
    num_processes: Annotated[int | None, left_out("INT")] = None
    """How many there are."""
    process_id: Annotated[int | None, left_out("INT")] = None
    """Which of them this is, from 0 on."""

    def connect(self) -> None:
        """Meet the others, if there are to be any."""
        if self.coordinator is not None:
            from .processes import connect

            connect(self.coordinator, self.num_processes, self.process_id)
        elif self.num_processes is not None or self.process_id is not None:
            raise ValueError("--num-processes and --process-id: expected --coordinator with them")


def check_new_file(out: Path, overwrite: bool) -> None:
    """Refuse a file that is there, or that cannot be."""
    if out.exists() and not overwrite:
        raise ValueError(f"{out} is already there: choose another name, or give --overwrite")
    if out.is_dir() or not out.parent.is_dir():
        raise ValueError(f"{out} cannot be written: expected a file in a folder that exists")


def check_map_method(method: Map) -> None:
    """Refuse UMAP where it is not installed, before anything is computed."""
    if method == "umap":
        from .report.maps import check_map

        check_map(method)


def list_skipped(console: Console, skipped: Sequence[Skipped]) -> None:
    """What a folder held beside pictures, or does not hold any more; of a kind that is no picture, only how many."""
    if not skipped:
        return
    from .data.folders import NO_PICTURE

    kinds = Counter(Path(entry.name).suffix for entry in skipped if entry.reason == NO_PICTURE)
    many = {kind for kind, count in kinds.items() if kind and count > 3}
    lines = [f"{kinds[kind]} {kind} files: {NO_PICTURE}" for kind in sorted(many)]
    for name, reason in skipped:
        if reason != NO_PICTURE or Path(name).suffix not in many:
            lines.append(f"{name}: {reason}")
    console.print(f"{len(skipped)} skipped:", highlight=False)
    for line in lines[:SHOWN]:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    if len(lines) > SHOWN:
        console.print("  ... (`depict-jax data info` lists all)", highlight=False)


def keep_compiled() -> None:
    """Keep XLA's programs in the user's cache folder, so that only the first run of a shape waits for the compiler."""
    import jax
    from platformdirs import user_cache_path

    if jax.config.values["jax_compilation_cache_dir"] is None:  # the user's JAX_COMPILATION_CACHE_DIR goes first
        jax.config.update("jax_compilation_cache_dir", str(user_cache_path("depict-jax") / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def one_sentence_only() -> None:
    """No log of orbax's: what it means for the run comes as our own sentence, without its page of a traceback."""
    from absl import logging

    logging.set_verbosity(logging.FATAL)


def warn(sentence: str) -> None:
    """On stderr, in the program's name."""
    print(f"depict-jax: {sentence}", file=sys.stderr)
