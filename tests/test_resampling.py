"""Cross-validation, bagging, ensembles and nested searches, against fits one at a time."""

import pickle
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dljax as dj
from dljax.resampling.held_out import run_key
from dljax.splits import Rows, Split

K, STEPS, WIDTH = 5, 30, 2
RATES = np.array([1e-3, 1e-2], np.float32)
RATE = {"learning_rate": [1e-2]}


@pytest.fixture(scope="module")
def iris():
    return dj.datasets.load("iris")


@pytest.fixture(scope="module")
def net():
    model = dj.linen_model(dj.modules.MLP(3, (8,)))
    task = dj.supervised(model, dj.losses.cross_entropy, {"accuracy": dj.losses.accuracy})
    return dj.scaled(dj.learner(task, dj.optimizers.adam, num_steps=STEPS, batch_size=32))


@pytest.fixture(scope="module")
def stratified(iris):
    return partial(dj.stratified_kfold, labels=iris["y"], num_classes=3)


@pytest.fixture(scope="module")
def found(iris, net, stratified):
    """All folds of two seeds and two rates, with the first ten rows as rows to predict."""
    test = {name: x[:10] for name, x in iris.items()}
    axes = {"seed": np.arange(2), "learning_rate": RATES}
    how = {"split": stratified, "axes": axes, "test": test, "width": WIDTH, "progress": False}
    return dj.cross_validate(net, iris, K, **how)


def one_fit(net, data, split, *, seed=0, fold=0, learning_rate=1e-2):
    """The fit of one fold, written out."""
    folds = dj.stream(jax.random.key(0), "folds", 0)
    parts = split(folds, len(data["y"]), num_folds=K, fold=fold)
    key = dj.stream(run_key(seed), "fold", 0, fold)
    model = net.fit(key, data, Split(parts.train), learning_rate=learning_rate)
    return model, parts


def test_folds_seeds_and_rates_together_have_the_bits_of_fits_one_at_a_time(
    iris, net, stratified, found
):
    axes = {"seed": [1], "learning_rate": RATES[1:]}
    how = {"split": stratified, "axes": axes, "width": WIDTH, "progress": False}
    alone = dj.cross_validate(net, iris, K, **how)
    np.testing.assert_array_equal(alone.predictions[0, 0], found.predictions[1, 1])
    np.testing.assert_array_equal(alone.fold[0, 0], found.fold[1, 1])


def test_out_of_fold_predictions_are_those_of_the_fit_that_held_the_row_out(
    iris, net, stratified, found
):
    @jax.jit
    def by_hand(data, fold):
        model, parts = one_fit(net, data, stratified, fold=fold)
        return net.predict(model, data), parts.valid

    for fold in (0, 3):
        outputs, valid = by_hand(iris, fold)
        rows = np.asarray(valid.index)[: int(valid.count)]
        # another program than that of the population: rounding of a short run
        chex.assert_trees_all_close(found.predictions[0, 1][rows], outputs[rows], atol=1e-4)
        assert (found.fold[0, 1][rows] == fold).all()


def test_every_row_is_held_out_once_and_scores_are_means_of_its_measures(iris, found):
    assert (np.bincount(found.fold[0, 0], minlength=K) == 30).all()
    right = found.predictions.argmax(axis=-1) == iris["y"]
    of_fold = np.stack([right[..., found.fold[0, 0] == k].mean(axis=-1) for k in range(K)], axis=-1)
    # means of 30 zeros and ones
    chex.assert_trees_all_close(found.study.results["scores"]["accuracy"], of_fold, atol=1e-6)
    assert found.study.results["test"].shape == (2, 2, K, 10, 3)
    assert list(found.study.axes) == ["seed", "learning_rate", "fold"]


def test_garbage_in_the_held_out_rows_changes_no_bit_of_what_is_learnt(
    iris, net, stratified, found
):
    held_out = found.fold[0, 1] == 0
    garbage = {
        "x": np.where(held_out[:, None], np.nan, iris["x"]),
        "y": np.where(held_out, 2**30, iris["y"]),
    }
    test = {name: x[:10] for name, x in iris.items()}
    axes = {"seed": [0], "learning_rate": RATES[1:]}
    how = {"split": stratified, "axes": axes, "test": test, "width": WIDTH, "progress": False}
    again = dj.cross_validate(net, garbage, K, check=lambda data: None, **how)
    np.testing.assert_array_equal(
        again.study.results["test"][0, 0, 0], found.study.results["test"][0, 1, 0]
    )


