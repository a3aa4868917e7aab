"""Standardisation: scikit-learn's on the same rows, blind for all others, the same at any width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

import dljax as dj
from dljax.sums import sum_by_halves

KEY = jax.random.key(0)
DRAW = np.random.default_rng(3)
X = (DRAW.normal(size=(40, 3)) * [1, 10, 0.1] + [0, 100, -5]).astype(np.float32)
standardized = jax.jit(dj.standardized)
standardizer = jax.jit(dj.standardizer)


@pytest.mark.parametrize("bag", [dj.bootstrap, dj.poisson_bootstrap, dj.bayesian_bootstrap])
def test_features_are_scaled_as_by_scikit_learn_with_weights(bag):
    rows = jax.jit(bag, static_argnums=1)(KEY, 40).train
    theirs = StandardScaler().fit(X.astype(np.float64), sample_weight=dj.row_weights(rows, 40))
    mean, sd = standardizer(X, rows)
    # float32 against float64: the mean of 100 is 1,000 of its standard deviations' millionths
    np.testing.assert_allclose(mean, theirs.mean_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(sd, theirs.scale_, rtol=1e-5)
    ours = standardized(X, rows)
    np.testing.assert_allclose(ours, theirs.transform(X.astype(np.float64)), atol=1e-4)


def test_rows_that_are_not_fitted_are_scaled_and_decide_nothing():
    split = jax.jit(lambda: dj.kfold(KEY, 40, 5, 2))()
    held_out = np.asarray(split.valid.index)
    garbage = X.copy()
    garbage[held_out] = np.nan
    ours, blind = standardized(X, split.train), standardized(garbage, split.train)
    others = np.setdiff1d(np.arange(40), held_out)
    np.testing.assert_array_equal(ours[others], blind[others])
    assert np.isfinite(ours[held_out]).all()
    assert np.isnan(blind[held_out]).all()


def test_a_row_of_weight_zero_decides_nothing_either():
    weight = np.ones(40, np.float32)
    weight[7] = 0
    rows = dj.splits.all_rows(40)._replace(weight=weight)
    garbage = X.copy()
    garbage[7] = np.inf
    for ours, theirs in zip(standardizer(X, rows), standardizer(garbage, rows)):
        np.testing.assert_array_equal(ours, theirs)


def test_a_constant_feature_becomes_zero_and_images_and_integers_are_scaled_too():
    constant = np.full((7, 2), 0.1, np.float32)
    assert (standardized(constant, dj.splits.all_rows(7)) == 0).all()
    pixels = DRAW.integers(0, 255, (9, 2, 2)).astype(np.uint8)
    ours = standardized(pixels, dj.splits.all_rows(9))
    assert ours.dtype == jnp.float32
    # sums of 9 float32 numbers of order 1
    np.testing.assert_allclose(ours.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(ours.std(axis=0), 1, atol=1e-6)


def test_the_bits_of_what_is_fitted_are_the_same_at_every_width():
    x = np.tile(X, (8, 1)) + DRAW.normal(size=(320, 1)).astype(np.float32)  # more than a block
    fit = jax.jit(jax.vmap(lambda fold: dj.standardizer(x, dj.kfold(KEY, 320, 8, fold).train)))
    folds = np.arange(8)
    alone = [np.concatenate(x) for x in zip(*(fit(folds[i : i + 1]) for i in range(8)))]
    for width in (2, 8):
        together = zip(*(fit(folds[i : i + width]) for i in range(0, 8, width)))
        for ours, theirs in zip(map(np.concatenate, together), alone):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_a_sum_by_halves_is_the_sum(n):
    x = DRAW.integers(-9, 9, (n, 3)).astype(np.float32)
    np.testing.assert_array_equal(sum_by_halves(x), x.sum(axis=0))  # whole numbers add exactly


def test_many_rows_are_added_in_blocks_and_none_but_those_chosen():
    x = (DRAW.normal(size=(600, 2)) * [1e-3, 1e4] + [1, -1e4]).astype(np.float32)
    index = np.arange(1, 600, dtype=np.int32)  # two blocks and a rest, filled with row 0
    expected = x[1:].astype(np.float64)
    x[0] = np.nan
    mean, sd = standardizer(x, dj.Rows(index, np.int32(599), np.ones(599, np.float32)))
    # float32 sums of about 600 terms of both signs
    np.testing.assert_allclose(mean, expected.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(sd, expected.std(axis=0), rtol=1e-5)


def test_an_empty_part_has_no_mean():
    nothing = dj.Rows(np.zeros(4, np.int32), np.int32(0), np.zeros(4, np.float32))
    assert np.isnan(standardizer(X, nothing).mean).all()
