"""The experiments: stages are shared and resumed without a trace, and the page says what the results say."""

import html
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from depict_jax.data import Images, load
from depict_jax.settings import Settings
from depict_jax.stages import EpochEnd, check_job, run
from experiments import claims, factors, imbalance, presets, results, running_time, store, tables
from experiments.benchmarks import record
from experiments.jobs import Found, Job, Unavailable, run_missing
from experiments.presets import Preset
from experiments.variants import BFLOAT16, VARIANTS, settings_of

SETTINGS = Settings(pretrain_epochs=2, warm_epochs=1, joint_epochs=2, initial="kmeans", batch_size=50)


@pytest.fixture(scope="module")
def few():
    return Images(load("digits").pixels[:150], None, "few")


@pytest.fixture(scope="module")
def architecture(few):
    return check_job(few.pixels, 3, SETTINGS)


def assert_same(one, other):
    import jax

    assert jax.tree.structure(one) == jax.tree.structure(other)
    for mine, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_every_setting_belongs_to_one_stage():
    """A setting that no stage's hash covers would let a run take another run's stages."""
    covered = [name for names in store.READ_BY.values() for name in names]
    assert sorted(covered) == sorted(field.name for field in fields(Settings))


@pytest.mark.parametrize("rounds", [1, 2])
def test_stages_one_by_one_give_what_one_run_gives(few, architecture, tmp_path, rounds):
    settings, names = replace(SETTINGS, rounds=rounds), []
    for event in run(few.pixels, architecture, settings):
        whole = event.state
        names.append(event.stage)
    found = store.trained(few, architecture, settings, tmp_path)
    assert_same(found.final, whole)
    assert list(found.ends) == list(found.seconds) == list(dict.fromkeys(names)) == store.names(rounds)
    assert all(seconds > 0 for seconds in found.seconds.values())


def test_runs_that_begin_alike_share_what_they_have_in_common(few, architecture, tmp_path):
    first = store.trained(few, architecture, SETTINGS, tmp_path)
    trained = []
    other = replace(SETTINGS, rule="closed_form")
    second = store.trained(few, architecture, other, tmp_path, lambda event: trained.append(event.stage))
    assert set(trained) == {"joint"}
    assert second.seconds["pretrain"] == first.seconds["pretrain"]
    assert_same(second.ends["warm"], first.ends["warm"])
    again = store.trained(few, architecture, SETTINGS, tmp_path, lambda event: pytest.fail("trained again"))
    assert_same(again.ends["joint"], first.ends["joint"])


