"""LARS and LAMB step by norms of parameters; Adafactor divides by rows and columns."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_adam_variants import short_problem
from test_optimizers import run_ours

import dljax as dj


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("ours", "theirs", "rtol"),
    [
        # a few roundings a step; with decay the two divide by different norms
        (dj.optimizers.lars(0.05, trust=0.1), optax.lars(0.05, trust_coefficient=0.1), 1e-11),
        (
            dj.optimizers.lamb(0.02, eps=1e-40, weight_decay=0.1),
            optax.lamb(0.02, eps=1e-20, weight_decay=0.1),
            1e-11,
        ),
        # optax has the decay in float32; the axes it chooses of the cube are the last two as well
        (dj.optimizers.adafactor(0.02), optax.adafactor(0.02, min_dim_size_to_factor=1), 1e-7),
    ],
    ids=["lars", "lamb", "adafactor"],
)
def test_equals_optax_where_optax_has_the_same_formula(ours, theirs, rtol):
    case = short_problem()
    chex.assert_trees_all_close(run_ours(ours, *case)[0], run_ours(theirs, *case)[0], rtol=rtol)


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_the_scale_of_the_gradient_does_not_change_the_step(name):
    draw = np.random.default_rng(0)
    p, g = jnp.float32(draw.normal(size=(2, 3, 4)))
    eps = {"eps": 1e-30} if name == "lamb" else {}
    optimizer = getattr(dj.optimizers, name)(0.1, weight_decay=0.0, **eps)
    small, large = (
        optimizer.update(scale * g, optimizer.init(p), p)[0] for scale in (2.0**-6, 2.0**6)
    )
    # powers of two change no digit but those of eps
    np.testing.assert_allclose(small, large, rtol=1e-6)


@pytest.mark.parametrize(("name", "length"), [("lars", 0.001), ("lamb", 1.0)])
def test_the_first_step_is_as_long_as_the_parameters_times_the_rate(name, length):
    p, g = jnp.array([[3.0, 0.0], [0.0, 4.0]]), jnp.array([[1.0, -2.0], [0.5, 7.0]])
    optimizer = getattr(dj.optimizers, name)(0.1)
    updates, _ = optimizer.update(g, optimizer.init(p), p)
    np.testing.assert_allclose(jnp.linalg.norm(updates), 0.1 * length * 5.0, rtol=1e-6)


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_the_ratio_is_one_where_the_parameters_are_zero(name):
    p, g = jnp.zeros(2), jnp.array([3.0, -3.0])
    optimizer = getattr(dj.optimizers, name)(0.1)
    updates, _ = optimizer.update(g, optimizer.init(p), p)
    # LARS descends the gradient, LAMB the sign, as Adam; 1 - 0.999 has four digits in float32
    np.testing.assert_allclose(updates, -0.1 * g / (1.0 if name == "lars" else 3.0), rtol=1e-4)


def test_adafactor_is_exact_where_the_squared_gradient_is_a_product_of_rows_and_columns():
    rows, columns = jnp.array([1.0, -2.0, 4.0]), jnp.array([3.0, -0.5])
    g, p = rows[:, None] * columns[None, :], jnp.full((3, 2), 2.0)
    optimizer = dj.optimizers.adafactor(0.1)
    updates, _ = optimizer.update(g, optimizer.init(p), p)
    # V = g^2 leaves the sign, whose rms of 1 is not clipped; rms(p) is 2
    np.testing.assert_allclose(updates, -0.1 * 2.0 * jnp.sign(g), rtol=1e-5)


def test_adafactor_remembers_rows_and_columns_of_matrices_and_all_of_a_vector():
    state = dj.optimizers.adafactor(0.1).init(
        {"W": jnp.ones((30, 20)), "stack": jnp.ones((3, 5, 7)), "b": jnp.ones(20)}
    )
    shapes = jax.tree.map(jnp.shape, state.stats._asdict())
    assert shapes == {
        "R": {"W": (30,), "stack": (3, 5), "b": ()},
        "C": {"W": (20,), "stack": (3, 7), "b": ()},
        "V": {"W": (), "stack": (), "b": (20,)},
    }


def test_adafactor_moves_parameters_away_from_zero_and_never_by_more_than_the_clip():
    p, g = jnp.zeros((2, 2)), jnp.array([[1e6, 0.0], [0.0, 0.0]])
    optimizer = dj.optimizers.adafactor(0.5, clip=0.25, eps2=0.1)
    updates, _ = optimizer.update(g, optimizer.init(p), p)
    # a single entry, whose rms would be 1 / 2, is clipped to 1 / 4: 0.5 * 0.1 * 0.25 * 2
    np.testing.assert_allclose(updates, [[-0.025, 0.0], [0.0, 0.0]], rtol=1e-5)