def test_learners_by_name_are_the_first_axis_and_share_rows_and_luck():
    data = numbers()
    keep_key = lambda shift: mean_of_targets()._replace(  # noqa: E731
        fit=lambda key, data, split: {
            "mean": jnp.float32(shift),
            "luck": jax.random.bits(key),
            "rows": split.train.index,
        }
    )
    learners = {"a": keep_key(1), "b": keep_key(2)}
    how = {"keep": lambda model: (model["luck"], model["rows"]), "progress": False}
    both = dj.cross_validate(learners, data, 3, axes={"seed": np.arange(2)}, **how)
    assert list(both.study.axes) == ["learner", "seed", "fold"]
    luck, rows = both.study.results["kept"]
    np.testing.assert_array_equal(luck[0], luck[1])
    np.testing.assert_array_equal(rows[0], rows[1])
    assert len(np.unique(luck)) == 6
    np.testing.assert_array_equal(
        both.predictions, np.array([1, 2])[:, None, None] + np.zeros((2, 12))
    )


def mean_of_targets(error=lambda r: r**2):
    """A learner whose every prediction is the weighted mean of the targets that it saw."""

    def fit(key, data, split, *, shift=0.0):
        w = split.train.weight
        return {"mean": (w * data["y"][split.train.index]).sum() / w.sum() + shift}

    def predict(model, batch):
        return jnp.full(len(batch["y"]), model["mean"])

    return dj.Learner(fit, predict, lambda f, batch: {"error": error(f - batch["y"])})


def numbers(size=12):
    y = np.random.default_rng(0).normal(size=size).astype(np.float32)
    return {"x": y[:, None], "y": y}


def test_rows_that_no_fold_holds_out_have_no_prediction():
    data = numbers()
    series = lambda key, rows, num_folds, fold: dj.time_series_split(rows, num_folds, fold)  # noqa: E731
    found = dj.cross_validate(mean_of_targets(), data, 3, split=series, progress=False)
    np.testing.assert_array_equal(found.fold, [-1] * 3 + [0] * 3 + [1] * 3 + [2] * 3)
    assert np.isnan(found.predictions[:3]).all()
    past = [data["y"][:n].mean() for n in (3, 6, 9)]
    # a mean of nine float32
    chex.assert_trees_all_close(found.predictions[3:], np.repeat(past, 3), rtol=1e-5)


def test_a_row_that_several_parts_hold_out_has_no_one_prediction():
    def halves(key, rows, num_folds, fold):
        return dj.holdout(dj.stream(key, "part", fold), rows, valid=0.5)

    found = dj.cross_validate(mean_of_targets(), numbers(), 3, split=halves, progress=False)
    index = found.study.results["index"]
    times = np.bincount(index.ravel(), minlength=12)
    np.testing.assert_array_equal(found.fold >= 0, times == 1)
    np.testing.assert_array_equal(np.isfinite(found.predictions), times == 1)
    for row in np.flatnonzero(times == 1):
        assert row in index[found.fold[row]]


def test_a_run_folder_keeps_a_cross_validation_and_runs_nothing_twice(tmp_path):
    traced = []
    mean = mean_of_targets()

    def fit(key, data, split):
        traced.append(1)
        return mean.fit(key, data, split)

    counting, data = mean._replace(fit=fit), numbers()
    how = {"out": tmp_path / "cv", "progress": False}
    first = dj.cross_validate(counting, data, 3, **how)
    again = dj.cross_validate(counting, data, 3, **how)
    np.testing.assert_array_equal(first.predictions, again.predictions)
    loaded = dj.load(tmp_path / "cv")
    np.testing.assert_array_equal(loaded.results["outputs"][0], first.study.results["outputs"])


