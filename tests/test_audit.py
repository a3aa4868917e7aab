"""The audit of published results: what it flags is there, and of clean results it flags nothing."""

import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dljax import cli
from dljax.comparison.audit import audit, epoch_autocorrelation
from dljax.comparison.published import read

PUBLISHED = Path(os.environ.get("DLJAX_DATA", "")) / "deepobs_baselines"
needs_data = pytest.mark.skipif(
    "DLJAX_DATA" not in os.environ, reason="DLJAX_DATA is not set to the folder of the data sets"
)
RATES, EPOCHS, PER_EPOCH = np.logspace(-4, 0, 9), 20, 7


def clean(draw, *, replayed=False):
    """Losses of minibatches of a run that decays to a noise floor, float[EPOCHS * PER_EPOCH]."""
    decay = np.exp(-np.arange(EPOCHS * PER_EPOCH) / draw.uniform(10, 60))
    noise = draw.normal(size=(EPOCHS, PER_EPOCH))
    noise = np.broadcast_to(noise[0], noise.shape) if replayed else noise
    return 1 + draw.uniform(0, 5) * decay + 0.05 * noise.ravel()


def folder_of(path, seed, **faults):
    """Writes results in DeepOBS's layout: tuned on seed 0, reported on seeds 1 to 3."""
    draw = np.random.default_rng(seed)
    for optimizer, best in (("A", 3), ("B", 5)):
        best = faults.get("best", best)
        pairs = [(0, rate) for rate in RATES] + [(s, RATES[best]) for s in (1, 2, 3)]
        for s, rate in pairs:
            loss = np.exp(-np.arange(EPOCHS + 1) / 5) + 0.1 * abs(np.log(rate / RATES[best])) + 1
            loss[0] = 3.0 + 0.01 * s + (faults.get("other", 0.0) if optimizer == "B" else 0.0)
            told = {
                "testproblem": "p",
                "optimizer": optimizer,
                "random_seed": s,
                "learning_rate": rate,
                "num_epochs": EPOCHS,
                "hyperparams": {},
                "test_losses": loss[: faults.get("rows") if rate > 0.9 else None].tolist(),
            }
            if "rows" not in faults:
                minibatches = clean(draw, replayed=faults.get("replayed", False))
                told["minibatch_train_losses"] = minibatches.tolist()
            stage = path / ("" if faults.get("reused") else "evaluation" if s else "tuning")
            stage.mkdir(exist_ok=True)
            (stage / f"{optimizer}-{s}-{rate:.3g}.json").write_text(json.dumps(told))
    target = faults.get("target", 1.2)
    (path / "convergence_performance.json").write_text(json.dumps({"p": target}))
    return path


@pytest.mark.parametrize(
    ("faults", "check", "evidence"),
    [
        ({"replayed": True}, "batch order replayed", "in 24 of 24 runs: autocorrelation 1.000"),
        ({"other": 0.5}, "several problems under one name", "losses from 3 to 3.5"),
        ({"best": 8}, "optimum on the edge of the grid", "best of 9 values is 1, of 0.0001 to 1."),
        ({"target": 5.0}, "target met after one epoch", "or better at the first evaluation"),
        ({"reused": True}, "tuning seeds among the evaluation seeds", "reported too: 0."),
        ({"rows": 9}, "NaN dropped", "2 of 24 runs end early"),
    ],
)
def test_each_fault_is_found_and_no_other(faults, check, evidence, tmp_path):
    findings = audit(read(folder_of(tmp_path, 0, **faults)))
    assert {finding.check for finding in findings} == {check}
    assert evidence in findings[0].evidence


def test_a_hundred_clean_sets_give_no_alarm(tmp_path):
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        assert audit(read(folder_of(tmp_path / str(seed), seed))) == []
    draw = np.random.default_rng(0)
    for _ in range(100 * 24):  # runs
        assert epoch_autocorrelation(clean(draw), PER_EPOCH) < 0.5


def test_the_autocorrelation_of_a_trend_is_none_and_that_of_a_replayed_epoch_is_near_one():
    draw = np.random.default_rng(1)
    trend = np.exp(-np.arange(140) / 30)
    assert epoch_autocorrelation(trend, 7) <= 0.0
    assert epoch_autocorrelation(clean(draw, replayed=True), 7) > 0.9
    assert epoch_autocorrelation(np.append(trend, np.nan), 7) is None
    assert epoch_autocorrelation(trend[:20], 7) is None


@needs_data
def test_the_published_quadratic_replays_its_batches_and_reuses_its_tuning_seed(tmp_path):
    with tarfile.open(PUBLISHED / "quadratic_deep_raw.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    found = {finding.check: finding.evidence for finding in audit(read(tmp_path))}
    assert found.keys() == {"batch order replayed", "tuning seeds among the evaluation seeds"}
    assert "97 of 101 runs" in found["batch order replayed"]


@needs_data
def test_of_all_published_problems_those_are_flagged_where_it_is_true(tmp_path):
    runs = pd.read_csv(PUBLISHED / "deepobs_runs.csv.gz")
    curves = pd.read_csv(PUBLISHED / "deepobs_curves.csv.gz")
    runs = runs.rename(columns={"testproblem": "problem"})
    tidy = curves.merge(
        runs[["run", "problem", "optimizer", "learning_rate", "random_seed"]], on="run"
    )
    tidy["learning_rate"] = tidy.learning_rate.map("{:.6g}".format)
    tidy.drop(columns="run").to_csv(tmp_path / "curves.csv", index=False)
    targets = (PUBLISHED / "convergence_performance.json").read_text()
    (tmp_path / "convergence_performance.json").write_text(targets)
    where: dict[str, set] = {}
    for finding in audit(read(tmp_path)):
        where.setdefault(finding.check, set()).add(finding.where)
    assert where["target met after one epoch"] == {"mnist_vae", "fmnist_vae"}
    assert "fmnist_vae, MomentumOptimizer" in where["optimum on the edge of the grid"]
    assert where["tuning seeds among the evaluation seeds"] == set(runs.problem)
    assert not where.keys() & {"NaN dropped", "several problems under one name"}


def test_the_command_line_prints_what_it_found_and_exits_1(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["audit", str(folder_of(tmp_path, 0, reused=True))])
    assert stop.value.code == 1
    out = capsys.readouterr().out
    assert "tuning seeds among the evaluation seeds (p)" in out
    assert out.endswith("1 finding(s).\n")


def test_bad_results_are_one_line(tmp_path, capsys):
    (tmp_path / "x.csv").write_text("optimizer,seed,epoch\nadam,0,0\n")
    cases = {"": 2, str(tmp_path / "none"): 2, str(tmp_path): 3}
    for folder, code in cases.items():
        with pytest.raises(SystemExit) as stop:
            cli.main(["audit", folder] if folder else ["audit"])
        assert stop.value.code == code
        assert capsys.readouterr().err.count("\n") == 1
