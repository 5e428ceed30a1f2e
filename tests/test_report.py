"""The report's page and pictures: what must be in them, and what must not."""

import json
import re
from base64 import b64decode
from html import unescape
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import matplotlib.axes
import numpy as np
import pytest
from PIL import Image

from depict_jax import run_folder
from depict_jax.architecture import Architecture
from depict_jax.data import Images
from depict_jax.report import (
    cluster_overview,
    contact_sheet,
    ranked_members,
    thumbnails,
    training_curves,
    write_report,
)
from depict_jax.run_folder import Config
from depict_jax.settings import Settings

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
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def sheets(self) -> dict[int, np.ndarray]:
        """The contact sheets by cluster, RGBA."""
        found, cluster = {}, None
        for tag, attributes in self.elements:
            if tag == "article":
                cluster = int((attributes["id"] or "").removeprefix("cluster-"))
            elif tag == "img" and cluster is not None and attributes.get("class") != "curves":
                data = b64decode((attributes["src"] or "").removeprefix("data:image/png;base64,"))
                found[cluster] = np.asarray(Image.open(BytesIO(data)).convert("RGBA"))
        return found


def random_images(n: int, *shape: int, labels: np.ndarray | None = None, source: str = "digits") -> Images:
    return Images(np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8), labels, source)


def probabilities(n: int, k: int, empty: tuple[int, ...] = ()) -> np.ndarray:
    logits = np.random.default_rng(1).normal(size=(n, k)) * 3
    logits[:, list(empty)] = -50
    p = np.exp(logits)
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def page_of(folder: Path, images: Images, p: np.ndarray, records=(), scores=None) -> str:
    architecture = Architecture.for_image(images.pixels.shape[1:], p.shape[1], 0.1)
    config = Config(images.source, "0" * 64, len(images.pixels), architecture, Settings())
    run_folder.write_json(folder / run_folder.CONFIG, config.to_json())
    for record in records:
        run_folder.append_metrics(folder, record)
    if scores:
        run_folder.write_json(folder / run_folder.SCORES, scores)
    path = write_report(folder, images, p)
    assert path == folder / "report.html"
    assert not list(folder.glob("*.partial"))
    return path.read_text(encoding="utf-8")


def tiles(sheet: np.ndarray, n: int, height: int, width: int, columns: int) -> list[np.ndarray]:
    """The first n tiles of a sheet of h x w images, at the images' own size, RGB."""
    s = max(1, round(56 / max(height, width)))
    corners = [divmod(i, columns) for i in range(n)]
    pitch = (height * s + 2, width * s + 2)
    whole = [sheet[r * pitch[0] :, c * pitch[1] :][: height * s, : width * s, :3] for r, c in corners]
    for tile in whole:  # every pixel is a square of one colour
        assert (tile == tile[::s, ::s].repeat(s, axis=0).repeat(s, axis=1)).all()
    return [tile[::s, ::s] for tile in whole]


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (16, 12, 3), (70, 60, 3), (9, 9, 2), (8, 8, 5)])
@pytest.mark.parametrize(("n", "columns"), [(1, 10), (7, 3), (6, 3)])
def test_a_contact_sheet_holds_the_images_put_in(shape, n, columns):
    pixels = random_images(n, *shape).pixels
    sheet = contact_sheet(pixels, columns)
    shown = pixels if shape[2] == 3 else pixels[..., :1].repeat(3, axis=-1)
    assert sheet.dtype == np.uint8
    assert sheet.shape[2] == 4
    np.testing.assert_array_equal(tiles(sheet, n, *shape[:2], min(columns, n)), shown)
    s = max(1, round(56 / max(shape[:2])))
    assert (sheet[..., 3] > 0).sum() == n * shape[0] * shape[1] * s * s  # all else is transparent


@pytest.mark.parametrize("pixels", [np.zeros((0, 8, 8, 1), np.uint8), np.zeros((2, 8, 8), np.uint8), np.ones((1,) * 4)])
def test_a_contact_sheet_refuses_what_is_no_set_of_images(pixels):
    with pytest.raises(ValueError, match="expected uint8"):
        contact_sheet(pixels)


