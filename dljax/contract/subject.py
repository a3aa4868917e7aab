"""What is put to the test: an optimizer whose numbers are arguments, and a small problem for it.

The problem has one loss for every element, so that it has a gradient whatever the tree is:
l(x) = sqrt(1 + d^2) with d = x - 1, of the real and of the imaginary part of a complex x.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, get_origin

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from dljax.comparison.space import made
from dljax.optimizers import sgd
from dljax.types import PyTree

Factory = Callable[..., optax.GradientTransformation]

LEARNING_RATE = 0.1
DTYPES = ("float32", "bfloat16", "float16", "float64", "mixed", "complex64")
# what wrappers and methods that draw take besides numbers, and their numbers without a default
SUPPLIED = ("optimizer", "key", "start")
NUMBERS = {"weight_decay": 0.01, "strength": 0.01, "sigma": 0.1, "eta": 0.01, "gamma": 0.55}


class Subject(NamedTuple):
    """An optimizer under test.

    Attributes:
      name: What it is called.
      optimizer: It, made of its own numbers.
      make: `make(**numbers) -> optax.GradientTransformation`.
      numbers: Its numeric hyperparameters by name: those with a float as default, and the
        learning rate where it has one.
      dtype: Of the parameters, one of `DTYPES`.
    """

    name: str
    optimizer: optax.GradientTransformation
    make: Factory
    numbers: dict[str, float]
    dtype: str = "float32"


def subject_of(factory: Factory | optax.GradientTransformation, name: str = "") -> Subject:
    """Makes the subject of an optimizer.

    Args:
      factory: A function that returns an optax transformation, whose arguments without a default
        are `learning_rate` or in `SUPPLIED` or `NUMBERS`; or an optax transformation.
      name: What it is called; by default as the function.

    Raises:
      ValueError: If `factory` is neither, or returns something else.
    """
    name = name or getattr(factory, "__name__", "the optimizer")
    if isinstance(factory, optax.GradientTransformation):
        return Subject(name, factory, _with_signature(lambda: factory, {}), {})
    if not callable(factory):
        raise ValueError(
            f"{name} must be an optax.GradientTransformation or a function that returns one, "
            f"got {factory!r}."
        )
    parameters = inspect.signature(factory).parameters
    named = {n: p for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    required = [n for n, p in named.items() if p.default is p.empty]
    unknown = [n for n in required if n not in ("learning_rate", *SUPPLIED, *NUMBERS)]
    if unknown:
        raise ValueError(
            f"{name} must have no argument without a default but learning_rate, "
            f"got {', '.join(unknown)}; bind it with functools.partial."
        )
    numbers = {n: float(p.default) for n, p in named.items() if _is_float(p.default)}
    numbers = {**{n: NUMBERS[n] for n in required if n in NUMBERS}, **numbers}
    takes_rate = "learning_rate" in named or len(named) < len(parameters)
    if takes_rate or "optimizer" in required:
        numbers = {"learning_rate": LEARNING_RATE, **numbers}

    def make(**numbers):
        rate = numbers.get("learning_rate")
        supplied = {n: _supplied(named[n], rate) for n in required if n in SUPPLIED}
        if not takes_rate:
            numbers.pop("learning_rate", None)
        return factory(**supplied, **numbers)

    optimizer = made(name, make, numbers)
    return Subject(name, optimizer, _with_signature(make, numbers), numbers)


def optimizer_of(subject: Subject, **numbers: ArrayLike) -> optax.GradientTransformationExtraArgs:
    """Returns the subject's optimizer, or makes one with other `numbers` where they are given."""
    optimizer = subject.make(**{**subject.numbers, **numbers}) if numbers else subject.optimizer
    return optax.with_extra_args_support(optimizer)


