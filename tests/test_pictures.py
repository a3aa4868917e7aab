"""The pictures show every optimizer at a sensible scale and depend on nothing else."""

import pathlib
import re
import xml.etree.ElementTree

import comparisons
import matplotlib
import numpy as np
import pytest
from comparisons import OPTIMIZERS
from matplotlib.figure import Figure

from dljax.comparison import canvas
from dljax.comparison.canvas import accuracy_axis, look, loss_axis, picture
from dljax.comparison.claim_pictures import effects, win_rates
from dljax.comparison.pictures import learning_curves, sensitivity
from dljax.comparison.trial_pictures import budget, profile

digits = pytest.fixture(comparisons.digits, scope="module")
rosenbrock = pytest.fixture(comparisons.rosenbrock, scope="module")


def axes_for(scale, *args):
    axes = Figure().subplots()
    scale(axes, *args)
    return axes


def lines_of(axes, marker):
    return [line for line in axes.lines if line.get_marker() == marker]


def test_there_is_a_panel_for_every_test_metric_and_a_line_for_every_optimizer(digits, rosenbrock):
    accuracy, loss = learning_curves(digits).axes
    assert accuracy.get_ylabel() == "test accuracy, %"
    assert loss.get_ylabel() == "test loss"
    assert len(lines_of(loss, "None")) == 7
    assert len(learning_curves(rosenbrock).axes) == 1


def test_a_line_is_the_mean_and_ends_before_a_run_diverged(digits):
    loss = learning_curves(digits).axes[1]
    runs = digits.results[digits.results["stage"] == "evaluation"]
    for line, (name, *_) in zip(lines_of(loss, "None"), OPTIMIZERS, strict=True):
        curves = runs[runs["optimizer"] == name].pivot(index="step", columns="seed")["test_loss"]
        np.testing.assert_allclose(line.get_ydata(), curves.mean(axis=1, skipna=False))
    (cross,) = lines_of(loss, "x")
    assert cross.get_xdata() == [360]  # runs are lost at 380 and 420
    labels = [text.get_text() for text in learning_curves(digits).legends[0].get_texts()]
    assert labels[5] == "rmsprop\n2/10 diverged"


def test_every_tuned_argument_has_its_panel_and_every_choice_a_ring(digits):
    figure = sensitivity(digits)
    rates, eps = figure.axes[:2]
    rings = [ring for axes in (rates, eps) for ring in axes.lines if ring.get_markersize() > 8]
    chosen = {entry["value"][0] for entry in digits.summary["optimizers"]}
    assert {float(ring.get_xdata()[0]) for ring in rings} == chosen
    assert len(rings) == 7
    assert [axes.get_xlabel() for axes in figure.axes[2:]] == ["learning_rate", "eps"]
    assert rates.get_ylim() == eps.get_ylim()


def test_crosses_are_the_values_at_which_a_seed_diverged(digits):
    strip = sensitivity(digits).axes[2]
    names = [label.get_text() for label in strip.get_yticklabels()]
    crossed = dict(zip(names, (line.get_xdata() for line in strip.lines), strict=True))
    for entry in digits.summary["optimizers"]:
        tuning = entry["tuning"]
        pairs = zip(tuning["points"], tuning["diverged"], strict=True)
        expected = [point[0] for point, diverged in pairs if diverged]
        assert list(crossed.get(entry["name"], [])) == expected
    assert "sgd" in crossed


