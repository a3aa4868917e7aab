"""Two optimizers compared: closed forms, brute force over all signs, scipy, and invariances."""

from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dljax.comparison.statistics.intervals import METHODS, interval
from dljax.comparison.statistics.paired import (
    claim,
    equivalence,
    meaningful_win,
    paired_effect,
    sign_flip_test,
    win_rate,
)
from dljax.comparison.statistics.power import further_seeds, noether_seeds, power_of
from dljax.comparison.statistics.unpaired import mann_whitney, welch

RUNS = np.random.default_rng(7)
D = RUNS.standard_normal(10) + 0.4
small = arrays(np.float64, st.integers(2, 9), elements=st.integers(-5, 5).map(float))


@pytest.mark.parametrize(("method", "theirs"), [("bca", "BCa"), ("percentile", "percentile")])
@pytest.mark.parametrize("sample", [D, np.exp(D), np.round(D)], ids=["normal", "skew", "ties"])
def test_the_bootstrap_of_the_same_draws_is_that_of_scipy(method, theirs, sample):
    expected = scipy.stats.bootstrap(
        (sample,), np.mean, n_resamples=3000, method=theirs, rng=np.random.default_rng(5)
    ).confidence_interval
    mean, low, high = interval(sample, 5, method=method, num_draws=3000)
    # the same draws, added up in another order
    np.testing.assert_allclose([mean, low, high], [sample.mean(), *expected], rtol=1e-12)