def test_a_second_resampling_compiles_nothing():
    traced = []
    mean = mean_of_targets()

    def fit(key, data, split):
        traced.append(1)
        return mean.fit(key, data, split)

    counting, data = mean._replace(fit=fit), numbers()
    calls = (
        lambda: dj.cross_validate(counting, data, 3, progress=False),
        lambda: dj.bagging(counting, data, 3, outputs="numbers", progress=False),
        lambda: dj.learning_curve(counting, data, [4, 8], 3, progress=False),
    )
    for call in calls:
        call()
        once = len(traced)
        call()
        assert len(traced) == once


def test_out_of_bag_predictions_average_the_bags_that_did_not_draw_the_row():
    data, num_bags = numbers(), 7
    found = dj.bagging(mean_of_targets(), data, num_bags, outputs="numbers", progress=False)
    bags = dj.stream(jax.random.key(0), "bags", 0)
    splits = [dj.bootstrap(dj.stream(bags, "bag", bag), 12) for bag in range(num_bags)]
    drawn = np.array([dj.row_weights(split.train, 12) for split in splits])
    means = (drawn * data["y"]).sum(axis=1) / 12
    for row in range(12):
        outside = drawn[:, row] == 0
        assert found.count[row] == outside.sum()
        expected = means[outside].mean() if outside.any() else np.nan
        # means of twelve float32
        np.testing.assert_allclose(found.predictions[row], expected, rtol=1e-5)
    seen = found.count > 0
    error = ((found.predictions - data["y"]) ** 2)[seen].mean()
    np.testing.assert_allclose(found.scores["error"], error, rtol=1e-5)


def test_a_row_that_all_bags_drew_has_no_prediction_and_counts_for_nothing():
    data = numbers()
    found = dj.bagging(mean_of_targets(), data, 1, outputs="numbers", progress=False)
    drawn = found.count == 0
    assert 0 < drawn.sum() < 12
    assert np.isnan(found.predictions[drawn]).all()
    assert np.isfinite(found.scores["error"])


def test_bags_of_several_learners_are_scored_by_their_own_measures():
    learners = {"squared": mean_of_targets(), "absolute": mean_of_targets(jnp.abs)}
    found = dj.bagging(learners, data := numbers(), 5, outputs="numbers", progress=False)
    error = (found.predictions - data["y"])[:, found.count[0] > 0]
    expected = [(error[0] ** 2).mean(), np.abs(error[1]).mean()]
    # means of twelve float32
    np.testing.assert_allclose(found.scores["error"], expected, rtol=1e-5)


def test_bags_of_normals_have_the_moments_of_the_mixture():
    def predict(model, batch):
        mean = jnp.full(len(batch["y"]), model["mean"])
        return {"mean": mean, "variance": jnp.ones_like(mean)}

    normal = mean_of_targets()._replace(predict=predict, measure=dj.predict.normal_scores)
    data = numbers()
    found = dj.bagging(normal, data, 9, outputs="normals", test=data, progress=False)
    means = found.study.results["test"]["mean"]
    chex.assert_trees_all_close(found.test["mean"], means.mean(axis=0), rtol=1e-5)
    # 1, and the variance of nine means, which float64 adds up
    chex.assert_trees_all_close(found.test["variance"], 1 + means.var(axis=0), rtol=1e-5)
    assert np.isfinite(found.scores["nll"])


def test_bags_of_one_logit_are_scored_as_one_logit():
    def predict(model, batch):
        return model["mean"] * batch["x"][:, :1]

    measure = lambda f, batch: {"accuracy": dj.losses.accuracy(f, batch["y"])}  # noqa: E731
    one_logit = mean_of_targets()._replace(predict=predict, measure=measure)
    data = {"x": numbers()["x"], "y": (numbers()["y"] > 0).astype(np.int32)}
    found = dj.bagging(one_logit, data, 4, outputs="classes", progress=False)
    assert found.predictions.shape == (12, 2)
    assert found.scores["accuracy"] == 1  # the mean of classes is above 0


def test_bags_of_classes_average_probabilities(iris, net):
    test = {name: x[::15] for name, x in iris.items()}
    axes = {"learning_rate": RATES[1:]}
    how = {"axes": axes, "test": test, "progress": False}
    found = dj.bagging(net, iris, 6, outputs="classes", **how)
    members = dj.predict.log_probabilities(found.study.results["test"][0])
    # float64 here, float32 there
    chex.assert_trees_all_close(found.test[0], dj.predict.mixture(members), atol=1e-5)
    seen = found.count[0] > 0
    chex.assert_trees_all_close(
        np.exp(found.predictions[0][seen]).sum(axis=-1), np.ones(seen.sum()), atol=1e-5
    )
    right = found.predictions[0][seen].argmax(axis=-1) == iris["y"][seen]
    np.testing.assert_allclose(found.scores["accuracy"], [right.mean()], atol=1e-6)
    assert np.abs(members[0] - members[1]).max() > 0


