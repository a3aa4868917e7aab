"""The comparison end to end, on problems that take no time."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
import small

import dljax as dj
from dljax.comparison import report, wording
from dljax.comparison.space import LEARNING_RATES, points_of


@pytest.fixture(scope="module")
def problem():
    data = small.blobs(60)
    return dj.Problem(
        "blobs",
        small.classifier(()),
        data,
        dj.holdout(jax.random.key(0), 60, valid=0.25, test=0.25),
        batch_size=8,
        num_steps=20,
        eval_every=5,
        metric="accuracy",
        goal="max",
        target=dj.Target("valid_accuracy", 0.9),
        labels="y",
    )


def gradient_descent(learning_rate, beta):
    """A user's own optimizer, with two arguments to tune."""
    return optax.sgd(learning_rate, momentum=beta)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("compare") / "blobs"


@pytest.fixture(scope="module")
def comparison(problem, folder):
    return dj.compare(
        problem,
        {"mine": gradient_descent, "adam": dj.optimizers.adam, "adadelta": dj.optimizers.adadelta},
        space={"mine": {"learning_rate": [0.01, 0.1, 1e38], "beta": [0.0, 0.9]}},
        learning_rates=[1e-3, 1e-2, 1e-1],
        seeds=4,
        tuning_seeds=2,
        out=folder,
        progress=False,
    )


def test_results_have_a_row_per_optimizer_point_stage_seed_and_evaluation(comparison):
    rows = comparison.results
    # (6 points + 3 + 3) x 2 tuning seeds + 3 optimizers x 4 evaluation seeds, 5 evaluations each
    assert len(rows) == (12 * 2 + 3 * 4) * 5
    unique = ["optimizer", "point", "stage", "seed", "step"]
    assert not rows.duplicated(unique).any()
    assert sorted(rows.step.unique()) == [0, 5, 10, 15, 20]
    mine = rows[rows.optimizer == "mine"]
    assert set(mine.argument) == {"learning_rate, beta"}
    assert set(rows[rows.optimizer == "adadelta"].argument) == {"eps"}


def test_evaluation_seeds_never_tuned(comparison):
    seeds = comparison.results.groupby("stage").seed.unique()
    assert sorted(seeds["tuning"]) == [0, 1]
    assert sorted(seeds["evaluation"]) == [2, 3, 4, 5]


def test_the_chosen_point_has_the_best_median_on_the_validation_rows(comparison):
    for entry in comparison.summary["optimizers"]:
        medians = [-np.inf if m is None else m for m in entry["tuning"]["median"]]
        chosen = entry["tuning"]["points"].index(entry["value"])
        assert medians[chosen] == max(medians)


def test_the_reported_numbers_are_those_of_the_results(comparison):
    for entry in comparison.summary["optimizers"]:
        rows = comparison.results
        last = rows[
            (rows.optimizer == entry["name"]) & (rows.stage == "evaluation") & (rows.step == 20)
        ]
        np.testing.assert_allclose(entry["test"]["loss"]["mean"], last.test_loss.mean(), rtol=1e-6)
        assert entry["num_runs"] == 4


def test_optimizers_at_one_seed_start_from_the_same_weights(comparison):
    start = comparison.results[comparison.results.step == 0]
    for _, rows in start.groupby("seed"):
        assert rows.valid_loss.nunique() == 1
        assert rows.train_loss.nunique() == 1
    assert start.valid_loss.nunique() == 6


def test_diverged_runs_are_counted_and_never_chosen(comparison):
    mine = comparison.summary["optimizers"][0]
    wild = [i for i, point in enumerate(mine["tuning"]["points"]) if point[0] > 1e37]
    assert [mine["tuning"]["diverged"][i] for i in wild] == [2, 2]
    assert mine["value"][0] < 1e37
    rows = comparison.results
    diverged = rows[rows.diverged_at >= 0]
    assert diverged[diverged.step >= diverged.diverged_at].valid_loss.isna().all()


