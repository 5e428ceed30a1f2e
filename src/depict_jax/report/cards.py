"""The page's card for each cluster: its most typical images, its least certain ones, and those on its borders."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..data import Images
from .markup import picture, words
from .mosaics import LARGEST, contact_sheet, count, thumbnails
from .ranking import Border, Groups, cluster_groups

COLUMNS, ROWS, NEIGHBOURS = 10, 3, 3  # images in a row; rows of typical ones; borders, a row each
MOST = COLUMNS * (ROWS + 1 + NEIGHBOURS)
FEWEST = 8  # images that a card has room for, however many clusters there are
BUDGET = 1_500_000  # bytes of pixels on all cards: noise, which no PNG makes smaller, still gives a page below 5 MB
NAME = 60  # letters of a file's name


def cluster_cards(images: Images, p: np.ndarray, expected: np.ndarray) -> str:
    """A card for each cluster that is not empty; what they show gets fewer and smaller with the number of clusters.

    Args:
        images: N of them.
        p: probabilities, (N, K).
        expected: the prior, (K,), that sums to 1.
    """
    n_clusters, channels = p.shape[1], 3 if images.pixels.shape[-1] == 3 else 1
    largest = min(LARGEST, max(1, math.isqrt(BUDGET // (FEWEST * n_clusters * channels))))
    height, width = thumbnails(images.pixels[:1], largest).shape[1:3]
    room = max(1, min(MOST, BUDGET // (n_clusters * height * width * channels)))
    typical = max(1, min(COLUMNS * ROWS, room * COLUMNS * ROWS // MOST))
    row = min(COLUMNS, (room - typical) // (1 + NEIGHBOURS))
    cards = [
        _card(k, groups, images, p, float(expected[k]), largest)
        for k, groups in enumerate(cluster_groups(p, typical, row, row, NEIGHBOURS))
        if groups.size
    ]
    return '<div class="cards">\n' + "\n".join(cards) + "\n</div>"


def _card(k: int, groups: Groups, images: Images, p: np.ndarray, expected: float, largest: int) -> str:
    rows = [groups.typical, groups.uncertain, *(border.members for border in groups.borders)]
    widest = min(COLUMNS, max(map(len, rows)))

    def sheet(of: np.ndarray, alt: str) -> str:
        found = contact_sheet(thumbnails(images.pixels[of], largest), COLUMNS)
        return picture(found, alt, round(found.shape[1] * widest / min(COLUMNS, len(of))))

    confidence = p[p.argmax(axis=1) == k, k]
    parts = [
        f'<article id="cluster-{k}">',
        f"<h3>Cluster {k}</h3>",
        f"<p>{count(groups.size, 'image')}, {groups.size / len(p):.1%} ({expected:.1%} expected); mean confidence "
        f"{confidence.mean():.2f}</p>",
        f"<h4>Most typical <span>{_range(p[groups.typical, k])}</span></h4>",
        sheet(groups.typical, f"The most typical images of cluster {k}"),
    ]
    shown = [("most typical", groups.typical)]
    if len(groups.uncertain):
        parts += [
            f"<h4>Least certain <span>{_range(p[groups.uncertain, k])}</span></h4>",
            sheet(groups.uncertain, f"The least certain images of cluster {k}"),
        ]
        shown.append(("least certain", groups.uncertain))
    for border in groups.borders:
        if len(border.members):
            parts += [
                f"<h4>On the border to {border.other} <span>{_border(border, p, k)}</span></h4>",
                sheet(border.members, f"Images of cluster {k} on the border to cluster {border.other}"),
            ]
            shown.append((f"on the border to {border.other}", border.members))
    return "\n".join([*parts, _which(shown, images.names), "</article>"])


def _border(border: Border, p: np.ndarray, k: int) -> str:
    first = border.members[0]
    return f"second choice of {border.size:,}; the nearest has p {p[first, k]:.2f} and {p[first, border.other]:.2f}"


def _range(confidence: np.ndarray) -> str:
    low, high = (f"{value:.2f}" for value in (confidence.min(), confidence.max()))
    return f"p {low}" if low == high else f"p {low} to {high}"


def _which(shown: Sequence[tuple[str, np.ndarray]], names: Sequence[str] | None) -> str:
    """The images' names, or their rows in assignments.csv, in the order shown."""

    def name(i: int) -> str:
        if names is None:
            return str(i)
        return words(names[i] if len(names[i]) <= NAME else "…" + names[i][1 - NAME :])

    lists = "".join(f"<p>{title}: {', '.join(name(int(i)) for i in of)}</p>" for title, of in shown)
    kind = "numbers in assignments.csv" if names is None else "names"
    return f"<details><summary>Their {kind}, in the order shown</summary>{lists}</details>"
