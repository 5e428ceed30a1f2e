"""RESULTS.md and CLAIMS.md say what results say: shown with results made up here."""

from dataclasses import replace

import numpy as np
import pytest

from experiments import ablation_tables, approaches, claims, factors, imbalance, presets, quick, running_time, tables
from experiments.jobs import Found
from experiments.semi_supervised import METHOD, name
from experiments.summary import on_same_seeds, spread

PROVENANCE = {"processor": "a machine", "cores": 2}


def made_up(dataset, method, variant, accs, **more):
    """One result for each ACC, the objective falling with the seed."""
    return [
        {
            "dataset": dataset,
            "method": method,
            "variant": variant,
            "seed": seed,
            "scores": {
                stage: {"acc": acc, "nmi": acc - 0.1, "ari": acc - 0.2}
                for stage in ("pretrain", "initial", "warm", "final")
            },
            "seconds": {"final": 60.0 * (seed + 1)},
            "objective": 10.0 - seed,
            "cluster_sizes": [100, 300],
            "provenance": PROVENANCE,
            **more,
        }
        for seed, acc in enumerate(accs)
    ]


def test_means_spreads_and_the_seed_of_the_lowest_objective():
    page = tables.page(made_up("usps", "depict", "paper", [0.9, 0.8, 0.7]))
    row = next(line for line in page.splitlines() if line.startswith("| USPS | *0.964 / 0.927* | paper"))
    assert "| 3 | 0.800 ± 0.100 | 0.700 ± 0.100 | 0.600 ± 0.100 | 0.700 / 0.600 (seed 2) | 2.0 |" in row
    assert spread([0.5]) == "0.500"


def test_how_far_images_were_changed_is_said():
    still, changed = {"affine": 0.0, "brightness": 0.0}, {"affine": 0.12, "brightness": 0.02}
    found = made_up("usps", "depict", "paper", [0.5], changes=still)
    assert "How far" not in tables.page(found)
    found += made_up("usps", "depict", "best", [0.9], changes=changed)
    found += made_up("usps", "depict", "best+affine-changes-none", [0.9], changes={**changed, "affine": 0.0})
    assert "How far `best` changes images, affinely and in brightness: USPS 0.12 and 0.02." in tables.page(found)


def test_the_readme_has_both_variants_beside_the_published():
    found = made_up("usps", "depict", "paper", [0.9, 0.7]) + made_up("digits", "depict", "best", [0.9])
    assert [line for line in tables.scores(found) if line.startswith(("| USPS", "| digits"))] == [
        "| USPS | *0.964 / 0.927* | 0.800 ± 0.141 / 0.700 (2) | – | 1.5 / – | `make experiment-usps` |",
        "| digits | – | – | 0.900 / 0.800 (1) | – / 1.0 | `make experiment-digits` |",
    ]


def test_every_round_has_a_line_of_its_own():
    scores = {
        stage: {"acc": n / 10, "nmi": 0.0, "ari": 0.0}
        for n, stage in enumerate(("pretrain", "initial", "warm", "joint", "initial-2", "warm-2", "final"))
    }
    found = made_up("usps", "depict", "paper", [0.5]) + made_up("usps", "depict", "best", [0.9], scores=scores)
    assert [line for line in tables.by_stage(found) if line.startswith("| USPS")] == [
        "| USPS | paper | 1 | 0.500 | 0.500 | 0.500 | 0.500 |",
        "| USPS | best | 1 | 0.000 | 0.100 | 0.200 | 0.300 |",
        "| USPS | best | 2 |  | 0.400 | 0.500 | 0.600 |",
    ]


def test_other_methods_stand_beside_ours_and_the_published():
    found = made_up("usps", "kmeans-pixels", "default", [0.5, 0.6]) + made_up("usps", "depict", "best", [0.9])
    rows = [line for line in tables.beside(found) if line.startswith("| ")]
    assert rows[1:3] == ["| k-means on pixels | 0.550 ± 0.071 / 0.450 (2) |", "| DEPICT (best) | 0.900 / 0.800 (1) |"]
    assert "| *published: JULE-RC* | *0.950 / 0.913* |" in rows
    assert tables.beside(made_up("usps", "depict", "best", [0.9])) == []


