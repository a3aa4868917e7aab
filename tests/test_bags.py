"""Bags as repeats and as weights: their distributions, and that a row is in one part."""

from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import SLOTS, entries, table

import dljax as dj

KEY = jax.random.key(0)
numbers = settings(max_examples=25, deadline=None)


def test_the_weights_of_a_bootstrap_are_how_often_each_row_was_drawn():
    split = jax.jit(lambda: dj.bootstrap(KEY, 30))()
    weights = np.asarray(dj.row_weights(split.train, 30))
    assert weights.tolist() == np.bincount(entries(split.train), minlength=30).tolist()
    assert np.flatnonzero(weights == 0).tolist() == sorted(entries(split.valid))
    assert dj.row_weights(30, 30).tolist() == [1] * 30


@jax.jit
def bags(rows):
    return dj.poisson_bootstrap(KEY, rows), dj.bayesian_bootstrap(KEY, rows).train


@numbers
@given(st.integers(9, SLOTS))
def test_weights_of_a_bag_are_one_in_the_mean_and_zero_on_padding(n):
    poisson, bayesian = bags(table(n))
    drawn = np.asarray(poisson.train.index)[: poisson.train.count].tolist()
    assert Counter([*drawn, *entries(poisson.valid)]) == Counter(range(n))
    assert (np.asarray(bayesian.index) == table(n).index).all()
    assert bayesian.count == n
    for rows in (poisson.train, bayesian):
        real = np.arange(SLOTS) < rows.count
        assert (np.asarray(rows.weight)[real] > 0).all()
        assert (np.asarray(rows.weight)[~real] == 0).all()
        # float32 numbers that are rounded once or twice each
        np.testing.assert_allclose(rows.weight.sum(), rows.count, rtol=1e-6)


def test_poisson_counts_are_of_that_distribution_whatever_the_number_of_rows():
    keys = jax.random.split(KEY, 1000)
    rows = jax.jit(jax.vmap(lambda key: dj.poisson_bootstrap(key, 20).train))(keys)
    weights = np.asarray(jax.vmap(lambda r: dj.row_weights(r, 20))(rows))
    # the smallest weight belongs to a count of 1, but where no row of twenty was drawn just once
    least = np.where(weights > 0, weights, np.inf).min(axis=1)
    counts = np.rint(weights / least[:, None]).astype(int)
    observed = np.bincount(counts.ravel().clip(max=5), minlength=6)
    expected = scipy.stats.poisson(1).pmf(range(5))
    expected = counts.size * np.append(expected, 1 - expected.sum())
    assert scipy.stats.chisquare(observed, expected).pvalue > 0.01


def test_bayesian_weights_are_dirichlet_and_multiply_those_given():
    keys = jax.random.split(KEY, 4000)
    given_weights = jnp.linspace(1.0, 2.0, 6)
    rows = dj.splits.all_rows(6)._replace(weight=given_weights)
    weight = jax.jit(jax.vmap(lambda key: dj.bayesian_bootstrap(key, rows).train.weight))(keys)
    shares = np.asarray(weight / given_weights[None]) / 6
    for i in range(6):  # the margin of Dirichlet(1, ..., 1)
        assert scipy.stats.kstest(shares[:, i], scipy.stats.beta(1, 5).cdf).pvalue > 0.01
    # a covariance of -1 / (N^2 (N + 1)), known to its own standard error / 5
    covariance = np.cov(shares[:, :2].T)[0, 1]
    assert abs(covariance + 1 / (36 * 7)) < 5 * shares.var() / np.sqrt(4000)


def test_weights_of_a_bag_have_the_same_bits_at_every_width():
    draw = jax.jit(jax.vmap(lambda key: dj.bayesian_bootstrap(key, 47).train.weight))
    keys = jax.random.split(KEY, 8)
    alone = np.concatenate([draw(keys[i : i + 1]) for i in range(8)])
    for width in (2, 8):
        together = [draw(keys[i : i + width]) for i in range(0, 8, width)]
        np.testing.assert_array_equal(np.concatenate(together), alone)


def test_tables_of_weights_have_the_same_types_in_float64(x64):
    for split in (dj.poisson_bootstrap, dj.bayesian_bootstrap):
        rows = jax.eval_shape(partial(split, KEY, 9)).train
        assert [x.dtype for x in rows] == [jnp.int32, jnp.int32, jnp.float32]