def test_the_run_folder_holds_what_the_report_names(comparison, folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "blocks",
        "declaration.json",
        "environment.json",
        "manifest.jsonl",
        *("results.csv", "summary.json", "claims.csv", "report.html", "report.md", "table.tex"),
        *(f"{name}.{kind}" for name in report.drawn(comparison) for kind in ("png", "svg", "pdf")),
    }
    stored = json.loads((folder / "summary.json").read_text())
    assert stored["evidence"] == "exploratory"
    assert stored["optimizers"] == comparison.summary["optimizers"]
    table = pd.read_csv(folder / "results.csv")
    np.testing.assert_allclose(table.valid_loss, comparison.results.valid_loss, rtol=1e-6)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_results_and_another_seed_others():
    def losses(seed):
        found = dj.compare(
            "quadratic",
            ["sgd"],
            num_steps=20,
            learning_rates=[0.1],
            seeds=2,
            tuning_seeds=1,
            seed=seed,
            progress=False,
        )
        return found.results.test_loss.to_numpy()

    np.testing.assert_array_equal(losses(0), losses(0))
    assert not np.array_equal(losses(0), losses(1))


def test_a_comparison_sees_the_settings_of_the_caller(problem):
    seen = set()

    def mine(learning_rate):
        seen.add(jax.config.jax_default_matmul_precision)
        return optax.sgd(learning_rate)

    with jax.default_matmul_precision("highest"):
        dj.compare(
            problem,
            {"mine": mine},
            learning_rates=[0.1],
            seeds=1,
            tuning_seeds=1,
            num_steps=1,
            eval_every=1,
            progress=False,
        )
    assert seen == {"highest"}


def test_gradient_descent_on_the_quadratic_diverges_beyond_two_over_the_curvature():
    found = dj.compare(
        "quadratic",
        ["sgd"],
        learning_rates=[0.19, 0.21, 1.0],
        seeds=2,
        tuning_seeds=2,
        num_steps=2000,
        progress=False,
    )
    (sgd,) = found.summary["optimizers"]
    final = found.results[(found.results.step == 2000) & (found.results.stage == "tuning")]
    worst = final.groupby("value").valid_loss.max()
    assert worst[0.19] < 1e-3  # below 2 / 10: it converges
    assert worst[0.21] > 1e6 or np.isnan(worst[0.21])  # above: it grows by 1.1 a step
    assert sgd["value"] == [0.19]
    assert sgd["edge"] == "low"


def test_every_classic_gets_the_same_number_of_trials_by_default():
    from dljax.comparison.space import CLASSICS

    trials = {name: points_of(name, factory, None, None) for name, factory in CLASSICS.items()}
    assert {len(points) for points in trials.values()} == {13}
    assert np.log10(LEARNING_RATES[-1] / LEARNING_RATES[0]) == pytest.approx(6)
    eps = [point["eps"] for point in trials["adadelta"]]
    assert np.log10(eps[-1] / eps[0]) == pytest.approx(6)


def test_an_optimizer_without_arguments_to_tune_is_one_trial(problem):
    found = dj.compare(
        problem,
        {"fixed": lambda: optax.sgd(0.1)},
        space={"fixed": {}},
        seeds=2,
        tuning_seeds=1,
        progress=False,
    )
    assert found.summary["optimizers"][0]["argument"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizers": ["adm"]}, "unknown optimizer 'adm'; did you mean 'adam'"),
        ({"optimizers": {}}, "at least one optimizer"),
        ({"learning_rates": [0.1, -1]}, r"learning_rate must be in \[0, inf\), got -1"),
        ({"learning_rates": [float("nan")]}, "learning_rates must be finite, got nan"),
        ({"learning_rates": [0.1, 0.1]}, "must not hold a value twice"),
        ({"space": {"adam": {"eps": [float("inf")]}}}, "eps must be finite, got inf"),
        ({"learning_rates": []}, "list of at least one number"),
        ({"space": {"adam": {"b1": [1.5]}}, "optimizers": ["adam"]}, "optimizer 'adam'"),
        ({"space": {"sgdd": {}}}, "unknown optimizer 'sgdd'; did you mean 'sgd'"),
        (
            {"optimizers": {"f": lambda rate: optax.sgd(rate)}},
            "must have an argument learning",
        ),
        (
            {"optimizers": {"f": lambda learning_rate: 3}},
            "must be a function that returns",
        ),
        ({"seeds": "3"}, r"seeds must be a number in \[1, 1000000\], got '3'"),
        ({"seed": 1.5}, r"seed must be a whole number in \[0, 4294967295\], got 1.5"),
        ({"num_steps": 2.5}, r"num_steps must be a whole number in \[1, inf\), got 2.5"),
        ({"seeds": 0}, r"seeds must be in \[1, 1000000\], got 0"),
        ({"seed": -1}, r"seed must be in \[0, 4294967295\], got -1"),
        ({"num_steps": 0}, r"num_steps must be in \[1, inf\), got 0"),
        ({"batch_size": 31}, r"batch_size must be in \[1, 30\], got 31"),
        ({"eval_every": 7}, "eval_every must divide the number of steps"),
    ],
)
def test_bad_input_is_refused_before_anything_compiles(problem, options, message, monkeypatch):
    monkeypatch.setattr("dljax.studies.resolve", lambda *_, **__: pytest.fail("compiled"))
    with pytest.raises(ValueError, match=message):
        dj.compare(problem, **options, progress=False)