def test_of_two_tuned_arguments_the_first_is_drawn_at_the_best_of_the_second(rosenbrock):
    results = rosenbrock.results[rosenbrock.results["optimizer"] == "adam"].copy()
    point = results["point"]
    values = [f"{10.0 ** (index // 2)}, {index % 2}" for index in point]
    results = results.assign(argument="learning_rate, beta", value=values)
    chosen = results.loc[results["stage"] == "evaluation", "point"].iloc[0]
    entry = {
        **rosenbrock.summary["optimizers"][6],
        "argument": ["learning_rate", "beta"],
        "value": [10.0 ** (chosen // 2), chosen % 2],
    }
    figure = sensitivity(type(rosenbrock)({**rosenbrock.summary, "optimizers": [entry]}, results))
    (line,) = lines_of(figure.axes[0], "o")[:1]
    medians = entry["tuning"]["median"]
    best = [min(medians[index : index + 2]) for index in range(0, 13, 2)]
    np.testing.assert_allclose(line.get_ydata(), best)


def test_an_untuned_comparison_is_drawn(rosenbrock):
    results = rosenbrock.results[rosenbrock.results["stage"] == "evaluation"]
    entries = [{**e, "argument": [], "value": []} for e in rosenbrock.summary["optimizers"]]
    untuned = rosenbrock._replace(
        summary={**rosenbrock.summary, "optimizers": entries}, results=results
    )
    sensitivity(untuned).draw_without_rendering()


@pytest.mark.filterwarnings("error")
def test_a_comparison_in_which_everything_diverged_is_drawn(digits):
    step = digits.results["step"]
    measures = [c for c in digits.results if c.endswith(("_loss", "_accuracy"))]
    results = digits.results.assign(diverged_at=1)
    results.loc[step > 0, measures] = np.nan
    lost = digits._replace(results=results)
    learning_curves(lost).draw_without_rendering()
    sensitivity(lost).draw_without_rendering()
    profile(lost).draw_without_rendering()


def test_an_exploding_loss_does_not_squash_the_panel():
    axes = axes_for(loss_axis, np.array([2.3, 0.1, 1e12, np.inf, np.nan]), 2.3)
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[1] == pytest.approx(1.5 * 2.3)
    assert 0.05 < axes.get_ylim()[0] < 0.1


@pytest.mark.parametrize("initial", [3.0, 0.0, -1.0])
def test_losses_that_are_not_positive_have_a_linear_axis_that_holds_them(initial):
    axes = axes_for(loss_axis, np.array([initial, -4.0, 1e9]), initial)
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "linear"
    assert low < -4.0 < initial < high < 10


def test_a_loss_of_zero_is_seen_on_a_logarithmic_axis_down_to_rounding():
    low, high = axes_for(loss_axis, np.array([1.0, 1e-9, 0.0]), 1.0).get_ylim()
    assert 0 < low < 1e-9
    assert high > 1.0


def test_halving_the_errors_is_a_step_of_one_width():
    axes = axes_for(accuracy_axis, np.array([10.0, 100.0]))
    heights = axes.transData.transform([[0, 101 - error] for error in (64, 32, 16, 8, 4, 2)])[:, 1]
    np.testing.assert_allclose(np.diff(heights), np.diff(heights)[0], rtol=1e-6)


def test_28_optimizers_look_different():
    assert len({str(look(index)) for index in range(28)}) == 28


def test_a_picture_is_the_same_file_every_time_and_sets_nothing(rosenbrock):
    before = dict(matplotlib.rcParams)
    first = picture(learning_curves(rosenbrock), "svg")
    assert b"<dc:date>" not in first
    xml.etree.ElementTree.fromstring(first)
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30}):
        assert picture(learning_curves(rosenbrock), "svg") == first
    assert dict(matplotlib.rcParams) == before


def test_matplotlib_is_imported_only_to_draw_and_pyplot_never():
    for path in pathlib.Path(canvas.__file__).parent.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"^(import|from) matplotlib", source, re.MULTILINE)
        assert not re.search(r"(import|from) .*pyplot", source)


def test_the_curves_over_cost_stand_where_the_runs_paid(digits):
    results = digits.results.assign(
        cost=digits.results["step"] * np.where(digits.results["optimizer"] == "adam", 3.0, 1.0)
    )
    curves = learning_curves(digits._replace(results=results), against="cost").axes[0]
    lines = dict(zip([name for name, *_ in OPTIMIZERS], lines_of(curves, "None"), strict=True))
    np.testing.assert_allclose(lines["adam"].get_xdata(), 3 * lines["sgd"].get_xdata())
    np.testing.assert_allclose(lines["sgd"].get_xdata(), comparisons.STEPS)
    assert curves.get_xlabel() == "cost, gradients of a batch"


