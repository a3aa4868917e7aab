"""Results of others: read, joined, chosen, compared; each number against scipy or the raw table."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from comparisons import digits

from dljax import cli
from dljax.comparison import report, suite_report
from dljax.comparison.analysis import analyze
from dljax.comparison.claims import Question, claims
from dljax.comparison.published import measure_columns
from dljax.errors import DataError

SEEDS, EPOCHS = 6, 5


def tidy(seed=0, *, start=0, optimizers=("sgd", "adam"), rates=(0.1,), seeds=range(SEEDS)):
    """A table as a user of PyTorch writes it, of runs that begin alike at a seed."""
    draw = np.random.default_rng(seed)
    begin = 2.3 + 0.01 * np.arange(100)
    rows = []
    for place, optimizer in enumerate(optimizers):
        for rate in rates:
            for s in seeds:
                end = 0.4 - 0.1 * place + abs(np.log10(rate) + 1) + 0.02 * draw.normal()
                for epoch in range(start, EPOCHS + 1):
                    loss = end + (begin[s] - end) * (1 - epoch / EPOCHS)
                    told = {"optimizer": optimizer, "lr": rate, "seed": s, "epoch": epoch}
                    rows.append({**told, "val_loss": loss + 0.1, "test_loss": loss})
    return pd.DataFrame(rows)


def analyzed(folder, table, **how):
    """The comparison of one table."""
    table.to_csv(folder / "results.csv", index=False)
    (comparison,) = analyze(folder / "results.csv", **how).values()
    return comparison


def finals(table, **where):
    for name, value in where.items():
        table = table[table[name] == value]
    return table[table.epoch == EPOCHS].sort_values("seed").test_loss.to_numpy()


def test_runs_that_begin_alike_are_pairs_and_their_claims_those_of_the_same_numbers(tmp_path):
    table = tidy()
    summary = analyzed(tmp_path, table).summary
    wanted = {name: finals(table, optimizer=name) for name in ("sgd", "adam")}
    assert summary["claims"] == claims(wanted, "min", Question())
    assert summary["claims"][0]["verdict"] == "worse"
    assert summary["claims"][0]["paired"]
    assert summary["evidence"] == "exploratory"
    mean = summary["optimizers"][0]["test"]["loss"]["mean"]
    np.testing.assert_allclose(mean, wanted["sgd"].mean(), rtol=1e-12)


def test_runs_that_do_not_tell_their_start_are_compared_by_welch_unless_one_says_so(tmp_path):
    table = tidy(start=1)
    summary = analyzed(tmp_path, table).summary
    (claim,) = summary["claims"]
    told = scipy.stats.ttest_ind(
        finals(table, optimizer="sgd"), finals(table, optimizer="adam"), equal_var=False
    )
    assert (claim["paired"], claim["test"]) == (False, "Welch's test")
    np.testing.assert_allclose(claim["p"], told.pvalue, rtol=1e-9)
    assert any("unpaired" in reason for reason in summary["because"])
    asked = analyzed(tmp_path, table, paired=True).summary
    assert asked["claims"][0]["paired"]
    assert any("asked for" in reason for reason in asked["because"])


def test_runs_of_other_seeds_are_unpaired_and_cannot_be_called_pairs(tmp_path):
    other = tidy(1, optimizers=("momentum",), seeds=range(10, 14))
    table = pd.concat([tidy(optimizers=("sgd",)), other])
    (claim,) = analyzed(tmp_path, table).summary["claims"]
    assert (claim["paired"], claim["num_seeds"]) == (False, [SEEDS, 4])
    with pytest.raises(ValueError, match="the same seeds"):
        analyzed(tmp_path, table, paired=True)


def test_without_stages_the_setting_is_chosen_on_what_is_reported_and_that_is_said(tmp_path):
    table = tidy(rates=(0.01, 0.1, 1.0))
    comparison = analyzed(tmp_path, table)
    summary = comparison.summary
    assert [entry["value"] for entry in summary["optimizers"]] == [[0.1], [0.1]]
    assert any("chosen on the runs that are reported" in text for text in summary["because"])
    assert summary["settings"]["tuning_seeds"] == list(range(SEEDS))
    stages = comparison.results.groupby("stage").size()
    assert stages.to_dict() == {
        "tuning": 2 * 3 * SEEDS * (EPOCHS + 1),
        "evaluation": 2 * SEEDS * (EPOCHS + 1),
    }


def test_with_stages_tuning_rows_choose_and_evaluation_rows_report(tmp_path):
    tuning = tidy(rates=(0.01, 0.1, 1.0), seeds=(0, 1)).assign(stage="tuning")
    reported = tidy(2, seeds=range(2, 8)).assign(stage="evaluation")
    summary = analyzed(tmp_path, pd.concat([tuning, reported])).summary
    assert summary["settings"]["tuning_seeds"] == [0, 1]
    assert summary["settings"]["evaluation_seeds"] == list(range(2, 8))
    assert not any("chosen on the runs" in text for text in summary["because"])
    entry = summary["optimizers"][0]
    np.testing.assert_allclose(
        entry["test"]["loss"]["mean"], finals(reported, optimizer="sgd").mean(), rtol=1e-12
    )


def test_a_single_setting_was_not_tuned(tmp_path):
    comparison = analyzed(tmp_path, tidy())
    assert comparison.summary["settings"]["tuning_seeds"] == []
    assert comparison.summary["optimizers"][0]["argument"] == []


def test_settings_that_share_no_seeds_are_judged_on_as_many_runs(tmp_path):
    parts = [
        tidy(rates=(rate,), seeds=range(9 * i, 9 * i + 2 + i)) for i, rate in enumerate((1, 0.1))
    ]
    summary = analyzed(tmp_path, pd.concat(parts)).summary
    assert [entry["value"] for entry in summary["optimizers"]] == [[0.1], [0.1]]
    assert summary["settings"]["tuning_seeds"] == [0, 1]
    assert summary["settings"]["evaluation_seeds"] == [9, 10, 11]


def test_a_run_that_diverged_or_ended_early_is_counted_and_never_dropped(tmp_path):
    table = tidy()
    table.loc[(table.optimizer == "adam") & (table.seed == 1) & (table.epoch > 2), "test_loss"] = (
        np.nan
    )
    comparison = analyzed(tmp_path, table)
    assert [entry["diverged"] for entry in comparison.summary["optimizers"]] == [0, 1]
    lost = comparison.results.query("optimizer == 'adam' and seed == 1").diverged_at
    assert set(lost) == {3}
    short = table[~((table.optimizer == "sgd") & (table.seed == 2) & (table.epoch == EPOCHS))]
    summary = analyzed(tmp_path, short).summary
    assert [entry["diverged"] for entry in summary["optimizers"]] == [1, 1]
    assert any("1 of 12 runs end before 5" in text for text in summary["because"])


def test_a_loss_that_overflows_is_a_divergence_although_the_accuracy_goes_on(tmp_path):
    table = tidy().assign(test_acc=0.5)
    table.loc[(table.optimizer == "sgd") & (table.epoch > 3), "test_loss"] = np.inf
    summary = analyzed(tmp_path, table).summary
    assert summary["problem"]["metric"] == "accuracy"
    assert [entry["diverged"] for entry in summary["optimizers"]] == [SEEDS, 0]


def test_cells_left_empty_between_evaluations_are_no_divergence(tmp_path):
    table = tidy()
    table.loc[table.epoch % 5 != 0, "test_loss"] = np.nan
    comparison = analyzed(tmp_path, table)
    assert sorted(set(comparison.results.step)) == [0, 5]
    assert [entry["diverged"] for entry in comparison.summary["optimizers"]] == [0, 0]


def test_the_names_of_measures_are_told_by_their_words():
    names = ["val_acc", "train/loss", "loss", "accuracy_test", "Validation Loss", "time"]
    assert measure_columns(names) == {
        "val_acc": "valid_accuracy",
        "train/loss": "train_loss",
        "accuracy_test": "test_accuracy",
        "Validation Loss": "valid_loss",
    }
    assert measure_columns(["loss", "val_loss"])["loss"] == "train_loss"
    assert measure_columns(["loss"])["loss"] == "test_loss"
    assert measure_columns(["val_ppl"], "ppl") == {"val_ppl": "valid_ppl"}


def test_any_column_may_be_the_metric_if_its_goal_is_told(tmp_path):
    table = tidy().assign(bleu=lambda rows: -rows.test_loss)
    comparison = analyzed(tmp_path, table, metric="bleu", goal="max")
    assert comparison.summary["problem"]["metric"] == "bleu"
    assert comparison.summary["claims"][0]["verdict"] == "worse"
    with pytest.raises(ValueError, match="the goal of bleu must be told"):
        analyzed(tmp_path, table, metric="bleu")
    with pytest.raises(ValueError, match="unknown metric 'f1'"):
        analyzed(tmp_path, table, metric="f1")
    reported = analyzed(tmp_path, table, metric="valid_loss").summary
    assert any("no test rows" in text for text in reported["because"])


def test_arms_of_two_files_are_joined_and_told_apart_where_they_share_runs(tmp_path):
    tidy(optimizers=("sgd",)).assign(problem="p").to_csv(tmp_path / "mine.csv", index=False)
    tidy(1).assign(problem="p").to_csv(tmp_path / "theirs.csv", index=False)
    (comparison,) = analyze([tmp_path / "mine.csv", tmp_path / "theirs.csv"]).values()
    names = [entry["name"] for entry in comparison.summary["optimizers"]]
    assert names == ["sgd (mine)", "sgd (theirs)", "adam"]


def test_our_own_results_read_back_say_what_they_said(tmp_path):
    ours, names = digits(), ["sgd", "rmsprop"]
    rows = ours.results[ours.results.optimizer.isin(names)]
    rows.assign(problem="p").to_csv(tmp_path / "results.csv", index=False)
    theirs = analyze(tmp_path)["p"].summary
    told = {entry["name"]: entry for entry in ours.summary["optimizers"]}
    for entry in theirs["optimizers"]:
        known = told[entry["name"]]
        np.testing.assert_allclose(entry["value"], known["value"], rtol=1e-12)
        assert entry["diverged"] == known["diverged"]
        for name, value in known["test"]["accuracy"].items():
            assert entry["test"]["accuracy"][name] == (value and pytest.approx(value, rel=1e-9))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda t: t.rename(columns={"test_loss": "x", "val_loss": "y"}),
            DataError,
            "got optimizer",
        ),
        (lambda t: pd.concat([t, t]), ValueError, "one row a step, got two of sgd"),
        (lambda t: t.assign(seed="a"), ValueError, "every seed must be a whole number, got a"),
        (lambda t: t.assign(epoch="x"), ValueError, "every time must be a number, got x"),
        (lambda t: t.drop(columns="seed"), ValueError, "got neither"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line(change, error, message, tmp_path):
    with pytest.raises(error, match=message) as raised:
        analyzed(tmp_path, change(tidy()))
    assert "\n" not in str(raised.value)


@pytest.fixture
def unwritten(monkeypatch):
    """Keeps the folders that would be written."""
    folders = []
    for place in (report, suite_report):
        monkeypatch.setattr(place, "write", lambda _, folder, *__: folders.append(folder))
    return folders


def test_the_command_line_tells_every_problem_and_all_of_them(tmp_path, capsys, unwritten):
    pd.concat(tidy(seed).assign(problem=f"p/{seed}") for seed in range(2)).to_csv(
        tmp_path / "results.csv", index=False
    )
    cli.main(["analyze", str(tmp_path / "results.csv"), "--out", str(tmp_path / "out")])
    out = " ".join(capsys.readouterr().out.split())
    for text in ("p/0: 2 optimizers", "p/1: 2 optimizers", "2 optimizers on 2 problems"):
        assert text in out
    assert [str(f.relative_to(tmp_path)) for f in unwritten] == ["out/p-0", "out/p-1", "out"]
    cli.main(["analyze", str(tmp_path / "results.csv"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert list(told["problems"]) == ["p/0", "p/1"]
    assert told["across"]["evidence"] == "exploratory"


def test_mistakes_on_the_command_line_are_one_line(tmp_path, capsys, unwritten):
    tidy().to_csv(tmp_path / "x.csv", index=False)
    for words in (
        [],
        [str(tmp_path / "none")],
        [str(tmp_path / "x.csv"), "--metric", "f1"],
        [str(tmp_path / "x.csv"), "--goal", "up"],
        [str(tmp_path / "x.csv"), "--baseline", "lion"],
        [str(tmp_path / "x.csv"), "--margin", "0"],
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(["analyze", *words])
        assert stop.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
