"""Comparisons over several problems: laws of scores, ranks, times and claims."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from suites import FROZEN, made, suite_of, without

from dljax.comparison.across import across, frozen_times
from dljax.comparison.claims import Question
from dljax.comparison.over_problems import claims_over, groups, middle_half
from dljax.comparison.statistics.aggregates import interquartile_mean


def test_one_optimizer_more_changes_no_other_score_time_or_p():
    three = suite_of()
    more, fewer = (
        across(found, FROZEN, num_draws=50) for found in (three, without(three, "momentum"))
    )
    for place, name in enumerate(fewer["optimizers"]):
        other = more["optimizers"].index(name)
        assert fewer["times"]["mean_share"][place] == more["times"]["mean_share"][other]
        assert fewer["scores"]["iqm"][place]["mean"] == more["scores"]["iqm"][other]["mean"]
    (claim,) = fewer["claims"]
    assert claim["p"] == more["claims"][1]["p"]
    assert (more["claims"][1]["a"], more["claims"][1]["b"]) == ("sgd", "adam")


def test_identical_arms_tie_in_everything():
    draw = np.random.default_rng(0)
    ends = [1 + 0.1 * draw.normal(size=5) for _ in range(6)]
    found = {f"p{i}": made(f"p{i}", {"a": x, "b": x}) for i, x in enumerate(ends)}
    told = across(found, FROZEN, num_draws=50)
    (claim,) = told["claims"]
    assert (claim["p"], claim["verdict"]) == (1.0, "unresolved")
    assert claim["wins"] == {"mean": 0.5, "low": 0.5, "high": 0.5}
    assert told["friedman"]["mean_ranks"] == [1.5, 1.5]
    assert told["scores"]["differences"][0] == {"a": "a", "b": "b", "mean": 0, "low": 0, "high": 0}
    assert told["groups"] == [["a", "b"]]


def test_a_planted_difference_is_found_and_no_other():
    told = across(suite_of(num_problems=8), FROZEN, num_draws=50)
    verdicts = {(c["a"], c["b"]): c["verdict"] for c in told["claims"]}
    assert verdicts == {
        ("sgd", "momentum"): "unresolved", ("sgd", "adam"): "worse", ("momentum", "adam"): "worse"
    }  # fmt: skip
    assert told["groups"] == [["sgd", "momentum"]] or told["groups"] == [["momentum", "sgd"]]
    medians = np.array(told["table"])
    theirs = scipy.stats.wilcoxon(medians[:, 0], medians[:, 2], method="exact")
    assert told["claims"][1]["p"] == pytest.approx(theirs.pvalue)
    assert told["evidence"] == "confirmatory"


@pytest.mark.parametrize("num_studies", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_three_names_of_one_optimizer_are_claimed_different_in_one_of_twenty_at_most(num_studies):
    draw = np.random.default_rng(num_studies)
    names, question, claimed = ["a", "b", "c"], Question(), []
    for _ in range(num_studies):
        shared = 3 * draw.standard_normal((8, 10))
        costs = shared + draw.standard_normal((3, 8, 10))
        found = claims_over(costs, names, question, num_draws=2)
        claimed.append(any(one["verdict"] != "unresolved" for one in found))
    # what a share of 0.05 stays below in 999 of 1,000 repetitions
    most = scipy.stats.binom(num_studies, 0.05).ppf(0.999) / num_studies
    assert np.mean(claimed) <= most


def test_a_score_is_the_share_of_the_way_to_the_target_whatever_the_units():
    ends = {"a": np.array([2.0, 1.5, 1.0, 0.0]), "b": np.array([1.0, np.nan, 1.0, 1.0])}
    for scale in (1.0, 1000.0):
        found = {f"p{i}": made(f"p{i}", ends, scale=scale) for i in range(2)}
        told = across(found, FROZEN, num_draws=20)
        # of 0, 0.5, 1 and the 1.2 where a score is cut: the middle half; a diverged run has 0
        assert told["scores"]["iqm"][0]["mean"] == pytest.approx(0.75)
        assert told["scores"]["optimality_gap"][1]["mean"] == pytest.approx(0.25)
        np.testing.assert_allclose(told["table"], [[-0.75, -1.0]] * 2)


def test_a_problem_without_target_or_frozen_time_is_left_out_and_that_is_said():
    ends = {name: [1.0, 2.0] for name in ("sgd", "momentum", "adam")}
    found = {**suite_of(2), "free": made("free", ends, target=None)}
    other = {"metric": "valid_loss", "value": 7.0}
    frozen = {"p0": FROZEN["p0"], "p1": {**FROZEN["p1"], "target": other}}
    told = across(found, frozen, num_draws=20)
    assert told["left_out"]["scores"] == {"free": "it has no target"}
    assert told["left_out"]["times"] == {
        "p1": "its reference time is of another target",
        "free": "it has no target",
    }
    assert told["scores"]["problems"] == ["p0", "p1"]
    assert told["times"]["problems"] == ["p0"]
    assert told["num_seeds"] == 2
    assert len(told["table"]) == 3
    assert across(suite_of(2), {}, num_draws=20)["times"] is None


def test_the_time_profile_is_that_of_the_medians_over_the_frozen_times():
    finals = {"a": [0.0] * 3, "b": [1.0] * 3, "c": [1.5] * 3}  # meet 1.0 at 25, at 50, never
    found = {f"p{i}": made(f"p{i}", finals) for i in range(2)}
    told = across(found, FROZEN, num_draws=20)
    # (4 - ratio) / 3 of the ratios 1, 2 and none
    np.testing.assert_allclose(told["times"]["mean_share"], [1, 2 / 3, 0])
    steps = [row["median"]["mean"] for row in told["to_target"][:3]]
    assert steps == [25, 50, None]
    assert [row["expected_running_time"] for row in told["to_target"][:3]] == [25, 50, None]


def test_a_frozen_time_is_the_median_of_the_fastest_plain_optimizer():
    told = frozen_times()
    assert all(one["steps"] > 0 and one["of"] for one in told.values())
    finals = {"sgd": [1.0] * 3, "adam": [0.0] * 3, "mine": [-9.0] * 3}
    found = made("p0", finals)
    found.summary.update(protocol="dljax-1", fingerprint={"id": "0f"})
    place = Path(__file__).parent.parent / "experiments" / "reference_times.py"
    reference = runpy.run_path(str(place))["reference"](found)
    assert (reference["steps"], reference["of"]) == (25, "adam")
    two = {"p0": found, "p1": found}
    shares = across(two, {"p0": reference}, num_draws=20)["times"]
    np.testing.assert_allclose(shares["mean_share"], [2 / 3, 1, 1])
    lost = across(two, {"p0": {**reference, "batch_size": 9}}, num_draws=20)["left_out"]["times"]
    assert lost["p0"] == "its reference time is of another batch size"


def test_evidence_is_confirmatory_only_if_that_of_every_problem_is():
    found = suite_of(2) | {"last": suite_of(1, evidence="exploratory")["p0"]}
    told = across(found, FROZEN, num_draws=20)
    assert (told["evidence"], told["because"]) == ("exploratory", ["on last: edge"])


def test_only_optimizers_on_every_problem_take_part_and_a_baseline_makes_the_family_smaller():
    found = suite_of(2, baseline="sgd")
    found["p1"] = without(found, "momentum")["p1"]
    told = across(found, FROZEN, num_draws=20)
    assert told["optimizers"] == ["sgd", "adam"]
    assert told["left_out"]["optimizers"] == ["momentum"]
    assert told["family"]["what"] == "every optimizer against sgd"
    assert "too few problems: with 2" in told["note"]
    with pytest.raises(ValueError, match="2 problems or more, got 1"):
        across({"p0": found["p0"]})
    with pytest.raises(ValueError, match="2 optimizers or more"):
        across({"p0": found["p0"], "p1": made("p1", {"other": [1, 2]})})


def test_the_middle_half_is_the_interquartile_mean_and_that_of_runs_that_are_there_thrice():
    x = np.random.default_rng(0).normal(size=(5, 3, 4))
    np.testing.assert_allclose(middle_half(x), interquartile_mean(x), rtol=1e-12)
    x = x[:, :, :3]  # 4 does not divide 9
    np.testing.assert_allclose(middle_half(np.repeat(x, 3, axis=2)), middle_half(x), rtol=1e-12)


def test_the_interval_of_an_iqm_holds_it_although_problems_lie_apart():
    draw = np.random.default_rng(0)
    ends = {name: 0.01 * draw.normal(size=(3, 4)) for name in ("a", "b")}
    found = {
        f"p{i}": made(f"p{i}", {name: 1.1 + 0.1 * i + x[i] for name, x in ends.items()})
        for i in range(3)
    }
    for x in across(found, FROZEN, num_draws=200)["scores"]["iqm"]:
        assert x["low"] < x["mean"] < x["high"]


def test_groups_are_the_longest_stretches_in_which_no_pair_differs():
    names, ranks = ["a", "b", "c", "d"], np.array([1.0, 2.0, 3.0, 4.0])
    pairs = [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]
    told = {("a", "d"): "better", ("a", "c"): "better"}
    found = [{"a": a, "b": b, "verdict": told.get((a, b), "unresolved")} for a, b in pairs]
    assert groups(ranks, names, found) == [["a", "b"], ["b", "c", "d"]]
