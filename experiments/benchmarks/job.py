"""The whole job, MNIST-test or MNIST-full from pixels: wall time to an accuracy, and peak memory. One run.

make bench-job    # python -m experiments.benchmarks.job test, then full: some 10 and 40 minutes on two cores

The path of `depict-jax fit --preset best`, from the raw file to assignments.csv and the report, into
runs/job-test or runs/job-full. Training gets images without labels. After each epoch from the initial assignment on,
the assignment so far is put down with the seconds so far; it is scored when the run is over, and only then. All
programs are compiled anew, as in a machine's first `fit`; importing the libraries, some seconds, is not counted.

Interrupted, the same command goes on from the newest checkpoint; a run that came to its end is replaced. What was done
after that checkpoint is done again and counts once. The clock of a resumed process starts with its first epoch: reading
and restoring are not counted again, compiling is. A resumed run is named as such.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from depict_jax.data import Images, load
from depict_jax.metrics import scores
from depict_jax.progress import Display
from depict_jax.runner import Event, run_into_folder
from depict_jax.settings import preset
from depict_jax.stage_names import FINISHED, INITIAL, JOINT, WARM, stage_name
from depict_jax.stages import check_job
from experiments.benchmarks import record

CLUSTERS = 10
WANTED = (0.90, 0.93, 0.95, 0.96)  # accuracies whose times are told
AIM_ACCURACY, AIM_MINUTES, AIM_BYTES = 0.96, {"test": 6, "full": 35}, 2.5e9
NO_ANSWER = 255  # of an image that a warm epoch holds out: its p is all zero
CURVE = "curve.npz"


Place = tuple[int, int, int]  # round, stage and epoch
FIRST: Place = (0, WARM, 0)  # where there is an assignment


class Curve:
    """Seconds after every event, and the assignments from the initial one on, kept in a file from event to event."""

    def __init__(self, path: Path, start: float):
        self.path = path
        self.start = start  # perf_counter's time at which this process's share of the seconds begins
        self.before = 0.0  # the share of earlier processes
        self.is_first = True
        self.interruptions, self.peak, self.is_over = 0, 0, False
        self.places: list[Place] = []  # that each event's state has reached
        self.seconds: list[float] = []
        self.assignments: list[np.ndarray] = []  # of the last events: those of WARM's start and after it
        if path.exists():
            with np.load(path) as kept:
                self.places = [(int(r), int(stage), int(epoch)) for r, stage, epoch in kept["places"]]
                self.seconds = kept["seconds"].tolist()
                self.assignments = list(kept["assignments"])
                self.interruptions, self.peak = int(kept["interruptions"]), int(kept["peak"])
                self.is_over = bool(kept["is_over"])

    def __call__(self, event: Event) -> None:
        """Keep one event."""
        now = time.perf_counter()
        place = int(event.state.round), int(event.state.stage), int(event.state.epoch)
        if self.is_first:
            self._go_on_before(place, now - event.seconds)
        self.places.append(place)
        self.seconds.append(self.before + now - self.start)
        if place >= FIRST:
            self.assignments.append(_assignment(event))
        self._write()

    def end(self) -> float:
        """The run has written its last file: all its seconds."""
        if self.is_first:  # an earlier process was stopped after the last event: what it did then is done again
            self._go_on_before((max((place[0] for place in self.places), default=0), FINISHED, 1), self.start)
        self._write()
        return self.before + time.perf_counter() - self.start

    def close(self) -> None:
        """The figures are recorded: the next run is another one."""
        self.is_over = True
        self._write()

    def _go_on_before(self, place: Place, start: float) -> None:
        """Forget what an earlier process did from `place` on, and count this process's time from `start`."""
        self.is_first = False
        n_kept = sum(known < place for known in self.places)
        with_assignment = sum(FIRST <= known < place for known in self.places)
        del self.places[n_kept:], self.seconds[n_kept:], self.assignments[with_assignment:]
        if self.places:
            self.before, self.start = self.seconds[-1], start
            self.interruptions += 1

    def _write(self) -> None:
        self.peak = max(self.peak, record.peak_bytes())
        partial = self.path.with_name(self.path.name + ".partial")
        with partial.open("wb") as file:
            np.savez_compressed(
                file,
                places=np.array(self.places, np.int32).reshape(-1, 3),
                seconds=np.array(self.seconds),
                assignments=np.array(self.assignments, np.uint8),
                interruptions=self.interruptions,
                peak=self.peak,
                is_over=self.is_over,
            )
        os.replace(partial, self.path)


def _assignment(event: Event) -> np.ndarray:
    """What the run would answer now, uint8 (N,): NO_ANSWER for an image that has none."""
    if int(event.state.epoch) == 0 and int(event.state.stage) == WARM:
        return event.state.assignment.astype(np.uint8)
    p = np.asarray(event.state.p)
    return np.where(p.any(axis=1), p.argmax(axis=1), NO_ANSWER).astype(np.uint8)


def chosen(everything: Images, part: str, n_images: int | None) -> slice:
    """The rows of MNIST's 70,000 that are the part, or the part's first `n_images`."""
    first = len(everything.pixels) - 10_000 if part == "test" else 0
    return slice(first, len(everything.pixels) if n_images is None else first + n_images)


def scored(curve: Curve, labels: np.ndarray) -> list[dict[str, Any]]:
    """The curve's points; those of warm epochs are scored on the nine tenths of the images that they trained on."""
    points = []
    last = len(curve.places) - len(curve.assignments)
    for place, seconds, found in zip(curve.places[last:], curve.seconds[last:], curve.assignments, strict=True):
        answered = found != NO_ANSWER
        points.append(
            {
                "after": f"{stage_name(*place[:2])} epoch {place[2]}" if place[2] else f"{_ended(place)}, its end",
                "seconds": seconds,
                "images": int(answered.sum()),
                **scores(labels[answered], found[answered]),
            }
        )
    return points


