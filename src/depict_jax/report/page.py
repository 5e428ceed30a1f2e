"""report.html: a run on one page that needs no network and no scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import load_finished
from ..data import Images
from ..data.images import in_words
from ..networks import Depict
from ..run_folder import REPORT, Config, read_metrics, read_scores, replace_text
from ..settings import Map
from ..stages import RunState
from ..training import predict
from . import sections
from .maps import check_map
from .markup import STYLE, words
from .mosaics import count
from .sections import Section


def write_report(folder: str | Path, images: Images, map_method: Map = "pca", out: str | Path | None = None) -> Path:
    """Write the page of a finished run, from its folder and its images.

    It shows what stands out, the scores, the clusters with their typical, uncertain and border images, sizes against
    the prior, the confusion matrix, the embedding in two dimensions, training curves, reconstructions, and how it all
    was made. With up to 100 clusters it stays below 5 MB, whatever the images. It is replaced as a whole.

    Args:
        folder: of the run, made by `depict-jax fit` or `DEPICT.save`.
        images: those that were clustered. Their labels, where they have some, serve the scores and colours.
        map_method: how the embedding is laid out beside PCA, see `two_dimensions`.
        out: the page's path; None is report.html in the folder.

    Returns:
        The page's path.

    Raises:
        ValueError: a folder that is no finished run, images that are not the run's, or a map that cannot be drawn.
    """
    check_map(map_method)
    folder = Path(folder)
    config, state = load_finished(folder)
    if images.content_hash != config.content_hash:
        raise ValueError(
            f"{images.source} does not hold the images of the run in {folder}: {len(images.pixels)} of "
            f"{in_words(images.pixels.shape[1:])}, content hash "
            f"{images.content_hash[:12]}; expected {config.n_images} of {in_words(config.architecture.image)}, "
            f"{config.content_hash[:12]}: give what `depict-jax fit` was given ({config.source}), read the same way"
        )
    path = folder / REPORT if out is None else Path(out)
    replace_text(path, render(config, state, images, read_metrics(folder), read_scores(folder), map_method))
    return path


def render(
    config: Config,
    state: RunState,
    images: Images,
    records: list[dict[str, Any]],
    recorded: dict[str, dict[str, float]],
    map_method: Map = "pca",
) -> str:
    """The page's HTML.

    Args:
        config: of the run.
        state: its last.
        images: the run's.
        records: lines of metrics.jsonl.
        recorded: scores.json, or {}.
        map_method: see `write_report`.
    """
    p = np.asarray(state.p)
    embeddings, _ = predict(Depict(config.architecture), state.train.variables, images.pixels)
    found = [
        sections.warnings(config, p, embeddings, records),
        sections.scores(images.labels, state, recorded),
        sections.clusters(images, p, config),
        sections.sizes(config, p),
        sections.confusion(images.labels, p),
        sections.embedding(embeddings, p, images.labels, map_method, config.settings.seed),
        sections.training(records),
        sections.reconstructions(config, state, images, p),
        sections.making(config, images, records),
    ]
    return _page(images, p, [section for section in found if section is not None])


def _page(images: Images, p: np.ndarray, found: list[Section]) -> str:
    n, height, width, channels = images.pixels.shape
    title = f"{count(n, 'image')} in {count(p.shape[1], 'cluster')}"
    kind = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels, of which the first is shown here")
    links = "\n".join(f'<a href="#{section.name}">{section.title}</a>' for section in found)
    bodies = "\n".join(
        f'<section id="{section.name}">\n<h2>{section.title}</h2>\n{section.body}\n</section>' for section in found
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}: {words(images.source)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="lead">From <code>{words(images.source)}</code>, {height} × {width} pixels, {kind}, grouped without labels by
DEPICT (depict-jax).</p>
<nav>
{links}
</nav>
{bodies}
</main>
</body>
</html>
"""
