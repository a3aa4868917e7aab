"""Stacking, voting and ridge regression against scikit-learn, and who has seen which row."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import StackingRegressor, VotingClassifier
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold
from small import blobs, classifier

import dljax as dj
from dljax.splits.rows import without

KEY = jax.random.key(0)
NUM_ROWS = 30


@pytest.fixture(scope="module")
def data():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(NUM_ROWS, 4)).astype(np.float32)
    y = x @ np.array([1, -2, 0.5, 0], np.float32) + np.sin(3 * x[:, 3]) + 5
    return {"x": x, "y": y.astype(np.float32)}


def bag():
    """Entries of 20 rows, some of them twice, with weights, and padding."""
    index = np.append(np.arange(20), [3, 3, 7, 19, 0, 0])
    weight = np.append(np.random.default_rng(1).uniform(0.5, 1.5, 24), [0, 0])
    return dj.Rows(jnp.asarray(index), jnp.int32(24), jnp.asarray(weight, jnp.float32))


def everything(data):
    return dj.Split(dj.splits.all_rows(len(data["y"])))


def test_rows_without_others_lose_all_entries_of_them_and_keep_the_size_of_their_table():
    rows = bag()
    held_out = dj.Rows(jnp.asarray([3, 19, 25, 8]), jnp.int32(3), jnp.ones(4))  # 8 is padding
    left = jax.jit(without, static_argnums=2)(rows, held_out, NUM_ROWS)
    stays = ~np.isin(rows.index, [3, 19]) & (np.arange(26) < 24)
    assert left.index.shape == rows.index.shape
    assert left.count == stays.sum()
    np.testing.assert_array_equal(left.index[: left.count], rows.index[stays])
    np.testing.assert_array_equal(left.weight[: left.count], rows.weight[stays])
    np.testing.assert_array_equal(left.index[left.count :], left.index[0])
    assert (left.weight[left.count :] == 0).all()


@pytest.mark.parametrize("l2", [0.0, 3.0])
def test_ridge_is_that_of_scikit_learn(data, l2):
    rows = bag()
    index, weight = np.asarray(rows.index), np.asarray(rows.weight)
    model = jax.jit(dj.ridge(l2).fit)(KEY, data, dj.Split(rows))
    theirs = Ridge(alpha=l2) if l2 else LinearRegression()
    theirs.fit(data["x"][index], data["y"][index], sample_weight=weight)
    # normal equations of 4 features in float32
    np.testing.assert_allclose(model["A"], theirs.coef_, rtol=1e-4)
    np.testing.assert_allclose(model["b"], theirs.intercept_, rtol=1e-5)
    outputs = dj.ridge(l2).predict(model, data)
    np.testing.assert_allclose(outputs, theirs.predict(data["x"]), rtol=1e-4, atol=1e-4)


def test_ridge_of_classes_is_the_regression_of_their_unit_vectors():
    data = blobs()
    learner = dj.ridge(2.0, num_classes=3)
    fit = jax.jit(lambda data: learner.fit(KEY, data, everything(data)))
    model = fit(data)
    units = np.eye(3)[data["y"]]
    theirs = Ridge(alpha=2.0).fit(data["x"], units)
    outputs = learner.predict(model, data)
    # normal equations of 4 features in float32
    np.testing.assert_allclose(outputs, theirs.predict(data["x"]), atol=1e-5)
    measured = learner.measure(outputs, data)
    np.testing.assert_allclose(measured["loss"], ((outputs - units) ** 2).sum(1), rtol=1e-5)
    assert measured["accuracy"].mean() > 0.8


def test_rows_without_weight_do_not_matter_to_ridge_whatever_they_hold(data):
    rows = bag()
    rows = rows._replace(weight=rows.weight.at[jnp.array([2, 5])].set(0.0))
    fit = jax.jit(lambda data: dj.ridge().fit(KEY, data, dj.Split(rows)))
    worse = {name: x.copy() for name, x in data.items()}
    worse["x"][2], worse["y"][5] = np.nan, np.inf
    jax.tree.map(np.testing.assert_array_equal, fit(data), fit(worse))
    assert np.isfinite(fit(worse)["A"]).all()


def test_a_penalty_is_an_axis_and_a_matrix_without_an_inverse_gives_nan(data):
    found = dj.cross_validate(dj.ridge(), data, 3, axes={"l2": [1e-3, 1e3]})
    assert found.predictions.shape == (2, NUM_ROWS)
    loss = found.study.results["scores"]["loss"].mean(axis=1)
    assert loss[0] < loss[1]
    same = {**data, "x": np.zeros((NUM_ROWS, 2), np.float32)}
    fit = jax.jit(lambda data: dj.ridge(0.0).fit(KEY, data, everything(data)))
    assert jnp.isnan(fit(same)["A"]).all()


def fixed(name):
    """A learner that learnt its probabilities before."""

    def measure(outputs, batch):
        return {"loss": dj.losses.cross_entropy(outputs, batch["y"])}

    return dj.Learner(lambda key, data, split: (), lambda model, b: jnp.log(b[name]), measure)


class Fixed(ClassifierMixin, BaseEstimator):
    """The same for scikit-learn: its columns of x are the probabilities."""

    def __init__(self, start=0):
        self.start = start

    def fit(self, x, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, x):
        return x[:, self.start : self.start + 3]

    def predict(self, x):
        return self.predict_proba(x).argmax(axis=1)


@jax.jit
def voted(batch, weights):
    learners = {name: fixed(name) for name in weights}
    vote = lambda rule: dj.voting(learners, rule=rule, weights=weights).predict(  # noqa: E731
        dict.fromkeys(learners, ()), batch
    )
    return jnp.exp(vote("soft")), vote("hard")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([(1, 1, 1), (1, 2, 4), (0, 1, 1)]))
def test_voting_is_that_of_scikit_learn(seed, weights):
    draw = np.random.default_rng(seed)
    p = draw.dirichlet(np.ones(3), size=(3, 8)).astype(np.float32)
    batch = {name: p[i] for i, name in enumerate("abc")}
    soft, hard = voted(batch, dict(zip("abc", map(float, weights))))
    x, y = np.concatenate(p, axis=1), np.arange(8) % 3
    estimators = [(name, Fixed(3 * i)) for i, name in enumerate("abc")]
    theirs = {
        rule: VotingClassifier(estimators, voting=rule, weights=weights).fit(x, y)
        for rule in ("soft", "hard")
    }
    # averages of three float32 numbers
    np.testing.assert_allclose(soft, theirs["soft"].predict_proba(x), rtol=1e-5)
    # ties go to the first class in both
    np.testing.assert_array_equal(hard.argmax(axis=1), theirs["hard"].predict(x))
    votes = np.eye(3)[p.argmax(axis=2)]
    share = np.average(votes, axis=0, weights=weights)
    np.testing.assert_allclose(jnp.exp(hard), share, rtol=1e-5)


def test_a_learner_that_diverged_does_not_vote_for_the_first_class():
    batch = {"a": jnp.full((2, 3), jnp.nan), "b": jnp.full((2, 3), 1 / 3)}
    for p in voted(batch, {"a": 1.0, "b": 1.0}):
        assert jnp.isnan(p).all()


def linear_on(columns):
    """Ridge regression of some columns; its model says no more than its outputs do."""
    learner = dj.ridge(0.1)
    part = lambda data: {**data, "x": data["x"][:, columns]}  # noqa: E731
    return learner._replace(
        fit=lambda key, data, split, **numbers: learner.fit(key, part(data), split, **numbers),
        predict=lambda model, batch: learner.predict(model, part(batch)),
    )


def spied(meta=None):
    """Two regressions and a learner on top whose model is what it saw, too."""
    meta = dj.ridge(0.5) if meta is None else meta

    def fit(key, data, split):
        return {"top": meta.fit(key, data, split), "z": data["x"], "rows": split.train}

    learners = {"left": linear_on(slice(0, 2)), "right": linear_on(slice(2, 4))}
    top = meta._replace(fit=fit, predict=lambda model, batch: meta.predict(model["top"], batch))
    return partial(dj.stacked, learners, top, outputs="numbers")


def test_stacking_is_that_of_scikit_learn(data):
    in_order = lambda key, rows, num_folds, fold: of_scikit_learn(rows, fold)  # noqa: E731
    folds = list(KFold(3).split(data["x"]))

    def of_scikit_learn(rows, fold):
        train, valid = (jnp.asarray(np.stack(part)) for part in zip(*folds))
        return dj.Split(
            *(dj.Rows(i[fold], jnp.int32(i.shape[1]), jnp.ones(i.shape[1])) for i in (train, valid))
        )

    learner = spied()(3, split=in_order)
    model = jax.jit(lambda data: learner.fit(KEY, data, everything(data)))(data)

    class Columns(Ridge):
        """`linear_on` of scikit-learn."""

        def __init__(self, start=0, alpha=0.1):
            super().__init__(alpha=alpha)
            self.start = start

        def fit(self, x, y):
            return super().fit(x[:, self.start : self.start + 2], y)

        def predict(self, x):
            return super().predict(x[:, self.start : self.start + 2])

    estimators = [("left", Columns(0)), ("right", Columns(2))]
    theirs = StackingRegressor(estimators, Ridge(alpha=0.5), cv=KFold(3))
    theirs.fit(data["x"], data["y"])
    # normal equations in float32 upon normal equations in float32
    np.testing.assert_allclose(learner.predict(model, data), theirs.predict(data["x"]), rtol=1e-3)


def test_no_row_is_told_what_a_fit_says_that_saw_it(data):
    """Other targets of a row change what others are told, and no bit of its own inputs."""
    learner = spied()(4)
    fit = jax.jit(lambda data: learner.fit(KEY, data, dj.Split(bag()))["meta"]["z"])
    z = np.asarray(fit(data))
    assert z.shape == (NUM_ROWS, 2)
    for row in (3, 5, 19):  # three entries, one, two
        y = data["y"].copy()
        y[row] = 1e4
        changed = np.asarray(fit({**data, "y": y}))
        np.testing.assert_array_equal(changed[row], z[row])
        assert (changed != z)[:20].any()
    assert np.isnan(z[20:]).all(), "rows that do not train are told nothing"
    assert np.isfinite(z[:20]).all()


def test_rows_that_are_held_out_decide_nothing(data):
    learner = spied()(4)
    fit = jax.jit(lambda data: learner.fit(KEY, data, dj.Split(bag())))
    worse = {name: x.copy() for name, x in data.items()}
    worse["x"][20:], worse["y"][20:] = np.nan, np.nan
    jax.tree.map(np.testing.assert_array_equal, fit(data), fit(worse))


def test_rows_that_no_fold_holds_out_do_not_train_the_learner_on_top(data):
    in_time = lambda key, rows, num_folds, fold: dj.time_series_split(  # noqa: E731
        rows, num_folds, fold
    )
    learner = spied()(4, split=in_time)
    model = jax.jit(lambda data: learner.fit(KEY, data, everything(data)))(data)
    rows, z = model["meta"]["rows"], model["meta"]["z"]
    first = NUM_ROWS - 4 * (NUM_ROWS // 5)
    assert np.asarray(rows.index)[: rows.count].tolist() == list(range(first, NUM_ROWS))
    assert np.isnan(z[:first]).all()
    assert np.isfinite(learner.predict(model, data)).all()


@pytest.mark.slow
def test_stacked_nets_are_cross_validated_in_one_program_whatever_its_width():
    data = blobs()
    way = partial(dj.optimizers.adam, 0.05)
    net = dj.learner(classifier(features=(4,)), way, num_steps=6, batch_size=8)
    learners = {"net": net, "ridge": dj.ridge(num_classes=3)}
    learner = dj.stacked(learners, dj.ridge(num_classes=3), 2, outputs="classes")
    run = partial(dj.cross_validate, learner, data, 3, axes={"seed": [0, 1]})
    found = run(width=6, keep=lambda model: model["learners"]["net"]["diverged_at"])
    assert found.predictions.shape == (2, 47, 3)
    np.testing.assert_array_equal(found.predictions, run(width=1).predictions)
    assert (found.study.results["kept"] == -1).all()
    assert found.study.results["scores"]["accuracy"].mean() > 0.8


def test_learners_that_are_alike_draw_by_their_names():
    draws = dj.Learner(lambda key, data, split: jax.random.bits(key), None, None)
    fit = lambda names: dj.voting(dict.fromkeys(names, draws)).fit(KEY, {}, None)  # noqa: E731
    model = fit("ab")
    assert model["a"] != model["b"]
    assert fit("cab")["a"] == model["a"], "another learner changes no draw"


def test_wrong_arguments_are_named(data):
    one = {"a": dj.ridge()}
    for make, message in (
        (partial(dj.voting, {}), "learners must name at least one"),
        (partial(dj.voting, one, rule="loud"), "rule must be one of soft, hard, got 'loud'"),
        (partial(dj.voting, one, weights={"b": 1.0}), r"weights must name \['a'\], got \['b'\]"),
        (partial(dj.voting, one, weights={"a": -1.0}), "the weight of a must be in"),
        (partial(dj.voting, one, weights={"a": 0.0}), "the sum of the weights must be in"),
        (partial(dj.stacked, one, dj.ridge(), 3, outputs="logits"), "outputs must be one of"),
        (partial(dj.stacked, one, dj.ridge(), 0, outputs="numbers"), "num_folds must be in"),
        (partial(dj.stacked, {}, dj.ridge(), 3, outputs="numbers"), "learners must name"),
        (partial(dj.ridge, -1.0), "l2 must be in"),
        (partial(dj.ridge, num_classes=1), "num_classes must be in"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    model = {"a": {"A": jnp.ones(4), "b": jnp.float32(0)}}
    with pytest.raises(ValueError, match=r"outputs must be logits \[B, C\], C >= 2, got \(30,\)"):
        jax.eval_shape(dj.voting(one).predict, model, data)
