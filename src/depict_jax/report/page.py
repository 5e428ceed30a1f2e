"""report.html: a run on one page that needs no network and no scripts."""

from __future__ import annotations

import math
from base64 import b64encode
from collections import Counter
from dataclasses import asdict
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ..data import Images
from ..progress import SCORED, TITLES
from ..run_folder import REPORT, Config, read_metrics, read_scores, replace_text
from .pictures import LARGEST, contact_sheet, curve_titles, ranked_members, thumbnails, training_curves

COLUMNS, ROWS = 10, 4  # a contact sheet's most images
FEWEST = 6  # images that a sheet has room for, however many clusters there are
BUDGET = 1_600_000  # bytes of pixels on all sheets: noise, which no PNG makes smaller, still gives a page below 5 MB


def write_report(folder: Path, images: Images, p: np.ndarray) -> Path:
    """Write report.html from the run's files, its images and its final predictions.

    The page has the settings, the scores where scores.json has some, each cluster's most typical images and the
    training curves; with up to 100 clusters it stays below 5 MB, whatever the images. It is replaced as a whole. No
    label is read.

    Args:
        folder: of the run; it has config.json, and metrics.jsonl where an epoch was trained.
        images: those that were clustered: pixels uint8 (N, H, W, C).
        p: their probabilities, (N, K).

    Returns:
        The page's path.

    Raises:
        ValueError: a folder that is no run, or p of another shape than the run's images and clusters ask for.
    """
    config = Config.read(folder)
    expected = (len(images.pixels), config.architecture.n_clusters)
    if p.shape != expected:
        raise ValueError(f"p has shape {p.shape}: expected {expected}, a row for each image, a column for each cluster")
    path = folder / REPORT
    replace_text(path, _page(config, read_metrics(folder), read_scores(folder), images, p))
    return path


def _page(
    config: Config, records: list[dict[str, Any]], scores: dict[str, dict[str, float]], images: Images, p: np.ndarray
) -> str:
    n, *shape = images.pixels.shape
    title = f"{_count(n, 'image')} in {_count(p.shape[1], 'cluster')}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}: {escape(images.source)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="lead">From <code>{escape(images.source)}</code>, {_shape_in_words(*shape)}, grouped without labels by DEPICT
(depict-jax).</p>
{_scores(scores)}
{_clusters(images.pixels, p)}
{_curves(records)}
{_settings(config, records)}
</main>
</body>
</html>
"""


def _shape_in_words(height: int, width: int, channels: int) -> str:
    kinds = {1: "grey", 3: "colour"}
    kind = kinds.get(channels, f"{channels} channels, of which the first is shown here")
    return f"{height} × {width} pixels, {kind}"


def _scores(scores: dict[str, dict[str, float]]) -> str:
    if not scores:
        return ""
    rows = "\n".join(
        f'<tr><th scope="row">{title}</th>'
        + "".join(f"<td>{scores[stage][name]:.4f}</td>" for name in ("acc", "nmi", "ari"))
        + "</tr>"
        for stage, title in SCORED.items()
        if stage in scores
    )
    return f"""<section>
<h2>Scores</h2>
<p>Agreement with the labels, which training never saw; 1 is perfect.</p>
<table>
<thead>
<tr><th scope="col">after</th><th scope="col">ACC</th><th scope="col">NMI</th><th scope="col">ARI</th></tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</section>"""


def _clusters(pixels: np.ndarray, p: np.ndarray) -> str:
    members = ranked_members(p)
    confidence = p.max(axis=1)
    n_clusters, channels = p.shape[1], 3 if pixels.shape[-1] == 3 else 1
    largest = min(LARGEST, max(1, math.isqrt(BUDGET // (FEWEST * n_clusters * channels))))
    height, width = thumbnails(pixels[:1], largest).shape[1:3]
    most = max(1, min(COLUMNS * ROWS, BUDGET // (n_clusters * height * width * channels)))
    cards = "\n".join(
        _card(k, of, thumbnails(pixels[of[:most]], largest), len(p), float(confidence[of].mean()))
        for k, of in enumerate(members)
        if len(of)
    )
    return f"""<section>
<h2>Clusters</h2>
<p>The most typical images of each cluster, at most {most}: the most confident first, row by row.
{_empty_in_words([k for k, of in enumerate(members) if not len(of)])}</p>
<div class="cards">
{cards}
</div>
</section>"""


def _card(k: int, members: np.ndarray, shown: np.ndarray, total: int, confidence: float) -> str:
    sheet = contact_sheet(shown, COLUMNS)
    return f"""<article id="cluster-{k}">
