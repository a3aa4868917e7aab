"""Rows that are in two parts are found; held-out rows, whatever they hold, train nothing."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from tables import entries
from tables import member as of_fold

import dljax as dj
from dljax.datasets.duplicates import Leak

KEY = jax.random.key(0)
N, K = 24, 3
Y = (np.arange(N) % 3).astype(np.int32)
GROUPS = (np.arange(N) // 4).astype(np.int32)
SPLITS = {
    "kfold": lambda y: dj.kfold(KEY, N, K, 1),
    "repeated_kfold": lambda y: dj.repeated_kfold(KEY, N, K, 1, 2),
    "stratified_kfold": lambda y: dj.stratified_kfold(KEY, N, K, 1, y, 3),
    "group_kfold": lambda y: dj.group_kfold(KEY, N, K, 1, GROUPS, 6),
    "leave_one_out": lambda y: dj.leave_one_out(N, 5),
    "time_series_split": lambda y: dj.time_series_split(N, K, 1, gap=1),
    "holdout": lambda y: dj.holdout(KEY, N, valid=0.25, test=0.25),
    "stratified_holdout": lambda y: dj.stratified_holdout(KEY, N, y, 3, valid=0.25, test=0.25),
    "bootstrap": lambda y: dj.bootstrap(KEY, N),
    "poisson_bootstrap": lambda y: dj.poisson_bootstrap(KEY, N),
    "subset": lambda y: dj.Split(dj.subset(KEY, N, 10)),
    "stratified_subset": lambda y: dj.Split(dj.stratified_subset(KEY, N, 0.5, y, 3)),
    "undersample": lambda y: dj.Split(dj.undersample(KEY, N, y, 3, per_class=4)),
    "nested": lambda y: dj.kfold(KEY, dj.stratified_holdout(KEY, N, y, 3).train, K, 0),
}


def in_full_table(rows):
    """The same rows in a table of N slots, so that one program trains on every split."""
    index, count, weight = rows
    rest = N - len(index)
    index = jnp.concatenate([index, jnp.full(rest, index[0])])
    return dj.Rows(index, count, jnp.pad(weight, (0, rest)))


@jax.jit
def trained(data, rows):
    """Weights and history of a run whose features are standardised inside the fold."""
    data = {**data, "x": dj.standardized(data["x"], rows)}
    task = dj.supervised(small.linear_model(), dj.losses.cross_entropy)
    optimizer = dj.optimizers.adam(0.1)
    fit = dj.trainer(task, optimizer, data, dj.Split(rows), batch_size=5, parts=("train",))
    state, history = dj.run(fit, fit.init(KEY), num_steps=8)
    return state.variables, history


@pytest.mark.parametrize("name", SPLITS)
def test_held_out_rows_of_garbage_leave_the_trained_bits_unchanged(name):
    data = small.blobs(N)
    split = jax.jit(SPLITS[name])(Y)
    assert not dj.leaks(data, split, "y").leaks
    rows = in_full_table(split.train)
    used = np.unique(np.asarray(rows.index)[: int(rows.count)])
    held_out = np.setdiff1d(np.arange(N), used)
    assert held_out.size
    garbage = {"x": data["x"].copy(), "y": data["y"].copy()}
    garbage["x"][held_out] = np.nan
    garbage["y"][held_out] = -99
    ours = trained(data, rows)
    chex.assert_tree_all_finite(ours)
    chex.assert_trees_all_equal(ours, trained(garbage, rows))
    garbage["x"][used[0]] += 1
    assert (trained(garbage, rows)[1]["train_loss"] != ours[1]["train_loss"]).all()


def member(data, *, fold):
    split = dj.stratified_kfold(KEY, N, K, fold, data["y"], 3)
    return trained(data, split.train)


def test_a_fold_built_inside_a_member_trains_on_nothing_of_its_held_out_rows():
    data = small.blobs(N)
    run = dj.population(member)
    ours = run((data,), {"fold": np.arange(K)})
    held_out = jax.jit(lambda y: dj.stratified_kfold(KEY, N, K, 2, y, 3).valid)(data["y"])
    garbage = {**data, "x": data["x"].copy()}
    garbage["x"][entries(held_out)] = np.nan
    theirs = run((garbage,), {"fold": np.arange(K)})
    chex.assert_trees_all_equal(of_fold(ours, 2), of_fold(theirs, 2))
    assert np.isnan(theirs[1]["train_loss"][:2]).any(axis=1).all()  # the others train on them


def split_of(*parts):
    return dj.Split(*(dj.Rows(np.array(p), len(p), np.ones(len(p))) for p in parts))


def test_identical_rows_in_two_parts_are_found_and_named():
    x = np.arange(10.0)[:, None] * np.ones((1, 3))
    y = np.arange(10) % 2
    x[7], x[8], x[2] = x[0], x[1], x[0]
    x[5] = -0.0
    found = dj.leaks({"x": x, "y": y}, split_of([0, 1, 2, 3], [5, 7], [4, 8, 9]), labels="y")
    assert found.leaks == (
        Leak("valid", 5, "train", (0, 2), False),
        Leak("valid", 7, "train", (0, 2), False),
        Leak("test", 8, "train", (1,), False),
    )
    assert found.sentence == (
        "3 rows repeat a row of an earlier part (0 with the same y): "
        "valid 5 = train 0, valid 7 = train 0, test 8 = train 1."
    )
    y[7] = 0
    found = dj.leaks({"x": x, "y": y}, split_of([0, 1, 2, 3], [7]), labels="y")
    assert found.leaks == (Leak("valid", 7, "train", (0, 2), True),)
    assert found.sentence.startswith("1 row repeats a row of an earlier part (1 with the same y)")


def test_without_labels_all_arrays_must_be_equal_and_a_shared_row_is_a_leak():
    data = {"x": np.zeros((4, 2)), "y": np.arange(4)}
    assert dj.leaks(data, split_of([0, 1], [2, 3])) == ((), "No row occurs in two parts.")
    found = dj.leaks(data, split_of([0, 1], [1, 3]))
    assert found.leaks == (Leak("valid", 1, "train", (1,), True),)
    assert found.sentence == "1 row repeats a row of an earlier part: valid 1 = train 1."


def test_many_leaks_are_counted_and_the_first_five_named():
    found = dj.leaks({"x": np.zeros((9, 2))}, split_of([0, 1], range(2, 9)))
    assert len(found.leaks) == 7
    assert found.sentence == (
        "7 rows repeat a row of an earlier part: valid 2 = train 0, valid 3 = train 0, "
        "valid 4 = train 0, valid 5 = train 0, valid 6 = train 0, and 2 more."
    )


def test_leaks_of_wrong_names_are_refused():
    data = small.blobs(N)
    with pytest.raises(ValueError, match="unknown array 'z'"):
        dj.leaks(data, split_of([0], [1]), "z")
    with pytest.raises(ValueError, match="data must hold a feature besides y, got none"):
        dj.leaks({"y": Y}, split_of([0], [1]), "y")


@pytest.mark.parametrize(
    ("changed", "arguments", "message"),
    [
        (
            {"y": [0] * 20 + [1, 1, 1, 2]},
            {"labels": "y", "num_folds": 4},
            "y must hold 4 or more rows of every class for 4 folds, got class 1: 3, class 2: 1.",
        ),
        ({"t": [3.5] * N}, {"targets": "t"}, "t must not be constant, got only 3.5."),
        (
            {"t": np.arange(2 * N).reshape(N, 2) % 2},
            {"targets": "t"},
            "t must not be constant, got only 0 in column 0.",
        ),
        ({"w": [0.0] * N}, {"weights": "w"}, f"w must not sum to 0, got {N} weights of 0."),
        ({"w": [1.0, -2] * 12}, {"weights": "w"}, "w must be >= 0, got -2 in row 1."),
        ({"g": [0.5] * N}, {"groups": "g"}, f"g must be integers [N], got float64[{N}]."),
        ({"g": [1, -1] * 12}, {"groups": "g"}, "g must be >= 0, got -1 in row 1."),
        (
            {"g": [1, 5] * 12},
            {"groups": "g", "num_folds": 3},
            "g must hold 3 or more groups for 3 folds, got 2.",
        ),
    ],
)
def test_check_names_what_folds_and_targets_cannot_have(changed, arguments, message):
    data = small.blobs(N) | {name: np.array(x) for name, x in changed.items()}
    with pytest.raises(dj.DataError) as error:
        dj.check(data, **arguments)
    assert str(error.value) == message


def test_check_lets_fit_targets_weights_and_groups_through():
    data = small.blobs(N) | {"t": np.eye(N), "w": np.eye(N)[0], "g": GROUPS}
    dj.check(data, labels="y", num_folds=6, targets="t", weights="w", groups="g")
    with pytest.raises(ValueError, match="unknown array 'v'"):
        dj.check(data, weights="v")