def test_an_effect_is_a_row_at_its_mean_and_a_diverged_pair_a_text(digits):
    axes = effects(digits).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    claims = {f"{c['a']} \N{MINUS SIGN} {c['b']}": c for c in digits.summary["claims"]}
    assert set(labels) == set(claims)
    marks = {line.get_ydata()[0]: line for line in axes.lines if line.get_marker() != "None"}
    for row, label in enumerate(labels):
        claim = claims[label]
        if claim["effect"] is None:
            assert row not in marks
            continue
        assert marks[row].get_xdata()[0] == pytest.approx(100 * claim["effect"]["mean"])
        is_filled = marks[row].get_markerfacecolor() != "white"
        assert is_filled == (claim["verdict"] != "unresolved")
    means = [marks[row].get_xdata()[0] for row in sorted(marks)]
    assert means == sorted(means, reverse=True)
    assert sum("a run diverged" in text.get_text() for text in axes.texts) == 6


def test_an_interval_around_nothing_is_drawn_to_its_ends(digits):
    near = {"mean": -6e-9, "low": -0.0023, "high": 0.0023}
    claim = {**digits.summary["claims"][0], "effect": near}
    axes = effects(digits._replace(summary={**digits.summary, "claims": [claim]})).axes[0]
    (line,) = lines_of(axes, "None")
    np.testing.assert_allclose(line.get_xdata(), [-0.23, 0.23])


def test_ratios_have_a_panel_of_their_own(rosenbrock):
    claims = list(rosenbrock.summary["claims"])
    claims[0] = {**claims[0], "scale": "log ratio"}
    figure = effects(rosenbrock._replace(summary={**rosenbrock.summary, "claims": claims}))
    assert [len(axes.get_yticks()) for axes in figure.axes] == [20, 1]
    assert "ln of the ratio" in figure.axes[1].get_xlabel()


def test_win_rates_of_a_pair_add_to_100_and_what_was_not_asked_is_blank(digits):
    axes = win_rates(digits).axes[0]
    rates = axes.images[0].get_array()
    np.testing.assert_allclose((rates + rates.T)[~np.eye(7, dtype=bool)], 100.0)
    assert len(axes.texts) == 42
    against = [claim for claim in digits.summary["claims"] if claim["b"] == "adam"]
    some = digits._replace(summary={**digits.summary, "claims": against})
    assert len(win_rates(some).axes[0].texts) == 12


def test_the_budget_begins_at_the_mean_trial_and_ends_at_the_best(digits):
    axes = budget(digits).axes[0]
    medians = digits.summary["optimizers"][6]["tuning"]["median"]
    first, rest = axes.lines[-2:]
    assert first.get_ydata()[0] == pytest.approx(100 * np.mean(medians))
    assert rest.get_ydata()[-1] == pytest.approx(100 * max(medians))
    assert list(first.get_xdata()) == [1, 2, 3, 4, 5, 6]
    assert np.isnan(axes.lines[0].get_ydata()[0])  # of sgd one trial diverged


def test_a_profile_is_the_share_of_runs_as_good_and_misses_the_diverged(digits):
    lines = dict(zip([name for name, *_ in OPTIMIZERS], profile(digits).axes[0].lines, strict=True))
    assert lines["rmsprop"].get_ydata()[-1] == 80
    assert lines["adam"].get_ydata()[-1] == 100
    finals = comparisons.finals_of(digits.results, digits.summary["problem"])["adam"]
    np.testing.assert_allclose(lines["adam"].get_xdata()[1:-1], 100 * np.sort(finals)[::-1])


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_a_picture_of_any_kind_is_the_same_file_every_time(digits, kind):
    first = picture(budget(digits), kind)
    again = budget(digits)
    picture(again, "svg")
    assert picture(again, kind) == first
    assert b"CreationDate" not in first