def seconds_to(points: list[dict[str, Any]], accuracy: float, n_images: int) -> float | None:
    """Seconds to the first answer for all images that is as accurate; None where there is none."""
    return next((p["seconds"] for p in points if p["images"] == n_images and p["acc"] >= accuracy), None)


def stage_seconds(curve: Curve) -> dict[str, float]:
    """Seconds of each stage, the first one's from the reading of the file on."""
    ends = {_ended(place): at for place, at in zip(curve.places, curve.seconds, strict=True) if place[2] == 0}
    return dict(zip(ends, np.diff([0.0, *ends.values()]).tolist(), strict=True))


def _ended(place: Place) -> str:
    """The stage that a place at a stage's beginning is the end of."""
    round_, stage, _ = place
    return stage_name(round_ - 1, JOINT) if round_ and stage == INITIAL else stage_name(round_, stage - 1)


def rows_of(part: str, figures: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures for people."""
    name = f"MNIST-{part} from pixels, one run" + (
        f" (resumed {figures['interruptions']} times)" if figures["interruptions"] else ""
    )
    reached = ", ".join(
        f"{accuracy}: " + ("not reached" if seconds is None else f"{seconds / 60:.1f} min")
        for accuracy, seconds in figures["seconds_to_acc"].items()
    )
    final = figures["final"]
    return [
        (
            f"{name}: time to ACC (aim: {AIM_ACCURACY:.2f} in {AIM_MINUTES[part]} min)",
            reached,
        ),
        (f"{name}: ACC / NMI / ARI at the end", f"{final['acc']:.4f} / {final['nmi']:.4f} / {final['ari']:.4f}"),
        (f"{name}: raw file to assignments.csv and report", f"{figures['seconds'] / 60:.1f} min"),
        (
            f"{name}: peak memory, the process all told (aim: below {AIM_BYTES / 1e9:.1f} GB)",
            f"{figures['peak_bytes'] / 1e9:.2f} GB",
        ),
    ]


def run_job(path: Path, part: str, n_images: int | None, folder: Path, console: Console) -> tuple[Curve, float]:
    """From the raw file to assignments.csv and the report: the curve, and all seconds. No label outlives the reading.

    Raises:
        ValueError: a folder that holds an unfinished run of other settings, or images.
    """
    start = time.perf_counter()
    curve = Curve(folder / CURVE, start)
    if curve.is_over:
        curve.path.unlink()
        curve = Curve(folder / CURVE, start)
    resume = bool(curve.places)
    everything = load(path)
    rows = chosen(everything, part, n_images)
    images = Images(everything.pixels[rows].copy(), None, f"mnist-{part}")  # a copy: a view would keep all 70,000
    del everything
    settings = preset("best")
    architecture = check_job(images.pixels, CLUSTERS, settings)
    console.print(f"{len(images.pixels)} images of MNIST-{part}, {CLUSTERS} clusters, {'goes on' if resume else 'new'}")
    with Display(console) as display:

        def watch(event: Event) -> None:
            curve(event)
            display(event)

        run_into_folder(images, architecture, settings, folder, resume=resume, overwrite=not resume, watch=watch)
    return curve, curve.end()


def main() -> None:
    """Run the job, score its curve, record the figures; a try with fewer images is printed and not recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("test", "full"))
    parser.add_argument("--mnist", type=Path, default=record.SHARED / "data/mnist_full.npz", metavar="FILE")
    parser.add_argument("--images", type=int, help="only so many, for a try: nothing is recorded")
    arguments = parser.parse_args()
    part, n_images = arguments.part, arguments.images
    if not arguments.mnist.is_file():
        record.missing(f"MNIST-{part}, the whole job", "give --mnist a file with MNIST's 70,000 images")
        return

    jax.config.update("jax_compilation_cache_dir", None)  # the user's may hold an earlier run's programs
    folder = record.PROJECT / "runs" / (f"job-{part}" if n_images is None else f"job-{part}-try-{n_images}")
    try:
        curve, seconds = run_job(arguments.mnist, part, n_images, folder, Console())
    except ValueError as error:
        raise SystemExit(f"{error}; or remove {folder.relative_to(record.PROJECT)} to start anew") from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted; the same command goes on from the newest checkpoint") from None

    everything = load(arguments.mnist)  # again, for the labels: nothing above could have seen them
    assert everything.labels is not None
    labels = everything.labels[chosen(everything, part, n_images)]
    points = scored(curve, labels)
    figures = {
        "images": len(labels),
        "seconds_to_acc": {f"{wanted:.2f}": seconds_to(points, wanted, len(labels)) for wanted in WANTED},
        "final": {name: points[-1][name] for name in ("acc", "nmi", "ari")},
        "seconds": seconds,
        "stage_seconds": stage_seconds(curve),
        "peak_bytes": curve.peak,
        "interruptions": curve.interruptions,
        "aim": {"acc": AIM_ACCURACY, "seconds": AIM_MINUTES[part] * 60, "peak_bytes": AIM_BYTES},
        "curve": points,
    }
    if n_images is None:
        record.save(f"job-{part}", figures, rows_of(part, figures))
    else:
        record.show([{"rows": rows_of(part, figures), "command": "a try, not recorded"}])
    curve.close()


if __name__ == "__main__":
    main()
