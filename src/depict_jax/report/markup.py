"""HTML that needs no network and no scripts: escaped words, pictures as data, the page's style."""

from __future__ import annotations

import warnings
from base64 import b64encode
from html import escape
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from .mosaics import Strip, printable


def words(text: object) -> str:
    """Any text, of a user or a file's name too, as HTML that shows it and does nothing else."""
    return escape(printable(str(text)))


def picture(sheet: np.ndarray, alt: str, full: int | None = None) -> str:
    """An RGBA array (H, W, 4) as an image of its own size, or smaller where there is less room.

    Args:
        sheet: the array.
        alt: what it shows.
        full: width of the widest sheet beside it, in pixels: all are shrunk alike.
    """
    grey = (sheet[..., :1] == sheet[..., 1:3]).all()
    file = BytesIO()
    Image.fromarray(sheet[..., [0, 3]] if grey else sheet).save(file, "png")
    height, width = sheet.shape[:2]
    style = "" if full is None else f' style="max-width: {100 * width / full:.4g}%"'
    return f'<img src="{_data_url(file)}" width="{width}" height="{height}"{style} alt="{words(alt)}">'


def strips(rows: list[Strip]) -> str:
    """Rows of images, each beside its words."""
    return "\n".join(
        f'<div class="strip"><p><b>{words(row.title)}</b> {words(row.note)}</p>{picture(row.sheet, row.title)}</div>'
        for row in rows
        if row.sheet is not None
    )


def drawn(figure: Figure, alt: str, narrow: Figure | None = None) -> str:
    """A figure, shown at its own 100 dots an inch where there is room; on a phone the narrow one, if given.

    The page inverts its brightness on a dark background.
    """
    width, height = (round(100 * side) for side in figure.get_size_inches())
    image = f'<img class="figure" src="{_figure_url(figure)}" width="{width}" height="{height}" alt="{words(alt)}">'
    if narrow is None:
        return image
    source = f'<source media="(max-width: 50rem)" srcset="{_figure_url(narrow)}">'
    return f"<picture>\n{source}\n{image}\n</picture>"


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A table whose first column heads the rows; all cells are HTML already."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = "\n".join(
        f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _figure_url(figure: Figure) -> str:
    file = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a label in a script that the font lacks: shown as boxes
        figure.savefig(file, format="png", dpi=180, transparent=True)
    return _data_url(file)


def _data_url(file: BytesIO) -> str:
    return "data:image/png;base64," + b64encode(file.getvalue()).decode("ascii")


STYLE = """
:root { color-scheme: light dark; --text: #1f2328; --quiet: #59636e; --line: #d1d9e0; --page: #ffffff; --card: #f6f8fa;
  --link: #0969da; --warn: #9a6700 }
@media (prefers-color-scheme: dark) {
  :root { --text: #f0f6fc; --quiet: #9198a1; --line: #3d444d; --page: #0d1117; --card: #151b23; --link: #4493f8;
    --warn: #d29922 }
  .figure { filter: invert(1) hue-rotate(180deg) }
}
* { box-sizing: border-box }
html { scroll-padding-top: 1rem }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif;
  overflow-wrap: anywhere }
main { max-width: 76rem; margin: 0 auto; padding: 1.5rem 1rem 3rem }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2 }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.3rem }
h3 { margin: 1.2rem 0 .4rem; font-size: 1rem }
article h3 { margin: 0 }
h4 { margin: .7rem 0 .2rem; font-size: .8rem; font-weight: 600 }
h4 span { color: var(--quiet); font-weight: normal }
p { margin: .3rem 0 .8rem }
section > p { max-width: 48rem }
a { color: var(--link) }
.lead, article p, dt, nav, figcaption, .strip p, details { color: var(--quiet) }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: 1rem 0; font-size: .95rem }
code { font-size: .9em; color: var(--text) }
img { display: block; max-width: 100%; height: auto }
.wide { overflow-x: auto; margin-bottom: .8rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child { padding-left: 0; text-align: left; font-weight: normal; white-space: normal;
  overflow-wrap: break-word }
thead th { color: var(--quiet); font-weight: normal }
.warnings { margin: 0; padding: 0; list-style: none; max-width: 56rem }
.warnings li { margin: .5rem 0; padding: .5rem .8rem; border-left: 4px solid var(--warn); background: var(--card) }
.warnings b { font-weight: 600 }
.warnings p { margin: .2rem 0 0; max-width: none }
.warnings code { white-space: nowrap }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 1rem }
article { min-width: 0; padding: .8rem; border: 1px solid var(--line); border-radius: 8px; background: var(--card) }
article p { margin: 0 0 .3rem; font-size: .9rem }
details { margin-top: .6rem; font-size: .8rem }
summary { cursor: pointer }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 2rem }
.strip { display: grid; grid-template-columns: 11rem minmax(0, 1fr); gap: .2rem 1rem; align-items: center;
  margin: 0 0 .3rem }
.strip p { margin: 0; font-size: .85rem }
.strip b { display: block; color: var(--text); font-weight: 600 }
@media (max-width: 50rem) { .strip { grid-template-columns: minmax(0, 1fr) } .strip b { display: inline } }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 0 2rem; margin: 0 }
dl div { display: flex; justify-content: space-between; gap: 1rem; padding: .2rem 0;
  border-bottom: 1px solid var(--line); font-size: .9rem }
dd { margin: 0; text-align: right }
"""