def test_a_contact_sheet_refuses_no_columns():
    with pytest.raises(ValueError, match="at least 1"):
        contact_sheet(np.zeros((1, 8, 8, 1), np.uint8), 0)


def test_thumbnails_shrink_large_images_only():
    small = random_images(3, 20, 64, 3).pixels
    assert thumbnails(small, 64) is small
    assert thumbnails(random_images(2, 200, 100, 3).pixels, 64).shape == (2, 64, 32, 3)
    grey = thumbnails(np.full((2, 300, 3, 1), 77, np.uint8), 30)
    assert grey.shape == (2, 30, 1, 1)
    assert (grey == 77).all()


def test_ranked_members_part_the_images_by_falling_confidence():
    p = probabilities(500, 6, empty=(2,))
    p[:50] = p[0]  # ties
    members = ranked_members(p)
    np.testing.assert_array_equal(np.sort(np.concatenate(members)), np.arange(500))
    assert len(members[2]) == 0
    for k, of in enumerate(members):
        assert (p[of].argmax(axis=1) == k).all()
        assert (np.diff(p[of, k]) <= 0).all()
    tied = members[p[0].argmax()]
    np.testing.assert_array_equal(tied[tied < 50], np.arange(50))


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 20, 3)])
def test_an_overview_shows_each_clusters_most_typical_images_pixel_by_pixel(shape):
    pixels, p = random_images(60, *shape).pixels, probabilities(60, 5, empty=(3,))
    figure = cluster_overview(pixels, p, 4)
    file = BytesIO()
    figure.savefig(file, dpi="figure")
    drawn = np.asarray(Image.open(file).convert("RGBA"))
    pitch = (drawn.shape[0] + 2) // 5
    for k, of in enumerate(ranked_members(p)):
        row = drawn[k * pitch : (k + 1) * pitch - 2, 170:]
        if k == 3:
            assert not row[..., 3].any()
        else:
            expected = contact_sheet(pixels[of[:4]], 4)
            np.testing.assert_array_equal(row[..., 3], expected[..., 3])
            np.testing.assert_array_equal(row[row[..., 3] > 0], expected[expected[..., 3] > 0])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "empty" in texts
    assert sum(int(text.split()[0]) for text in texts if "image" in text) == 60


def test_an_overview_refuses_probabilities_of_other_images():
    with pytest.raises(ValueError, match="one for each"):
        cluster_overview(random_images(5, 8, 8, 1).pixels, probabilities(4, 2))


