"""Methods that divide by curvature: Newton, Gauss-Newton and the natural gradient.

Each needs functions of the batch besides the gradient. `dj.trainer` supplies them; other callers
pass them as extra arguments of `update`. Vectors v are trees like the parameters. What the
functions cost is counted in the state, see `dj.optimizers.operations`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dljax import trees
from dljax.errors import require, require_whole
from dljax.optimizers.leafwise import checked_learning_rate, given
from dljax.optimizers.solvers import backtrack, conjugate_gradients, solve_exactly
from dljax.optimizers.states import CostState, more, none_yet
from dljax.types import PyTree

COUNTED = ("losses", "products", "solves", "solve_flops")


def newton(
    learning_rate: optax.ScalarOrSchedule = 1.0,
    *,
    damping: ArrayLike = 0.0,
    max_halvings: int = 10,
) -> optax.GradientTransformationExtraArgs:
    """Newton's method for few parameters; Nocedal & Wright 2006, "Numerical optimization", ch. 3.

        d = -(|H| + damping I)^-1 g
        u = alpha d

    |H| is the Hessian with its eigenvalues made positive, so that d always leads down (their
    section 3.4), and alpha the first of learning_rate (1, 1/2, 1/4, ...) with

        l(p + alpha d) <= l(p) + 1e-4 alpha g^T d   (their eq. 3.4; none: u = 0).

    Eigenvalues whose sum with the damping is 0 to working precision are left out.

    Args:
      learning_rate: First step length to try, >= 0, dimensionless: 1 solves a quadratic at once. A
        schedule sees 0 first.
      damping: Added to every eigenvalue, >= 0, in units of the Hessian.
      max_halvings: Halvings of the step at most, >= 0; 0 takes the first step unseen.

    The extra argument `hvp_fn(v) -> H v` is needed, and `value_fn(p) -> l(p)` where halvings are
    allowed. It costs 2 gradients for each parameter (at most 4,096), 1/3 for each step tried.
    """
    product = partial(needed, "newton", "hvp_fn")
    return _second_order("newton", product, solve_exactly, learning_rate, damping, max_halvings)


def newton_cg(
    learning_rate: optax.ScalarOrSchedule = 1.0,
    *,
    damping: ArrayLike = 0.0,
    tolerance: ArrayLike = 0.1,
    max_iterations: int = 50,
    max_halvings: int = 10,
) -> optax.GradientTransformationExtraArgs:
    """Line search Newton-CG, for many parameters; Nocedal & Wright 2006, algorithm 7.1.

    The direction of `newton`, (H + damping I) d = -g, by conjugate gradients until the residual is
    below min(tolerance, sqrt(|g|)) |g| or the curvature along a search direction is not positive.

    Args:
      learning_rate: First step length to try, >= 0; a schedule sees 0 first.
      damping: Added to the Hessian's diagonal, >= 0.
      tolerance: Largest relative residual, >= 0.
      max_iterations: Iterations at most, >= 1.
      max_halvings: Halvings of the step at most, >= 0; 0 takes the first step unseen.

    The extra argument `hvp_fn(v) -> H v` is needed, and `value_fn(p) -> l(p)` where halvings are
    allowed. It costs 2 gradients an iteration, 1/3 for each step tried.
    """
    require("tolerance", tolerance, "[0, inf)")
    require_whole("max_iterations", max_iterations, "[1, inf)")

    def solve(product, g, damping):
        rate = jnp.minimum(tolerance, jnp.sqrt(jnp.linalg.norm(g)))
        return conjugate_gradients(product, g, damping, rate, max_iterations)

    product = partial(needed, "newton_cg", "hvp_fn")
    return _second_order("newton_cg", product, solve, learning_rate, damping, max_halvings)


def gauss_newton(
    learning_rate: optax.ScalarOrSchedule = 1.0,
    *,
    damping: ArrayLike = 1e-3,
    solver: str = "cg",
    tolerance: ArrayLike = 1e-3,
    max_iterations: int = 20,
    max_halvings: int = 10,
) -> optax.GradientTransformationExtraArgs:
    """The generalized Gauss-Newton method; Schraudolph 2002, Neural Computation 14.

        d = -(G + damping I)^-1 g,   G = sum_b w_b J_b^T (d^2 l_b / df_b^2) J_b
        u = alpha d

    with alpha as in `newton`. For squared errors this is the method of Gauss, and with `damping`
    that of Levenberg and Marquardt.

    Args:
      learning_rate: First step length to try, >= 0; a schedule sees 0 first.
      damping: Added to the diagonal, >= 0.
      solver: "cg" takes conjugate gradients, "exact" forms G (at most 4,096 parameters).
      tolerance: Relative residual at which conjugate gradients end, >= 0.
      max_iterations: Iterations at most, >= 1.
      max_halvings: Halvings of the step at most, >= 0; 0 takes the first step unseen.

    The extra argument `gauss_newton_vp(v) -> G v` is needed, and `value_fn(p) -> l(p)` where
    halvings are allowed. It costs 2 gradients for each product, 1/3 for each step tried.
    """
    solve = _solver(solver, tolerance, max_iterations)
    product = partial(needed, "gauss_newton", "gauss_newton_vp")
    return _second_order("gauss_newton", product, solve, learning_rate, damping, max_halvings)


def natural_gradient(
    learning_rate: optax.ScalarOrSchedule,
    *,
    damping: ArrayLike = 1e-3,
    solver: str = "cg",
    tolerance: ArrayLike = 1e-3,
    max_iterations: int = 20,
) -> optax.GradientTransformationExtraArgs:
    """The natural gradient; Amari 1998, Neural Computation 10, theorem 1.

        u = -learning_rate (F + damping I)^-1 g,   F = E_x E_y~p(y|x) [grad log p grad log p^T]

    The labels y are the model's own, not those of the data. Without damping and in the limit of
    small steps the path does not depend on how the model is parametrized.

    Args:
      learning_rate: Step size, >= 0, dimensionless; a schedule sees 0 first.
      damping: Added to the diagonal, >= 0.
      solver: "cg" takes conjugate gradients, "exact" forms F (at most 4,096 parameters).
      tolerance: Relative residual at which conjugate gradients end, >= 0.
      max_iterations: Iterations at most, >= 1.

    The extra argument `fisher_vp(v) -> F v` is needed. It costs 2 gradients for each product.
    """
    solve = _solver(solver, tolerance, max_iterations)
    product = partial(needed, "natural_gradient", "fisher_vp")
    return _second_order("natural_gradient", product, solve, learning_rate, damping, 0)


def needed(method: str, name: str, extra_args: dict[str, Any]) -> Callable:
    """Returns an extra argument, or raises a `ValueError` that says who supplies it."""
    if extra_args.get(name) is None:
        condition = (
            " for tasks with a fisher_root, such as dj.supervised with cross_entropy"
            if name in ("fisher_vp", "fisher_diagonal_fn", "kronecker_fn")
            else ""
        )
        raise ValueError(
            f"{method} must be given the extra argument {name}, which dj.trainer supplies"
            f"{condition}, unless a wrapper drops it; other callers: update(grads, state, params, "
            f"{name}=...)."
        )
    return extra_args[name]


def whole_tree(method: str, grads: PyTree, extra_args: dict[str, Any]) -> None:
    """Raises a `ValueError` where `optax.masked` or `partition` gave a method a part of the tree.

    The extra argument `grad` is the gradient of all parameters, which they leave as it is.
    """
    whole = extra_args.get("grad")
    if whole is not None and jax.tree.structure(whole) != jax.tree.structure(grads):
        raise ValueError(
            f"{method} must have all parameters, got a part of the tree, "
            "as from optax.masked or optax.partition."
        )


def _solver(solver: str, tolerance: ArrayLike, max_iterations: int) -> Callable:
    if solver not in ("exact", "cg"):
        raise ValueError(f"solver must be 'exact' or 'cg', got {solver!r}.")
    require("tolerance", tolerance, "[0, inf)")
    require_whole("max_iterations", max_iterations, "[1, inf)")
    if solver == "exact":
        return solve_exactly
    return lambda product, g, damping: conjugate_gradients(
        product, g, damping, tolerance, max_iterations
    )


def _second_order(
    method: str,
    product_of: Callable[[dict[str, Any]], Callable[[PyTree], PyTree]],
    solve: Callable,
    learning_rate: optax.ScalarOrSchedule,
    damping: ArrayLike,
    max_halvings: int,
) -> optax.GradientTransformationExtraArgs:
    """Makes u = alpha d of a solver for d and, where halvings are allowed, a line search."""
    checked_learning_rate(learning_rate)
    require("damping", damping, "[0, inf)")
    require_whole("max_halvings", max_halvings, "[0, inf)")

    def init_fn(params):
        return CostState(none_yet(*COUNTED), jnp.zeros([], jnp.int32))

    def update_fn(grads, state, params=None, *, value=None, **extra_args):
        whole_tree(method, grads, extra_args)
        product = product_of(extra_args)
        rate = learning_rate(state.inner) if callable(learning_rate) else learning_rate
        g, unravel = trees.as_vector(method, grads)
        flat_product = lambda v: trees.as_vector(method, product(unravel(v)))[0]  # noqa: E731
        d, took = solve(flat_product, g, damping)
        u, num_values = rate * d, 0
        if max_halvings:
            value_fn = needed(method, "value_fn", extra_args)
            given(method, params)
            along = lambda u: value_fn(optax.apply_updates(params, unravel(u)))  # noqa: E731
            start = along(jnp.zeros_like(d)) if value is None else value
            u, num_values = backtrack(along, start, rate, d, g, max_halvings)
            num_values += value is None
        spent = more(state.spent, losses=num_values, **took)
        return unravel(u), CostState(spent, optax.safe_increment(state.inner))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