<h3>Cluster {k}</h3>
<p>{_count(len(members), "image")}, {len(members) / total:.1%}; mean confidence {confidence:.2f}</p>
<img src="{_png(sheet)}" width="{sheet.shape[1]}" height="{sheet.shape[0]}" alt="{_alt(k, len(shown))}">
</article>"""


def _alt(k: int, shown: int) -> str:
    return f"The {shown} most typical images of cluster {k}" if shown > 1 else f"The most typical image of cluster {k}"


def _empty_in_words(empty: list[int]) -> str:
    if not empty:
        return "No cluster is empty."
    if len(empty) == 1:
        return f"Cluster {empty[0]} is empty: it is no image's most likely one."
    names = ", ".join(map(str, empty[:-1]))
    return f"Clusters {names} and {empty[-1]} are empty: they are no image's most likely ones."


def _curves(records: list[dict[str, Any]]) -> str:
    if not records:
        return "<section>\n<h2>Training</h2>\n<p>No epoch was trained.</p>\n</section>"
    titles = escape(", ".join(curve_titles(records).values()))
    # A phone gets the panels below each other: side by side their text would be too small to read.
    wide, narrow = (_figure_png(training_curves(records, columns)) for columns in (3, 1))
    return f"""<section>
<h2>Training</h2>
<picture>
<source media="(min-width: 50rem)" srcset="{wide}">
<img class="curves" src="{narrow}" alt="Curves against the epoch, stage after stage: {titles}">
</picture>
</section>"""


def _settings(config: Config, records: list[dict[str, Any]]) -> str:
    epochs = Counter(record["stage"] for record in records)
    trained = ", ".join(f"{title} {epochs[stage]:,}" for stage, title in TITLES.items() if epochs[stage])
    time = _duration(sum(record["seconds"] for record in records))
    facts = {
        "convolutions": ", ".join(
            f"{c.features} of {c.kernel[0]} × {c.kernel[1]} / {c.stride[0]}" for c in config.architecture.convolutions
        ),
        **{name.replace("_", " "): _value(name, value) for name, value in asdict(config.settings).items()},
    }
    rows = "\n".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f"""<section>
<h2>How it was made</h2>
<p>Epochs: {trained or "none"}; {time} in all.</p>
<dl>
{rows}
</dl>
</section>"""


def _value(name: str, value: Any) -> str:
    if value is None:
        return "uniform" if name == "prior" else "automatic"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(f"{number:.4g}" for number in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _png(rgba: np.ndarray) -> str:
    grey = (rgba[..., :1] == rgba[..., 1:3]).all()
    file = BytesIO()
    Image.fromarray(rgba[..., [0, 3]] if grey else rgba).save(file, "png")
    return _data_url(file)


def _figure_png(figure: Figure) -> str:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=200, transparent=True)
    return _data_url(file)


def _data_url(file: BytesIO) -> str:
    return "data:image/png;base64," + b64encode(file.getvalue()).decode("ascii")


_STYLE = """
:root { color-scheme: light dark; --text: #1f2328; --quiet: #59636e; --line: #d1d9e0; --page: #ffffff; --card: #f6f8fa }
@media (prefers-color-scheme: dark) {
  :root { --text: #f0f6fc; --quiet: #9198a1; --line: #3d444d; --page: #0d1117; --card: #151b23 }
  .curves { filter: invert(1) hue-rotate(180deg) }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1rem 3rem }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2 }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.3rem }
h3 { margin: 0; font-size: 1rem }
p { margin: .3rem 0 .8rem }
.lead, article p, dt { color: var(--quiet) }
code { font-size: .95em; overflow-wrap: anywhere; color: var(--text) }
img { display: block; max-width: 100%; height: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right }
th:first-child { padding-left: 0; text-align: left; font-weight: normal }
thead th { color: var(--quiet); font-weight: normal }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 1rem }
article { padding: .8rem; border: 1px solid var(--line); border-radius: 8px; background: var(--card) }
article p { margin: 0 0 .6rem; font-size: .9rem }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 0 2rem; margin: 0 }
dl div { display: flex; justify-content: space-between; gap: 1rem; padding: .2rem 0;
  border-bottom: 1px solid var(--line); font-size: .9rem }
dd { margin: 0; text-align: right; overflow-wrap: anywhere }
"""
