"""The report's pictures, as arrays and as figures: what must be in them."""

from io import BytesIO
from typing import cast

import jax
import matplotlib.axes
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from depict_jax.augmentation import UNCHANGED, Changes
from depict_jax.metrics import clustering_accuracy
from depict_jax.networks import Depict, Pathways
from depict_jax.objectives import reconstruction_loss
from depict_jax.report import (
    cluster_groups,
    cluster_overview,
    cluster_sheet,
    cluster_sizes,
    confusion_matrix,
    contact_sheet,
    embedding_map,
    feature_maps,
    layer_errors,
    ranked_members,
    reconstruct,
    reconstruction_sheet,
    thumbnails,
    training_curves,
    two_dimensions,
)
from depict_jax.report.confusion import confusion
from depict_jax.report.maps import check_map, sample
from depict_jax.training import scale
from tests.report_parts import RECORDS, drawn_text, probabilities, random_images, tiles


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


def test_curves_of_a_second_round_have_the_first_one_s_colours_and_lines_of_their_own():
    again = [{**record, "stage": f"{record['stage']}-2"} for record in RECORDS if record["stage"] != "pretrain"]
    figure = training_curves(RECORDS + again)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["pretrain", "warm start", "joint training"]
    loss = [line for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    assert [len(line.get_xdata()) for line in loss] == [4, 1, 3, 1, 3]
    assert loss[1].get_color() == loss[3].get_color() and loss[2].get_color() == loss[4].get_color()
    assert [float(line.get_xdata()[0]) for line in dashed(figure.axes[0])] == [4.5, 5.5, 8.5, 9.5]


def dashed(axes: matplotlib.axes.Axes):
    return [line for line in axes.lines if line.get_linestyle() == "--"]


def test_curves_of_no_epoch_are_an_empty_figure():
    assert training_curves([]).axes == []


def test_groups_are_typical_uncertain_and_on_a_border():
    p = probabilities(400, 5, empty=(3,))
    second = np.argsort(-p, axis=1)[:, 1]
    margin = np.diff(np.sort(p, axis=1)[:, -2:], axis=1)[:, 0]
    for groups, of in zip(cluster_groups(p, 12, 6, 4), ranked_members(p), strict=True):
        assert groups.size == len(of)
        np.testing.assert_array_equal(groups.typical, of[:12])
        assert not set(groups.uncertain) & set(groups.typical)
        np.testing.assert_array_equal(groups.uncertain, of[::-1][:6] if len(of) > 18 else of[12:][::-1][:6])
        leaks = [p[of[second[of] == other], other].sum() for other in range(5)]
        others = [border.other for border in groups.borders]
        assert others == list(np.argsort(leaks)[::-1][: len(others)])
        assert len(others) == (3 if len(of) else 0)
        for border in groups.borders:
            there = of[second[of] == border.other]
            assert border.size == len(there)
            assert (second[border.members] == border.other).all()
            np.testing.assert_allclose(margin[border.members], np.sort(margin[there])[:4])


def test_certain_images_are_on_no_border():
    groups = cluster_groups(np.eye(3, dtype=np.float32)[[0, 0, 1, 2]], 1)
    assert [of.borders for of in groups] == [(), (), ()]
    assert [list(of.uncertain) for of in groups] == [[1], [], []]


def test_a_clusters_sheet_names_its_rows():
    images, p = random_images(300, 8, 8, 1), probabilities(300, 4)
    groups = cluster_groups(p, 9, 9, 9)[2]
    words = drawn_text(cluster_sheet(images.pixels, p, 2, 9))
    for title in ("most typical", "least certain", *(f"border to {border.other}" for border in groups.borders)):
        assert title in words
    with pytest.raises(ValueError, match="expected 0 to 3"):
        cluster_sheet(images.pixels, p, 4)


@pytest.mark.parametrize("prior", [None, (5, 1, 1, 1)])
def test_sizes_stand_beside_the_prior(prior):
    p = probabilities(200, 4, empty=(1,))
    (axes,) = cluster_sizes(p, prior).axes
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], np.bincount(p.argmax(1), minlength=4) / 200)
    expected = [segment[0][1] for segment in axes.collections[0].get_segments()]
    np.testing.assert_allclose(expected, np.full(4, 0.25) if prior is None else np.array(prior) / 8, rtol=1e-6)


def test_the_diagonal_of_a_confusion_matrix_is_the_best_matching():
    rng = np.random.default_rng(3)
    for n_labels, n_clusters in ((5, 5), (3, 6), (6, 3)):
        clusters = rng.integers(0, n_clusters, 300)
        labels = np.array(list("fedcba"))[np.where(rng.random(300) < 0.7, clusters, rng.integers(0, 9, 300)) % n_labels]
        found = confusion(labels, clusters, n_clusters)
        assert np.trace(found.counts) / 300 == clustering_accuracy(labels, clusters)
        assert sorted(found.clusters) == list(range(n_clusters))
        assert sorted(found.labels) == sorted(set(labels))
        for (row, column), number in np.ndenumerate(found.counts):
            assert number == ((labels == found.labels[row]) & (clusters == found.clusters[column])).sum()


