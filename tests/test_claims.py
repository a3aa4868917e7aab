"""What is claimed of pairs of optimizers: by which test, in which direction, with which error."""

import numpy as np
import pytest
import scipy.stats

from dljax.comparison.claims import Question, checked_question, claims, family, pairs_of
from dljax.comparison.statistics.families import holm
from dljax.comparison.statistics.sequential import (
    confidence_sequence,
    equivalence_e_values,
    sign_e_values,
)

ALPHA, SEEDS = 0.05, 10
counts = pytest.mark.parametrize("num_studies", [150, pytest.param(1000, marks=pytest.mark.slow)])


@pytest.fixture
def no_further_seeds(monkeypatch):
    """What is slow and no matter of error."""
    monkeypatch.setattr("dljax.comparison.pair_tests.further_seeds", lambda *_, **__: 0)


def losses(*shifts, num_seeds=SEEDS, seed=0, sd=1.0):
    """Final losses of optimizers that share the noise of a seed, each shifted."""
    draw = np.random.default_rng(seed)
    shared = draw.standard_normal(num_seeds)
    return {
        chr(97 + i): 5 + shift + 2 * shared + sd * draw.standard_normal(num_seeds)
        for i, shift in enumerate(shifts)
    }


def at_most(share, num_studies):
    """What a share of that size stays below in 999 of 1,000 repetitions."""
    return scipy.stats.binom(num_studies, share).ppf(0.999) / num_studies


def test_a_lower_loss_is_better_and_a_higher_accuracy_is_better():
    finals = losses(-5.0, 0.0)
    (lower,) = claims(finals, "min", Question())
    (higher,) = claims(finals, "max", Question())
    assert (lower["verdict"], higher["verdict"]) == ("better", "worse")
    assert lower["effect"]["mean"] < 0
    assert lower["wins"]["mean"] == 1 - higher["wins"]["mean"] == 1.0


def test_effect_and_p_are_those_of_scipy_and_adjusted_over_all_pairs():
    finals = losses(0.0, 0.7, 1.0, 2.5)
    found = claims(finals, "min", Question())
    for one in found:
        d = finals[one["a"]] - finals[one["b"]]
        t = scipy.stats.ttest_1samp(d, 0).confidence_interval(0.95)
        np.testing.assert_allclose([one["effect"][k] for k in ("low", "high")], t, rtol=1e-9)
        exact = scipy.stats.permutation_test(
            (d,), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        assert one["p"] == pytest.approx(exact.pvalue)
    np.testing.assert_allclose([c["adjusted_p"] for c in found], holm([c["p"] for c in found]))


def test_a_baseline_makes_a_smaller_family():
    finals = losses(0.0, 1.0, 2.0)
    assert pairs_of(list(finals), "b") == [("a", "b"), ("c", "b")]
    assert family(list(finals), Question("b"))["size"] == 2
    found = claims(finals, "min", Question("b"))
    assert [one["b"] for one in found] == ["b", "b"]
    assert family(list(finals), Question())["size"] == 3


def test_equal_within_the_margin_is_equivalent_and_else_unresolved_never_no_difference():
    finals = losses(0.0, 0.0, sd=0.01)
    (close,) = claims(finals, "min", Question(margin=0.5))
    (open_,) = claims(losses(0.0, 0.1, seed=1), "min", Question(margin=0.01))
    assert close["verdict"] == "equivalent"
    assert open_["verdict"] == "unresolved"
    assert open_["further_seeds"] > 100


def test_the_default_margin_is_one_pooled_standard_deviation():
    finals = losses(0.0, 1.0)
    (one,) = claims(finals, "min", Question())
    pooled = np.sqrt(np.mean([x.var(ddof=1) for x in finals.values()]))
    assert one["margin"] == pytest.approx(pooled)


def test_a_run_that_diverged_loses_and_leaves_no_effect():
    finals = losses(0.0, 0.0)
    finals["b"][:9] = np.nan
    (one,) = claims(finals, "max", Question())
    assert one["effect"] is None
    assert one["diverged"] == [0, 9]
    assert one["wins"]["mean"] >= 0.9
    assert one["verdict"] == "better"
    finals["a"][:] = np.nan
    (tie,) = claims(finals, "min", Question())
    assert tie["verdict"] == "unresolved"


def test_where_the_optimum_is_known_losses_are_compared_by_their_logarithm():
    a = 10.0 ** -np.arange(3.0, 13.0)
    (one,) = claims({"a": a, "b": 100 * a}, "min", Question(), optimum=0.0)
    assert one["scale"] == "log ratio"
    assert one["effect"]["mean"] == pytest.approx(-np.log(100))
    (beyond,) = claims({"a": a - a.min(), "b": a}, "min", Question(), optimum=0.0)
    assert (beyond["scale"], beyond["effect"]) == ("sign", None)


def test_a_declared_margin_is_one_of_the_metric_whatever_is_known_of_the_optimum():
    draw = np.random.default_rng(0)
    finals = {name: level + draw.standard_normal(10) for name, level in (("a", 100), ("b", 120))}
    (one,) = claims(finals, "min", Question(margin=0.5), optimum=0.0)
    assert (one["scale"], one["verdict"]) == ("difference", "better")


def test_runs_that_share_no_seeds_are_compared_by_welch_or_mann_and_whitney():
    finals = losses(0.0, 2.0, seed=1)
    finals["b"] = finals["b"][:7]
    (one,) = claims(finals, "min", Question(), paired=False)
    welch = scipy.stats.ttest_ind(*finals.values(), equal_var=False)
    assert one["p"] == pytest.approx(welch.pvalue)
    np.testing.assert_allclose(
        [one["effect"]["low"], one["effect"]["high"]], welch.confidence_interval(), rtol=1e-9
    )
    finals["b"][0] = np.nan
    (ranked,) = claims(finals, "min", Question(), paired=False)
    assert ranked["test"] == "Mann-Whitney test"
    with pytest.raises(ValueError, match="paired runs must share their seeds, got 10 and 7"):
        claims(finals, "min", Question())


def test_one_seed_claims_nothing():
    (one,) = claims({"a": np.array([1.0]), "b": np.array([2.0])}, "min", Question())
    assert one["verdict"] == "unresolved"
    assert one["p"] == 1.0


def test_the_evidence_of_equivalence_exceeds_its_bound_just_where_the_sequence_is_inside():
    d = 0.1 * np.random.default_rng(2).standard_normal(60)
    margin = 0.08
    low, high = confidence_sequence(d, alpha=ALPHA)
    inside = (-margin < low) & (high < margin)
    assert inside.any()
    np.testing.assert_array_equal(equivalence_e_values(d, margin) > 1 / ALPHA, inside)


def test_the_evidence_of_signs_is_a_fair_bet():
    # the mean over all sequences of coins is 1: a martingale
    n = 8
    signs = 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1) - 1
    e = np.array([sign_e_values(row) for row in signs])
    np.testing.assert_allclose(e.mean(axis=0), 1, rtol=1e-12)