def test_a_nested_search_chooses_what_a_search_by_hand_chooses():
    data = numbers()
    grid = {"shift": np.array([-1.0, 3e38, 0.5, 2.0], np.float32)}  # the second error overflows
    tuned = dj.tuned(mean_of_targets(), grid, 3, by="error")
    found = dj.cross_validate(tuned, data, 2, keep=dict, progress=False)
    kept = found.study.results["kept"]
    folds = dj.stream(jax.random.key(0), "folds", 0)
    for fold in range(2):
        outer = dj.kfold(folds, 12, 2, fold).train
        key = dj.stream(dj.stream(run_key(0), "fold", 0, fold), "inner folds")
        errors = []
        for inner in range(3):
            parts = dj.kfold(key, outer, 3, inner)
            train, valid = (np.asarray(x.index)[: int(x.count)] for x in parts[:2])
            guess = data["y"][train].mean() + grid["shift"].astype(np.float64)
            errors.append(((guess[:, None] - data["y"][valid]) ** 2).mean(axis=1))
        scores = np.mean(errors, axis=0)
        # means of eight float32
        np.testing.assert_allclose(kept["scores"][fold][[0, 2, 3]], scores[[0, 2, 3]], rtol=1e-4)
        assert np.isinf(kept["scores"][fold][1])
        assert kept["chosen"][fold] == scores.argmin()
        chosen = grid["shift"][kept["chosen"][fold]]
        assert kept["numbers"]["shift"][fold] == chosen
        mean = data["y"][np.asarray(outer.index)].mean() + chosen
        np.testing.assert_allclose(found.predictions[found.fold == fold], mean, rtol=1e-4)


def test_what_is_held_out_outside_decides_nothing_inside():
    data, grid = numbers(), {"shift": np.array([-1.0, 0.0, 2.0], np.float32)}
    tuned = dj.tuned(mean_of_targets(), grid, 2, by="error")
    how = {"keep": lambda model: model["scores"], "progress": False, "check": lambda data: None}
    clean = dj.cross_validate(tuned, data, 3, **how)
    garbage = {**data, "y": np.where(clean.fold == 0, np.nan, data["y"])}
    again = dj.cross_validate(tuned, garbage, 3, **how)
    np.testing.assert_array_equal(again.study.results["kept"][0], clean.study.results["kept"][0])


def test_no_row_that_a_bag_drew_twice_trains_and_selects():
    """A learner that has memorised a row is perfect on it: noise must not look learnable."""

    def fit(key, data, split, *, memory):
        w = dj.row_weights(split.train, 12)
        mean = (w * data["y"]).sum() / w.sum()
        return {"y": jnp.where(memory & (w > 0), data["y"], mean), "seen": w > 0}

    def predict(model, batch):
        same = batch["row"][:, None] == jnp.arange(12)[None]
        return jnp.where(same, model["y"][None], 0.0).sum(axis=1)

    def measure(outputs, batch):
        return {"error": (outputs - batch["y"]) ** 2}

    data = {**numbers(), "row": np.arange(12)}
    tuned = dj.tuned(dj.Learner(fit, predict, measure), {"memory": [False, True]}, 3, by="error")
    how = {"keep": lambda model: model["scores"], "progress": False}
    found = dj.bagging(tuned, data, 6, outputs="numbers", **how)
    scores = found.study.results["kept"]
    np.testing.assert_array_equal(scores[:, 0], scores[:, 1])  # of unseen rows both say the mean


def test_a_search_without_a_finite_score_predicts_nan():
    def broken(f, batch):
        return {"error": jnp.full(len(f), jnp.nan)}

    tuned = dj.tuned(
        mean_of_targets()._replace(measure=broken), {"shift": [0.0, 1.0]}, 2, by="error"
    )
    how = {"keep": lambda model: model["chosen"], "progress": False}
    found = dj.cross_validate(tuned, numbers(), 3, **how)
    assert (found.study.results["kept"] == -1).all()
    assert np.isnan(found.predictions).all()