def test_every_cell_of_the_ablation_lands_in_its_own_place():
    found = [
        result
        for n, variant in enumerate(approaches.APPROACHES)
        for result in made_up("usps", "depict", variant, [n / 100])
    ]
    rows = [line for line in ablation_tables.approaches(found) if line.startswith(("| none", "| input", "| all"))]
    shown = [cell.strip() for row in rows for cell in row.split("|")[3:-1]]
    assert shown == [f"{n / 100:.3f} / {n / 100 - 0.1:.3f} (1)" for n in range(27)]
    found = made_up("usps", "depict", "paper", [0.9]) + [
        result
        for n, variant in enumerate(approaches.Q_STEPS)
        for result in made_up("usps", "depict", variant, [n / 100])
    ]
    lines = ablation_tables.q_steps(found)
    grid = [line for line in lines if line.startswith(("| 1 |", "| 2 |", "| 4 |"))]
    shown = [cell.split("/")[0].strip() for row in grid for cell in row.split("|")[2:-1]]
    assert shown == [f"{n / 100:.3f}" for n in range(1, 16)]
    assert any("0.250, 0.750" in line for line in lines)


def test_a_factor_s_values_stand_beside_the_variants_whose_own_they_are():
    found = made_up("usps", "depict", "paper", [0.9, 0.8]) + made_up("usps", "depict", "best", [0.9])
    assert ablation_tables.one_factor(found) == []
    pair = "paper+pretraining-three-times+strays-joined"
    for cell, accs in {
        "paper+rounds-3": [0.95, 0.75],
        "best+rounds-1": [0.7],
        "best+pretraining-three-times": [0.91],
        pair: [0.93],
    }.items():
        found += made_up("usps", "depict", cell, accs)
    lines = ablation_tables.one_factor(found)
    rows = [line for line in lines if line.startswith("| ")]
    # neither what has not run nor what is both variants' own or stands above
    assert rows[1:] == [
        "| nothing |  | 0.850 ± 0.071 / 0.750 (2) |  | 0.900 / 0.800 (1) |  |",
        "| pretraining | three times | – | – | 0.910 / 0.810 (1) | 0.010 |",
        "| rounds | 1 | its own |  | 0.700 / 0.600 (1) | -0.200 |",
        "| rounds | 3 | 0.850 ± 0.141 / 0.750 (2) | 0.000 ± 0.071 | its own |  |",
        "| pretraining and strays | three times and joined | 0.930 / 0.830 (1) | 0.030 | 0.910 / 0.810 (1) | 0.010 |",
    ]
    assert lines[-2:] == [
        "- What changes `paper` by 0.01 or more: pretraining three times and strays joined +0.030 (1).",
        "- What changes `best` by 0.01 or more: rounds 1 -0.200 (1), pretraining three times +0.010 (1).",
    ]


def test_the_ablation_of_the_paper_alone_is_no_ablation():
    paper = made_up("usps", "depict", "paper", [0.9])
    assert ablation_tables.approaches(paper) == ablation_tables.q_steps(paper) == ablation_tables.labels(paper) == []


def test_a_preset_says_what_was_reached_once():
    text = '"""USPS.\n\nmake it\n"""\n\nfrom a import b\n'
    found = made_up("usps", "depict", "paper", [0.9, 0.7])
    once = tables.with_reached(text, found, "usps")
    assert f"make it\n\n{tables.REACHED}\n    paper: ACC 0.800, NMI 0.700, 1.5 min (2)\n" in once
    assert tables.with_reached(once, found, "usps") == once and tables.with_reached(once, [], "usps") == text


def test_even_and_uneven_kinds_stand_side_by_side():
    even, less = made_up("digits", "depict", "best", [0.9]), "best+prior-weight-1"
    found = [*even, *made_up("digits-uneven", "depict", less, [0.8, 0.6])]
    found += made_up("digits-uneven", "depict", f"{less}+shares", [0.7])
    lines = ablation_tables.uneven(found)
    assert "| `best` | 10 | 0.900 / 0.800 (1) | – |" in lines
    assert "| `best` | 1 | – | 0.800 / 0.700 (1) |" in lines  # the seed that was told the shares, too
    assert "| `best`, told the shares | 1 | – | 0.700 / 0.600 (1) |" in lines
    assert ablation_tables.uneven(even) == []
    assert "digits, 5 : 1" in tables.page(found)


def test_the_uneven_digits_are_those_that_are_told():
    images = replace(presets.preset("digits"), thinned=imbalance.thinned).images()
    found = np.bincount(images.labels) / len(images.labels)
    np.testing.assert_allclose(found, np.array(imbalance.SHARES) / sum(imbalance.SHARES), atol=0.005)
    whole = presets.preset("digits").images()
    assert {image.tobytes() for image in images.pixels} <= {image.tobytes() for image in whole.pixels}


