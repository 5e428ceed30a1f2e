"""How a source is read, as a user may say it: one dataclass for the library and the command line. Free of NumPy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

Flag = Annotated[tyro.conf.FlagCreatePairsOff[bool], tyro.conf.arg(help_behavior_hint="")]
Fit = Literal["pad", "crop"]
Colour = Literal["auto", "grey", "rgb"]


def left_out(metavar: str):
    """For --help: an option that stands for nothing where it is left out, as its text says, rather than for None."""
    return tyro.conf.arg(
        metavar=metavar, help_behavior_hint=lambda default: "" if default == "None" else f"(default: {default})"
    )


@dataclass(frozen=True)
class Reading:
    """What may be said about a source beside its name; the defaults fit most.

    Raises:
        ValueError: sizes that are none, or an unknown word.
    """

    image_size: Annotated[tuple[int, ...] | None, left_out("H [W]")] = None
    """Folders: height and width that pictures are brought to; one number for squares. Left out: their own size where \
all have one, else 32 x 32 (later commands: what the run was trained on)."""
    fit: Annotated[Fit | None, left_out("{pad,crop}")] = None
    """Folders: how a picture of another aspect comes to that size: padded with black, or cropped at its centre. Left \
out: pad (later commands: as for the run)."""
    colour: Colour = "auto"
    """Folders: "auto" is grey (1 channel) if all pictures are grey, else RGB."""
    labels_from_folders: Flag = False
    """Folders: the names of the first subfolders are labels, for the scores only."""
    strict: Flag = False
    """Folders: stop at a file that is no readable picture, rather than skip and list it."""
    image_shape: Annotated[tuple[int, ...] | None, left_out("H W [C]")] = None
    """Flattened images (a row of numbers each): height, width and perhaps channels. Left out: a grey square (later \
commands: as for the run)."""

    data_dir: Annotated[Path | None, left_out("DIR")] = None
    """Named sets: folder of the prepared ones. Left out: tensorflow-datasets' own."""
    manual_dir: Annotated[Path | None, left_out("DIR")] = None
    """Named sets: folder with a set's original files, for a machine without a network."""

    def __post_init__(self) -> None:
        for name, lengths, expected in (
            ("image_size", (1, 2), "one or two positive integers, height and width"),
            ("image_shape", (2, 3), "two or three positive integers: height, width, and channels if not 1"),
        ):
            value = getattr(self, name)
            if value is not None and (len(value) not in lengths or not all(_positive(number) for number in value)):
                raise ValueError(f"{name} is {' '.join(map(str, value)) or 'empty'}: expected {expected}")
        fit = "pad" if self.fit is None else self.fit
        for name, word, words in (("fit", fit, get_args(Fit)), ("colour", self.colour, get_args(Colour))):
            if word not in words:
                raise ValueError(f"{name} is {word!r}: expected one of {', '.join(words)}")

    @property
    def given(self) -> set[str]:
        """The names of the options that differ from their defaults."""
        return {field.name for field in fields(self) if getattr(self, field.name) != field.default}


def _positive(number: object) -> bool:
    return hasattr(number, "__index__") and not isinstance(number, bool) and number >= 1  # type: ignore[operator]