@pytest.mark.slow
def test_an_ensemble_predicts_what_its_members_predict_together(iris, net):
    joined = lambda logits: dj.predict.mixture(dj.predict.log_probabilities(logits))  # noqa: E731
    three = dj.ensemble(net, 3, joined)
    rows = Split(Rows(jnp.arange(150), jnp.int32(150), jnp.ones(150)))

    @jax.jit
    def outputs(data):
        key = jax.random.key(1)
        members = [
            net.predict(net.fit(dj.stream(key, "member", s), data, rows, learning_rate=1e-2), data)
            for s in range(3)
        ]
        together = three.predict(three.fit(key, data, rows, learning_rate=1e-2), data)
        return jnp.stack(members), together

    members, together = outputs(iris)
    # members side by side and one by one are two programs
    chex.assert_trees_all_close(together, joined(members), atol=1e-3)
    assert np.abs(members[0] - members[1]).max() > 0.1


def test_members_of_an_ensemble_may_have_bags():
    data = jax.tree.map(jnp.asarray, numbers())
    bagged = dj.ensemble(mean_of_targets(), 3, lambda f: f.mean(axis=0), bag=dj.bootstrap)
    rows = Split(Rows(jnp.arange(12), jnp.int32(12), jnp.ones(12)))
    key = jax.random.key(2)
    model = bagged.fit(key, data, rows)
    for s in range(3):
        bag = dj.bootstrap(dj.stream(key, "bag", s), 12).train.index
        # a mean of twelve float32
        np.testing.assert_allclose(model["mean"][s], data["y"][bag].mean(), rtol=1e-5)


def test_a_scaled_target_is_restored_and_scored_in_its_own_units():
    data = dj.datasets.load("diabetes")
    net = dj.supervised(dj.linen_model(dj.modules.MLP(1)), dj.losses.squared_error)
    linear = dj.learner(net, dj.optimizers.adam, num_epochs=300)
    found = dj.cross_validate(
        dj.scaled(linear, target="y"), data, 5, axes={"learning_rate": [0.05]}, progress=False
    )
    error = (found.predictions[0, :, 0] - data["y"]) ** 2
    scores = found.study.results["scores"]["loss"][0]
    np.testing.assert_allclose(scores[2], error[found.fold[0] == 2].mean(), rtol=1e-4)
    # least squares, which 300 full-batch steps reach nearly: R^2 of about 0.48 out of fold
    assert 0.4 < 1 - error.mean() / data["y"].var() < 0.55


def test_folds_give_intervals_that_cover():
    data, new = numbers(60), numbers(200)
    data, new = ({**d, "y": d["y"] + 3} for d in (data, new))
    found = dj.cross_validate(mean_of_targets(), data, 6, test=new, progress=False)
    residuals = np.abs(data["y"] - found.predictions)
    interval = dj.predict.cv_plus(residuals, found.fold, found.study.results["test"], 0.2)
    inside = (interval.lower <= new["y"]) & (new["y"] <= interval.upper)
    # 0.8 of 200 rows, with a standard deviation of 0.03 and one of the quantile of 60 of 0.05
    assert 0.65 < inside.mean() < 0.95


def test_epochs_make_fewer_steps_of_fewer_rows(iris):
    task = dj.supervised(dj.linen_model(dj.modules.MLP(3)), dj.losses.cross_entropy)
    steps = lambda t: jnp.where(t < 8, 1e-2, jnp.nan)  # noqa: E731  # the ninth step diverges
    net = dj.learner(task, lambda: dj.optimizers.sgd(steps), num_epochs=2, batch_size=25)
    for size, num_steps in ((100, 8), (120, 10)):
        rows = Rows(jnp.arange(size), jnp.int32(size), jnp.ones(size))
        model = jax.jit(lambda rows: net.fit(jax.random.key(0), iris, Split(rows)))(rows)
        assert (model["diverged_at"] == 9) == (num_steps > 8)