def test_a_label_that_looks_like_a_formula_or_has_no_letters_of_the_font_is_drawn():
    labels = np.array(["$x^{$", "\ud55c\uae00", "a\nb" + "c" * 90])
    figure = confusion_matrix(labels, np.array([0, 1, 2]))
    assert "$x^{$" in drawn_text(figure)
    assert max(map(len, drawn_text(figure))) < 40
    figure = confusion_matrix(labels[[0, 2]], np.array([0, 1]))
    figure.savefig(BytesIO())


def test_pca_keeps_the_directions_of_largest_variance():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(500, 2)) * [5, 2]
    turned = plane @ np.linalg.qr(rng.normal(size=(7, 7)))[0][:2] + 3
    points = two_dimensions(turned.astype(np.float32))
    distances = [np.linalg.norm(of[:, None] - of[None], axis=-1) for of in (plane, points)]
    np.testing.assert_allclose(*distances, atol=1e-4)
    assert points[:, 0].var() > points[:, 1].var()
    assert two_dimensions(np.ones((4, 3), np.float32)).shape == (4, 2)


@pytest.mark.parametrize("method", ["tsne", pytest.param("umap", marks=pytest.mark.slow)])  # numba compiles a minute
def test_other_maps_keep_groups_apart_and_repeat(method):
    if method == "umap":
        pytest.importorskip("umap", reason="umap-learn is an extra")
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(3), 40)
    embeddings = (np.eye(3, 6)[groups] * 8 + rng.normal(size=(120, 6))).astype(np.float32)
    points = two_dimensions(embeddings, method, seed=1)
    np.testing.assert_array_equal(points, two_dimensions(embeddings, method, seed=1))
    centres = np.stack([points[groups == k].mean(axis=0) for k in range(3)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=-1).argmin(axis=1)
    assert (nearest == groups).all()
    for few in (2, 5, 11):  # fewer than their defaults ask for
        assert np.isfinite(two_dimensions(embeddings[:few], method)).all()


def test_a_map_that_cannot_be_drawn_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="expected one of pca, tsne, umap"):
        two_dimensions(np.eye(3), "lda")  # type: ignore[arg-type]
    monkeypatch.setattr("depict_jax.report.maps.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install umap-learn"):
        check_map("umap")


def test_a_sample_is_all_or_drawn_over_the_whole_range_and_always_the_same():
    np.testing.assert_array_equal(sample(9, 10), np.arange(9))
    some = sample(70_000, 5_000)
    np.testing.assert_array_equal(some, sample(70_000, 5_000))
    assert len(np.unique(some)) == 5_000 and (np.diff(some) > 0).all()
    assert 450 < (some < 7_000).sum() < 550


def test_a_map_colours_every_point_and_names_every_group():
    points = np.random.default_rng(0).normal(size=(30, 2))
    groups = np.repeat(["a", "$b$", "c"], 10)
    colours = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    figure = embedding_map(points, groups, [colours[1], colours[0], colours[2]], "title")
    figure.savefig(BytesIO())
    assert {"a", "$b$", "c", "title"} <= set(drawn_text(figure))
    drawn = figure.axes[0].collections[0].get_facecolors()
    np.testing.assert_array_equal(drawn[:, :3], np.repeat(colours, 10, axis=0))


@pytest.mark.parametrize("changes", [UNCHANGED, Changes(affine=0.2), Changes(brightness=0.5)])
def test_layers_are_the_networks_own(small, variables, changes):
    pixels = random_images(20, 8, 8, 1).pixels
    layers = reconstruct(small, variables, pixels, changes, seed=4)
    again = reconstruct(small, variables, pixels, changes, seed=4)
    jax.tree.map(np.testing.assert_array_equal, layers, again)
    silent = cast(Pathways, Depict(small).apply(variables, scale(pixels), noisy=False))
    for layer in range(3):
        np.testing.assert_allclose(layers.clean[layer], silent.clean[layer].transpose(3, 1, 2, 0), atol=1e-5)
        decoded = silent.reconstructions[layer].transpose(3, 1, 2, 0)
        np.testing.assert_allclose(layers.from_clean[layer], decoded, atol=1e-5)
        assert np.abs(layers.from_noisy[layer] - layers.from_clean[layer]).max() > 1e-3
    kept = layers.noisy[0] != 0
    assert 0.8 < kept.mean() < 0.97  # a tenth is dropped
    same = np.isclose(layers.noisy[0][kept] * 0.9, layers.clean[0][kept], atol=1e-4)
    assert same.mean() < 0.5 if any(changes) else same.all()
    clean, noisy = layer_errors(layers)
    weights = (1.0, 0.5, 0.25)
    assert np.dot(weights, clean) == pytest.approx(
        float(reconstruction_loss(silent.reconstructions, silent.clean, weights)), rel=1e-4
    )
    assert len(noisy) == 3 and noisy[0] != clean[0]


def test_reconstructions_are_drawn_row_by_row(small, variables):
    layers = reconstruct(small, variables, random_images(5, 8, 8, 1).pixels)
    assert {"image", "corrupted", "decoded from clean", "decoded from noisy"} < set(
        drawn_text(reconstruction_sheet(layers))
    )
    figure = feature_maps(layers, image=2, maps=3)
    assert isinstance(figure, Figure)
    assert {"layer 1", "layer 2"} < set(drawn_text(figure))
    assert len(figure.axes[0].images) == 6
