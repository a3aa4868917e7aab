"""The confidence sequence is its likelihood ratio turned round, and its looks cost nothing."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from dljax.comparison.statistics.sequential import (
    confidence_sequence,
    decide,
    decide_in_batches,
    e_values,
)

D = np.random.default_rng(4).standard_normal(30) + 0.8


@pytest.mark.parametrize("g", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("size", [2, 5, 30])
def test_the_evidence_is_the_likelihood_ratio_of_t_averaged_over_effects(g, size):
    d = D[:size]
    t = scipy.stats.ttest_1samp(d, 0).statistic

    def weighed(effect):
        density = scipy.stats.nct.pdf(t, size - 1, np.sqrt(size) * effect)
        return density * scipy.stats.norm.pdf(effect, scale=np.sqrt(g))

    averaged, _ = quad(weighed, -8 * np.sqrt(g), 8 * np.sqrt(g), points=[t / np.sqrt(size)])
    expected = averaged / scipy.stats.t.pdf(t, size - 1)
    # what scipy's noncentral t and the cut integral are good for
    assert e_values(d, g)[-1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_the_interval_holds_the_means_that_the_evidence_spares(alpha):
    low, high = confidence_sequence(D, alpha=alpha, g=2.0)
    bounded = np.isfinite(high)
    assert bounded[5:].all()
    assert not bounded[0]
    for size in np.flatnonzero(bounded) + 1:
        for bound in (low[size - 1], high[size - 1]):
            # at its ends the evidence is 1 / alpha
            assert e_values(D[:size] - bound, 2.0)[-1] == pytest.approx(1 / alpha, rel=1e-6)
    # where it is the whole line no mean is ever ruled out
    for size in np.flatnonzero(~bounded)[1:] + 1:
        assert e_values(D[:size] + 1e6, 2.0)[-1] < 1 / alpha


def test_the_evidence_has_mean_one_under_the_null_at_any_size():
    d = np.random.default_rng(0).standard_normal((4000, 4)) * 7
    found = np.array([e_values(x, 0.2) for x in d]).mean(axis=0)
    np.testing.assert_allclose(found, 1, atol=0.04)  # some three standard errors


@given(st.floats(-50, 50), st.floats(0.01, 100), st.floats(0.01, 0.5))
def test_the_sequence_moves_and_stretches_with_the_differences(shift, scale, alpha):
    found = np.array(confidence_sequence(D, alpha=alpha))
    moved = np.array(confidence_sequence(shift + scale * D, alpha=alpha))
    np.testing.assert_allclose(moved, shift + scale * found, rtol=1e-6, atol=1e-6)
    mirrored = np.array(confidence_sequence(-D, alpha=alpha))
    np.testing.assert_allclose(mirrored, -found[::-1], rtol=1e-9)


def test_looking_at_any_time_is_wider_than_students_interval_and_not_by_much():
    low, high = confidence_sequence(D)
    t = scipy.stats.t.interval(0.95, 29, D.mean(), scipy.stats.sem(D))
    assert low[-1] < t[0] < t[1] < high[-1]
    assert high[-1] - low[-1] < 1.7 * (t[1] - t[0])


def test_a_decision_is_better_worse_equivalent_or_to_go_on():
    noise = D - D.mean()
    assert decide(noise - 2).verdict == "better"
    assert decide(noise + 2).verdict == "worse"
    assert decide(noise + 2, margin=5.0).verdict == "equivalent"
    assert decide(noise, margin=1.0).verdict == "equivalent"
    assert decide(noise, margin=0.1).verdict == decide(noise).verdict == "unresolved"
    assert decide(noise[:2] - 2).verdict == "unresolved"  # two seeds bound nothing
    assert decide([1.0, 1.0, 1.0, 1.0, 1.0, 1.0]).verdict == "worse"


def test_batches_stop_at_the_first_resolved_look():
    found = decide_in_batches(D - 3, [5, 10, 20, 30])
    assert found.verdict == "better"
    assert found == decide((D - 3)[: found.num_seeds])
    assert found.num_seeds < 30
    assert decide_in_batches(D - D.mean(), [10, 30]).num_seeds == 30


def test_equal_differences_count_by_their_signs_and_zeros_say_nothing():
    np.testing.assert_allclose(e_values([2.0, 2.0, 2.0]), [1, 4 / 3, 2])  # 2^S / (S + 1)
    np.testing.assert_allclose(e_values([0.0, 0.0, 0.0]), 1)
    assert e_values(np.resize([1.0, 1.0 + 1e-9], 1000))[-1] == np.inf  # beyond float64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: e_values([1.0]), "d must hold 2 or more numbers"),
        (lambda: e_values([1.0, np.nan]), "d must not hold NaN"),
        (lambda: confidence_sequence(D, alpha=0), r"alpha must be in \(0, 1\), got 0"),
        (lambda: decide(D, g=-1), r"g must be in \(0, inf\), got -1"),
        (lambda: decide(D, margin=-1), r"margin must be in \(0, inf\), got -1"),
        (lambda: decide_in_batches(D, [10, 40]), r"looks must be in \[2, 30\], got 40"),
        (lambda: decide_in_batches(D, [10, 10]), r"increasing numbers of seeds, got \[10, 10\]"),
    ],
)
def test_bad_input_is_named_in_a_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
