"""The protocol end to end: declared first, searched alike, resolved by added seeds, made again."""

import json

import jax
import numpy as np
import pandas as pd
import pytest
import small

import dljax as dj
from dljax import cli
from dljax.comparison.again import Sources, plan_of, reproduced
from dljax.comparison.fingerprint import fingerprint
from dljax.comparison.search import Range
from dljax.spectrum import Curvature
from dljax.store.reading import read

RATES = Range(1e-3, 1.0)


def problem(seed=0, **changes):
    data = small.blobs(60, seed=seed)
    split = dj.holdout(jax.random.key(0), 60, valid=0.25, test=0.25)
    options = {"batch_size": 8, "num_steps": 10, "eval_every": 5, "labels": "y", **changes}
    return dj.Problem("blobs", small.classifier(()), data, split, **options)


def compared(out=None, names=("sgd", "tf1.adam"), **options):
    how = {"learning_rates": RATES, "search": "random", "trials": 4, "seeds": 3, "tuning_seeds": 1}
    return dj.compare(problem(), list(names), out=out, progress=False, **{**how, **options})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "blobs"


@pytest.fixture(scope="module")
def comparison(folder):
    return compared(folder, search="zoom", trials=6, seeds=5, most_seeds=7, margin=1e-6)


def pretend(monkeypatch, ran):
    from dljax import programs

    def counted(*inputs, **options):
        ran.append(inputs[1])
        return programs.run_tile(*inputs, **options)

    monkeypatch.setattr("dljax.populations.run_tile", counted)


def test_the_declaration_names_all_that_was_decided_and_came_before_the_runs(comparison, folder):
    declaration = json.loads((folder / "declaration.json").read_text())
    declared = declaration["declared"]
    assert declared["question"] == {"baseline": None, "margin": 1e-6, "alpha": 0.05, "power": 0.8}
    assert declared["settings"]["search"] == {"method": "zoom", "trials": 6, "widen": 0}
    assert declared["settings"]["adaptive"] == {"batch": 5, "most": 7}
    assert declaration["axes"]["tf1.adam dialect"] == {"labels": ["tf1"]}
    assert declared["fingerprint"] == fingerprint(problem(), 0, 1)
    assert comparison.summary["declaration"]["time"] <= read(folder).sessions[0]["time"]
    assert len(comparison.summary["declaration"]["id"]) == 12


def test_rounds_of_a_search_are_trials_of_their_own_and_as_many_for_all(comparison):
    settings = comparison.summary["settings"]
    assert settings["search"]["trials"] == {"sgd": 6, "tf1.adam": 6}
    tuned = comparison.results[comparison.results.stage == "tuning"]
    points = tuned.groupby("optimizer").point.agg(lambda x: sorted(set(x)))
    assert points.tolist() == [list(range(6))] * 2
    first = tuned[tuned.point < 2].groupby("optimizer").value.agg(lambda x: sorted(set(x)))
    assert first["sgd"] == first["tf1.adam"]
    assert [entry["dialect"] for entry in comparison.summary["optimizers"]] == ["dljax", "tf1"]


def test_seeds_are_added_until_there_are_no_more(comparison):
    assert comparison.summary["settings"]["evaluation_seeds"] == [1, 2, 3, 4, 5, 6, 7]
    (claim,) = comparison.summary["claims"]
    assert claim["num_seeds"] == [7, 7]
    assert claim["test"] == "e-values of t and signs"


def test_a_folder_with_rounds_and_batches_is_read_back(comparison, folder):
    found = dj.load(folder)
    pd.testing.assert_frame_equal(found.results, comparison.results)
    for name in ("optimizers", "claims", "settings", "evidence", "declaration", "fingerprint"):
        assert found.summary[name] == comparison.summary[name]


def test_the_same_command_runs_nothing_again(comparison, folder, monkeypatch):
    ran = []
    pretend(monkeypatch, ran)
    again = compared(folder, search="zoom", trials=6, seeds=5, most_seeds=7, margin=1e-6)
    assert not ran
    pd.testing.assert_frame_equal(again.results, comparison.results)


