"""The sections of the page, one function each: HTML from a run's numbers."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from .. import metrics
from ..assignments import checked_prior
from ..augmentation import Changes, changes_of
from ..data import Images
from ..progress import scored_title_of, title_of
from ..run_folder import Config
from ..settings import Map
from ..stages import RunState
from . import maps
from .advice import warnings_in_words
from .cards import cluster_cards
from .clusters import cluster_sizes
from .confusion import confusion as confusion_of
from .confusion import confusion_matrix
from .curves import curve_titles, training_curves
from .layers import image_strips, layer_errors, map_strips, reconstruct
from .markup import drawn, strips, table, words
from .mosaics import count
from .ranking import ranked_members

DECODED, SHOWN = 100, 8  # images whose reconstruction errors are taken; those of them that are shown
LISTED = 20  # skipped files that are listed


class Section(NamedTuple):
    """A part of the page."""

    name: str  # its address on the page
    title: str
    body: str  # HTML


def warnings(config: Config, p: np.ndarray, embeddings: np.ndarray, records: list[dict[str, Any]]) -> Section:
    """What stands out, and what to try."""
    title = "What stands out"
    found = warnings_in_words(p, embeddings, config.settings, records)
    if not found:
        body = "Nothing: no cluster is empty, tiny beside the prior, swallowing others, in two lumps, or unsure."
        return Section("warnings", title, f"<p>{body}</p>")
    items, before = [], ""
    for kind, _, text, details, advice in found:
        said = "Try the same." if advice == before else _with_options(advice)
        items.append(f'<li id="{kind}"><b>{words(text)}</b> {words(details)}<p>{said}</p></li>')
        before = advice
    note = "Told from predictions and embeddings alone. What to try are options of <code>depict-jax fit</code>."
    return Section("warnings", title, "\n".join([f"<p>{note}</p>", '<ul class="warnings">', *items, "</ul>"]))


def _with_options(advice: str) -> str:
    return re.sub(r"--[a-z-]+( (kmeans|acpic|exact|best|[0-9]+))?", r"<code>\g<0></code>", words(advice))


def scores(labels: np.ndarray | None, state: RunState, recorded: dict[str, dict[str, float]]) -> Section | None:
    """The recorded scores; where they are not of these labels, those of the answers that the run still holds."""
    if labels is not None:
        final = metrics.scores(labels, np.asarray(state.p).argmax(axis=1))
        if not recorded or list(recorded.values())[-1] != final:
            recorded = {"initial": metrics.scores(labels, np.asarray(state.assignment)), "joint": final}
    if not recorded:
        return None
    rows = [
        [scored_title_of(stage), *(f"{found[name]:.4f}" for name in ("acc", "nmi", "ari"))]
        for stage, found in recorded.items()
    ]
    note = "<p>Agreement with the labels, which training never saw; 1 is perfect.</p>\n"
    return Section("scores", "Scores", note + table(["after", "ACC", "NMI", "ARI"], rows))


def clusters(images: Images, p: np.ndarray, config: Config) -> Section:
    """A card for each cluster."""
    note = """<p>p is the probability that the network gives an image for its cluster: its confidence. An image is on
the border to the cluster of its second-highest p, the nearer the closer its two highest p are; the borders shown are
those that most of the cluster's probability leaks over.</p>
"""
    return Section("clusters", "Clusters", note + cluster_cards(images, p, _expected(config)))


def sizes(config: Config, p: np.ndarray) -> Section:
    """Bars of the clusters' shares."""
    kind = "uniform" if config.settings.prior is None else "given by --prior"
    note = f"<p>Each cluster's share of the images, beside the share that the prior u expects ({kind}).</p>\n"
    alt = "Bars: each cluster's share of the images; lines: what the prior expects"
    return Section("sizes", "Sizes against the prior", note + drawn(cluster_sizes(p, config.settings.prior), alt))