def test_precisions_are_compared_on_the_seeds_that_have_both():
    found = made_up("usps", "depict", "best", [0.9, 0.8, 0.1]) + made_up("usps", "depict", "best+bfloat16", [0.8, 0.9])
    assert ablation_tables.precision(found)[-1] == (
        "| USPS | best | 0.850 ± 0.071 / 0.750 (2) | 0.850 ± 0.071 / 0.750 (2) | 0.000 ± 0.141 |"
    )
    assert ablation_tables.precision(made_up("usps", "depict", "best", [0.9])) == []


def test_errors_stand_beside_the_published():
    found = made_up(
        "mnist-full",
        METHOD,
        name("paper", 100),
        [0.9, 0.9],
        labels=100,
        error_percent={"unsupervised": 3.5, "final": 2.7},
    )
    assert ablation_tables.labels(found)[-1] == (
        "| MNIST-full | paper | 100 | 2 | 3.50 ± 0.00 | 2.70 ± 0.00 | *2.65 ± 0.35* |"
    )
    assert claims.few_labels(found) == ["100 labels, begun from `paper`: 2.70 % (2), published 2.65 ± 0.35 %: reached."]


@pytest.mark.parametrize(("acc", "verdict"), [(0.959, "reached"), (0.958, "not reached")])
def test_a_score_is_reached_or_not(acc, verdict):
    assert claims.scores_reached(made_up("usps", "depict", "paper", [acc])) == [
        f"USPS: the paper reports 0.964, NMI 0.927; `paper` has {acc:.3f}, NMI {acc - 0.1:.3f} (1): {verdict}."
    ]


def test_what_one_would_choose_without_labels_is_said_beside_the_mean():
    found = made_up("usps", "depict", "paper", [0.8, 0.97, 0.99])
    for one, objective in zip(found, (0.2, 0.1, 0.3), strict=True):
        one["objective"] = objective
    assert claims.scores_reached(found)[0].endswith(
        "`paper` has 0.920, NMI 0.820 (3): not reached; of them, that of the lowest objective 0.970, NMI 0.870 (1): "
        "reached."
    )


def test_what_single_factors_would_reach_follows_a_score_that_is_not_reached():
    found = made_up("cmu-pie", "depict", "paper", [0.8])
    found += made_up("cmu-pie", "depict", "paper+pretraining-three-times", [0.81])
    found += made_up("cmu-pie", "depict", "paper+start-AC-PIC", [0.9])
    assert claims.scores_reached(found)[1:] == [
        "CMU-PIE, `paper` pretrained three times as long: 0.810, NMI 0.710 (1; +0.010 on the same seeds): not reached.",
        "CMU-PIE, `paper` started from AC-PIC: 0.900, NMI 0.800 (1; +0.100 on the same seeds): reached.",
    ]
    found[0]["scores"]["final"]["acc"] = 0.88  # reached: nothing lacks
    assert len(claims.scores_reached(found)) == 1
    pair = made_up("usps", "depict", "paper", [0.8])
    pair += made_up("usps", "depict", "paper+pretraining-three-times+strays-joined", [0.96])
    assert claims.scores_reached(pair)[1].startswith("USPS, `paper` with longer pretraining and strays joined: 0.960")


def test_what_may_be_lacking_is_tried():
    assert claims.WORDS.keys() <= set(factors.TRIED)


def test_verdicts_follow_the_figures():
    def learning(kmeans, head, joint):
        cells = {"noise-all+reconstruction-all+kmeans": kmeans, "noise-all+reconstruction-all+head": head}
        return [
            result
            for variant, acc in {**cells, "paper": joint}.items()
            for result in made_up("usps", "depict", variant, [acc])
        ]

    assert claims.joint_is_best(learning(0.5, 0.6, 0.7))[0].endswith("the claim holds.")
    assert claims.joint_is_best(learning(0.5, 0.8, 0.7))[0].endswith("the claim does not hold.")
    assert claims.joint_is_best(learning(0.5, 0.7, 0.698))[0].endswith("undecided.")
    found = made_up("usps", "depict", "paper", [0.7]) + made_up("usps", "spectral", "default", [0.8])
    found += made_up("usps", "kmeans-pixels", "default", [0.4])
    assert claims.ahead_of_others(found) == [
        "USPS, `paper` with 0.700 (1): ahead of k-means on pixels (0.400); behind spectral clustering (0.800)."
    ]


