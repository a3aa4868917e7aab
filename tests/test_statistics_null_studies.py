"""The protocol tried on itself: one optimizer under two names, in many simulated studies.

A study is two arms on 6 problems at 10 seeds. Problems differ in level and scale, the arms share
most of the noise of a seed, as paired runs do, and both draw the rest from one distribution: any
difference that is claimed is false. 200 studies run always, 1,000 with `pytest -m slow`.
"""

from itertools import pairwise

import numpy as np
import pytest
import scipy.stats

from dljax.comparison.statistics.aggregates import aggregate
from dljax.comparison.statistics.families import holm, pairwise_wilcoxon, win_rates
from dljax.comparison.statistics.intervals import interval
from dljax.comparison.statistics.paired import claim, meaningful_win, paired_effect
from dljax.comparison.statistics.power import further_seeds
from dljax.comparison.statistics.sequential import decide_in_batches

ALPHA = 0.05
PROBLEMS, SEEDS = 6, 10
LOOKS = range(10, 101, 10)
NOISES = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy": lambda rng, shape: rng.standard_t(3, shape),
    "skewed": lambda rng, shape: np.exp(rng.standard_normal(shape)),
}
counts = pytest.mark.parametrize("num_studies", [200, pytest.param(1000, marks=pytest.mark.slow)])
noises = pytest.mark.parametrize("noise", NOISES)


def null_studies(num_studies, noise="normal", num_seeds=SEEDS):
    """Yields float[2, P, S]: losses of one optimizer under two names."""
    rng = np.random.default_rng(num_studies)
    level, scale = np.arange(1.0, PROBLEMS + 1), 10.0 ** -np.arange(PROBLEMS)
    for _ in range(num_studies):
        shared = 3 * rng.standard_normal((PROBLEMS, num_seeds))
        own = NOISES[noise](rng, (2, PROBLEMS, num_seeds))
        yield level[:, None] + scale[:, None] * (shared + own)


def at_most(share, num_studies):
    """What a share of that size stays below in 999 of 1,000 repetitions."""
    return scipy.stats.binom(num_studies, share).ppf(0.999) / num_studies


@counts
@noises
def test_a_null_study_claims_a_difference_in_one_of_twenty_at_most(num_studies, noise):
    claimed = []
    for study in null_studies(num_studies, noise):
        claims = [claim(paired_effect(a, b)) for a, b in zip(*study)]
        family = holm([found.test.p for found in claims])
        over = pairwise_wilcoxon(np.median(study, axis=2).T)
        claimed.append(
            [
                np.mean([found.verdict != "unresolved" for found in claims]),
                family.min() <= ALPHA,
                over.adjusted[0] <= ALPHA,
            ]
        )
    one_problem, any_problem, over_problems = np.mean(claimed, axis=0)
    assert one_problem <= at_most(ALPHA, num_studies * PROBLEMS)
    assert any_problem <= at_most(ALPHA, num_studies)
    assert over_problems <= at_most(ALPHA, num_studies)


@counts
@noises
def test_the_interval_of_the_effect_covers_it_in_94_to_96_of_100(num_studies, noise):
    effects = [
        paired_effect(a, b) for study in null_studies(num_studies, noise) for a, b in zip(*study)
    ]
    covered = np.mean([low <= 0 <= high for _, low, high in map(interval, effects)])
    error = 3 * np.sqrt(ALPHA * (1 - ALPHA) / len(effects))
    # 1,000 studies have 6,000 intervals, whose error is 0.008; heavy tails make t conservative
    assert 0.95 - error < covered < (0.95 if noise == "normal" else 0.965) + error
    if noise == "normal" and num_studies == 1000:
        assert 0.94 < covered < 0.96


@counts
def test_the_bounds_of_the_aggregates_cover(num_studies):
    covered = []
    for study in null_studies(num_studies):
        level, scale = np.arange(1.0, PROBLEMS + 1), 10.0 ** -np.arange(PROBLEMS)
        scores = (study - level[:, None]) / scale[:, None]
        found, wins = aggregate(scores, num_draws=400), win_rates(study, num_draws=400)
        covered.append(
            [
                found.difference_low[0, 1] <= 0 <= found.difference_high[0, 1],
                wins.low[0, 1] <= 0.5 <= wins.high[0, 1],
            ]
        )
    iqm, rate = np.mean(covered, axis=0)
    error = 3 * np.sqrt(ALPHA * (1 - ALPHA) / num_studies)
    assert abs(iqm - 0.95) < error
    assert abs(rate - 0.95) < error + 0.01  # the rate of 60 pairs takes few values


