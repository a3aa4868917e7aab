"""Splits: which rows are where, that none is lost or leaks, and that a key decides it alone."""

from collections import Counter

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold
from tables import SLOTS, assert_partition, entries, member, table

import dljax as dj
from dljax.splits import random_order

KEY, OTHER = jax.random.key(0), jax.random.key(1)
numbers = settings(max_examples=25, deadline=None)


def all_folds(rows, num_folds):
    return jax.vmap(lambda fold: dj.kfold(KEY, rows, num_folds, fold))(jnp.arange(num_folds))


folds_of_table = jax.jit(all_folds, static_argnums=1)


@numbers
@given(st.integers(9, SLOTS), st.sampled_from([2, 9]))
def test_folds_partition_the_rows_in_the_sizes_of_scikit_learn(n, k):
    splits = folds_of_table(table(n), k)
    expected = [len(held_out) for _, held_out in KFold(k).split(np.zeros(n))]
    assert splits.valid.count.tolist() == expected
    folds = [member(splits, fold) for fold in range(k)]
    assert_partition([split.valid for split in folds], range(n))
    for split in folds:
        assert_partition(split, range(n))


def test_folds_of_a_number_of_rows_fill_the_smallest_tables():
    splits = jax.jit(all_folds, static_argnums=(0, 1))(23, 5)
    assert splits.train.index.shape == (5, splits.train.count.max()) == (5, 19)
    assert splits.valid.index.shape == (5, splits.valid.count.max()) == (5, 5)
    assert_partition([member(splits.valid, fold) for fold in range(5)], range(23))


@numbers
@given(st.integers(100, 10_000), st.integers(1, 50), st.integers(0, 49))
@example(100, 29, 0)  # 0.29 * 100 is 28.999999999999996
def test_holdout_takes_the_floor_of_each_fraction_also_where_it_rounds(n, valid, test):
    split = jax.eval_shape(lambda: dj.holdout(KEY, n, valid=valid / 100, test=test / 100))
    for_valid, for_test = valid * n // 100, test * n // 100
    assert split.valid.index.shape == (for_valid,)
    assert (split.test is None) if test == 0 else (split.test.index.shape == (for_test,))
    assert split.train.index.shape == (n - for_valid - for_test,)


@jax.jit
def folds_within_holdout(rows):
    outer = dj.holdout(KEY, rows, valid=0.25, test=0.25)
    return outer, all_folds(outer.train, 3)


@numbers
@given(st.integers(12, SLOTS))
def test_a_holdout_and_the_folds_of_its_training_rows_lose_and_repeat_none(n):
    outer, folds = folds_within_holdout(table(n))
    assert_partition(outer, range(n))
    assert_partition([member(folds.valid, fold) for fold in range(3)], entries(outer.train))
    for fold in range(3):
        assert_partition(member(folds, fold), entries(outer.train))


@jax.jit
def within_bootstrap(rows):
    outer = dj.bootstrap(KEY, rows)
    inner = [dj.holdout(OTHER, part, valid=0.3, test=0.2) for part in outer[:2]]
    return outer, inner, dj.bootstrap(OTHER, outer.valid)


@numbers
@given(st.integers(16, SLOTS))
def test_a_bag_has_as_many_draws_as_rows_and_the_rest_is_out_of_bag(n):
    outer, inner, second = within_bootstrap(table(n))
    bag, out_of_bag = entries(outer.train), entries(outer.valid)
    assert len(bag) == n
    assert Counter({*bag, *out_of_bag}) == Counter(range(n))
    assert len(set(bag)) + len(out_of_bag) == n
    assert_partition(inner[0], bag)
    assert_partition(inner[1], out_of_bag)
    assert {*entries(second.train), *entries(second.valid)} == {*out_of_bag}


