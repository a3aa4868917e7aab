"""Bias and variance add up to the error, and verdicts say what curves show."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import dljax as dj
from dljax.comparison.canvas import picture
from dljax.diagnose import Parts, log_loss_parts, squared_error_parts, verdict, zero_one_parts
from dljax.diagnose_pictures import parts_picture, run_curves

EXACT = {"rtol": 1e-12, "atol": 1e-12}  # of numbers near 1: sums of some hundred in float64
numbers = settings(max_examples=60, deadline=None)
sizes = st.integers(2, 7), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32 - 1)


def means(parts):
    return [round(float(x.mean()), 4) for x in parts]


@numbers
@given(*sizes)
def test_squared_error_is_bias_and_variance_and_noise(num_fits, num_rows, num_draws, seed):
    draw = np.random.default_rng(seed)
    p, y = draw.normal(size=(num_fits, num_rows)), draw.normal(size=(num_rows, num_draws))
    parts = squared_error_parts(p, y)
    pairs = (p[:, :, None] - y[None]) ** 2
    np.testing.assert_allclose(parts.error, pairs.mean(axis=(0, 2)), **EXACT)
    np.testing.assert_allclose(parts.error, sum(parts[1:]), **EXACT)
    one = squared_error_parts(p, y[:, 0])  # one draw: the bias holds the noise
    np.testing.assert_allclose(one.bias, (p.mean(axis=0) - y[:, 0]) ** 2, **EXACT)
    np.testing.assert_array_equal(one.noise, 0)
    columns = squared_error_parts(np.stack([p, 2 * p], axis=2), np.stack([y, 2 * y], axis=2))
    for found, expected in zip(columns, parts, strict=True):  # squares over columns are added
        np.testing.assert_allclose(found, 5 * expected, **EXACT)


@numbers
@given(*sizes)
def test_with_the_truth_the_sum_lacks_what_the_docstring_says(num_fits, num_rows, num_draws, seed):
    draw = np.random.default_rng(seed)
    p, f = draw.normal(size=(num_fits, num_rows)), draw.normal(size=num_rows)
    y = f[:, None] + draw.normal(size=(num_rows, num_draws))
    parts = squared_error_parts(p, y, truth=f)
    Y, P = y.mean(axis=1), p.mean(axis=0)
    lacking = (Y - f) ** 2 + 2 * (Y - f) * (f - P)
    np.testing.assert_allclose(parts.error - sum(parts[1:]), lacking, **EXACT)
    np.testing.assert_allclose(parts.bias, (P - f) ** 2, **EXACT)


@numbers
@given(st.integers(2, 9), st.integers(1, 6), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_error_rates_are_bias_and_net_variance_for_any_number_of_classes(
    num_fits, num_rows, num_classes, seed
):
    draw = np.random.default_rng(seed)
    p = draw.integers(num_classes, size=(num_fits, num_rows))
    y = draw.integers(num_classes, size=num_rows)
    parts = zero_one_parts(p, y)
    np.testing.assert_allclose(parts.error, (p != y[None]).mean(axis=0), **EXACT)
    np.testing.assert_allclose(parts.error, parts.bias + parts.unbiased - parts.biased, **EXACT)
    for i in range(num_rows):  # the factor of the paper, counted one by one
        deviates = p[:, i] != parts.main[i]
        c = -(p[deviates, i] == y[i]).mean() if deviates.any() else 0.0
        c = 1.0 if parts.main[i] == y[i] else c
        net = parts.unbiased[i] - parts.biased[i]
        np.testing.assert_allclose(net, c * parts.variance[i], **EXACT)
        if num_classes == 2 and parts.bias[i]:
            np.testing.assert_allclose(parts.biased[i], parts.variance[i], **EXACT)


def test_of_classes_with_as_many_votes_the_smallest_is_the_main_one():
    assert zero_one_parts(np.array([[2, 1], [1, 0]]), np.array([0, 0])).main.tolist() == [1, 0]


@numbers
@given(*sizes)
def test_log_loss_is_bias_and_variance_and_entropy(num_fits, num_rows, num_classes, seed):
    draw = np.random.default_rng(seed)
    p = draw.dirichlet(np.ones(num_classes + 1), size=(num_fits, num_rows))
    q = draw.dirichlet(np.ones(num_classes + 1), size=num_rows)
    parts = log_loss_parts(np.log(p), log_q=np.log(q))
    close = {"rtol": 1e-9, "atol": 1e-12}  # differences of logarithms of small probabilities
    np.testing.assert_allclose(parts.error, -(q[None] * np.log(p)).sum(-1).mean(0), **close)
    np.testing.assert_allclose(parts.error, sum(parts[1:]), **close)
    centre = np.exp(np.log(p).mean(axis=0))
    centre /= centre.sum(axis=1, keepdims=True)
    divergence = (centre[None] * (np.log(centre)[None] - np.log(p))).sum(-1).mean(0)
    np.testing.assert_allclose(parts.variance, divergence, **close)
    np.testing.assert_allclose(parts.noise, -(q * np.log(q)).sum(-1), **close)
    y = draw.integers(num_classes + 1, size=num_rows)
    labelled = log_loss_parts(np.log(p), y)
    np.testing.assert_allclose(labelled.bias, -np.log(centre[np.arange(num_rows), y]), **close)
    np.testing.assert_allclose(labelled.error, labelled.bias + labelled.variance, **close)


def test_probabilities_of_zero_cost_infinity_only_where_they_are_wrong():
    with np.errstate(divide="ignore"):
        log_p = np.log([[[1.0, 0.0], [1.0, 0.0]], [[0.5, 0.5], [1.0, 0.0]]])
    right = log_loss_parts(log_p, np.array([0, 0]))
    np.testing.assert_allclose(right.error, [np.log(2) / 2, 0], **EXACT)
    np.testing.assert_allclose(right.bias, 0, **EXACT)
    wrong = log_loss_parts(log_p, np.array([1, 1]))
    assert np.isposinf(wrong.error).all()
    assert np.isposinf(wrong.bias).all()


def published_data():
    """The data of scikit-learn's bagging example: 50 training sets of 50 rows, 1000 test rows."""
    draw = np.random.RandomState(0)

    def drawn(num_rows, num_draws):
        x = np.sort(draw.rand(num_rows) * 10 - 5)
        y = [truth(x) + draw.normal(0.0, 0.1, num_rows) for _ in range(num_draws)]
        return x[:, None], np.stack(y, axis=1)

    return [drawn(50, 1) for _ in range(50)], drawn(1000, 50), draw