@counts
def test_a_family_of_null_pairs_claims_a_difference_in_one_of_twenty_at_most(
    num_studies, no_further_seeds
):
    found = [claims(losses(0, 0, 0, 0, seed=s), "min", Question()) for s in range(num_studies)]
    told = [any(one["verdict"] in ("better", "worse") for one in family) for family in found]
    assert np.mean(told) <= at_most(ALPHA, num_studies)


@counts
def test_seeds_may_be_added_until_a_family_is_resolved_without_more_errors(
    num_studies, no_further_seeds
):
    looks = [10, 20, 30, 40]

    def stopped(study):
        for number, look in enumerate(looks, 1):
            finals = {name: x[:look] for name, x in study.items()}
            found = claims(finals, "min", Question(), looks=looks[:number])
            if all(one["verdict"] != "unresolved" for one in found):
                break
        return any(one["verdict"] in ("better", "worse") for one in found)

    told = [stopped(losses(0, 0, 0, num_seeds=40, seed=s)) for s in range(num_studies)]
    assert np.mean(told) <= at_most(ALPHA, num_studies)


@counts
@pytest.mark.parametrize("unit", [0.5, 1.0])
def test_a_metric_of_few_values_claims_no_more_at_any_look(num_studies, unit, no_further_seeds):
    # as the accuracy on a few rows, whose differences are often all equal after a few seeds
    def told(seed):
        rounded = {
            n: unit * np.round(x / unit) for n, x in losses(0, 0, num_seeds=15, seed=seed).items()
        }
        for number in (1, 2, 3):
            finals = {name: x[: 5 * number] for name, x in rounded.items()}
            (one,) = claims(finals, "min", Question(), looks=[5, 10, 15][:number])
            if one["verdict"] != "unresolved":
                return True
        return False

    assert np.mean([told(seed) for seed in range(num_studies)]) <= at_most(ALPHA, num_studies)


def test_a_run_that_diverges_between_looks_changes_the_test_for_none_of_them():
    finals = losses(-3.0, 0.0, num_seeds=20)
    looks = [5, 10, 15, 20]
    (whole,) = claims(finals, "min", Question(), looks=looks)
    finals["b"][12] = np.nan
    (lost,) = claims(finals, "min", Question(), looks=looks)
    (before,) = claims({n: x[:10] for n, x in finals.items()}, "min", Question(), looks=looks[:2])
    assert lost["test"] == whole["test"] == "e-values of t and signs"
    assert lost["p"] <= before["p"]
    assert (lost["effect"], lost["verdict"]) == (None, "better")


@counts
def test_a_difference_of_the_default_margin_is_rarely_called_equivalent(
    num_studies, no_further_seeds
):
    # one standard deviation over seeds, sqrt(5), is estimated from the same runs, and that counts
    far = np.sqrt(5.0)
    found = [claims(losses(0.0, far, seed=s), "min", Question())[0] for s in range(num_studies)]
    assert np.mean([one["verdict"] == "equivalent" for one in found]) <= at_most(ALPHA, num_studies)


def test_a_question_out_of_range_is_one_clear_line():
    with pytest.raises(ValueError, match="unknown baseline 'adm'; did you mean 'adam'"):
        checked_question(Question("adm"), ["adam", "sgd"])
    with pytest.raises(ValueError, match="margin must be in"):
        checked_question(Question(margin=0.0), ["adam"])
