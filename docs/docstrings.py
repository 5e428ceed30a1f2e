"""What the Python pages show beside docstrings: the comments on fields, plain types, and defaults as their values."""

from __future__ import annotations

from typing import Any

import griffe

from depict_jax.settings import preset


class Fields(griffe.Extension):
    """A field with a comment in place of a docstring gets it as one; a default of `_default.seed` is shown as 0."""

    def on_attribute(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Take the comment at the end of the field's line, or the ones above it."""
        attr.annotation = plain(attr.annotation)
        if attr.docstring is None and attr.lineno is not None and attr.parent is not None and attr.parent.is_class:
            lines = attr.lines_collection[attr.filepath]
            text = comment(lines, attr.lineno - 1)
            if text:
                attr.docstring = griffe.Docstring(text, parent=attr)

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Look up the defaults."""
        for parameter in func.parameters:
            parameter.annotation = plain(parameter.annotation)
            name = str(parameter.default).removeprefix("_default.")
            if name != str(parameter.default):
                parameter.default = repr(getattr(preset(), name))


def plain(annotation: Any) -> Any:
    """X for Annotated[X, ...]."""
    if isinstance(annotation, griffe.ExprSubscript) and str(annotation.left) == "Annotated":
        return annotation.slice.elements[0]  # type: ignore[union-attr]
    return annotation


def comment(lines: list[str], at: int) -> str:
    """The comment that belongs to a line: at its end, or, without one, the lines of comment above it."""
    _, mark, text = lines[at].partition("  # ")
    if mark:
        return text.strip()
    above: list[str] = []
    while lines[at - 1].lstrip().startswith("# "):
        at -= 1
        above.insert(0, lines[at].lstrip()[2:].strip())
    return " ".join(above)