def truth(x):
    return np.exp(-(x**2)) + 1.5 * np.exp(-((x - 2) ** 2))


def test_trees_and_bags_of_trees_have_the_parts_that_scikit_learn_publishes():
    train, (x, y), draw = published_data()
    rows = []
    for model in (
        DecisionTreeRegressor(random_state=draw),
        BaggingRegressor(DecisionTreeRegressor(), random_state=draw),
    ):
        p = np.array([model.fit(x_fit, y_fit[:, 0]).predict(x) for x_fit, y_fit in train])
        rows.append(means(squared_error_parts(p, y, truth=truth(x[:, 0]))))
    # plot_bias_variance: each number to all four digits that are printed there
    assert rows == [[0.0255, 0.0003, 0.0152, 0.0098], [0.0196, 0.0004, 0.0092, 0.0098]]


@pytest.mark.parametrize(
    ("bags", "published"),
    [
        (False, [0.062, 0.022, 0.040]),
        pytest.param(True, [0.048, 0.022, 0.026], marks=pytest.mark.slow),
    ],
)
def test_trees_have_the_parts_that_mlxtend_publishes(bags, published):
    x, y = load_iris(return_X_y=True)
    parts = train_test_split(x, y, test_size=0.3, random_state=123, shuffle=True, stratify=y)
    x, x_test, y, y_test = parts
    model, draw, predictions = (
        DecisionTreeClassifier(random_state=123),
        np.random.RandomState(123),
        [],
    )
    model = BaggingClassifier(model, random_state=123) if bags else model
    for _ in range(200):
        rows = draw.choice(len(x), size=len(x), replace=True)
        predictions.append(model.fit(x[rows], y[rows]).predict(x_test))
    found = zero_one_parts(np.array(predictions), y_test)
    rounded = [round(float(x.mean()), 3) for x in (found.error, found.bias, found.variance)]
    assert rounded == published