def test_data_with_nan_or_an_empty_class_are_refused(problem):
    data = {"x": problem.data["x"].copy(), "y": problem.data["y"]}
    data["x"][7, 2] = np.nan
    with pytest.raises(dj.DataError, match="x must be finite, got 1 NaN"):
        dj.compare(problem._replace(data=data), progress=False)
    data = {"x": problem.data["x"], "y": problem.data["y"] * 2}
    with pytest.raises(dj.DataError, match="y must hold every class"):
        dj.compare(problem._replace(data=data), progress=False)


def test_a_problem_needs_rows_to_choose_on_and_a_known_metric(problem):
    with pytest.raises(ValueError, match="must have training, validation and test rows"):
        dj.compare(problem._replace(split=dj.holdout(jax.random.key(0), 60)), progress=False)
    with pytest.raises(ValueError, match="did you mean 'valid_accuracy'"):
        dj.compare(problem._replace(metric="acuracy"), progress=False)


def test_the_parts_of_a_split_are_rows_of_the_data_and_share_none(problem):
    split = problem.split
    with pytest.raises(ValueError, match="no row must be in two parts of the split"):
        dj.compare(problem._replace(split=split._replace(valid=split.test)), progress=False)
    other = dj.holdout(jax.random.key(0), 90, valid=0.25, test=0.25)
    with pytest.raises(ValueError, match=r"rows must be in \[0, 60\)"):
        dj.compare(problem._replace(split=other), progress=False)
    with pytest.raises(ValueError, match="goal must be 'min' or 'max', got 'maximize'"):
        dj.compare(problem._replace(goal="maximize"), progress=False)


def test_an_accuracy_is_a_target_from_below_whatever_the_metric_that_decides(problem):
    found = dj.compare(
        problem._replace(metric="loss", goal="min", target=dj.Target("valid_accuracy", 1.1)),
        ["sgd"],
        learning_rates=[0.1],
        seeds=2,
        tuning_seeds=1,
        progress=False,
    )
    assert found.summary["optimizers"][0]["steps_to_target"]["hits"] == 0
    assert found.summary["problem"]["target"]["goal"] == "max"


@pytest.mark.slow
def test_a_problem_whose_batches_are_drawn_is_compared_too():
    def draw(key):
        x = jax.random.normal(key, (16, 2))
        return {"x": x, "y": jnp.tanh(x).sum(axis=1)}

    task = dj.supervised(dj.linen_model(dj.modules.MLP(1)), dj.losses.squared_error)
    found = dj.compare(
        dj.Problem("drawn", task, draw, num_steps=40, eval_every=20),
        ["adam"],
        learning_rates=[0.03, 0.1],
        seeds=2,
        tuning_seeds=1,
        progress=False,
    )
    final = found.results[found.results.step == 40]
    assert (final.test_loss < 1).all()


@pytest.mark.slow
def test_second_order_methods_are_compared_against_what_they_cost(tmp_path):
    comparison = dj.compare(
        "diabetes-linear",
        ["sgd", "newton_cg"],
        learning_rates=[0.1],
        seeds=2,
        tuning_seeds=1,
        num_steps=10,
        out=tmp_path / "run",
        progress=False,
    )
    sgd, newton = comparison.summary["optimizers"]
    assert sgd["gradients_per_step"] == 1
    assert newton["gradients_per_step"] >= 1 + 2 + 1 / 3  # a product and a value at least
    assert (tmp_path / "run" / "learning_curves_by_cost.png").is_file()
    assert "gradients" in wording.columns(comparison.summary)[-2].header


def test_an_optimizer_that_cannot_take_the_step_is_refused_before_anything_compiles():
    with pytest.raises(ValueError, match=r"optimizer 'natural_gradient': .* fisher_vp"):
        dj.compare("rosenbrock", ["natural_gradient"], progress=False)
