"""AdaBoost and gradient boosting against scikit-learn, Friedman's algorithm, and their laws."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax
from sklearn.ensemble import AdaBoostClassifier, GradientBoostingRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from small import blobs, classifier

import dljax as dj
from dljax.boosting import staged

KEY = jax.random.key(0)
NUM_ROWS, NUM_NEW = 60, 40


def sides(x, w):
    """All stumps on the rows: weights of the left side, [D, M, M], and where each cuts, [D, M]."""
    after = jnp.where(x.T[:, None] > x.T[:, :, None], x.T[:, None], jnp.inf).min(axis=2)
    left = (x.T[:, None] <= x.T[:, :, None]) & (w > 0)[None, None]
    return left * w[None, None], (x.T + after) / 2


def stump(statistics, badness, output):
    """The best cut of one feature, found by trying all: what a tree of depth 1 is.

    A side is the weighted sum of `statistics(y)`, [M, S]; the sum of `badness(side)` is lowest.
    """

    def fit(key, data, split):
        rows = split.train
        x, y, w = (jnp.asarray(a) for a in (data["x"][rows.index], data["y"][rows.index], rows[2]))
        left, cut = sides(x, w)
        sums = statistics(y)
        left = left @ sums
        right = (w @ sums)[None, None] - left
        total = jnp.where(jnp.isfinite(cut), badness(left) + badness(right), jnp.inf)
        best = jnp.unravel_index(total.argmin(), total.shape)
        return {"feature": best[0], "cut": cut[best], "left": left[best], "right": right[best]}

    def predict(model, batch):
        is_left = jnp.asarray(batch["x"])[:, model["feature"]] <= model["cut"]
        return jnp.where(is_left[:, None], output(model["left"])[None], output(model["right"]))

    def measure(outputs, batch):
        return {"accuracy": dj.losses.accuracy(outputs, batch["y"])}

    return dj.Learner(fit, predict, measure)


def class_stump(num_classes):
    gini = lambda n: n.sum(-1) - (n**2).sum(-1) / jnp.maximum(n.sum(-1), 1e-12)  # noqa: E731
    return stump(lambda y: jax.nn.one_hot(y, num_classes), gini, lambda n: n)


def regression_stump():
    square = lambda s: -(s[..., 1] ** 2) / jnp.maximum(s[..., 0], 1e-12)  # noqa: E731
    value = lambda s: s[1:] / s[:1]  # noqa: E731
    return stump(lambda y: jnp.stack([jnp.ones_like(y), y], axis=1), square, value)


def table_of(weight):
    return dj.Rows(jnp.arange(len(weight)), jnp.int32(len(weight)), jnp.asarray(weight))


@pytest.fixture(scope="module")
def weight():
    """Weights of the rows, none like another, so that no two stumps are equally good."""
    return np.random.default_rng(1).uniform(0.5, 1.5, NUM_ROWS).astype(np.float32)


@pytest.fixture(scope="module")
def data():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(NUM_ROWS + NUM_NEW, 3)).astype(np.float32)
    noise = draw.normal(size=NUM_ROWS + NUM_NEW)
    f = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.1 * noise
    return {"x": x, "f": f.astype(np.float32)}


def classes(data, num_classes):
    cuts = np.quantile(data["f"], np.arange(1, num_classes) / num_classes)
    return {"x": data["x"], "y": np.searchsorted(cuts, data["f"]).astype(np.int32)}


def first_rows(data):
    return {name: x[:NUM_ROWS] for name, x in data.items()}


@pytest.mark.parametrize(("num_classes", "shrinkage"), [(2, 1.0), (3, 1.0), (3, 0.5)])
def test_adaboost_of_stumps_is_that_of_scikit_learn(data, weight, num_classes, shrinkage):
    data = classes(data, num_classes)
    learner = dj.adaboost(class_stump(num_classes), 6, num_classes=num_classes)

    @jax.jit
    def run(data, weight, shrinkage):
        model = learner.fit(KEY, data, dj.Split(table_of(weight)), shrinkage=shrinkage)
        return model, staged(learner, model, data), learner.predict(model, data)

    model, stages, last = run(data, weight, shrinkage)
    tree = DecisionTreeClassifier(max_depth=1)
    theirs = AdaBoostClassifier(tree, n_estimators=6, learning_rate=shrinkage)
    theirs.fit(data["x"][:NUM_ROWS], data["y"][:NUM_ROWS], sample_weight=weight)
    # float32 here, float64 there: errors are sums of 60 weights, alphas their logarithms
    np.testing.assert_allclose(model["error"], theirs.estimator_errors_, rtol=1e-5)
    np.testing.assert_allclose(model["weight"], theirs.estimator_weights_, rtol=1e-4)
    expected = np.stack(list(theirs.staged_predict_proba(data["x"])))
    np.testing.assert_allclose(jnp.exp(stages), expected, rtol=1e-4)
    np.testing.assert_array_equal(stages[-1], last)


def says(outputs_of):
    """A learner that learns nothing: `outputs_of(batch, weights are all alike)`."""

    def fit(key, data, split):
        w = split.train.weight[: len(data["y"])]
        return {"alike": (w == w[0]).all()}

    predict = lambda model, batch: outputs_of(batch, model["alike"])  # noqa: E731
    return dj.Learner(fit, predict, lambda outputs, batch: {})


def boosted(learner, y, num_rounds=3, **numbers):
    data = {"x": np.eye(int(np.max(y)) + 1, dtype=np.float32)[y], "y": np.asarray(y)}
    learner = dj.adaboost(learner, num_rounds, num_classes=data["x"].shape[1])

    @jax.jit
    def run(data):
        model = learner.fit(KEY, data, dj.Split(dj.splits.all_rows(len(y))), **numbers)
        return model, staged(learner, model, data)

    return run(data)


ALWAYS_FIRST = says(lambda batch, alike: -jnp.arange(3.0)[None] + 0 * batch["x"])


def test_a_round_that_is_no_better_than_chance_ends_adaboost():
    y = [0] * 6 + [1, 2, 1, 2]
    model, stages = boosted(ALWAYS_FIRST, y, shrinkage=2.0)  # so that the second is worse
    alpha = 2 * np.log(0.6 / 0.4 * 2)
    np.testing.assert_allclose(model["weight"], [alpha, 0, 0], rtol=1e-5)
    assert model["error"][1] > 2 / 3
    np.testing.assert_array_equal(stages, stages[:1].repeat(3, axis=0))
    # the first is wrong in two thirds: no round is left, and nothing is predicted
    model, stages = boosted(ALWAYS_FIRST, [0, 1, 2, 1, 2, 1])
    assert (model["weight"] == 0).all()
    assert jnp.isnan(stages).all()


def test_a_round_without_an_error_ends_adaboost_with_weight_one():
    model, stages = boosted(says(lambda batch, alike: batch["x"]), [0, 1, 2, 2])
    np.testing.assert_array_equal(model["weight"], [1, 0, 0])
    p = softmax([0.5, -0.25, -0.25])  # f / (C - 1) where all votes are for the first
    np.testing.assert_allclose(jnp.exp(stages[:, 0]), p[None].repeat(3, axis=0), rtol=1e-5)


def test_a_base_learner_that_diverges_gives_nan_unless_its_round_is_left_out():
    some_wrong = lambda batch: batch["x"][jnp.array([1, *range(1, len(batch["x"]))])]  # noqa: E731
    late = says(lambda batch, alike: jnp.where(alike, some_wrong(batch), jnp.nan))
    model, stages = boosted(late, [0, 1, 2, 2, 1, 0])
    assert jnp.isfinite(stages[0]).all()
    assert jnp.isnan(stages[1:]).all()
    assert jnp.isnan(model["weight"][1:]).all()
    assert jnp.isnan(dj.losses.accuracy(stages[-1], jnp.zeros(6, int))).all()


def test_padding_never_matters_and_a_row_that_occurs_twice_counts_twice(data, weight):
    data = classes(data, 3)
    learner = dj.adaboost(class_stump(3), 4, num_classes=3)
    weights = lambda rows: jax.jit(learner.fit)(KEY, data, dj.Split(rows))["weight"]  # noqa: E731
    index = jnp.arange(NUM_ROWS)
    once = weights(dj.Rows(index, jnp.int32(NUM_ROWS), jnp.asarray(weight)))
    twice = weights(
        dj.Rows(
            jnp.concatenate([index, index, jnp.zeros(20, int)]),
            jnp.int32(2 * NUM_ROWS),
            jnp.concatenate([weight * 0.25, weight * 0.75, jnp.zeros(20)]),
        )
    )
    # sums of 60 and of 140 float32 numbers
    np.testing.assert_allclose(once, twice, rtol=1e-4)


def test_gradient_boosting_of_stumps_is_that_of_scikit_learn(data, weight):
    data = {"x": data["x"], "y": data["f"]}
    learner = dj.gradient_boosting(
        regression_stump(), 12, loss=dj.losses.squared_error, shrinkage=0.3
    )

    @jax.jit
    def run(data, weight):
        model = learner.fit(KEY, data, dj.Split(table_of(weight)))
        return staged(learner, model, data), learner.predict(model, data)

    stages, last = run(data, weight)
    theirs = GradientBoostingRegressor(n_estimators=12, learning_rate=0.3, max_depth=1)
    theirs.fit(data["x"][:NUM_ROWS], data["y"][:NUM_ROWS], sample_weight=weight)
    expected = np.stack(list(theirs.staged_predict(data["x"])))
    # float32 with steps found by bisection, against float64
    np.testing.assert_allclose(stages, expected, atol=1e-5)
    np.testing.assert_array_equal(stages[-1], last)


def bce(F, y):
    return np.logaddexp(0, F[:, 0]) - y * F[:, 0]


def xent(F, y):
    return np.logaddexp.reduce(F, axis=1) - np.take_along_axis(F, y[:, None], 1)[:, 0]


def absolute(F, y):
    return np.abs(F[:, 0] - y)


HALF = partial(dj.losses.huber, delta=0.5)
LOSSES = {  # ours, the same in numpy, its residuals, and the outputs
    "binary_cross_entropy": (
        dj.losses.binary_cross_entropy,
        bce,
        lambda F, y: y[:, None] - expit(F),
        None,
    ),
    "cross_entropy": (
        dj.losses.cross_entropy,
        xent,
        lambda F, y: np.eye(3)[y] - softmax(F, axis=1),
        3,
    ),
    "absolute_error": (
        dj.losses.absolute_error,
        absolute,
        lambda F, y: np.sign(y[:, None] - F),
        None,
    ),
    "huber": (
        HALF,
        lambda F, y: np.array([r**2 / 2 if r < 0.5 else (r - 0.25) / 2 for r in absolute(F, y)]),
        lambda F, y: np.clip(y[:, None] - F, -0.5, 0.5),
        None,
    ),
}


def targets(data, name):
    if name.endswith("cross_entropy"):
        return classes(data, 2 if name.startswith("binary") else 3)
    return {"x": data["x"], "y": data["f"]}


def by_friedman(x, y, w, loss, residuals, num_outputs, num_rounds, shrinkage):
    """Algorithm 1 in float64, with trees of scikit-learn and minima of SciPy; all stages."""

    def least(phi, low, high):
        return minimize_scalar(phi, bounds=(low, high), method="bounded", options={"xatol": 1e-10})

    F = np.zeros((len(x), num_outputs or 1))
    risk = lambda F: w @ loss(F[: len(w)], y)  # noqa: E731
    if num_outputs is None:
        F = F + least(lambda c: risk(F + c), -5, 5).x
    stages = []
    for _ in range(num_rounds):
        r = residuals(F[: len(w)], y)
        trees = [DecisionTreeRegressor(max_depth=1).fit(x[: len(w)], c, w) for c in r.T]
        h = np.stack([tree.predict(x) for tree in trees], axis=1)
        rho = least(lambda rho, h=h, F=F: risk(F + rho * h), 0, 10).x
        F = F + shrinkage * rho * h
        stages.append(F)
    return np.stack(stages)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_boosting_is_friedmans_algorithm_and_its_loss_never_rises(data, weight, name):
    ours, theirs, residuals, num_outputs = LOSSES[name]
    data = targets(data, name)
    learner = dj.gradient_boosting(
        regression_stump(), 5, loss=ours, num_outputs=num_outputs, shrinkage=0.5
    )

    @jax.jit
    def run(data, weight):
        model = learner.fit(KEY, data, dj.Split(table_of(weight)))
        return model, staged(learner, model, data)

    model, stages = run(data, weight)
    stages = np.asarray(stages, np.float64).reshape(5, len(data["y"]), -1)
    y, w = data["y"][:NUM_ROWS], weight.astype(np.float64)
    losses = [w @ theirs(F[:NUM_ROWS], y) for F in stages]
    start = np.broadcast_to(np.asarray(model["start"])[None], stages[0, :NUM_ROWS].shape)
    # a rise within the rounding of 60 losses in float32 is none
    assert (np.diff([w @ theirs(start, y), *losses]) <= 1e-5).all()
    if name == "absolute_error":
        return  # its minima are intervals, and trees of signs have equally good cuts
    expected = by_friedman(data["x"], y, w, theirs, residuals, num_outputs, 5, 0.5)
    # float32 bisections of the slope, against searches that see the value alone
    np.testing.assert_allclose(stages, expected, atol=1e-3)


# predicts 0; its model is the rows that it was given
NOTHING = dj.Learner(
    lambda key, data, split: split.train.index,
    lambda model, batch: jnp.zeros(len(batch["y"])),
    None,
)


def test_boosting_starts_at_the_mean_the_median_and_the_log_odds(data, weight):
    start = {}
    for name in ("squared_error", "absolute_error", "binary_cross_entropy"):
        loss, rows = getattr(dj.losses, name), table_of(weight[:59])
        fit = dj.gradient_boosting(NOTHING, 1, loss=loss).fit
        fit = jax.jit(lambda data, rows, fit=fit: fit(KEY, data, dj.Split(rows))["start"])
        start[name] = fit(first_rows(targets(data, name)), rows)
    y, w = data["f"][:59], weight[:59]
    np.testing.assert_allclose(start["squared_error"], [np.average(y, weights=w)], rtol=1e-5)
    order = np.argsort(y)
    median = y[order][np.searchsorted(np.cumsum(w[order]), w.sum() / 2)]
    np.testing.assert_allclose(start["absolute_error"], [median], rtol=1e-5)
    p = np.average(classes(data, 2)["y"][:59], weights=w)
    np.testing.assert_allclose(start["binary_cross_entropy"], [np.log(p / (1 - p))], atol=1e-5)


def test_every_round_draws_its_own_rows_of_those_that_train():
    rows = dj.Rows(jnp.arange(5, 45), jnp.int32(40), jnp.ones(40))
    data = {"x": jnp.zeros((50, 1)), "y": jnp.zeros(50)}
    loss = dj.losses.squared_error
    for subsample, number in ((0.5, 20), (7, 7)):
        fit = dj.gradient_boosting(NOTHING, 3, loss=loss, subsample=subsample).fit
        fit = jax.jit(lambda data, rows, fit=fit: fit(KEY, data, dj.Split(rows))["models"])
        drawn = np.asarray(fit(data, rows))[:, 0]
        assert drawn.shape == (3, number)
        assert ((drawn >= 5) & (drawn < 45)).all()
        assert all(len(set(index)) == number for index in drawn.tolist())
        assert len({frozenset(index) for index in drawn.tolist()}) == 3


def small_net(num_steps=12):
    way = lambda learning_rate=0.05: dj.optimizers.adam(learning_rate)  # noqa: E731
    return dj.learner(classifier(features=(4,)), way, num_steps=num_steps, batch_size=8)


@pytest.mark.slow
def test_boosted_nets_are_cross_validated_as_their_rounds_one_after_another():
    data, net = blobs(), small_net(6)
    learner = dj.adaboost(net, 3, num_classes=3)
    axes = {"seed": [3, 4]}
    found = dj.cross_validate(learner, data, 3, axes=axes, width=2, keep=lambda model: model)
    whole = dj.cross_validate(learner, data, 3, axes=axes, width=6)
    # equal bits as users compile; with the flags of `conftest` a last one differs here and there
    np.testing.assert_allclose(found.predictions, whole.predictions, rtol=1e-6)
    kept = found.study.results["kept"]
    assert kept["weight"].shape == (2, 3, 3)

    def one_round(data, *, seed, fold, round, weight):
        """Round `round` of the run of a seed in a fold, given its weights."""
        split = dj.kfold(dj.stream(jax.random.key(0), "folds", 0), 47, num_folds=3, fold=fold)
        key = dj.stream(dj.stream(jax.random.key(0), "member", seed), "fold", 0, fold)
        key = dj.stream(key, "round", round)
        rows = split.train._replace(weight=weight)
        model = net.fit(key, data, dj.Split(rows))
        outputs = net.predict(model, {k: jnp.asarray(x)[rows.index] for k, x in data.items()})
        wrong = outputs.argmax(axis=1) != jnp.asarray(data["y"])[rows.index]
        return model["variables"]["params"], jnp.where(weight > 0, wrong, False)

    seed, fold = 1, 2
    split = dj.kfold(dj.stream(jax.random.key(0), "folds", 0), 47, num_folds=3, fold=fold)
    w, seeds = np.asarray(split.train.weight), np.asarray(axes["seed"])
    run = jax.jit(jax.vmap(partial(one_round, data)))
    for r in range(3):
        cell = {"seed": seeds[seed], "fold": fold, "round": r, "weight": w}
        params, wrong = run(**{k: jnp.asarray(v)[None] for k, v in cell.items()})
        ours = jax.tree.map(lambda x, r=r: x[seed, fold, r], kept["models"]["variables"]["params"])
        # six steps of one program and of another, of weights rounded differently
        jax.tree.map(
            partial(np.testing.assert_allclose, atol=1e-4),
            ours,
            jax.tree.map(lambda x: x[0], params),
        )
        error = np.average(wrong[0], weights=w)
        alpha = np.log((1 - error) / error) + np.log(2)
        np.testing.assert_allclose(kept["weight"][seed, fold, r], alpha, rtol=1e-4)
        total, w = w.sum(), w * np.exp(alpha * wrong[0])
        w = (w * total / w.sum()).astype(np.float32)


def test_rows_that_are_held_out_decide_nothing():
    data = blobs()
    split = dj.kfold(KEY, 47, 4, 0)
    out = np.asarray(split.valid.index)[: split.valid.count]
    worse = {"x": data["x"].copy(), "y": data["y"].copy(), "f": data["x"][:, 0].copy()}
    data = {**data, "f": data["x"][:, 0].copy()}
    worse["x"][out], worse["y"][out], worse["f"][out] = np.nan, 0, np.nan
    regression = lambda data: {"x": data["x"], "y": data["f"]}  # noqa: E731
    squares = dj.gradient_boosting(dj.ridge(), 3, loss=dj.losses.squared_error)
    ada = dj.adaboost(class_stump(3), 3, num_classes=3)
    for learner, of in ((ada, dict), (squares, regression)):
        fit = jax.jit(lambda data, learner=learner: learner.fit(KEY, data, dj.Split(split.train)))
        jax.tree.map(np.testing.assert_array_equal, fit(of(data)), fit(of(worse)))


def test_wrong_numbers_are_named():
    base, loss = class_stump(3), dj.losses.squared_error
    for make, message in (
        (partial(dj.adaboost, base, 0, num_classes=3), "num_rounds must be in"),
        (partial(dj.adaboost, base, 1, num_classes=1), "num_classes must be in"),
        (partial(dj.adaboost, base, 1, num_classes=3, shrinkage=0), "shrinkage must be in"),
        (partial(dj.gradient_boosting, base, 1, loss=loss, shrinkage=2), "shrinkage must be in"),
        (partial(dj.gradient_boosting, base, 0, loss=loss), "num_rounds must be in"),
        (partial(dj.gradient_boosting, base, 1, loss=loss, num_outputs=0), "num_outputs must be"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    data, split = blobs(), dj.Split(dj.splits.all_rows(47))
    two = dj.adaboost(base, 1, num_classes=2).fit
    for y, message in (
        (data["y"], r"y must be in \[0, 2\), got 2"),
        (data["y"] - 1, r"y must be in \[0, 2\), got -1"),
        (data["y"] / 2, r"y must be integers in \[0, 2\), got float32"),
    ):
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(lambda y=y: two(KEY, {**data, "y": y}, split))
    numbers = {"x": data["x"], "y": data["x"][:, 0]}
    wide = NOTHING._replace(predict=lambda model, batch: jnp.zeros((len(batch["y"]), 3)))
    wide = dj.gradient_boosting(wide, 1, loss=loss).fit
    with pytest.raises(ValueError, match=r"float\[B\] or float\[B, 1\], got shape \(47, 3\)"):
        jax.eval_shape(wide, KEY, numbers, split)
    fit = dj.adaboost(base, 1, num_classes=4).fit
    with pytest.raises(ValueError, match="outputs must be of 4 classes, got 3"):
        jax.eval_shape(fit, KEY, blobs(), split)
