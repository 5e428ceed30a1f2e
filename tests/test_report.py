"""The report's page: what must be in it, and what must not."""

import re

import numpy as np
import pytest

from depict_jax.data import Images, Skipped
from depict_jax.metrics import scores
from depict_jax.report import cluster_groups, write_report
from depict_jax.settings import Settings
from tests.report_parts import RECORDS, SCORES, Page, page_of, probabilities, random_images, tiles

HOSTILE = '"><script>alert(1)</script>&<b onerror=x>\x00\udcff$'


def test_a_page_shows_the_images_of_every_cluster_and_names_the_empty_ones():
    images, p = random_images(300, 16, 16, 1), probabilities(300, 7, empty=(1, 4, 6))
    page = Page(page_of(images, p))
    pictures = page.pictures()
    assert "Clusters 1, 4 and 6 are empty" in page.sections["warnings"]
    for k, groups in enumerate(cluster_groups(p)):
        of = f"images of cluster {k}"
        if not groups.size:
            assert not [alt for alt in pictures if alt.lower().endswith(of)]
            continue
        assert f"Cluster {k}\n{groups.size} images, {groups.size / 300:.1%} (14.3% expected)" in page.text
        shown = {f"The most typical {of}": groups.typical, f"The least certain {of}": groups.uncertain}
        for other, members, size in groups.borders:
            shown[f"Images of cluster {k} on the border to cluster {other}"] = members
            assert f"On the border to {other} second choice of {size};" in page.text
        for alt, members in shown.items():
            expected = images.pixels[members].repeat(3, axis=-1)
            np.testing.assert_array_equal(tiles(pictures[alt], len(members), 16, 16, 10), expected)


def test_a_page_keeps_the_colours():
    images, p = random_images(120, 16, 16, 3), probabilities(120, 3)
    sheet = Page(page_of(images, p)).pictures()["The most typical images of cluster 0"]
    of = cluster_groups(p)[0].typical
    np.testing.assert_array_equal(tiles(sheet, len(of), 16, 16, 10), images.pixels[of])


def test_a_page_says_which_channel_it_shows():
    assert "5 channels, of which the first" in page_of(random_images(9, 8, 8, 5), probabilities(9, 2))


@pytest.mark.parametrize("labelled", [True, False])
def test_what_users_and_files_say_cannot_write_into_the_page(labelled):
    labels = np.array([HOSTILE.replace("\x00", ""), "tame"])[np.arange(120) % 2]
    images = Images(
        random_images(120, 16, 16, 1).pixels,
        labels if labelled else None,
        HOSTILE,
        names=tuple(f"{HOSTILE}{i}" for i in range(120)),
        skipped=(Skipped(HOSTILE, HOSTILE),),
        notes=(HOSTILE,),
    )
    html = page_of(images, probabilities(120, 3))
    html.encode("utf-8")  # halves of letters, as broken file names give them, would not be written
    page = Page(html)
    tame = Page(page_of(random_images(120, 16, 16, 1), probabilities(120, 3)))
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in tame.elements} | {"details", "summary"}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "<script" not in html and "\x00" not in html
    shown = HOSTILE.replace("\x00", "\ufffd").replace("\udcff", "\ufffd")
    assert page.text.count(shown) >= 120 + 4  # every name in a card; title, source, note, skipped file and reason
    assert "script" not in (page.sections.get("confusion") or "") or labelled


def test_a_page_asks_nothing_of_the_network():
    html = page_of(random_images(120, 16, 16, 1), probabilities(120, 3), RECORDS, SCORES)
    assert not re.search(r"https?://|url\(|@import", html)
    page = Page(html)
    places = {attributes.get("id") for _, attributes in page.elements}
    for tag, attributes in page.elements:
        assert tag not in {"script", "link", "iframe"}
        assert "action" not in attributes
        for name in attributes.keys() & {"src", "srcset"}:
            assert (attributes[name] or "").startswith("data:image/png;base64,")
        if "href" in attributes:
            assert (attributes["href"] or "").removeprefix("#") in places


def test_labels_serve_scores_and_colours_alone():
    p = probabilities(120, 3)
    labels = np.random.default_rng(0).choice(["cat", "dog", "eel"], 120)
    bare = Page(page_of(random_images(120, 16, 16, 1), p, RECORDS)).sections
    given = Page(page_of(random_images(120, 16, 16, 1, labels=labels), p, RECORDS)).sections
    assert set(given) - set(bare) == {"scores", "confusion"}
    assert [name for name in bare if bare[name] != given[name]] == ["embedding"]
    assert "eel" in given["confusion"]