@pytest.mark.slow
def test_predictions_of_a_run_that_diverged_are_nan(iris, net):
    axes = {"learning_rate": [1e30]}
    found = dj.cross_validate(net, iris, 2, axes=axes, progress=False)
    assert np.isnan(found.predictions).all()
    assert np.isnan(found.study.results["scores"]["accuracy"]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, d: dj.cross_validate(net, d, 1), r"num_folds must be .*got 1"),
        (lambda net, d: dj.cross_validate(net, d, 151), r"num_folds must be .*got 151"),
        (
            lambda net, d: dj.cross_validate(net, d, 5, axes={"fold": [1]}),
            r"axes must not name 'fold', which is an axis already",
        ),
        (
            lambda net, d: dj.bagging(net, d, 5, outputs="logits"),
            r"outputs must be one of classes, numbers, normals, got 'logits'",
        ),
        (
            lambda net, d: dj.cross_validate(net, {**d, "x": d["x"] * np.nan}, 5),
            r"x must be finite",
        ),
        (lambda net, d: dj.tuned(net, {"rate": []}, 5, by="loss"), r"axis 'rate' must be"),
        (lambda net, d: dj.ensemble(net, 0, np.mean), r"num_members must be .*got 0"),
        (lambda net, d: dj.bagging(net, d, 0, outputs="classes"), r"num_bags must be .*got 0"),
        (
            lambda net, d: dj.bagging(net, d, 3, outputs="normals", axes=RATE),
            r'outputs must be a dict of "mean" and "variance" to average normals, got one',
        ),
        (
            lambda net, d: dj.bagging(
                net, d, 3, outputs="classes", split=dj.bayesian_bootstrap, axes=RATE
            ),
            r"split must hold rows out as `valid`",
        ),
        (
            lambda net, d: dj.cross_validate(net.fit, d, 3),
            r"learner must be a dj.Learner",
        ),
        (
            lambda net, d: dj.cross_validate(dj.tuned(net, RATE, 3, by="error"), d, 3),
            r"unknown measure 'error'; known: accuracy, loss",
        ),
        (
            lambda net, d: dj.cross_validate(dj.tuned(net, RATE, 3, by="loss"), d, 3, axes=RATE),
            r"'learning_rate' must be in the grid or an axis, got both",
        ),
        (
            lambda net, d: dj.cross_validate(net, {**d, "y": d["x"][:, 0] * 0}, 3),
            r"y must .*constant|y must .*differ",
        ),
        (lambda net, d: dj.cross_validate(net, {**d, "y": d["y"] * 0}, 3), r"y must hold .*class"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(iris, net, call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(net, iris)
    assert "\n" not in str(caught.value)


def test_a_table_has_a_row_for_every_fit_and_one_for_every_cell_of_bags(found, iris, net):
    table = found.to_dataframe()
    assert list(table) == ["seed", "learning_rate", "fold", "accuracy", "loss"]
    row = table[(table.seed == 1) & (table.learning_rate == RATES[0]) & (table.fold == 4)]
    assert row.accuracy.item() == found.study.results["scores"]["accuracy"][1, 0, 4]
    how = {"outputs": "classes", "progress": False}
    bags = dj.bagging(net, iris, 3, axes={"learning_rate": RATES}, **how).to_dataframe()
    assert list(bags) == ["learning_rate", "accuracy", "loss"]
    assert len(bags) == 2
    alone = dj.bagging(mean_of_targets(), numbers(), 3, outputs="numbers", progress=False)
    assert alone.to_dataframe().shape == (1, len(alone.scores))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "either num_steps or num_epochs must be given"),
        ({"num_steps": 3, "num_epochs": 2}, "either num_steps or num_epochs must be given"),
        ({"num_steps": 3, "patience": 2}, "patience counts epochs"),
        ({"num_epochs": 3, "patience": 0}, r"patience must .*got 0"),
    ],
)
def test_a_learner_takes_steps_or_epochs_and_patience_in_epochs(how, message):
    task = dj.supervised(dj.linen_model(dj.modules.MLP(3)), dj.losses.cross_entropy)
    with pytest.raises(ValueError, match=message):
        dj.learner(task, dj.optimizers.adam, **how)