def test_the_mean_fraction_out_of_bag_is_that_of_independent_draws():
    keys = jax.random.split(KEY, 4000)
    out_of_bag = jax.jit(
        jax.vmap(lambda key, rows: dj.bootstrap(key, rows).valid.count, in_axes=(0, None))
    )
    for n in (2, 30):
        fraction = out_of_bag(keys, table(n)) / n
        error = fraction.mean() - (1 - 1 / n) ** n
        assert abs(error) < 4 * fraction.std() / 4000**0.5  # standard errors


@pytest.mark.parametrize(
    "split",
    [
        lambda key: dj.kfold(key, SLOTS, 5, 1),
        pytest.param(
            lambda key: dj.holdout(key, SLOTS, valid=0.3, test=0.2), marks=pytest.mark.slow
        ),
        lambda key: dj.bootstrap(key, SLOTS),
    ],
    ids=["kfold", "holdout", "bootstrap"],
)
def test_a_key_gives_one_split_jitted_and_mapped_as_eager_and_another_key_another(split):
    keys = jax.random.split(KEY, 3)
    mapped = jax.jit(jax.vmap(split))(keys)
    chex.assert_trees_all_equal(split(keys[1]), member(mapped, 1))
    assert len(np.unique(mapped.train.index, axis=0)) == 3


def test_the_weights_of_rows_go_where_the_rows_go():
    weight = np.linspace(1.0, 2.0, SLOTS, dtype=np.float32)
    rows = table(SLOTS)._replace(weight=weight)
    splits = jax.jit(lambda: (dj.kfold(KEY, rows, 5, 2), dj.bootstrap(KEY, rows)))()
    for part in (splits[0].train, splits[0].valid, splits[1].train, splits[1].valid):
        real = np.arange(part.index.size) < part.count
        assert (part.weight == np.where(real, weight[part.index], 0)).all()


def test_tables_have_the_same_types_in_float64(x64):
    for split in (lambda: dj.kfold(KEY, 9, 3, 0), lambda: dj.bootstrap(KEY, 9)):
        for part in jax.eval_shape(split)[:2]:
            assert [x.dtype for x in part] == [jnp.int32, jnp.int32, jnp.float32]


def test_a_random_order_is_uniform_over_permutations_and_keeps_padding_last():
    rows = dj.Rows(np.arange(6, dtype=np.int32), np.int32(4), np.ones(6, np.float32))
    orders = jax.jit(jax.vmap(random_order, (0, None)))(jax.random.split(KEY, 24_000), rows)
    assert (np.sort(orders[:, 4:]) == [4, 5]).all()
    permutations, counts = np.unique(orders[:, :4], axis=0, return_counts=True)
    assert (np.sort(permutations) == np.arange(4)).all()
    assert len(permutations) == 24
    assert scipy.stats.chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dj.kfold(KEY, 4, 5, 0), r"num_folds must be in \[2, 4\], got 5"),
        (lambda: dj.kfold(KEY, 4, 1, 0), r"num_folds must be in \[2, 4\], got 1"),
        (lambda: dj.kfold(KEY, 4, 3, 3), r"fold must be in \[0, 3\), got 3"),
        (lambda: dj.kfold(KEY, 4, 3, -1), r"fold must be in \[0, 3\), got -1"),
        (lambda: dj.holdout(KEY, 4, valid=1.0), r"valid must be in \[0, 1\), got 1"),
        (lambda: dj.holdout(KEY, 4, test=-0.1), r"test must be in \[0, 1\), got -0.1"),
        (lambda: dj.holdout(KEY, 4, valid=0.5, test=0.5), r"valid \+ test must be in \[0, 1\)"),
        (lambda: dj.holdout(KEY, 4, valid=0.2), "valid must hold at least one of the 4 rows"),
        (lambda: dj.holdout(KEY, 4, valid=0.3, test=0.1), "test must hold at least one of the 4"),
        (lambda: dj.bootstrap(KEY, 0), r"the number of rows must be in \[1, inf\), got 0"),
    ],
)
def test_an_impossible_split_says_the_rule_and_what_came(call, message):
    with pytest.raises(ValueError, match=message):
        call()
