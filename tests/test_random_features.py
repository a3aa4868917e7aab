"""Random features are least squares of least norm, and their error peaks at width = rows."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge

import dljax as dj
from dljax.comparison.canvas import picture
from dljax.diagnose_pictures import descent

KEY = jax.random.key(0)


def small_data(num_rows=30):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(num_rows, 4))
    return {"x": x, "y": np.sin(x.sum(axis=1)) + 0.1 * draw.normal(size=num_rows)}


def phi(model, x):
    """Features by numpy, in float64."""
    W, b = (np.asarray(model[name], np.float64) for name in ("W", "b"))
    return np.maximum(x @ W + b, 0) / np.sqrt(len(b))


def weighted_rows():
    """Twenty rows of several weights, in a table of 24."""
    draw = np.random.default_rng(1)
    real = np.arange(24) < 20
    index = np.where(real, draw.permutation(30)[:24], 3).astype(np.int32)
    return dj.Rows(index, np.int32(20), np.where(real, draw.uniform(0.5, 2, 24), 0))


@pytest.mark.parametrize("width", [8, 50])
def test_without_a_ridge_it_is_the_pseudoinverse_of_weighted_rows(width, x64):
    data, rows = small_data(), weighted_rows()
    learner = dj.random_features(width)
    model = learner.fit(KEY, data, dj.Split(rows))
    index, root = rows.index[:20], np.sqrt(rows.weight[:20])
    R = root[:, None] * phi(model, data["x"][index])
    a = np.linalg.pinv(R) @ (root * data["y"][index])
    # float64, whose 1e-16 grows by the condition of R, below 1e4
    np.testing.assert_allclose(model["a"][:, 0], a, rtol=1e-9, atol=1e-9)
    outputs = learner.predict(model, data)
    np.testing.assert_allclose(outputs, phi(model, data["x"]) @ a, rtol=1e-9, atol=1e-9)
    if width > 20:  # wider than rows: it goes through all of them
        np.testing.assert_allclose(outputs[index], data["y"][index], atol=1e-9)
    np.testing.assert_allclose(
        learner.measure(outputs, data)["loss"], (outputs - data["y"]) ** 2, atol=1e-15
    )


def test_with_a_ridge_it_is_that_of_scikit_learn(x64):
    data, rows = small_data(), weighted_rows()
    learner = dj.random_features(50, ridge=5.0)
    model = learner.fit(KEY, data, dj.Split(rows), ridge=0.03)  # as an axis would give it
    index = rows.index[:20]
    ridge = Ridge(0.03, fit_intercept=False, solver="svd")
    ridge.fit(phi(model, data["x"][index]), data["y"][index], sample_weight=rows.weight[:20])
    np.testing.assert_allclose(model["a"][:, 0], ridge.coef_, rtol=1e-9, atol=1e-12)  # float64


def test_rows_that_are_not_there_change_no_bit():
    data = small_data()
    data = {"x": data["x"].astype(np.float32), "y": (data["y"] > 0).astype(np.int32)}
    rows = weighted_rows()._replace(index=np.arange(24, dtype=np.int32))
    garbage = {**data, "x": np.where(np.arange(30)[:, None] < 20, data["x"], np.nan)}
    fit = jax.jit(dj.random_features(16, num_classes=2).fit)
    models = [fit(KEY, d, dj.Split(rows)) for d in (data, garbage)]
    np.testing.assert_array_equal(models[0]["a"], models[1]["a"])
    assert np.isfinite(models[0]["a"]).all()


def test_whole_numbers_are_learnt_from_as_the_same_numbers_of_floats():
    """Weights below 1 among them, which whole targets once rounded to 0."""
    draw = np.random.default_rng(2)
    data = {"x": draw.integers(-3, 4, (30, 2, 2)), "y": draw.integers(0, 9, 30)}
    rows = weighted_rows()
    rows = rows._replace(weight=(rows.weight / 4).astype(np.float32))
    learner = dj.random_features(16)
    fit = jax.jit(lambda data: learner.fit(KEY, data, dj.Split(rows)))
    same = {name: x.astype(np.float32) for name, x in data.items()}
    jax.tree.map(np.testing.assert_array_equal, fit(data), fit(same))
    assert np.abs(fit(data)["a"]).max() > 0
    assert learner.predict(fit(data), data).dtype == np.float32


def test_numbers_out_of_their_range_are_told():
    for call, rule in (
        (lambda: dj.random_features(0), "width must be in"),
        (lambda: dj.random_features(3, ridge=-1.0), "ridge must be in"),
        (lambda: dj.random_features(3, num_classes=1), "num_classes must be in"),
    ):
        with pytest.raises(ValueError, match=rule):
            call()


def experiment(**constants):
    path = Path(__file__).parent.parent / "experiments" / "double_descent.py"
    spec = importlib.util.spec_from_file_location("experiment_double_descent", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in constants.items():
        assert hasattr(module, name)
        setattr(module, name, value)
    return module


def test_noisy_labels_make_a_peak_at_as_many_features_as_rows_which_a_ridge_removes():
    small = experiment(WIDTHS=(40, 100, 600), ROWS=100, RIDGES=np.float32([0, 0.1]))
    data = dj.datasets.load("digits")
    data = {**data, "x": data["x"] / 16}
    errors = []
    for width in small.WIDTHS:
        learner = dj.random_features(width, num_classes=10)
        one = lambda seed, learner=learner: small.member(data, width=learner, seed=seed)["test"]  # noqa: E731
        errors.append(jnp.mean(jax.jit(jax.vmap(one))(jnp.arange(3)), axis=0))
    narrow, peak, wide = np.array(errors)
    assert peak[0] > 1.3 * narrow[0]
    assert peak[0] > 1.5 * wide[0]
    assert wide[1] <= peak[1] <= 1.1 * narrow[1]  # of a ridge: down, and no peak


@pytest.mark.slow
def test_the_peak_on_digits_is_within_a_tenth_of_the_rows_and_thrice_the_widest(
    monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dj, "configure", list)
    whole = experiment(WIDTHS=(300, 400, 450, 500, 550, 600, 1000, 4000))
    free, _, ridge = whole.main().mean(axis=1).T
    peak = whole.WIDTHS[free.argmax()]
    assert abs(peak - whole.ROWS) <= 0.1 * whole.ROWS
    assert free.max() > 3 * free[-1]
    assert (np.diff(ridge) < 0.01).all()  # no peak: it falls but for noise of 1297 x 5 rows


def test_a_picture_shows_the_means_and_where_width_meets_rows():
    errors = {"ridge 0": np.array([[0.2, 0.4], [0.5, 0.7]])}
    figure = descent([10, 20], errors, 15, measure="test error")
    mean, meets = figure.axes[0].lines
    np.testing.assert_allclose(mean.get_xydata(), [[10, 0.3], [20, 0.6]])
    assert meets.get_xdata()[0] == 15
    assert picture(figure, "png")[:4] == b"\x89PNG"