def test_the_studentised_interval_is_its_formula_draw_by_draw():
    rows = np.random.default_rng(3).integers(0, 10, (500, 10))
    t = [(D[row].mean() - D.mean()) / D[row].std(ddof=1) for row in rows]
    expected = D.mean() - np.quantile(t, [0.95, 0.05]) * D.std(ddof=1)
    found = interval(D, 3, level=0.9, method="studentised", num_draws=500)
    np.testing.assert_allclose(found[1:], expected, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_an_interval_moves_and_stretches_with_the_runs_and_forgets_their_order(method):
    options = {"seed": 1, "method": method, "num_draws": 400}
    found = np.array(interval(D, **options))
    np.testing.assert_allclose(interval(3 + 2 * D, **options), 3 + 2 * found, rtol=1e-9)
    if method in ("student", "percentile"):
        mirrored = interval(-D, **options)
        np.testing.assert_allclose(mirrored, -found[[0, 2, 1]], rtol=1e-9)
    assert interval(np.full(4, 0.1), **options) == (0.1, 0.1, 0.1)


@given(small)
@settings(max_examples=40)
def test_the_sign_flip_test_counts_all_sign_vectors(d):
    signs = np.array(list(product([-1, 1], repeat=d.size)))
    expected = np.mean(np.abs(signs @ d) >= abs(d.sum()))  # whole numbers: no rounding
    p, smallest, exact = sign_flip_test(d)
    assert exact
    assert p == expected
    assert smallest <= p <= 1


@given(arrays(np.int64, 6, elements=st.integers(-99, 99)), st.permutations(range(6)))
@settings(max_examples=40)
def test_the_sign_flip_test_forgets_order_sign_and_scale(d, order):
    p = sign_flip_test(d).p
    assert sign_flip_test(d[list(order)]).p == p == sign_flip_test(-0.1 * d).p


def test_the_sign_flip_test_is_scipys_permutation_test():
    expected = scipy.stats.permutation_test(
        (D,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_test(D).p == pytest.approx(expected.pvalue, rel=1e-12)


def test_five_seeds_cannot_reach_a_twentieth_and_the_test_says_so():
    assert sign_flip_test([1, 2, 3, 4, 5]) == (0.0625, 0.0625, True)
    assert sign_flip_test([1, 2, 3, 4, 5, 6]) == (0.03125, 0.03125, True)
    assert sign_flip_test([0, 0, 3.0]).smallest == 1.0
    assert sign_flip_test([0.0, 0.0]) == (1.0, 1.0, True)


def exact_p(whole):
    """The sign-flip p of whole numbers, from the distribution of their sum built one by one."""
    shares = np.ones(1)  # of the sums in steps of 2
    for x in np.abs(whole):
        shares = np.convolve(shares, np.eye(1, x + 1)[0] / 2 + np.eye(1, x + 1, x)[0] / 2)
    sums = 2 * np.arange(shares.size) - np.abs(whole).sum()
    return shares[np.abs(sums) >= abs(whole.sum())].sum()


@pytest.mark.parametrize("size", [17, 30, 32])
def test_thirty_seeds_are_tested_exactly(size):
    whole = np.random.default_rng(size).integers(1, 30, size) * np.resize([1, -1, 1, 1, -1], size)
    p, smallest, exact = sign_flip_test(whole)
    assert exact
    assert p == pytest.approx(exact_p(whole), rel=1e-9)
    assert smallest == 2.0 ** (1 - size)


def test_more_seeds_draw_their_signs_and_never_claim_that_nothing_is_rarer():
    assert sign_flip_test(np.arange(1.0, 41.0), num_draws=999) == (0.001, 0.001, False)
    whole = np.random.default_rng(0).integers(1, 30, 40) * np.resize([1, -1, 1, 1, -1], 40)
    found, exact = sign_flip_test(whole, 1, num_draws=20_000), exact_p(whole)
    assert found.p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))
    assert found == sign_flip_test(whole, 1, num_draws=20_000)


def test_equivalence_is_the_larger_of_two_one_sided_t_tests():
    for margin in (0.1, 0.5, 2.0):
        above = scipy.stats.ttest_1samp(D, -margin, alternative="greater").pvalue
        below = scipy.stats.ttest_1samp(D, margin, alternative="less").pvalue
        assert equivalence(D, margin) == pytest.approx(max(above, below), rel=1e-9)
        _, low, high = interval(D, level=0.9)
        assert (equivalence(D, margin) <= 0.05) == (-margin < low and high < margin)
    assert equivalence([0.1, 0.1], 0.2) == 0
    assert equivalence([0.1, 0.1], 0.1) == 1


def test_a_claim_is_better_worse_equivalent_or_unresolved_and_mirrors():
    strong = np.linspace(0.5, 1.5, 8)
    assert claim(-strong).verdict == "better"
    assert claim(strong).verdict == "worse"
    assert claim(strong, margin=5.0).verdict == "equivalent"
    assert claim(strong - 1).verdict == "unresolved"
    assert claim(strong - 1, margin=0.1).verdict == "unresolved"
    assert claim(strong[:5]).verdict == "unresolved"  # the test cannot reach 0.05
    found = claim(strong, margin=5.0)
    assert (found.test.p, found.num_seeds) == (2**-7, 8)
    assert found.effect == interval(strong)
    assert np.isnan(claim(strong).p_equivalent)


def test_a_win_is_a_lower_loss_and_a_tie_is_half_of_one():
    assert win_rate([1, 2, 3, np.inf], [2, 2, 1, np.inf]) == 0.5
    assert win_rate([1, 2, np.inf], [2, 3, 5]) == pytest.approx(2 / 3)


@given(small)
@settings(max_examples=40)
def test_the_wins_of_both_sides_add_up(a):
    b = a[::-1].copy()
    assert win_rate(a, b) + win_rate(b, a) == pytest.approx(1)
    ours = meaningful_win(a, b, num_draws=200).verdict
    theirs = meaningful_win(b, a, num_draws=200).verdict
    assert (ours, theirs) in {("better", "worse"), ("worse", "better"), ("unresolved",) * 2}


def test_bouthilliers_rule_asks_for_more_than_a_half_and_room_for_gamma():
    a, b = np.zeros(40), np.ones(40)
    assert meaningful_win(a, b).verdict == "better"
    assert meaningful_win(b, a).verdict == "worse"
    b[:13] = -1  # 27 of 40: above a half, not clearly
    rule = meaningful_win(a, b, num_draws=2000)
    low, high = scipy.stats.binom(40, 27 / 40).ppf([0.025, 0.975]) / 40
    # the bootstrap of a share is binomial; a step of 1 / 40 for 2,000 draws
    np.testing.assert_allclose(rule.rate, [27 / 40, low, high], atol=0.0251)
    thousand = np.where(np.arange(1000) < 600, -1.0, 1.0)
    assert meaningful_win(thousand, -thousand).verdict == "unresolved"  # surely 60 %: too seldom


def test_the_effect_is_a_difference_or_a_log_ratio_above_the_optimum():
    np.testing.assert_array_equal(paired_effect([1, 2], [3, 1]), [-2, 1])
    np.testing.assert_allclose(paired_effect([2, 3], [3, 2], 1), np.log([0.5, 2]), rtol=1e-15)


@given(small, small)
@settings(max_examples=25)
def test_welch_is_scipys(a, b):
    assume(np.ptp(a) > 0 and np.ptp(b) > 0)  # scipy warns of a sample without variance
    ours, theirs = welch(a, b), scipy.stats.ttest_ind(a, b, equal_var=False)
    low, high = theirs.confidence_interval()
    np.testing.assert_allclose(
        [ours.p, ours.dof, ours.difference.low, ours.difference.high],
        [theirs.pvalue, theirs.df, low, high],
        rtol=1e-9,
        atol=1e-12,
    )


def test_welch_of_runs_without_variance_is_sure():
    assert welch([1, 1], [1, 1, 1]).p == 1
    assert welch([1, 1], [2, 2]) == ((-1.0, -1.0, -1.0), 0.0, np.inf)


def test_mann_whitney_counts_all_pairs_and_all_divisions():
    a, b = RUNS.standard_normal(4), RUNS.standard_normal(5) + 1
    both, won = np.concatenate([a, b]), mann_whitney(a, b).probability
    assert won == np.mean([x < y for x in a for y in b])
    shares = []
    for chosen in product([False, True], repeat=9):
        if sum(chosen) == 4:
            first, rest = both[list(chosen)], both[~np.array(chosen)]
            shares.append(np.mean(first[:, None] < rest))
    expected = np.mean(np.abs(np.array(shares) - 0.5) >= abs(won - 0.5) - 1e-12)
    assert mann_whitney(a, b).p == pytest.approx(expected)
    assert mann_whitney([1, np.inf], [np.inf, 3]).probability == 0.625


def test_29_seeds_are_what_bouthillier_and_others_ask_for():
    assert noether_seeds() == 29
    z = scipy.stats.norm.isf(0.05) * 2
    assert noether_seeds(test="sign") == np.ceil((z / (2 * 0.25)) ** 2) == 44
    assert noether_seeds(0.999, power=0.01, alpha=0.9) == 1


@pytest.mark.parametrize("effect", [0.2, 0.7, 2.0])
def test_the_power_is_that_of_the_noncentral_t(effect):
    S = np.array([2, 5, 10, 40])
    t = scipy.stats.t.isf(0.025, S - 1)
    theirs = scipy.stats.nct(S - 1, np.sqrt(S) * effect)
    # 2,000 quantiles; the tail of two seeds is the roughest
    np.testing.assert_allclose(power_of(S, effect, 1.0), theirs.sf(t) + theirs.cdf(-t), atol=2e-4)


def test_the_seeds_for_a_power_are_the_fewest_that_have_it():
    # 34 pairs for half a standard deviation at 80 %, as every table of the paired t test has it
    d = np.array([-1.0, 0.0, 1.0])
    assert further_seeds(d, 0.5) == 34 - 3
    for effect in (0.3, 1.0, -1.2):
        S = 3 + further_seeds(d, effect, power=0.9)
        assert power_of(S, effect, 1.0) >= 0.9 > power_of(S - 1, effect, 1.0)
    # fewer than eight leave the sign-flip test short of its power
    assert further_seeds(d, 3.0) == further_seeds(np.ones(3), 0.1) == 5
    assert further_seeds(np.arange(9.0), 30.0) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sign_flip_test([1, np.nan]), "must not hold NaN; a diverged run counts as inf"),
        (lambda: interval([1, np.inf]), "x must be finite, got inf .a diverged run"),
        (lambda: interval([1.0]), r"x must hold 2 or more numbers, got shape \(1,\)"),
        (lambda: interval([1, 2], method="bac"), "method must be one of student, bca, .* 'bac'"),
        (lambda: win_rate([1, 2], [1]), "must share their seeds, got 2 and 1 runs"),
        (lambda: win_rate([1, np.nan], [1, 2]), "a must not hold NaN"),
        (lambda: paired_effect([1, 2], [2, 3], 1), r"minus the optimum must be in \(0, inf\)"),
        (lambda: paired_effect([1, np.inf], [2, 3]), "a must be finite, got inf"),
        (lambda: equivalence([1, 2], 0), r"margin must be in \(0, inf\), got 0"),
        (lambda: claim([[1, 2]]), r"must be of rank 1, got shape \(1, 2\)"),
        (lambda: meaningful_win([1, 2], [2, 1], gamma=0.5), r"gamma must be in \(0.5, 1\)"),
        (lambda: noether_seeds(test="t"), "test must be one of mann-whitney, sign, got 't'"),
        (lambda: further_seeds([0, 1], 0), r"size of the effect must be in \(0, inf\), got 0"),
        (lambda: further_seeds([0, 1], 1e-6), "seeds must stay below 1,000,000"),
    ],
)
def test_bad_input_is_named_in_a_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