@counts
@noises
def test_adaptive_stopping_claims_a_difference_in_one_of_twenty_at_most(num_studies, noise):
    effects = [
        paired_effect(*study[:, 0]) for study in null_studies(num_studies, noise, max(LOOKS))
    ]
    found = [decide_in_batches(d, LOOKS) for d in effects]
    assert np.mean([f.verdict != "unresolved" for f in found]) <= at_most(ALPHA, num_studies)
    # an interval that may be looked at whenever one likes covers more at any one look
    assert np.mean([f.effect.low <= 0 <= f.effect.high for f in found]) >= 0.95
    # what it guards against: the same looks with intervals that are meant for one look
    peeked = [
        any(interval(d[:n]).low > 0 or interval(d[:n]).high < 0 for n in LOOKS) for d in effects
    ]
    assert np.mean(peeked) > 2 * ALPHA


@counts
@pytest.mark.parametrize("effect", [0.6, 1.0])
def test_a_planted_difference_is_found_with_the_promised_power(num_studies, effect):
    rng = np.random.default_rng(5)
    pilot = np.array([-1.0, 0.0, 1.0])  # standard deviation 1, that of the studies
    num_seeds = pilot.size + further_seeds(pilot, effect, power=0.8)
    studies = rng.standard_normal((num_studies, num_seeds)) - effect
    found = [claim(d) for d in studies]
    better = np.mean([f.verdict == "better" for f in found])
    error = 3 * np.sqrt(0.8 * 0.2 / num_studies)
    assert 0.78 - error < better < 0.84 + error  # whole seeds overshoot a little
    assert not any(f.verdict == "worse" for f in found)
    covered = np.mean([f.effect.low <= -effect <= f.effect.high for f in found])
    assert abs(covered - 0.95) < 3 * np.sqrt(ALPHA * (1 - ALPHA) / num_studies)


@counts
def test_adaptive_seeds_find_a_planted_difference_and_stop_early(num_studies):
    studies = np.random.default_rng(6).standard_normal((num_studies, max(LOOKS))) - 1
    found = [decide_in_batches(d, LOOKS, margin=0.2) for d in studies]
    assert np.mean([f.verdict == "better" for f in found]) > 0.99
    assert np.mean([f.num_seeds for f in found]) < 22
    covered = np.mean([f.effect.low <= -1 <= f.effect.high for f in found])
    assert covered >= 0.95


@counts
def test_a_difference_as_large_as_the_margin_is_seldom_called_equivalent(num_studies):
    noise = np.random.default_rng(7).standard_normal((num_studies, max(LOOKS)))
    for margin, shift in ((1.0, 1.0), (1.0, -1.0)):
        once = [claim(d[:20] + shift, margin).verdict == "equivalent" for d in noise]
        looked = [
            decide_in_batches(d + shift, LOOKS, margin).verdict == "equivalent" for d in noise
        ]
        assert np.mean(once) <= at_most(ALPHA, num_studies)
        assert np.mean(looked) <= at_most(ALPHA, num_studies)
    assert np.mean([claim(d[:20], 1.0).verdict == "equivalent" for d in noise]) > 0.95
    looked = [decide_in_batches(d, LOOKS, 1.0).verdict for d in noise]
    assert np.mean([verdict == "equivalent" for verdict in looked]) > 0.95


@counts
def test_bouthilliers_rule_is_wrong_in_one_of_sixteen_at_29_seeds(num_studies):
    wrong = []
    for study in null_studies(num_studies, num_seeds=29):
        wrong.append(meaningful_win(*study[:, 0], num_draws=1000).verdict != "unresolved")
    binomial = 2 * scipy.stats.binom(29, 0.5).sf(19)  # 20 wins are enough
    assert binomial == pytest.approx(0.061, abs=0.001)
    error = 3 * np.sqrt(binomial * (1 - binomial) / num_studies)
    assert abs(np.mean(wrong) - binomial) < error


def test_studies_of_one_seed_are_the_same_twice():
    first, second = (list(null_studies(2)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second))
    assert all((a != b).any() for a, b in pairwise(first))