@pytest.fixture(scope="module")
def stopping():
    """A net that stops early: large steps make its loss rise again soon."""
    task = dj.supervised(dj.linen_model(dj.modules.MLP(3, (8,))), dj.losses.cross_entropy)
    how = {"num_epochs": 40, "batch_size": 16, "patience": 2}
    return dj.learner(task, partial(dj.optimizers.adam, 0.1), **how), task


def test_patience_keeps_the_best_epoch_of_rows_that_do_not_train(iris, stopping):
    net, task = stopping
    rows = dj.splits.all_rows(150)

    @jax.jit
    def both(data, key):
        split = dj.holdout(dj.stream(key, "stop"), rows)
        fit = dj.trainer(task, dj.optimizers.adam(0.1), data, split, batch_size=16)
        _, history = dj.run(fit, fit.init(key), num_steps=40 * 8, eval_every=8)
        return net.fit(key, data, Split(rows)), history["valid_loss"], split

    model, loss, split = both(iris, jax.random.key(0))
    waited, best = 0, 0
    for epoch in range(1, 41):
        waited, best = (0, epoch) if loss[epoch] < loss[best] else (waited + 1, best)
        if waited == 2:
            break
    assert 0 < best < epoch < 40  # it stopped early, and not at the best epoch
    assert (model["best_step"], model["stopped_at"]) == (8 * best, 8 * epoch)
    batch = jax.tree.map(lambda x: x[split.valid.index], iris)
    kept = jnp.mean(task.measure(net.predict(model, batch), batch)["loss"])
    # another program than the one that evaluated: a few rounding errors of a sum of 30 terms
    np.testing.assert_allclose(kept, loss[best], rtol=1e-5)


def test_members_of_a_cross_validation_stop_each_by_itself(iris, stopping):
    net, _ = stopping
    how = {"keep": lambda model: model["stopped_at"], "progress": False}
    wide = dj.cross_validate(net, iris, K, width=5, **how)
    stops = wide.study.results["kept"]
    assert len(np.unique(stops)) > 1
    assert (stops < 40 * 6).any()  # 96 of 120 rows train, 6 batches of 16
    alone = dj.cross_validate(net, iris, K, width=2, **how)
    np.testing.assert_array_equal(alone.study.results["kept"], stops)


def test_a_row_that_a_bag_drew_twice_does_not_train_and_stop(stopping):
    seen = []

    def stop_on(key, rows):
        split = dj.holdout(key, rows)
        seen.append(split.valid.index)
        return split

    data = {"x": np.eye(4, dtype=np.float32), "y": np.array([0, 1, 2, 0])}
    task = stopping[1]
    net = dj.learner(
        task, partial(dj.optimizers.sgd, 0.1), num_epochs=2, patience=1, stop_on=stop_on
    )
    drawn = Rows(jnp.array([0, 1, 2, 2, 2, 2]), jnp.int32(6), jnp.ones(6))
    garbage = lambda row: {**data, "x": np.where(np.arange(4)[:, None] == row, np.nan, data["x"])}  # noqa: E731

    def fits(data, key):
        model = net.fit(key, data, Split(drawn))
        return model["diverged_at"], seen.pop()

    fits, found = jax.jit(fits), set()
    for seed in range(8):
        (row,) = np.asarray(fits(data, jax.random.key(seed))[1])
        trained_on_it = fits(garbage(row), jax.random.key(seed))[0] >= 0
        assert not trained_on_it
        found.add(int(row))
    assert 2 in found  # the row that was drawn more than once held out


def test_a_given_part_stops_and_the_outer_fold_decides_nothing(iris, stopping):
    never = dj.learner(
        stopping[1],
        partial(dj.optimizers.adam, 0.1),
        num_epochs=40,
        batch_size=16,
        patience=2,
        stop_on=lambda key, rows: pytest.fail("rows to stop by were given"),
    )
    split = dj.holdout(jax.random.key(0), 150, valid=0.2, test=0.2)
    fit = jax.jit(lambda data: never.fit(jax.random.key(0), data, split._replace(test=None)))
    model = fit(iris)
    held_out = np.isin(np.arange(150), split.test.index)[:, None]
    garbage = {**iris, "x": np.where(held_out, np.nan, iris["x"])}
    chex.assert_trees_all_equal(fit(garbage), model)
    stops = np.isin(np.arange(150), split.valid.index)
    worse = {**iris, "y": np.where(stops, 2 - iris["y"], iris["y"])}  # they never improve
    assert fit(worse)["stopped_at"] < model["stopped_at"]


