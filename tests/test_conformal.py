"""Coverage is what the theorems say, over thousands of data sets, with wrong models."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dljax as dj

KEY = jax.random.key(0)


def assert_coverage(covered, low, high=1.0):
    """A share of independent yes and no is in [low, high], up to four standard deviations."""
    covered = np.asarray(covered)
    share = covered.mean()
    slack = 4 * math.sqrt(share * (1 - share) / covered.size)
    print(f"coverage {share:.4f} of {covered.size} in [{low:.4f}, {high:.4f}], +- {slack:.4f}")
    assert low - slack <= share <= high + slack


def inside(interval, y):
    return (interval.lower <= y) & (y <= interval.upper)


def over_data_sets(one, number):
    return jax.jit(jax.vmap(one))(jax.random.split(KEY, number))


@pytest.mark.parametrize(("n", "alpha"), [(19, 0.1), (50, 0.25), (9, 0.1)])
def test_split_conformal_covers_between_its_two_bounds(n, alpha):
    def one(key):
        x, z = jax.random.normal(key, (2, n + 1))
        y = jnp.exp(x) + (1 + x**2) * z  # skewed, of unequal noise, and the model is wrong
        residuals = jnp.abs(y[:n] - x[:n])
        return inside(dj.predict.split_conformal(residuals, x[n:], alpha), y[n:])[0]

    exactly = math.ceil((1 - alpha) * (n + 1) - 1e-9) / (n + 1)  # as no two residuals are equal
    assert 1 - alpha - 1e-9 <= exactly <= 1 - alpha + 1 / (n + 1)
    assert_coverage(over_data_sets(one, 20_000), exactly, exactly)


def least_squares(x, y, rows):
    """Coefficients of a line fitted to rows of weight 1."""
    A = jnp.stack([jnp.ones_like(x), x], axis=1)
    weighted = A * rows[:, None]
    return jnp.linalg.solve(weighted.T @ A + 1e-3 * jnp.eye(2), weighted.T @ y)


def plus_interval(key, n, num_folds, alpha):
    """Whether a further row is in the interval of lines fitted without each fold."""
    x, z = jax.random.normal(key, (2, n + 1))
    y = jnp.sin(2 * x) + (0.5 + jnp.abs(x)) * z
    fold = jnp.arange(n) % num_folds
    line = lambda b, x: b[0] + b[1] * x  # noqa: E731
    held_in = (fold[None] != jnp.arange(num_folds)[:, None]).astype(x.dtype)
    fits = jax.vmap(lambda rows: least_squares(x[:n], y[:n], rows))(held_in)
    residuals = jax.vmap(lambda k, x, y: jnp.abs(y - line(fits[k], x)))(fold, x[:n], y[:n])
    predictions = jax.vmap(lambda b: line(b, x[n:]))(fits)
    if num_folds == n:
        interval = dj.predict.jackknife_plus(residuals, predictions, alpha)
    else:
        interval = dj.predict.cv_plus(residuals, fold, predictions, alpha)
    return inside(interval, y[n:])[0]


@pytest.mark.parametrize("num_folds", [4, 20], ids=["CV+", "jackknife+"])
def test_plus_intervals_cover_as_their_theorems_promise(num_folds):
    n, K, alpha = 20, num_folds, 0.2
    covered = over_data_sets(lambda key: plus_interval(key, n, K, alpha), 4000)
    less = min(2 * (1 - 1 / K) / (n / K + 1), (1 - K / n) / (K + 1))  # 0 for K = n
    assert_coverage(covered, 1 - 2 * alpha - less)
    assert_coverage(covered, 1 - alpha - 0.02, 1 - alpha + 0.06)  # what stable fits have


def test_cv_plus_by_hand():
    residuals, fold = np.array([1.0, 2, 3, 4], "f"), np.array([0, 1, 0, 1])
    predictions = np.array([[10.0], [20.0]], "f")
    # values 11, 22, 13, 24 above and 9, 18, 7, 16 below; n + 1 = 5
    interval = dj.predict.cv_plus(residuals, fold, predictions, 0.4)
    np.testing.assert_allclose([*interval], [[9], [22]])  # the 2nd below, the 3rd above
    interval = dj.predict.cv_plus(residuals, fold, predictions, 0.2)
    np.testing.assert_allclose([*interval], [[7], [24]])
    interval = dj.predict.cv_plus(residuals, fold, predictions, 0.1)
    np.testing.assert_allclose([*interval], [[-np.inf], [np.inf]])
    one_for_each = predictions[fold]
    for one, other in zip(
        dj.predict.jackknife_plus(residuals, one_for_each, 0.4),
        dj.predict.cv_plus(residuals, fold, predictions, 0.4),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("n", "rank"), [(109, 99), (9, 9), (8, None), (999, 900)])
def test_the_quantile_has_the_rank_of_the_theorem(n, rank):
    scores = np.random.default_rng(0).permutation(n).astype("f") + 1
    expected = np.inf if rank is None else rank
    assert dj.predict.conformal_quantile(scores, 0.1) == expected


def test_folds_of_a_study_give_cv_plus():
    rows, K = 23, 4
    valid = jax.jit(jax.vmap(lambda k: dj.kfold(KEY, rows, K, k).valid))(jnp.arange(K))
    fold = dj.predict.fold_of(valid, rows)
    for k in range(K):
        held_out = np.asarray(valid.index[k][: int(valid.count[k])])
        assert set(held_out.tolist()) == set(np.flatnonzero(fold == k).tolist())


@pytest.mark.parametrize("rule", ["lac", "aps"])
def test_sets_hold_the_label_between_the_two_bounds(rule):
    n, C, alpha = 24, 5, 0.2

    def one(key):
        logits = 2 * jax.random.normal(key, (n + 1, C))
        labels = jax.random.categorical(dj.stream(key, "labels"), logits)
        log_p = jax.nn.log_softmax(3 * logits + 1)  # too sure
        if rule == "aps":
            scores = dj.predict.aps_scores(dj.stream(key, "u"), log_p)
        else:
            scores = dj.predict.lac_scores(log_p)
        sets = dj.predict.prediction_sets(scores[:n], labels[:n], scores[n:], alpha)
        return sets[0, labels[n]]

    # scores of a model as sure as this one are nearly never equal in float32, but 1 - p may be
    high = 1 - alpha + 1 / (n + 1) + (0.02 if rule == "lac" else 0)
    assert_coverage(over_data_sets(one, 8000), 1 - alpha, high)


def test_scores_of_classes_by_hand():
    log_p = np.log(np.array([[0.2, 0.5, 0.3]], "f"))
    np.testing.assert_allclose(dj.predict.lac_scores(log_p), [[0.8, 0.5, 0.7]], rtol=1e-6)
    u = jax.random.uniform(KEY, (1, 1))[0, 0]
    expected = [[0.8 + 0.2 * u, 0.5 * u, 0.5 + 0.3 * u]]
    np.testing.assert_allclose(dj.predict.aps_scores(KEY, log_p), expected, rtol=1e-5)


def test_bad_input_of_intervals_is_one_clear_line():
    R, f, fold = np.ones(5, "f"), np.ones((2, 3), "f"), np.zeros(5, int)
    for says, call in {
        r"alpha must be in \(0, 1\), got 1": lambda: dj.predict.conformal_quantile(R, 1.0),
        r"residuals must be in \[0, inf\), got -1": lambda: dj.predict.split_conformal(-R, R, 0.1),
        "residuals must be finite, got nan": lambda: dj.predict.split_conformal(R * np.nan, R, 0.1),
        r"fold must be in \[0, 2\), got 4": lambda: dj.predict.cv_plus(R, 4 + 0 * fold, f, 0.1),
        "fold must have 5 rows, got 2": lambda: dj.predict.cv_plus(R, fold[:2], f, 0.1),
    }.items():
        with pytest.raises(ValueError, match=says):
            call()