def confusion(labels: np.ndarray | None, p: np.ndarray) -> Section | None:
    """Labels against clusters, where there are labels."""
    if labels is None:
        return None
    cluster = p.argmax(axis=1)
    found = confusion_of(labels, cluster, p.shape[1])
    rows = []
    for i, (name, row) in enumerate(zip(found.labels, found.counts, strict=True)):
        partner, share = (str(found.clusters[i]), f"{row[i] / row.sum():.1%}") if i < found.matched else ("none", "")
        rows.append([words(name), partner, f"{row.sum():,}", share])
    note = """<p>Labels against clusters, ordered so that the diagonal holds as many images as any one-to-one matching
can (Hungarian): their share is ACC.</p>
"""
    figure = drawn(confusion_matrix(labels, cluster, p.shape[1]), "How many images of each label lie in each cluster")
    listed = table(["label", "its cluster", "images", "of them in it"], rows)
    details = f"<details><summary>Each label and its cluster</summary>{listed}</details>"
    return Section("confusion", "Confusion matrix", f"{note}{figure}\n{details}")


def embedding(embeddings: np.ndarray, p: np.ndarray, labels: np.ndarray | None, method: Map, seed: int) -> Section:
    """Maps of the embedding, coloured by cluster and, where there are labels, by label."""
    some = maps.sample(len(p))
    cluster = p.argmax(axis=1)
    palette = maps.group_colours(p.shape[1])
    groups = {"cluster": (cluster[some], [palette[k] for k in np.unique(cluster[some])])}
    if labels is not None:  # a label has the colour of its cluster, so that what differs is what was not found
        found = confusion_of(labels, cluster, p.shape[1])
        colour = {name: palette[k] for name, k in zip(found.labels, found.clusters, strict=False)}
        names = np.unique(labels[some])
        groups["label"] = (labels[some], [colour.get(name, maps.LEFT_OVER) for name in names])
    figures = []
    for way in dict.fromkeys(("pca", method)):
        points = maps.two_dimensions(embeddings[some], way, seed)
        for name, (group, colours) in groups.items():
            title = f"{maps.TITLES[way]}, coloured by {name}"
            figures.append(drawn(maps.embedding_map(points, group, colours, title), title))
    shown = f"all {len(p):,}" if len(some) == len(p) else f"{len(some):,} of the {len(p):,}, drawn at random,"
    note = f"""<p>The embeddings of {shown} images, {embeddings.shape[1]} numbers each, laid out in two dimensions; a
number or name stands at the median of its points.{"" if labels is None else _SAME_COLOURS}</p>
"""
    return Section("embedding", "Embedding", f'{note}<div class="figures">\n' + "\n".join(figures) + "\n</div>")


_SAME_COLOURS = " A label has the colour of the cluster that it is matched to."


def training(records: list[dict[str, Any]]) -> Section:
    """Curves of losses and indicators."""
    if not records:
        return Section("training", "Training", "<p>No epoch was trained.</p>")
    alt = "Curves against the epoch, stage after stage: " + ", ".join(curve_titles(records).values())
    # A phone gets the panels below each other: side by side their text would be too small to read.
    wide, narrow = (training_curves(records, columns) for columns in (3, 1))
    note = "<p>Dashed lines part the stages.</p>\n"
    return Section("training", "Training", note + drawn(wide, alt, narrow))


