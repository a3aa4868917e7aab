"""Every other split against scikit-learn's definition: which rows, how many, of which class."""

import warnings
from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import (
    GroupKFold,
    LeaveOneOut,
    RepeatedKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    TimeSeriesSplit,
)
from tables import SLOTS, assert_partition, entries, member, table

import dljax as dj

KEY, OTHER = jax.random.key(0), jax.random.key(1)
CLASSES, GROUPS = 4, 12
numbers = settings(max_examples=25, deadline=None)
labels_of = st.lists(st.integers(0, CLASSES - 1), min_size=SLOTS, max_size=SLOTS)
groups_of = st.lists(st.integers(0, GROUPS - 1), min_size=SLOTS, max_size=SLOTS)


def counts(labels, rows):
    return np.bincount(labels[entries(rows)], minlength=CLASSES)


def in_order_of_occurrence(labels):
    """The same classes with the numbers that scikit-learn gives them."""
    present = list(dict.fromkeys(labels))
    order = [*present, *(c for c in range(CLASSES) if c not in present)]
    return np.argsort(order)[np.asarray(labels)].astype(np.int32)


@partial(jax.jit, static_argnums=2)
def stratified_folds(rows, labels, k):
    fold = lambda i: dj.stratified_kfold(KEY, rows, k, i, labels, CLASSES)  # noqa: E731
    return jax.vmap(fold)(jnp.arange(k))


@numbers
@given(st.integers(9, SLOTS), labels_of, st.sampled_from([2, 7]))
@example(SLOTS, [0, 1, 1, 1] * 8, 7)
@example(SLOTS, [2] * 30 + [0, 3], 7)
def test_stratified_folds_hold_of_every_class_what_those_of_scikit_learn_hold(n, labels, k):
    labels = in_order_of_occurrence(labels)
    assume(np.bincount(labels[:n]).max() >= k)  # scikit-learn refuses less
    splits = stratified_folds(table(n), labels, k)
    with warnings.catch_warnings(action="ignore"):  # that some class has fewer rows than folds
        theirs = [test for _, test in StratifiedKFold(k).split(np.zeros(n), labels[:n])]
    ours = np.stack([counts(labels, member(splits.valid, i)) for i in range(k)])
    assert ours.tolist() == [np.bincount(labels[t], minlength=CLASSES).tolist() for t in theirs]
    assert (np.ptp(ours, axis=0) <= 1).all()
    assert np.ptp(ours.sum(axis=1)) <= 1
    assert_partition([member(splits.valid, i) for i in range(k)], range(n))
    for i in range(k):
        assert_partition(member(splits, i), range(n))


@partial(jax.jit, static_argnums=2)
def group_folds(rows, groups, k):
    fold = lambda i: dj.group_kfold(KEY, rows, k, i, groups, GROUPS)  # noqa: E731
    return jax.vmap(fold)(jnp.arange(k))


@numbers
@given(st.integers(9, SLOTS), groups_of, st.sampled_from([2, 5]))
@example(SLOTS, [0] * 25 + [1, 2, 3, 5, 5, 5, 6], 5)  # one group has nearly all rows
def test_a_group_is_in_one_fold_and_folds_are_as_large_as_those_of_scikit_learn(n, groups, k):
    groups = np.array(groups)
    assume(len(set(groups[:n])) >= k)
    splits = group_folds(table(n), groups, k)
    theirs = [len(t) for _, t in GroupKFold(k).split(np.zeros(n), groups=groups[:n])]
    assert splits.valid.count.tolist() == theirs
    assert_partition([member(splits.valid, i) for i in range(k)], range(n))
    for i in range(k):
        split = member(splits, i)
        assert_partition(split, range(n))
        assert not {*groups[entries(split.train)]} & {*groups[entries(split.valid)]}