E_ = np.arange(41)
FAST, SLOW = np.exp(-E_ / 4), np.exp(-E_ / 50)
CURVES = {
    "a run that came to rest": (FAST, FAST + 0.1, None, "good fit"),
    "held-out loss that rises": (FAST, 1.2 * FAST + 0.01 * E_, None, "overfitting"),
    "both still fall": (SLOW, SLOW + 0.1, None, "underfitting"),
    "nothing learnt": (np.full(41, 2.3), np.full(41, 2.3), None, "underfitting"),
    "at rest above the target": (FAST + 1, FAST + 1.1, 0.2, "underfitting"),
    "at rest at the target": (FAST + 0.2, FAST + 0.3, 0.2, "good fit"),
    "not finite": (np.where(E_ < 30, FAST, np.nan), FAST, None, "diverged"),
    "above where it began": (1 + 0.01 * E_, FAST, None, "diverged"),
    "both rise after the best": (FAST + 0.01 * E_, FAST + 0.02 * E_, None, "undecided"),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("num_seeds", [None, 3])
def test_constructed_curves_have_the_verdict_that_made_them(name, num_seeds):
    train, valid, target, word = CURVES[name]
    if num_seeds:
        train, valid = (np.tile(x, (num_seeds, 1)) for x in (train, valid))
    found = verdict(train, valid, target=target)
    assert found.word == word, found.why
    assert found.gap.shape == (41,)
    in_millis = None if target is None else 1000 * target
    again = verdict(1000 * train, 1000 * valid, target=in_millis)
    assert (again.word, again.best) == (found.word, found.best)


def test_what_training_on_cost_is_the_rise_from_the_best_evaluation():
    valid = 1.2 * FAST + 0.01 * E_
    found = verdict(FAST, valid)
    assert found.best == valid.argmin() == 14
    np.testing.assert_allclose(found.lost, valid[-1] - valid[14], **EXACT)
    np.testing.assert_allclose(found.gap, valid - FAST, **EXACT)
    assert "evaluation 14" in found.why


@pytest.mark.parametrize("num_seeds", [1, 5])
def test_noise_alone_is_rarely_called_overfitting(num_seeds):
    draw = np.random.default_rng(0)
    valid = FAST + 0.05 * draw.normal(size=(400, num_seeds, 41))
    words = [verdict(np.tile(FAST, (num_seeds, 1)), v).word for v in valid]
    # 1 % and 5 % in 1000 curves; 400 have a standard error of 1 %
    assert words.count("overfitting") < 0.08 * 400


def test_a_rise_that_one_seed_leaves_open_is_found_by_several():
    draw = np.random.default_rng(1)
    valid = FAST + np.maximum(E_ - 14, 0) * 0.006 + 0.06 * draw.normal(size=(8, 41))
    assert verdict(FAST, valid[0]).word == "undecided"
    assert verdict(np.tile(FAST, (8, 1)), valid).word == "overfitting"


@pytest.fixture(scope="module")
def digits():
    data = dj.datasets.load("digits")
    return {"x": np.asarray(data["x"], np.float32) / 16, "y": np.asarray(data["y"])}


@pytest.mark.parametrize(
    ("features", "num_rows", "noise", "learning_rate", "word"),
    [
        ((32,), 400, 0.0, 3e-5, "underfitting"),  # too few steps at that rate
        pytest.param((128,), 100, 0.3, 3e-3, "overfitting", marks=pytest.mark.slow),
        pytest.param((32,), 1000, 0.0, 3e-3, "good fit", marks=pytest.mark.slow),
    ],
)
def test_real_runs_have_the_verdict_that_they_were_made_for(
    digits, features, num_rows, noise, learning_rate, word
):
    draw = np.random.default_rng(0)
    y = np.where(draw.random(1797) < noise, draw.integers(10, size=1797), digits["y"])
    data = {"x": digits["x"], "y": y.astype(np.int32)}
    model = dj.linen_model(dj.modules.MLP(10, features))
    task = dj.supervised(model, dj.losses.cross_entropy)

    def member(data, *, seed):
        key = dj.stream(jax.random.key(0), "member", seed)
        held = dj.holdout(dj.stream(key, "rows"), 1797, valid=0.2)
        split = dj.Split(dj.subset(key, held.train, num_rows), held.valid)
        fit = dj.trainer(task, dj.optimizers.adam(learning_rate), data, split, batch_size=50)
        return dj.run(fit, fit.init(key), num_steps=320, eval_every=20)[1]

    history = dj.population(member)((data,), {"seed": np.arange(3)})
    found = verdict(history["train_loss"], history["valid_loss"])
    assert found.word == word, found


def test_pictures_draw_the_means_and_the_best_evaluation():
    parts = [Parts(*np.full((4, 3), i) * np.array([[4], [1], [2], [1]])) for i in (1.0, 2.0)]
    figure = parts_picture([10, 20], parts, varied="width")
    lines = figure.axes[0].lines
    np.testing.assert_allclose(lines[0].get_xydata(), [[10, 4], [20, 8]])
    found = verdict(FAST, FAST + 0.1)
    figure = run_curves(10 * E_, FAST, FAST + 0.1, found)
    assert figure.axes[0].lines[-1].get_xdata()[0] == 10 * found.best
    assert picture(figure, "png")[:4] == b"\x89PNG"


def test_what_does_not_fit_is_told_in_one_line():
    p, y = np.zeros((3, 4)), np.zeros(4)
    for call, rule in (
        (lambda: squared_error_parts(p[:1], y), "the number of training sets must be in"),
        (lambda: squared_error_parts(p, y[:3]), "targets must be"),
        (lambda: squared_error_parts(p, y, truth=y[:3]), "truth must be"),
        (lambda: squared_error_parts(y, y), "predictions must be"),
        (lambda: zero_one_parts(p, y), "predictions must be whole numbers"),
        (lambda: zero_one_parts(p[:, :2], y), "predictions must be"),
        (lambda: log_loss_parts(np.zeros((3, 4, 1))), "one of labels and log_q"),
        (lambda: log_loss_parts(p[:, :, None] + 1, y.astype(int)), "log-probabilities"),
        (lambda: verdict(y, y), "the number of evaluations"),
        (lambda: verdict(np.ones(9), np.ones(9), target=2.0), "target must be below"),
        (lambda: verdict(np.ones(9), np.ones(8)), "losses must be"),
        (lambda: verdict(np.ones(9), np.ones(9), tolerance=2.0), "tolerance must be in"),
    ):
        with pytest.raises(ValueError, match=rule):
            call()
