"""Properties of the numbers of an optimizer: traced, batched and differentiated like any input.

Where every number makes another optimizer, operations run one by one (`jax.disable_jit`): they are
compiled once for all optimizers.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dljax.contract.findings import DoesNotApply, Fails, agree
from dljax.contract.subject import Subject, optimizer_of, params_of, run

DECAYS = ("b", "b1", "b2", "b3", "decay", "momentum", "rho")
# Below this a central difference drowns in rounding, so eps and decays of weights are raised to it.
SMALLEST = 1e-2


def traced_numbers(subject: Subject) -> None:
    """Every number may be traced."""
    params = params_of(subject)
    for name, value in _numbers(subject).items():
        try:
            jax.eval_shape(
                lambda x, name=name: run(optimizer_of(subject, **{name: x}), params, (1.0, 1.0)),
                value,
            )
        except jax.errors.JAXTypeError as error:
            kind = type(error).__name__
            raise Fails(
                f"{name} may not be traced: its value is read in Python ({kind})."
            ) from None


def vmapped_numbers(subject: Subject) -> None:
    """Every number may be an axis of vmap, and gives what it gives alone."""
    params = params_of(subject)["dense"]
    moved = lambda numbers: run(optimizer_of(subject, **numbers), params, (1.0, 0.5))[0]  # noqa: E731
    pairs = {n: jnp.array([x, 0.9 * x], jnp.float32) for n, x in _numbers(subject).items()}
    with jax.disable_jit():
        together = jax.vmap(moved)(pairs)
        alone = moved({n: 0.9 * x for n, x in subject.numbers.items()})
    agree("vmapped numbers", jax.tree.map(lambda x: x[1], together), alone)


def finite_hypergradients(subject: Subject) -> None:
    """Derivatives by every number are finite where the gradients, or the decays, are zero."""
    numbers = _numbers(subject)
    forgetful = {n: 0.0 if n in DECAYS else x for n, x in numbers.items()}
    cases = (
        (numbers, (0.0, 0.0), "gradients of zero"),
        (numbers, (1.0, 0.0), "a gradient of zero after another"),
        (forgetful, (1.0, 0.0), "decays of zero"),
        (forgetful, (0.0, 0.0), "gradients and decays of zero"),
    )
    values = {n: jnp.array([case[0][n] for case in cases], jnp.float32) for n in numbers}
    sizes = jnp.array([case[1] for case in cases], jnp.float32)
    with jax.disable_jit():
        slopes = jax.vmap(jax.grad(_end), (0, None, 0))(values, subject, sizes)
    for name in numbers:
        for slope, (_, _, where) in zip(slopes[name], cases, strict=True):
            if not np.isfinite(slope):
                raise Fails(f"the derivative by {name} is {slope} at {where}.")


def exact_hypergradients(subject: Subject) -> None:
    """Derivatives by every number equal central differences, to 1e-4 in float64."""
    numbers = {n: max(x, SMALLEST) for n, x in _numbers(subject).items()}
    sizes = (1.0, 0.5)
    with jax.enable_x64(True):
        subject = subject._replace(dtype="float64")
        numbers = {n: jnp.float64(x) for n, x in numbers.items()}
        slopes = jax.grad(_end)(numbers, subject, sizes)
        for name, x in numbers.items():
            h = 1e-6 * x
            above, below = (_end({**numbers, name: x + d}, subject, sizes) for d in (h, -h))
            slope, difference = float(slopes[name]), float((above - below) / (2 * h))
            if not abs(slope - difference) <= 1e-4 * abs(difference) + 1e-6:
                raise Fails(f"by {name} it is {slope:.6g}, a difference quotient {difference:.6g}.")


def _end(numbers: dict[str, ArrayLike], subject: Subject, sizes: Iterable[ArrayLike]) -> jax.Array:
    """A weighted sum of the parameters after steps on the problem times `sizes`."""
    params, _ = run(optimizer_of(subject, **numbers), params_of(subject)["dense"], sizes)
    weigh = lambda p: (p * jnp.cos(jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape)).sum()  # noqa: E731
    return sum(weigh(p) for p in jax.tree.leaves(params))


def _numbers(subject: Subject) -> dict[str, float]:
    if not subject.numbers:
        raise DoesNotApply("it has no numeric hyperparameters to give.")
    return subject.numbers


HYPERPARAMETERS = (traced_numbers, vmapped_numbers, finite_hypergradients, exact_hypergradients)