def test_the_key_decides_between_groups_of_one_size_and_only_between_these():
    fold = jax.jit(lambda key, groups: dj.group_kfold(key, 12, 3, 0, groups, 6).valid)
    alike = {
        tuple(sorted(entries(fold(key, np.arange(12) // 2)))) for key in jax.random.split(KEY, 9)
    }
    assert len(alike) > 1
    sizes = np.repeat(np.arange(5), [5, 1, 3, 2, 1])
    large = {tuple(entries(fold(key, sizes))) for key in jax.random.split(KEY, 9)}
    assert large == {(0, 1, 2, 3, 4)}


def test_with_fewer_groups_than_folds_the_rest_are_empty():
    splits = group_folds(table(20), np.zeros(SLOTS, np.int32), 5)
    assert sorted(splits.valid.count.tolist()) == [0, 0, 0, 0, 20]
    assert (splits.valid.weight.sum(axis=1) == splits.valid.count).all()


SETTINGS = [
    {},
    {"gap": 2},
    {"test_size": 3},
    {"max_train_size": 4},
    {"gap": 1, "test_size": 2, "max_train_size": 5},
]


@pytest.mark.parametrize("options", SETTINGS, ids=str)
@pytest.mark.parametrize("n", [12, 23])
def test_a_time_series_is_split_as_by_scikit_learn_row_by_row(n, options):
    split = lambda fold: dj.time_series_split(n, 3, fold, **options)  # noqa: E731
    ours = jax.jit(jax.vmap(split))(jnp.arange(3))
    for i, theirs in enumerate(TimeSeriesSplit(3, **options).split(np.zeros(n))):
        for part, expected in zip(ours[:2], theirs):
            assert entries(member(part, i)) == expected.tolist()
    assert ours.train.index.shape[1] == ours.train.count.max()
    assert ours.valid.index.shape[1] == ours.valid.count.max()


@jax.jit
def time_folds(rows):
    split = lambda fold: dj.time_series_split(rows, 4, fold, gap=1, max_train_size=9)  # noqa: E731
    return jax.vmap(split)(jnp.arange(4))


@numbers
@given(st.integers(10, SLOTS))
def test_a_table_that_is_partly_filled_is_split_in_time_as_its_rows_alone(n):
    ours = time_folds(table(n))
    folds = TimeSeriesSplit(4, gap=1, max_train_size=9).split(np.zeros(n))
    for i, theirs in enumerate(folds):
        for part, expected in zip(ours[:2], theirs):
            assert entries(member(part, i)) == expected.tolist()


@pytest.mark.parametrize("n", [2, 7])
def test_one_row_is_left_out_as_by_scikit_learn(n):
    ours = jax.jit(jax.vmap(lambda fold: dj.leave_one_out(n, fold)))(jnp.arange(n))
    for i, (train, valid) in enumerate(LeaveOneOut().split(np.zeros(n))):
        assert entries(member(ours.train, i)) == train.tolist()
        assert entries(member(ours.valid, i)) == valid.tolist()


def test_repeats_are_other_shuffles_and_each_one_a_partition():
    split = lambda repeat, fold: dj.repeated_kfold(KEY, 23, 5, fold, repeat)  # noqa: E731
    fold_of_each = jax.vmap(split, (None, 0))
    splits = jax.jit(jax.vmap(fold_of_each, (0, None)))(jnp.arange(3), jnp.arange(5))
    theirs = [len(t) for _, t in RepeatedKFold(n_splits=5, n_repeats=3).split(np.zeros(23))]
    assert splits.valid.count.ravel().tolist() == theirs
    repeats = [member(splits, r) for r in range(3)]
    for repeat in repeats:
        assert_partition([member(repeat.valid, i) for i in range(5)], range(23))
    first = {frozenset(entries(member(repeat.valid, 0))) for repeat in repeats}
    assert len(first) == 3


@jax.jit
def stratified_parts(rows, labels):
    outer = dj.stratified_holdout(KEY, rows, labels, CLASSES, valid=0.3, test=0.2)
    inner = dj.stratified_kfold(OTHER, outer.train, 3, 1, labels, CLASSES)
    return outer, inner, dj.stratified_subset(OTHER, rows, 0.4, labels, CLASSES)


@numbers
@given(st.integers(12, SLOTS), labels_of)
def test_a_stratified_holdout_or_subset_takes_of_every_class_its_share(n, labels):
    labels = np.array(labels, np.int32)
    outer, inner, part = stratified_parts(table(n), labels)
    assert_partition(outer, range(n))
    assert_partition(inner, entries(outer.train))
    in_all = np.bincount(labels[:n], minlength=CLASSES)
    if n == SLOTS:
        assert (outer.valid.count, outer.test.count) == (int(0.3 * n), int(0.2 * n))
        assert (abs(counts(labels, outer.valid) - in_all * int(0.3 * n) / n) < 1).all()
        assert (abs(counts(labels, outer.test) - in_all * int(0.2 * n) / n) < 2).all()
    assert len(set(entries(part))) == part.count == n * int(0.4 * SLOTS) // SLOTS
    assert (abs(counts(labels, part) - in_all * int(part.count) / n) < 1).all()


def test_a_stratified_holdout_rounds_as_scikit_learn_but_for_one_row_of_a_class():
    labels = np.repeat(np.arange(4), [13, 8, 5, 4])
    split = jax.jit(lambda y: dj.stratified_holdout(KEY, 30, y, CLASSES, valid=1 / 3))(labels)
    _, theirs = next(StratifiedShuffleSplit(1, test_size=10).split(labels, labels))
    expected = np.bincount(labels[theirs])
    assert split.valid.count == expected.sum()
    assert abs(counts(labels, split.valid) - expected).max() <= 1


@jax.jit
def fewer(rows, labels):
    return (
        dj.undersample(KEY, rows, labels, CLASSES),
        dj.undersample(KEY, rows, labels, CLASSES, per_class=2),
        dj.subset(KEY, rows, 7),
        dj.subset(KEY, rows, 0.5),
    )


@numbers
@given(st.integers(8, SLOTS), labels_of)
def test_fewer_rows_are_alike_many_of_every_class_or_so_many_in_all(n, labels):
    labels = np.array(labels, np.int32)
    under, two, seven, half = fewer(table(n), labels)
    in_all = Counter(labels[:n].tolist())
    smallest = min(in_all.values())
    for rows, of_each in ((under, smallest), (two, min(smallest, 2))):
        assert Counter(labels[entries(rows)].tolist()) == dict.fromkeys(in_all, of_each)
        assert len(set(entries(rows))) == rows.count
    assert two.index.shape == (2 * CLASSES,)
    assert (seven.count, half.count) == (7, n // 2)
    assert half.index.shape == (SLOTS // 2,)
    smaller, larger = sorted([entries(seven), entries(half)], key=len)
    assert len(set(larger)) == len(larger)
    assert larger[: len(smaller)] == smaller


def test_every_row_and_every_feature_is_drawn_equally_often():
    keys = jax.random.split(KEY, 3000)
    labels = np.repeat([0, 1], [5, 15])
    draws = jax.jit(
        jax.vmap(
            lambda key, y: (
                dj.subset(key, 20, 6).index,
                dj.stratified_subset(key, 20, 4, y, 2).index,
                dj.feature_subset(key, 20, 0.3),
            ),
            (0, None),
        )
    )(keys, labels)
    for drawn, share in zip(draws, (0.3, 0.2, 0.3)):
        often = np.bincount(np.ravel(drawn), minlength=20)
        error = np.sqrt(3000 * share * (1 - share))
        assert (abs(often - 3000 * share) < 4 * error).all()
    assert (np.diff(draws[2], axis=1) > 0).all()


def y(*counts):
    return np.repeat(np.arange(len(counts)), counts)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: dj.stratified_kfold(KEY, 9, 3, 0, y(6, 2, 1), 3),
            r"every class must have a row for each of 3 folds, got class 1: 2, class 2: 1\.$",
        ),
        (lambda: dj.stratified_kfold(KEY, 4, 5, 0, y(2, 2), 2), r"num_folds must be in \[2, 4\]"),
        (lambda: dj.stratified_kfold(KEY, 4, 2, 0, y(2, 2), 1), r"num_classes must be in \[2, inf"),
        (lambda: dj.stratified_kfold(KEY, 4, 2, 0, y(2, 2) + 1, 2), r"labels must be in \[0, 2\)"),
        (lambda: dj.stratified_kfold(KEY, 5, 2, 0, y(2, 2), 2), "one number for each of 5 rows"),
        (
            lambda: dj.stratified_holdout(KEY, 4, y(2, 2) * 1.0, 2),
            r"labels must be integers \[N\], got float",
        ),
        (lambda: dj.group_kfold(KEY, 9, 4, 0, y(6, 2, 1), 3), r"num_folds must be in \[2, 3\]"),
        (lambda: dj.group_kfold(KEY, 9, 3, 3, y(6, 2, 1), 3), r"fold must be in \[0, 3\), got 3"),
        (lambda: dj.group_kfold(KEY, 9, 3, 0, y(6, 2, 1), 2), r"groups must be in \[0, 2\)"),
        (lambda: dj.repeated_kfold(KEY, 9, 3, 0, -1), r"repeat must be in \[0, 4294967296\)"),
        (lambda: dj.leave_one_out(1, 0), r"the number of rows must be in \[2, inf\), got 1"),
        (lambda: dj.leave_one_out(5, 5), r"fold must be in \[0, 5\), got 5"),
        (lambda: dj.time_series_split(5, 5, 0), r"num_folds must be in \[2, 4\], got 5"),
        (lambda: dj.time_series_split(9, 2, 0, gap=-1), r"gap must be in \[0, inf\), got -1"),
        (
            lambda: dj.time_series_split(9, 2, 0, gap=1, test_size=4),
            r"num_folds \* test_size \+ gap must be below the 9 rows, got 2 \* 4 \+ 1",
        ),
        (lambda: dj.subset(KEY, 5, 6), r"size must be in \[1, 5\], got 6"),
        (lambda: dj.subset(KEY, 5, 1.5), r"size must be in \(0, 1\], got 1.5"),
        (lambda: dj.subset(KEY, 5, 0.1), "size must keep at least one of 5, got the fraction 0.1"),
        (lambda: dj.feature_subset(KEY, 0, 1), r"num_features must be in \[1, inf\), got 0"),
        (lambda: dj.undersample(KEY, 4, y(2, 2), 2, 0), r"per_class must be in \[1, inf\), got 0"),
    ],
)
def test_an_impossible_split_of_any_kind_says_the_rule_and_what_came(call, message):
    with pytest.raises(ValueError, match=message):
        call()