def test_the_prior_s_claim_is_judged_by_whether_a_cluster_ends_empty():
    def said(without, with_prior):
        sizes = {"best+prior-weight-0": without, "best": with_prior}
        cells = (made_up("digits", "depict", name, [0.9], cluster_sizes=list(of)) for name, of in sizes.items())
        return claims.prior_keeps_clusters([result for cell in cells for result in cell])

    assert claims.prior_keeps_clusters(made_up("digits", "depict", "best", [0.9])) == []
    (one,) = said(without=(0, 400), with_prior=(190, 210))
    assert one.startswith("digits, `best` (1). prior weight 0: 0.900, smallest and largest cluster 0.000, 1.000; prior")
    assert one.endswith(
        "prior weight 10: 0.900, smallest and largest cluster 0.475, 0.525 of the images: the claim holds."
    )
    (one,) = said(without=(0, 400), with_prior=(0, 400))
    assert one.endswith("the claim does not hold.")
    (one,) = said(without=(1, 399), with_prior=(190, 210))
    assert one.endswith("no cluster is empty without the prior either.")


def test_means_that_lie_close_do_not_decide_a_claim():
    def said(first, last):
        accs = {
            "noise-none+reconstruction-all+joint": first,
            "noise-input+reconstruction-all+joint": 0.9,
            "paper": last,
        }
        cells = (made_up("usps", "depict", name, [acc]) for name, acc in accs.items())
        return claims.all_layers_are_best([result for cell in cells for result in cell])

    assert said(0.904, 0.902) == [
        "USPS, reconstruction at all layers, noise at no layer 0.904, the input 0.900, all layers 0.902 (1): "
        "within 0.005 of the best of the others, undecided."
    ]
    assert said(0.8, 0.904)[0].endswith("undecided."), "what is far below says nothing of the two that are near"
    assert said(0.92, 0.91)[0].endswith("the claim does not hold.") and said(0.8, 0.91)[0].endswith("the claim holds.")


def test_without_results_every_claim_says_so():
    assert claims.page([]).count(claims.NOT_RUN) == len(claims.CLAIMS)


def test_the_figure_holds_the_table_s_numbers(tmp_path):
    found = made_up("usps", "spectral", "default", [0.8]) + made_up("usps", "depict", "paper", [0.7, 0.7])
    assert running_time.times(found) == {"usps": {"spectral clustering": 60.0, "DEPICT (paper)": 90.0}}
    running_time.draw(found, tmp_path / "one.svg")
    running_time.draw(found, tmp_path / "two.svg")
    drawn = (tmp_path / "one.svg").read_text()
    assert drawn == (tmp_path / "two.svg").read_text()
    assert "DEPICT (paper)" in drawn and "USPS" in drawn


def test_the_quick_table_shows_what_is_at_hand_and_computes_it_once(tmp_path, monkeypatch, capsys):
    asked = []

    def compute(job, preset, images, watch):
        asked.append(job)
        return Found({"final": np.arange(len(images.pixels)) % 10}, {"final": 1.5}, {})

    monkeypatch.setattr(quick, "FOLDER", tmp_path)
    monkeypatch.setattr(quick, "compute", compute)
    lacking = replace(quick.SETS["mnist-test"], file="", source=str(tmp_path / "none.npz"))
    monkeypatch.setitem(quick.SETS, "mnist-test", lacking)
    quick.main()
    quick.main()
    assert len(asked) == len(set(asked)) == len(quick.METHODS) + 2
    assert "skipped: MNIST-test, rows 0 to 2,000: " in capsys.readouterr().out
    page = (tmp_path / "table.md").read_text()
    assert "## digits" in page and "MNIST" not in page and page.count("| 1.5 |") == len(asked)


def test_the_quick_training_is_cut_to_a_third():
    settings = quick.shortened(quick.settings_of("paper", "acpic", 0), 2_000)
    assert (settings.pretrain_epochs, settings.joint_epochs) == (75, 30)


def test_only_runs_of_the_same_seeds_are_compared():
    """A cell of one seed beside the mean of five would be no match."""
    cells = {name: [{"seed": seed} for seed in seeds] for name, seeds in (("a", (0, 1, 2)), ("b", (2, 1)), ("c", ()))}
    found = {name: [run["seed"] for run in runs] for name, runs in on_same_seeds(cells).items()}
    assert found == {"a": [1, 2], "b": [2, 1], "c": []}
    cells = {"paper": cells["a"], "cell": cells["b"], "not run": []}
    kept = ablation_tables._with_papers_of_their_seeds(cells, "paper")
    assert kept == {**cells, "paper": [{"seed": 1}, {"seed": 2}]}
