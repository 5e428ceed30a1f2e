"""What the tests of the report share: noise for images, soft-max rows, a finished state, and a page's elements."""

from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import jax
import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from depict_jax.architecture import Architecture
from depict_jax.data import Images
from depict_jax.networks import Depict
from depict_jax.report.page import render
from depict_jax.run_folder import Config
from depict_jax.settings import Map, Settings
from depict_jax.stages import FINISHED, RunState
from depict_jax.training import TrainState

VOID = {"meta", "img", "source"}
RECORDS = [
    {"stage": stage, "epoch": epoch, "loss": 1.0 / epoch, **more, "seconds": 2.0, "images_per_second": 9.0}
    for stage, epochs, more in [
        ("pretrain", 4, {"validation": 0.5}),
        ("warm", 1, {"cross_entropy": 2.0, "clusters_in_use": 3}),
        ("joint", 3, {"cross_entropy": 1.0, "clusters_in_use": 3, "changed": 0.0}),
    ]
    for epoch in range(1, epochs + 1)
]
SCORES = {"pretrain": {"acc": 0.5, "nmi": 0.25, "ari": 0.125}, "joint": {"acc": 0.75, "nmi": 0.625, "ari": 0.5}}


class Page(HTMLParser):
    """A page's elements and text; unbalanced tags fail."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.sections: dict[str, str] = {}  # the text of each, by its address
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "section":
            self.sections[dict(attrs)["id"] or ""] = ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "section" in self.open:
            self.sections[list(self.sections)[-1]] += data

    def pictures(self) -> dict[str, np.ndarray]:
        """Every picture by what it says it shows, RGBA."""
        found = {}
        for tag, attributes in self.elements:
            if tag == "img":
                data = b64decode((attributes["src"] or "").removeprefix("data:image/png;base64,"))
                found[attributes["alt"] or ""] = np.asarray(Image.open(BytesIO(data)).convert("RGBA"))
        return found


def random_images(n: int, *shape: int, labels: np.ndarray | None = None, source: str = "digits") -> Images:
    return Images(np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8), labels, source)


def probabilities(n: int, k: int, empty: tuple[int, ...] = ()) -> np.ndarray:
    logits = np.random.default_rng(1).normal(size=(n, k)) * 3
    logits[:, list(empty)] = -50
    p = np.exp(logits)
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def page_of(
    images: Images,
    p: np.ndarray,
    records=(),
    scores=None,
    settings: Settings | None = None,
    map_method: Map = "pca",
) -> str:
    """The page of a run that ended on p, with random numbers for weights."""
    settings = settings or Settings()
    architecture = Architecture.for_image(images.pixels.shape[1:], p.shape[1], settings.dropout)
    config = Config(images.source, "0" * 64, len(images.pixels), architecture, settings)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(
        Depict(architecture).init, jax.random.key(0), np.zeros((1, *architecture.image), np.float32)
    )
    variables = jax.tree.map(lambda leaf: rng.normal(0, 0.05, leaf.shape).astype(np.float32), shapes)
    zero, assignment = np.int32(0), p.argmin(axis=1).astype(np.int32)
    train = TrainState(variables, None)
    state = RunState(zero, np.int32(FINISHED), zero, train, variables, np.float32(0), zero, assignment, p)
    return render(config, state, images, list(records), scores or {}, map_method)


def drawn_text(figure: Figure) -> list[str]:
    """Every word on a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def tiles(sheet: np.ndarray, n: int, height: int, width: int, columns: int) -> list[np.ndarray]:
    """The first n tiles of a sheet of h x w images, at the images' own size, RGB."""
    s = max(1, round(56 / max(height, width)))
    corners = [divmod(i, columns) for i in range(n)]
    pitch = (height * s + 2, width * s + 2)
    whole = [sheet[r * pitch[0] :, c * pitch[1] :][: height * s, : width * s, :3] for r, c in corners]
    for tile in whole:  # every pixel is a square of one colour
        assert (tile == tile[::s, ::s].repeat(s, axis=0).repeat(s, axis=1)).all()
    return [tile[::s, ::s] for tile in whole]