def test_an_interrupted_run_goes_on_where_it_stopped(few, architecture, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SECONDS_BETWEEN_SAVES", 0.0)
    whole = store.trained(few, architecture, SETTINGS, tmp_path / "whole")

    def stop(event):
        if isinstance(event, EpochEnd) and (event.stage, event.epoch) == ("joint", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.trained(few, architecture, SETTINGS, tmp_path / "parts", stop)
    trained = []
    found = store.trained(
        few, architecture, SETTINGS, tmp_path / "parts", lambda event: trained.append((event.stage, type(event)))
    )
    assert [stage for stage, _ in trained] == ["joint", "joint"]  # its second epoch, and its end
    assert_same(found.ends["joint"], whole.ends["joint"])


@pytest.mark.parametrize("changed", [{"seed": 1}, {"hidden_weight": 0.2}])
def test_other_settings_or_images_share_nothing(changed, few, architecture):
    def hashes(images, settings):
        return {store.stage_hash(stage, images, architecture, settings) for stage in store.READ_BY}

    mine = hashes(few, SETTINGS)
    assert len(mine) == 4
    assert not mine & hashes(few, replace(SETTINGS, **changed))
    assert not mine & hashes(replace(few, pixels=few.pixels[::-1]), SETTINGS)


def test_what_a_prior_changes_begins_with_the_initial_assignment_whose_clusters_it_numbers(few, architecture):
    hashes = [
        [store.stage_hash(stage, few, architecture, settings) for stage in store.READ_BY]
        for settings in (SETTINGS, replace(SETTINGS, prior=(1.0, 2.0, 3.0)))
    ]
    assert [one == other for one, other in zip(*hashes, strict=True)] == [True, False, False, False]


def test_variants_differ_between_data_sets_in_the_paper_s_initial_assignment_alone():
    for variant in VARIANTS:
        of = [settings_of(variant, preset.initial, 0) for preset in map(presets.preset, presets.NAMES)]
        assert len({replace(settings, initial="acpic") for settings in of}) == 1
    assert settings_of("paper", "kmeans", 0).rule == "squared"
    assert len({settings_of("best", initial, 0) for initial in ("kmeans", "acpic")}) == 1


def test_both_variants_pretrain_alike(few, architecture):
    """The rows on our autoencoder's features, and the ablation, have one autoencoder for both."""
    assert len({store.stage_hash("pretrain", few, architecture, settings_of(v, "acpic", 4)) for v in VARIANTS}) == 1


def test_a_variant_in_bfloat16_differs_in_that_alone():
    for variant in VARIANTS:
        of = settings_of(variant + BFLOAT16, "kmeans", 3)
        assert of.precision == "bfloat16"
        assert replace(of, precision="float32") == settings_of(variant, "kmeans", 3)


def test_a_preset_knows_its_command():
    for name in presets.NAMES:
        preset = presets.preset(name)
        module = __import__(f"experiments.presets.{name.replace('-', '_')}", fromlist=["PRESET"])
        assert f"make experiment-{name} " in module.__doc__ and preset.title in module.__doc__
    with pytest.raises(ValueError, match="'mnist': expected one of mnist-full, "):
        presets.preset("mnist")


def test_a_set_begins_at_its_row_of_the_file_alone(tmp_path, monkeypatch):
    """Where MNIST-test comes by its name, and not out of the file of all 70,000, nothing is cut off."""
    pixels = np.arange(30, dtype=np.uint8).repeat(64).reshape(30, 8, 8, 1)
    monkeypatch.setattr(presets, "SHARED", tmp_path)
    preset = Preset("part", 2, "kmeans", str(tmp_path / "named.npz"), "all.npz", first=20)
    np.savez(tmp_path / "named.npz", x=pixels[20:], y=np.arange(10))
    assert len(preset.images().pixels) == 10
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data/all.npz", x=pixels, y=np.arange(30))
    found = replace(preset, size=4).images()
    np.testing.assert_array_equal(found.pixels, pixels[20:24])
    np.testing.assert_array_equal(found.labels, np.arange(20, 24))


@pytest.fixture
def tiny(tmp_path) -> Preset:
    np.savez(tmp_path / "tiny.npz", x=load("digits").pixels[:20], y=np.arange(20) % 2)
    return Preset("tiny", 2, "kmeans", str(tmp_path / "tiny.npz"))


def test_what_is_missing_is_computed_once_and_without_labels(tiny, tmp_path, capsys):
    asked = []

    def compute(job, preset, images, watch):
        assert images.labels is None
        asked.append(job)
        if job.method == "lacking":
            raise Unavailable("lacking is not installed")
        if job.method == "failing":
            raise ValueError("two distinct embeddings for three clusters")
        if job.seed == 1:
            raise KeyboardInterrupt
        return Found({"final": np.arange(20) % 2}, {"final": 1.0}, {"commit": "none"}, {"objective": 2.0})

    once = [Job("lacking", "a", 0), Job("failing", "a", 0), Job("there", "a", 0), Job("there", "a", 1)]
    wanted = [once[0], Job("lacking", "a", 1), *once[1:]]
    for _ in range(2):
        with pytest.raises(SystemExit, match="the same command goes on"):
            run_missing("tiny", tiny, wanted, compute, tmp_path / "results")
    assert asked == [*once, *once[:2], once[3]]
    said = capsys.readouterr().out
    assert said.count("skipped: lacking is not installed") == 2  # once in each call
    assert said.count("failed: two distinct embeddings") == 2
    (found,) = results.read_all(tmp_path / "results")
    assert found["scores"]["final"]["acc"] == 1 and found["objective"] == 2 and found["method"] == "there"


def test_a_data_set_that_is_not_at_hand_is_skipped_with_a_word(tiny, tmp_path, capsys):
    def compute(*_):
        pytest.fail("there is nothing to compute with")

    run_missing("tiny", replace(tiny, source=str(tmp_path / "none.npz")), [Job("a", "b", 0)], compute, tmp_path)
    assert "skipped: tiny: " in capsys.readouterr().out
    np.savez(tmp_path / "bare.npz", x=load("digits").pixels[:20])
    run_missing("tiny", replace(tiny, source=str(tmp_path / "bare.npz")), [Job("a", "b", 0)], compute, tmp_path)
    assert "has no labels to score by" in capsys.readouterr().out


def test_the_pages_and_the_figure_are_what_the_results_say():
    found = results.read_all()
    if not found:
        pytest.skip("no results yet")
    texts = tables.texts(found)
    pages = {tables.PAGE, claims.PAGE, record.README, tables.SETTINGS}
    assert texts.keys() == pages | {presets.path_of(name) for name in presets.NAMES}
    for path, text in texts.items():
        assert path.read_text(encoding="utf-8") == text, path.name
    drawn = html.unescape(running_time.FIGURE.read_text()) if running_time.FIGURE.exists() else ""
    assert (running_time.description(found) in drawn) if running_time.times(found) else not drawn


def test_results_are_complete():
    for one in results.read_all():
        assert results.path_of(one["dataset"], one["method"], one["variant"], one["seed"]).is_file()
        if one["method"] == "depict" and one["variant"] in VARIANTS:
            *stages, _ = store.names(one["provenance"]["settings"].get("rounds", 1))
            assert set(one["scores"]) == set(one["seconds"]) == {*stages, "final"}
        assert all(set(scores) == {"acc", "nmi", "ari"} for scores in one["scores"].values())
        assert "final" in one["scores"] and "final" in one["seconds"]
        assert list(one["seconds"].values()) == sorted(one["seconds"].values())
        assert {"commit", "date", "device", "versions", "content_hash", "settings"} <= one["provenance"].keys()


def test_results_are_of_what_their_variant_is_now():
    """Else a change of a variant would leave results of the former one among those of the new."""
    for one in results.read_all():
        variant, cells = one["variant"], {**imbalance.UNIFORM, **imbalance.TOLD}
        initial = presets.preset(one["dataset"].removesuffix("-uneven")).initial
        base, _, changed = variant.partition("+")
        if one["method"] != "depict" or base not in VARIANTS:
            continue
        if factors.CHANGES.keys() >= set(changed.split("+")):
            expected = factors.settings_in(variant, initial, one["seed"], one["provenance"]["n_images"])
        else:
            base = variant if variant.endswith(BFLOAT16) else base
            expected = replace(settings_of(base, initial, one["seed"]), **cells.get(variant, {}))
        said = one["provenance"]["settings"]
        found = Settings(**{**said, "prior": said["prior"] and tuple(said["prior"])})
        assert _spelt_out(found, one) == _spelt_out(expected, one), (one["dataset"], variant, one["seed"])


def _spelt_out(settings: Settings, one: dict[str, Any]) -> Settings:
    """With the numbers that are those of the images, or the rule's, where they are left out."""
    prior_weight, sharpness = settings.q_step
    epochs = factors.epochs_of(settings, one["provenance"]["n_images"])
    return replace(settings, **epochs, prior_weight=prior_weight, sharpness=sharpness)


def test_comments_and_docstrings_leave_what_is_kept_valid():
    said = '"""What."""\n\n\ndef f():\n    """Why."""\n    return 1  # so\n'
    assert store.code_of(said) == store.code_of("def f():\n    return 1\n")
    assert store.code_of(said) != store.code_of(said.replace("return 1", "return 2"))