def test_another_question_is_another_declaration(comparison, folder):
    with pytest.raises(ValueError, match=r"question.margin was 1e-06, is 0.1"):
        compared(folder, search="zoom", trials=6, seeds=5, most_seeds=7, margin=0.1)


@pytest.mark.slow
def test_a_comparison_made_again_has_the_same_bits(comparison, folder, tmp_path):
    sources = Sources(lambda _: problem(), lambda name: dj.comparison.space.factories([name])[name])
    stored = read(folder)
    stored.declaration["about"]["source"]["problem"] = "blobs"
    told = reproduced(stored, sources, tmp_path / "again", tolerance=0.0)
    assert told["agrees"]
    assert [one["how"] for one in told["optimizers"]] == ["same bits", "same bits"]
    assert told["claims"] == []
    other = sources._replace(problem=lambda _: problem(seed=1))
    with pytest.raises(ValueError, match=r"arms must have run on one problem .* data: "):
        reproduced(stored, other, tmp_path / "other", tolerance=0.0)
    with pytest.raises(ValueError, match="must have come by name"):
        plan_of(read(folder), sources)


def test_evidence_is_confirmatory_only_if_the_declaration_came_first(tmp_path):
    how = {"search": "grid", "trials": None, "learning_rates": [0.1]}
    first = compared(tmp_path, ["sgd"], **how)
    assert (first.summary["evidence"], first.summary["because"]) == ("confirmatory", [])
    grown = compared(tmp_path, ["sgd"], **how, seeds=4)
    assert grown.summary["evidence"] == "exploratory"
    assert "evaluation seed were added at" in grown.summary["because"][0]
    told = compared(None, ["sgd"], **how).summary
    assert told["evidence"] == "exploratory"
    assert told["declaration"] is None


@pytest.mark.slow
def test_an_optimum_on_the_edge_is_exploratory_until_the_grid_is_widened(tmp_path):
    how = {"search": "grid", "trials": None, "learning_rates": [1e-3, 3e-3, 9e-3], "seeds": 2}
    edge = compared(tmp_path / "edge", ["sgd"], **how).summary
    assert edge["evidence"] == "exploratory"
    assert edge["because"] == ["the best value of sgd lies on the edge of what was tried"]
    wide = compared(tmp_path / "wide", ["sgd"], **how, widen=8).summary
    assert wide["evidence"] == "confirmatory"
    assert 1 <= wide["settings"]["search"]["widened"]["sgd"] <= 8
    assert wide["optimizers"][0]["value"][0] > 9e-3


@pytest.mark.slow
def test_curvature_along_training_is_a_part_of_the_results():
    found = dj.compare(
        dj.problems.load("quadratic")._replace(curvature=Curvature(num_iterations=10)),
        ["sgd"],
        learning_rates=[0.19],
        seeds=2,
        tuning_seeds=1,
        num_steps=20,
        eval_every=10,
        progress=False,
    )
    # curvatures from 0.01 to 10: gradient descent converges below 0.2
    np.testing.assert_allclose(found.results.stability_edge, 0.2, rtol=1e-3)
    np.testing.assert_allclose(found.results.curvature_top, 10.0, rtol=1e-3)


def test_a_user_reads_one_line_of_a_wrong_question(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dljax.startup.configure", list)
    for arguments, line in (
        ("--baseline adm", "unknown baseline 'adm'; did you mean 'adam'?"),
        ("--search bayes", "search must be one of grid, random, sobol, zoom, got 'bayes'."),
        ("--dialect tf2", "unknown dialect 'tf2'; did you mean 'tf1'?"),
        ("--margin -1", "margin must be in (0, inf), got -1."),
        ("--most-seeds 2", "most_seeds must be in [10, 1000000], got 2."),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(["compare", *arguments.split()])
        assert stop.value.code == 2
        assert capsys.readouterr().err == f"dljax: {line}\n"
