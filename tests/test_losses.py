"""Losses: they are optax's and their closed forms, one number an example."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dljax import losses

draw = np.random.default_rng(0)
LOGITS, CLASSES = 5 * draw.normal(size=(50, 4)), draw.integers(0, 4, size=50)
Z, BINARY = 5 * draw.normal(size=50), draw.integers(0, 2, size=50)
F, Y = 2 * draw.normal(size=50), draw.normal(size=50)
ONE_OUTPUT = {
    "binary_cross_entropy": (losses.binary_cross_entropy, Z, BINARY),
    "squared_error": (losses.squared_error, F, Y),
    "absolute_error": (losses.absolute_error, F, Y),
    "huber": (losses.huber, F, Y),
    "accuracy": (losses.accuracy, Z, BINARY),
}
each_of_one_output = pytest.mark.parametrize(
    ("loss", "outputs", "targets"), ONE_OUTPUT.values(), ids=ONE_OUTPUT
)


def gradient(loss, outputs, targets):
    return jax.grad(lambda outputs: loss(outputs, targets).sum())(jnp.asarray(outputs))


def test_cross_entropy_is_that_of_optax_and_its_gradient_softmax_minus_the_label(x64):
    ours = losses.cross_entropy(jnp.asarray(LOGITS), jnp.asarray(CLASSES))
    theirs = optax.softmax_cross_entropy_with_integer_labels(LOGITS, CLASSES)
    # float64, here and below, with the absolute rounding of a sum of logits
    chex.assert_trees_all_close(ours, theirs, rtol=1e-12, atol=1e-14)
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    chex.assert_trees_all_close(
        gradient(losses.cross_entropy, LOGITS, CLASSES), p - np.eye(4)[CLASSES], atol=1e-12
    )


def test_cross_entropy_of_equal_logits_is_log_of_the_number_of_classes_at_any_height():
    for height in (0.0, 1e30, -1e30):
        loss = losses.cross_entropy(jnp.full((3, 4), height), jnp.array([0, 1, 3]))
        chex.assert_trees_all_close(loss, jnp.full(3, np.log(4)), rtol=1e-6)


def test_binary_cross_entropy_is_that_of_optax_and_cross_entropy_with_logits_0_and_z(x64):
    ours = losses.binary_cross_entropy(jnp.asarray(Z), jnp.asarray(BINARY))
    theirs = optax.sigmoid_binary_cross_entropy(jnp.asarray(Z), BINARY)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-12, atol=1e-14)
    two = jnp.stack([jnp.zeros(50), jnp.asarray(Z)], axis=1)
    theirs = losses.cross_entropy(two, jnp.asarray(BINARY))
    chex.assert_trees_all_close(ours, theirs, rtol=1e-12, atol=1e-14)
    expected = 1 / (1 + np.exp(-Z)) - BINARY
    chex.assert_trees_all_close(
        gradient(losses.binary_cross_entropy, Z, BINARY), expected, atol=1e-12
    )


def test_binary_cross_entropy_of_a_certain_mistake_is_the_logit_and_of_certainty_0():
    loss = losses.binary_cross_entropy(jnp.array([500.0, -500.0, 500.0]), jnp.array([0, 1, 1]))
    assert loss.tolist() == [500.0, 500.0, 0.0]


def test_squared_and_absolute_error_are_their_formulas(x64):
    f, y = jnp.asarray(F), jnp.asarray(Y)
    chex.assert_trees_all_close(losses.squared_error(f, y), (F - Y) ** 2, rtol=1e-12)
    chex.assert_trees_all_close(losses.squared_error(f, y), optax.squared_error(f, y), rtol=1e-12)
    chex.assert_trees_all_close(losses.absolute_error(f, y), abs(F - Y), rtol=1e-12)
    chex.assert_trees_all_equal(gradient(losses.absolute_error, F, y), jnp.sign(f - y))


@pytest.mark.parametrize("delta", [0.1, 1.0, 3.0])
def test_huber_is_that_of_optax_and_its_gradient_the_clipped_residual(x64, delta):
    f, y = jnp.asarray(F), jnp.asarray(Y)
    ours = losses.huber(f, y, delta=delta)
    chex.assert_trees_all_close(ours, optax.huber_loss(f, y, delta=delta), rtol=1e-12)
    slope = gradient(lambda f, y: losses.huber(f, y, delta=delta), F, y)
    chex.assert_trees_all_close(slope, np.clip(F - Y, -delta, delta), rtol=1e-12)


def test_huber_takes_a_traced_delta_and_is_half_the_square_where_delta_is_large():
    f, y = jnp.asarray(F, jnp.float32), jnp.asarray(Y, jnp.float32)
    deltas = jnp.array([0.5, 1e6])
    mapped = jax.vmap(lambda delta: losses.huber(f, y, delta=delta))(deltas)
    chex.assert_trees_all_close(mapped[0], losses.huber(f, y, delta=0.5), rtol=1e-6)
    chex.assert_trees_all_close(mapped[1], losses.squared_error(f, y) / 2, rtol=1e-6)


@pytest.mark.parametrize("delta", [0.0, -1.0, np.nan])
def test_huber_refuses_a_delta_that_is_not_positive(delta):
    with pytest.raises(ValueError, match=r"delta must be in \(0, inf\), got"):
        losses.huber(jnp.zeros(2), jnp.zeros(2), delta=delta)


@each_of_one_output
def test_one_output_may_be_a_column_or_a_vector(loss, outputs, targets):
    vector = loss(jnp.asarray(outputs), jnp.asarray(targets))
    chex.assert_shape(vector, (50,))
    chex.assert_trees_all_equal(loss(jnp.asarray(outputs)[:, None], jnp.asarray(targets)), vector)


@each_of_one_output
def test_shapes_that_would_broadcast_are_refused(loss, outputs, targets):
    f, y = jnp.asarray(outputs), jnp.asarray(targets)
    for wrong in ((f, y[:, None]), (f[:1], y), (f, y[:1])):
        with pytest.raises((AssertionError, TypeError)):
            loss(*wrong)
    with pytest.raises(AssertionError):
        losses.squared_error(jnp.zeros((3, 2)), jnp.zeros(3))


def test_accuracy_is_1_where_the_likeliest_class_is_the_label():
    accuracy = losses.accuracy(jnp.asarray(LOGITS), jnp.asarray(CLASSES))
    assert accuracy.dtype == jnp.float32
    assert accuracy.tolist() == (LOGITS.argmax(1) == CLASSES).tolist()
    binary = losses.accuracy(jnp.array([-1.0, 2.0, 0.1, -3.0]), jnp.array([0, 1, 0, 1]))
    assert binary.tolist() == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_the_accuracy_of_logits_that_are_not_finite_is_nan(wrong):
    logits = jnp.array([[wrong, 0.0], [1.0, 0.0]])
    np.testing.assert_array_equal(losses.accuracy(logits, jnp.array([0, 0])), [np.nan, 1.0])
    column = jnp.array([[wrong], [1.0]])
    np.testing.assert_array_equal(losses.accuracy(column, jnp.array([0, 1])), [np.nan, 1.0])