def params_of(subject: Subject) -> PyTree:
    """Draws parameters of the subject's dtype: a matrix, a vector and a scalar, all in [-1, 2]."""
    draw = np.random.default_rng(0)
    kinds = {"mixed": ("bfloat16", "float32", "float16")}.get(subject.dtype, [subject.dtype] * 3)

    def array(shape, dtype):
        x = draw.uniform(-1, 2, shape)
        x = x + 1j * draw.uniform(-1, 2, shape) if dtype == "complex64" else x
        return jnp.asarray(x, dtype)

    kernel, bias, scale = (array(s, d) for s, d in zip(((2, 2), (2,), ()), kinds, strict=True))
    return {"dense": {"bias": bias, "kernel": kernel}, "scale": scale}


def gradients(params: PyTree, size: ArrayLike = 1.0) -> PyTree:
    """Returns the gradient of the problem, times `size`; conjugated as optax wants complex ones."""
    slope = lambda x: jnp.asarray(size, x.dtype) * (x - 1) / jnp.sqrt(1 + (x - 1) ** 2)  # noqa: E731
    return jax.tree.map(lambda p: _by_part(slope, p), params)


def extras(params: PyTree, size: ArrayLike = 1.0) -> dict[str, Any]:
    """Returns the extra arguments that `dj.trainer` offers, for this problem times `size`.

    Its Hessian is diagonal and positive, and stands for the Gauss-Newton and Fisher matrices.
    """
    loss = lambda x: jnp.sqrt(1 + (x - 1) ** 2).sum()  # noqa: E731
    curve = lambda x: jnp.asarray(size, x.dtype) / (1 + (x - 1) ** 2) ** 1.5  # noqa: E731
    diagonal = jax.tree.map(lambda p: _by_part(curve, p), params)

    def value_fn(p):
        losses = [_by_part(loss, x) for x in jax.tree.leaves(p)]
        return size * sum(((x.real + x.imag).astype(float) for x in losses), jnp.zeros(()))

    def product(v):
        return jax.tree.map(lambda d, x: _by_part(jnp.multiply, d, x), diagonal, v)

    return {
        "value": value_fn(params),
        "grad": gradients(params, size),
        "value_fn": value_fn,
        "grad_fn": lambda p: gradients(p, size),
        "hvp_fn": product,
        "gauss_newton_vp": product,
        "fisher_vp": product,
        "fisher_diagonal_fn": lambda exact=False: (diagonal, 1),
    }


def step(
    optimizer: optax.GradientTransformationExtraArgs,
    params: PyTree,
    state: PyTree,
    size: ArrayLike = 1.0,
) -> tuple[PyTree, PyTree]:
    """Takes one step on the problem times `size`: the new parameters and the new state."""
    grads = gradients(params, size)
    updates, state = optimizer.update(grads, state, params, **extras(params, size))
    return optax.apply_updates(params, updates), state


def run(
    optimizer: optax.GradientTransformationExtraArgs,
    params: PyTree,
    sizes: Iterable[ArrayLike] = (1.0, 1.0, 1.0),
) -> tuple[PyTree, PyTree]:
    """Takes a step on the problem times each of `sizes`: the last parameters and the last state."""
    state = optimizer.init(params)
    for size in sizes:
        params, state = step(optimizer, params, state, size)
    return params, state


def _by_part(f: Callable[..., jax.Array], *xs: jax.Array) -> jax.Array:
    """Computes `f` of real arrays, or of the real parts and of the imaginary parts."""
    if not jnp.iscomplexobj(xs[-1]):
        return f(*xs)
    return jax.lax.complex(f(*(x.real for x in xs)), f(*(x.imag for x in xs)))


def _supplied(argument: inspect.Parameter, learning_rate: optax.ScalarOrSchedule) -> Any:
    """Returns what an argument without a default is given: gradient descent, a key, or 1."""
    if argument.name == "optimizer":
        return sgd if get_origin(argument.annotation) is Callable else sgd(learning_rate)
    return jax.random.key(0) if argument.name == "key" else 1


def _is_float(value: Any) -> bool:
    return isinstance(value, float | np.floating) or (
        isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating)
    )


def _with_signature(make: Factory, numbers: Mapping[str, float]) -> Factory:
    """Says by name what `make` takes: `optax.inject_hyperparams` reads it."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    make.__signature__ = inspect.Signature(
        [inspect.Parameter(name, keyword, default=value) for name, value in numbers.items()]
    )
    return make