@pytest.mark.parametrize(("count", "stop_on"), [(1, dj.holdout), (3, "the fifth fold")])
def test_without_rows_to_train_or_to_stop_by_predictions_are_nan(iris, stopping, count, stop_on):
    if stop_on == "the fifth fold":
        stop_on = partial(dj.kfold, num_folds=5, fold=4)
    way = {"num_epochs": 2, "batch_size": 4, "patience": 1, "stop_on": stop_on}
    net = dj.learner(stopping[1], partial(dj.optimizers.adam, 0.1), **way)

    @jax.jit
    def predicted(data, count):
        rows = Rows(jnp.arange(20), count, (jnp.arange(20) < count) * 1.0)
        return net.predict(net.fit(jax.random.key(0), data, Split(rows)), data)

    assert np.isnan(predicted(iris, count)).all()
    assert np.isfinite(predicted(iris, 20)).all()


def test_what_must_stop_a_learner_must_hold_rows_out(iris, stopping):
    net = dj.learner(
        stopping[1], dj.optimizers.adam, num_epochs=2, patience=1, stop_on=dj.bayesian_bootstrap
    )
    with pytest.raises(ValueError, match="stop_on must hold rows out as `valid`"):
        dj.cross_validate(net, iris, 3, axes=RATE, progress=False)


def test_one_fold_of_a_run_folder_is_replayed_to_the_bit(tmp_path):
    mean, data = mean_of_targets(), numbers()
    how = {"out": tmp_path / "cv", "axes": {"seed": np.arange(2)}, "progress": False}
    found = dj.cross_validate(mean, data, 3, **how)
    again = found.replay(seed=1, fold=2)
    assert again.is_same
    np.testing.assert_array_equal(again.results["outputs"], found.study.results["outputs"][1, 2])
    with pytest.raises(ValueError, match="none of 'seed'"):
        found.replay(fold=2)
    with pytest.raises(ValueError, match="compares with a run folder"):
        dj.cross_validate(mean, data, 3, progress=False).replay(fold=2)


def test_a_replay_says_that_the_learner_is_another(tmp_path):
    shift = []

    def fit(key, data, split):
        return jax.tree.map(lambda x: x + len(shift), mean.fit(key, data, split))

    mean = mean_of_targets()
    found = dj.cross_validate(
        mean._replace(fit=fit), numbers(), 3, out=tmp_path / "cv", progress=False
    )
    assert found.replay(fold=0).is_same
    shift.append("one")
    again = found.replay(fold=0)
    assert not again.is_same
    assert again.differs


def test_a_fold_that_stops_early_is_replayed_alone_to_the_bit(iris, stopping, tmp_path):
    how = {"width": 2, "out": tmp_path / "cv", "progress": False}
    found = dj.cross_validate(dj.scaled(stopping[0]), iris, K, **how)
    assert found.replay(fold=3).is_same


def test_one_bag_of_one_learner_is_replayed_by_its_name(tmp_path):
    how = {"outputs": "numbers", "out": tmp_path / "bags", "progress": False}
    learners = {"a": mean_of_targets(), "b": mean_of_targets()}
    bags = dj.bagging(learners, numbers(), 3, **how)
    assert bags.replay(learner="b", bag=1).is_same
    for name in ("c", 0):
        with pytest.raises(ValueError, match=f"unknown learner '{name}'; known: a, b"):
            bags.replay(learner=name, bag=1)
    with pytest.raises(ValueError, match="named on every axis, got none of 'learner'"):
        bags.replay(bag=1)


def test_a_result_without_a_run_folder_is_pickled(found):
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.fold, found.fold)


def test_classes_too_small_for_the_folds_are_named(iris, net):
    y = np.where(np.arange(150) == 0, 2, np.minimum(iris["y"], 1)).astype(np.int32)
    for check in (None, {"labels": "y"}, partial(dj.check, labels="y", num_folds=5)):
        with pytest.raises(dj.DataError, match="got class 2: 1"):
            dj.cross_validate(net, {**iris, "y": y}, 5, check=check)