@pytest.mark.parametrize("columns", [1, 3])
def test_curves_mark_and_name_the_stages(columns):
    figure = training_curves(RECORDS, columns)
    assert {axes.get_title(loc="left") for axes in figure.axes} == {
        "loss",
        "validation loss",
        "cross entropy",
        "clusters in use",
        "share of images that changed cluster",
    }
    for axes in figure.axes:
        assert [float(line.get_xdata()[0]) for line in dashed(axes)] == [4.5, 5.5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["pretrain", "warm start", "joint training"]
    loss = [line for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    assert [list(line.get_xdata()) for line in loss] == [[1, 2, 3, 4], [5], [6, 7, 8]]
    assert loss[1].get_marker() == "o"


def dashed(axes: matplotlib.axes.Axes):
    return [line for line in axes.lines if line.get_linestyle() == "--"]


def test_curves_of_no_epoch_are_an_empty_figure():
    assert training_curves([]).axes == []


def test_a_page_shows_every_cluster_and_names_the_empty_ones(tmp_path):
    images, p = random_images(300, 16, 16, 1), probabilities(300, 7, empty=(1, 4, 6))
    page = Page(page_of(tmp_path, images, p))
    sheets = page.sheets()
    assert set(sheets) == {0, 2, 3, 5}
    assert "Clusters 1, 4 and 6 are empty" in page.text
    for k, of in enumerate(ranked_members(p)):
        if k in sheets:
            shown = min(len(of), 40)
            expected = images.pixels[of[:shown]].repeat(3, axis=-1)
            np.testing.assert_array_equal(tiles(sheets[k], shown, 16, 16, 10), expected)
            assert f"Cluster {k}\n{len(of)} images, {len(of) / 300:.1%}; mean confidence" in page.text


@pytest.mark.parametrize(("empty", "words"), [((), "No cluster is empty"), ((2,), "Cluster 2 is empty")])
def test_a_page_says_how_many_clusters_are_empty(tmp_path, empty, words):
    assert words in page_of(tmp_path, random_images(40, 8, 8, 1), probabilities(40, 3, empty))


def test_a_page_keeps_the_colours(tmp_path):
    images, p = random_images(50, 16, 16, 3), probabilities(50, 2)
    sheet = Page(page_of(tmp_path, images, p)).sheets()[0]
    of = ranked_members(p)[0]
    np.testing.assert_array_equal(tiles(sheet, len(of), 16, 16, 10), images.pixels[of])


def test_a_page_says_which_channel_it_shows(tmp_path):
    assert "5 channels, of which the first" in page_of(tmp_path, random_images(9, 8, 8, 5), probabilities(9, 2))


def test_a_source_cannot_write_into_the_page(tmp_path):
    source = '"><script>alert(1)</script>&.npz'
    html = page_of(tmp_path, random_images(20, 8, 8, 1, source=source), probabilities(20, 2))
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.elements}
    assert "<script" not in html
    assert source in page.text
    assert source in unescape(html)


def test_a_page_asks_nothing_of_the_network(tmp_path):
    html = page_of(tmp_path, random_images(20, 8, 8, 1), probabilities(20, 2), RECORDS, SCORES)
    assert not re.search(r"https?://|url\(|@import", html)
    for tag, attributes in Page(html).elements:
        assert tag not in {"script", "link", "iframe"}
        assert not attributes.keys() & {"href", "action"}
        for name in attributes.keys() & {"src", "srcset"}:
            assert (attributes[name] or "").startswith("data:image/png;base64,")


def test_a_page_reads_no_labels(tmp_path):
    p, labels = probabilities(20, 2), np.full(20, 987654321)
    pages = []
    for name, given in (("with", labels), ("without", None)):
        folder = tmp_path / name
        folder.mkdir()
        pages.append(page_of(folder, random_images(20, 8, 8, 1, labels=given), p, RECORDS))
    assert pages[0] == pages[1]
    assert "ACC" not in Page(pages[0]).text


def test_a_page_has_the_scores_after_each_stage(tmp_path):
    text = Page(page_of(tmp_path, random_images(20, 8, 8, 1), probabilities(20, 2), scores=SCORES)).text
    assert "joint training0.75000.62500.5000" in text
    assert "initial assignment0" not in text


def test_a_page_has_every_setting(tmp_path):
    page = Page(page_of(tmp_path, random_images(20, 8, 8, 1), probabilities(20, 2), RECORDS))
    config = json.loads((tmp_path / "config.json").read_text())
    for name in config["settings"]:
        assert name.replace("_", " ") in page.text
    assert "pretrain 4, warm start 1, joint training 3; 16 s in all" in page.text


def test_a_run_without_epochs_has_a_page(tmp_path):
    assert (
        "No epoch was trained"
        in Page(page_of(tmp_path, random_images(20, 8, 8, 1), probabilities(20, 2), records=[])).text
    )


@pytest.mark.parametrize(
    ("n", "shape", "k"), [(70_000, (16, 16, 1), 10), (3_000, (28, 28, 1), 68), (600, (90, 120, 3), 20)]
)
def test_a_page_stays_below_5_mb(tmp_path, n, shape, k):
    images, p = random_images(n, *shape), probabilities(n, k)
    page = Page(page_of(tmp_path, images, p, RECORDS))
    assert (tmp_path / "report.html").stat().st_size < 5_000_000
    assert len(page.sheets()) == k


def test_a_page_is_replaced_as_a_whole(tmp_path):
    images = random_images(20, 8, 8, 1)
    first = page_of(tmp_path, images, probabilities(20, 2))
    with pytest.raises(ValueError, match="expected \\(20, 2\\)"):
        write_report(tmp_path, images, probabilities(20, 3))
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == first
    write_report(tmp_path, images, probabilities(20, 2))
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == first


def test_no_page_for_what_is_no_run(tmp_path):
    with pytest.raises(ValueError, match="is no run"):
        write_report(tmp_path, random_images(20, 8, 8, 1), probabilities(20, 2))