def test_scores_are_the_recorded_ones_where_they_are_of_these_labels():
    p, labels = probabilities(120, 3), np.arange(120) % 3
    images = random_images(120, 16, 16, 1, labels=labels)
    final = scores(labels, p.argmax(axis=1))
    mine = {"pretrain": SCORES["pretrain"], "joint": final}
    row = "{acc:.4f}{nmi:.4f}{ari:.4f}".format
    text = Page(page_of(images, p, scores=mine)).sections["scores"]
    assert "(k-means on the embedding)0.50000.25000.1250" in text and f"joint training{row(**final)}" in text
    text = Page(page_of(images, p, scores=SCORES)).sections["scores"]  # of other labels
    assert "k-means" not in text and f"joint training{row(**final)}" in text
    assert f"initial assignment{row(**scores(labels, p.argmin(axis=1)))}" in text
    text = Page(page_of(random_images(120, 16, 16, 1), p, scores=SCORES)).sections["scores"]
    assert "joint training0.75000.62500.5000" in text and "initial assignment0" not in text


def test_a_page_has_every_setting_and_the_noise_of_the_run():
    settings = Settings(dropout=0.2, affine=0.15, brightness=0.3, prior=(3, 1, 1), rule="exact", prior_weight=3.0)
    page = Page(page_of(random_images(120, 16, 16, 1), probabilities(120, 3), RECORDS, settings=settings))
    for name in vars(settings):
        assert name.replace("_", " ") in page.sections["making"]
    assert "prior weight3" in page.sections["making"] and "sharpness2" in page.sections["making"]
    assert "pretrain 4, warm start 1, joint training 3; 16 s in all" in page.sections["making"]
    told = " ".join(page.sections["reconstructions"].split())
    assert "by up to 15%, then made brighter or darker by up to 30%, then robbed of 20% of their pixels" in told
    assert "the image16 × 16 × 1" in told and "4 × 4 × 50" in told  # sizes, beside the errors
    pictures = page.pictures()
    assert not np.array_equal(pictures["decoded from clean"], pictures["decoded from noisy"])
    assert "(60.0% expected)" in page.text


def test_a_run_without_epochs_has_a_page():
    assert "No epoch was trained" in page_of(random_images(120, 16, 16, 1), probabilities(120, 3))


def test_the_same_run_gives_the_same_page():
    images, p = random_images(120, 16, 16, 1), probabilities(120, 3)
    assert page_of(images, p, RECORDS) == page_of(images, p, RECORDS)


def test_other_maps_stand_beside_pca():
    images, p = random_images(120, 16, 16, 1), probabilities(120, 3)
    assert {"PCA, coloured by cluster", "t-SNE, coloured by cluster"} <= Page(
        page_of(images, p, map_method="tsne")
    ).pictures().keys()


def test_a_map_of_many_images_says_that_it_shows_some(monkeypatch):
    monkeypatch.setattr("depict_jax.report.maps.POINTS", 50)
    monkeypatch.setattr("depict_jax.report.maps.sample.__defaults__", (50,))
    text = Page(page_of(random_images(120, 16, 16, 1), probabilities(120, 3))).sections["embedding"]
    assert "50 of the 120, drawn at random" in text


@pytest.mark.parametrize(
    ("n", "shape", "k"),
    [
        pytest.param(70_000, (28, 28, 1), 10, marks=pytest.mark.slow),
        pytest.param(3_000, (28, 28, 1), 100, marks=pytest.mark.slow),
        pytest.param(600, (90, 120, 3), 20, marks=pytest.mark.slow),
        (1_500, (16, 16, 1), 68),
    ],
)
def test_a_page_stays_below_5_mb(n, shape, k):
    labels = np.random.default_rng(0).integers(0, k, n)
    html = page_of(random_images(n, *shape, labels=labels), probabilities(n, k), RECORDS * 20)
    assert len(html.encode()) < 5_000_000
    assert sum(alt.startswith("The most typical") for alt in Page(html).pictures()) == k


def test_no_page_for_what_is_no_run(tmp_path):
    with pytest.raises(ValueError, match="is no run"):
        write_report(tmp_path, random_images(20, 8, 8, 1))