def reconstructions(config: Config, state: RunState, images: Images, p: np.ndarray) -> Section:
    """Images and hidden layers beside what the decoder makes of them."""
    s, n_clusters = config.settings, p.shape[1]
    typical = [of[0] for of in ranked_members(p) if len(of)]
    shown = [typical[i] for i in np.linspace(0, len(typical) - 1, min(SHOWN, len(typical))).astype(int)]
    others = np.setdiff1d(maps.sample(len(p), DECODED), shown)[: DECODED - len(shown)]
    batch = np.concatenate([shown, others])
    changes = changes_of(s, images.pixels)
    layers = reconstruct(config.architecture, state.train.variables, images.pixels[batch], changes, s.seed)
    clean, noisy = layer_errors(layers)
    sizes = [" × ".join(map(str, shape)) for shape in config.architecture.maps]
    rows = [
        [f"layer {layer}" if layer else "the image", sizes[layer], f"{clean[layer]:.3g}", f"{noisy[layer]:.3g}"]
        for layer in range(len(clean))
    ]
    rates = [f"{rate:.0%}" for rate in config.architecture.dropout]
    done = _in_words(changes)
    note = f"""<p>The decoder rebuilds every layer from the embedding's {n_clusters} numbers alone. It learns from the
noisy pathway, whose images are {done}robbed of {rates[0]} of their pixels (grey here), and whose layers of
{rates[1]} of their units. Shown are the most typical images of {count(len(shown), "cluster")}, and hidden maps of the
first; a map and its reconstructions share one scale of grey. MSE is the mean squared error of what is decoded from the
clean and from the noisy embedding, over {count(len(batch), "image")}, pixels scaled to [-1, 1].</p>
"""
    errors = table(["MSE of", "size", "clean", "noisy"], rows)
    pictures = f"{strips(image_strips(layers, len(shown)))}\n<h3>Hidden layers</h3>\n{strips(map_strips(layers))}"
    body = f"{note}{errors}\n{pictures}"
    return Section("reconstructions", "Reconstructions", body)


def _in_words(changes: Changes) -> str:
    """The beginning of what is done to the noisy pathway's images."""
    said = [
        f"moved, turned and stretched by up to {changes.affine:.0%}" if changes.affine else "",
        f"made brighter or darker by up to {changes.brightness:.0%}" if changes.brightness else "",
    ]
    return "".join(f"{words}, then " for words in said if words)


def making(config: Config, images: Images, records: list[dict[str, Any]]) -> Section:
    """Source, network and settings."""
    epochs = Counter(record["stage"] for record in records)
    trained = ", ".join(f"{title_of(stage)} {count:,}" for stage, count in epochs.items())
    time = _duration(sum(record["seconds"] for record in records))
    facts = {
        "source": config.source,
        "content hash": config.content_hash[:16],
        "images": f"{config.n_images:,}",
        "clusters": str(config.architecture.n_clusters),
        "convolutions": ", ".join(
            f"{c.features} of {c.kernel[0]} × {c.kernel[1]} / {c.stride[0]}" for c in config.architecture.convolutions
        ),
        **{name.replace("_", " "): _value(name, value) for name, value in asdict(config.settings).items()},
        **{
            name: f"{value:g}"
            for name, value in zip(("prior weight", "sharpness"), config.settings.q_step, strict=True)
        },
    }
    for name, amount in changes_of(config.settings, images.pixels)._asdict().items():
        if getattr(config.settings, name) is None:
            facts[name] = f"{amount:g}, found from the images"
    rows = "\n".join(f"<div><dt>{words(name)}</dt><dd>{words(value)}</dd></div>" for name, value in facts.items())
    notes = "".join(f"<p>{words(note)}</p>\n" for note in images.notes)
    body = f"<p>Epochs: {trained or 'none'}; {time} in all.</p>\n{notes}<dl>\n{rows}\n</dl>\n{_skipped(images)}"
    return Section("making", "How it was made", body)


def _skipped(images: Images) -> str:
    if not images.skipped:
        return ""
    listed = "".join(f"<p>{words(name)}: {words(reason)}</p>" for name, reason in images.skipped[:LISTED])
    more = f"<p>... {len(images.skipped) - LISTED:,} more</p>" if len(images.skipped) > LISTED else ""
    return f"<details><summary>{count(len(images.skipped), 'file')} skipped</summary>{listed}{more}</details>"


def _expected(config: Config) -> np.ndarray:
    return np.asarray(checked_prior(config.settings.prior, config.architecture.n_clusters))


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
