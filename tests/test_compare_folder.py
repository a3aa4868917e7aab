"""A comparison's run folder: gone on with, added to, read back, and a run of it run again."""

import jax
import numpy as np
import pandas as pd
import pytest
import small

import dljax as dj
from dljax import cli
from dljax.comparison import members, report
from dljax.comparison.again import Sources, replay_run
from dljax.store import runs
from dljax.store.reading import read

RATES = [1e-2, 1e-1, 1e38]


def problem():
    data = small.blobs(60)
    split = dj.holdout(jax.random.key(0), 60, valid=0.25, test=0.25)
    options = {"batch_size": 8, "num_steps": 20, "eval_every": 5, "labels": "y"}
    return dj.Problem("blobs", small.classifier(()), data, split, **options)


def compared(out, names=("sgd", "adam"), **options):
    how = {"learning_rates": RATES, "seeds": 3, "tuning_seeds": 2, "progress": False, **options}
    return dj.compare(problem(), list(names), out=out, **how)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "blobs"


@pytest.fixture(scope="module")
def comparison(folder):
    return compared(folder)


def pretend(monkeypatch, tiles):
    """Counts the tiles that run."""
    from dljax import programs

    def counted(*inputs, **options):
        tiles.append(inputs[1])
        return programs.run_tile(*inputs, **options)

    monkeypatch.setattr("dljax.populations.run_tile", counted)


def test_a_folder_gives_the_comparison_back(comparison, folder):
    found = dj.load(folder)
    pd.testing.assert_frame_equal(found.results, comparison.results)
    assert found.summary["optimizers"] == comparison.summary["optimizers"]
    assert report.table(found.summary).renderables[0].row_count == 2


def test_the_same_comparison_again_runs_nothing_and_gives_the_same(comparison, folder, monkeypatch):
    monkeypatch.setattr("dljax.studies.resolve", lambda *_, **__: pytest.fail("compiled"))
    before = (folder / "results.csv").read_bytes()
    pd.testing.assert_frame_equal(compared(folder).results, comparison.results)
    assert (folder / "results.csv").read_bytes() == before


@pytest.mark.usefixtures("comparison")
def test_another_comparison_in_the_folder_is_refused_with_what_differs(folder):
    with pytest.raises(ValueError, match=r"settings.num_steps was 20, is 40; settings.seed was 0"):
        compared(folder, num_steps=40, seed=1)
    with pytest.raises(ValueError, match=r"axis 'sgd point' may only grow .* without .*0\.1"):
        compared(folder, learning_rates=[1e-2])
    with pytest.raises(ValueError, match="width was None, is 4"):
        compared(folder, width=4)


def test_what_is_added_is_run_and_what_is_there_stays(comparison, folder, monkeypatch):
    tiles = []
    pretend(monkeypatch, tiles)
    names = ("sgd", "adam", "momentum")
    grown = compared(folder, names, learning_rates=[1e-3, *RATES], seeds=4)
    assert len(grown.results) == (4 * 2 + 4) * 3 * 5
    (added,) = read(folder).declaration["added"]
    assert added["axes"]["optimizer"] == ["momentum"]
    assert added["axes"]["evaluation seed"] == [5]
    assert {e["added"] for e in read(folder).entries if e["kind"] == "block"} == {True, False}
    # a point that was best before the grid grew keeps its runs
    assert read(folder).num_stored() >= (4 * 2 + 4) * 3
    both = comparison.results.merge(grown.results, on=["optimizer", "value", "seed", "step"])
    np.testing.assert_array_equal(both.valid_loss_x, both.valid_loss_y)


def test_a_long_run_comes_in_rounds_with_the_same_bits(comparison, monkeypatch):
    monkeypatch.setattr(members, "LONG", 0.0)
    expected = comparison.results[comparison.results.optimizer == "adam"]
    found = compared(None, ["adam"]).results
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True))


@pytest.mark.slow
def test_a_long_run_goes_on_from_its_last_evaluation(comparison, tmp_path, monkeypatch):
    monkeypatch.setattr(members, "LONG", 0.0)
    add, rounds = runs.Run.add, []

    def fails(run, kind, *inputs, **told):
        rounds.append(told.get("round"))
        if told.get("round") == 3:
            raise RuntimeError("a kill")
        return add(run, kind, *inputs, **told)

    with monkeypatch.context() as patched:
        patched.setattr(runs.Run, "add", fails)
        with pytest.raises(RuntimeError, match="a kill"):
            compared(tmp_path, ["adam"])
    assert rounds == [1, 2, 3]
    tiles = []
    pretend(monkeypatch, tiles)
    found = compared(tmp_path, ["adam"]).results
    expected = comparison.results[comparison.results.optimizer == "adam"]
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True))
    num_tuning = tiles.index("result")  # of six runs, whose first two rounds were stored
    assert tiles[:num_tuning].count("init") == 0
    assert set(tiles[:num_tuning]) == {"advance"}


@pytest.mark.parametrize("stage", [pytest.param("tuning", marks=pytest.mark.slow), "evaluation"])
def test_a_run_alone_has_the_bits_that_were_stored(comparison, folder, stage):
    rows = comparison.results
    row = rows[(rows.optimizer == "adam") & (rows.stage == stage) & (rows.value < 1)].iloc[-1]
    told = {"optimizer": "adam", "seed": str(row.seed), "learning_rate": f"{row.value:.3g}"}
    stored = read(folder)
    about = {**stored.declaration["about"], "source": {"problem": "b", "optimizers": {"adam": "a"}}}
    stored = stored._replace(declaration={**stored.declaration, "about": about})
    found = replay_run(stored, told, Sources(lambda _: problem(), lambda _: dj.optimizers.adam))
    assert (found.is_same, found.difference, found.differs) == (True, 0.0, ())
    assert found.results["valid_loss"][-1] == row.valid_loss

    def other(learning_rate):
        return dj.optimizers.adam(learning_rate, b1=0.8)

    found = replay_run(stored, told, Sources(lambda _: problem(), lambda _: other))
    assert not found.is_same
    assert found.difference > 1e-4
    assert found.differs == ("what a member computes (its code, or jax's way of writing it down)",)


@pytest.mark.slow
def test_without_out_another_run_goes_to_the_next_folder_and_the_same_goes_on(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dljax.startup.configure", list)
    words = ["compare", "quadratic", "--optimizers", "sgd", "--learning-rates", "0.1", "--quick"]
    for steps, folder in (("20", "quadratic"), ("40", "quadratic-2"), ("40", "quadratic-2")):
        cli.main([*words, "--steps", steps])
        assert f"Everything is in runs/{folder}/report.html" in capsys.readouterr().err
    cli.main([*words, "--steps", "20"])
    told = "runs/quadratic-2 holds another run; this one goes to runs/quadratic-3."
    assert told in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main([*words, "--steps", "20", "--out", "runs/quadratic-2"])
    assert "settings.num_steps was 40, is 20" in capsys.readouterr().err
