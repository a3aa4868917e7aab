"""Properties of the update as a function: pure, traced once, the same however it is run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from dljax.contract.findings import DoesNotApply, Fails, agree, same_dtypes
from dljax.contract.subject import (
    Subject,
    extras,
    gradients,
    optimizer_of,
    params_of,
    run,
    step,
)


def pure(subject: Subject) -> None:
    """The same inputs give the same outputs, and are left as they were."""
    optimizer, params = optimizer_of(subject), params_of(subject)
    inputs = (jax.tree.map(np.array, gradients(params)), optimizer.init(params), params)
    update = lambda *inputs: optimizer.update(*inputs, **extras(params))  # noqa: E731
    before = jax.tree.map(jnp.copy, inputs)
    first = update(*inputs)
    agree("the inputs after an update", jax.tree.map(jnp.asarray, inputs), before, rtol=0)
    jax.eval_shape(update, *inputs)  # a tracer kept from here would spoil what follows
    agree("a second update", update(*inputs), first, rtol=0)


def one_trace(subject: Subject) -> None:
    """One trace serves every step and every learning rate."""
    traces = 0

    @jax.jit
    def jitted(numbers, params, state):
        nonlocal traces
        traces += 1
        return step(optimizer_of(subject, **numbers), params, state)

    params = params_of(subject)
    carry = (params, optimizer_of(subject).init(params))
    for factor in (1.0, 0.5, 0.25):
        numbers = {n: np.float32(factor * x) for n, x in subject.numbers.items()}
        carry = jax.eval_shape(jitted, numbers, *carry)
    if traces > 1:
        raise Fails(f"three steps at three learning rates were traced {traces} times.")


def stable_types(subject: Subject) -> None:
    """The state keeps its shapes, dtypes and weak types, so that scan and cond take it."""
    optimizer, params = optimizer_of(subject), params_of(subject)
    carry = (params, optimizer.init(params))
    scanned = lambda c: lax.scan(lambda c, _: (step(optimizer, *c), None), c, length=2)[0]  # noqa: E731
    chosen = lambda c, take: lax.cond(take, lambda: step(optimizer, *c), lambda: c)  # noqa: E731
    before = jax.tree_util.tree_flatten_with_path(carry[1])[0]
    after = jax.eval_shape(lambda c: step(optimizer, *c), carry)[1]
    if jax.tree.structure(after) != jax.tree.structure(carry[1]):
        raise Fails(f"the tree of the state becomes {jax.tree.structure(after)}.")
    for (path, x), y in zip(before, jax.tree.leaves(after), strict=True):
        old, new = jax.typeof(x), jax.typeof(y)
        if (old.shape, old.dtype, old.weak_type) != (new.shape, new.dtype, new.weak_type):
            weak = " (weak)" if new.weak_type else ""
            raise Fails(f"state{jax.tree_util.keystr(path)} becomes {new}{weak} from {old}.")
    jax.eval_shape(scanned, carry)
    jax.eval_shape(chosen, carry, True)


def same_numbers(subject: Subject) -> None:
    """Compiled, scanned and vmapped steps give the numbers of eager ones, to 1e-9 in float64."""
    with jax.enable_x64(True):
        subject = subject._replace(dtype="float64")
        optimizer, params = optimizer_of(subject), params_of(subject)["dense"]

        def scanned(params):
            carry = (params, optimizer.init(params))
            return lax.scan(lambda c, _: (step(optimizer, *c), None), carry, length=3)[0]

        members = jax.tree.map(lambda p: jnp.stack([1.1 * p, p]), params)
        compiled = jax.jit(jax.vmap(scanned))(members)
        agree("compiled", jax.tree.map(lambda x: x[1], compiled), run(optimizer, params))


def learning_rate_kinds(subject: Subject) -> None:
    """Python, numpy and jax learning rates give updates of the parameters' dtypes."""
    if "learning_rate" not in subject.numbers:
        raise DoesNotApply("there is no learning rate to give.")
    rate = subject.numbers["learning_rate"]
    with jax.enable_x64(True), jax.disable_jit():  # numpy's float64 would promote float32
        params = params_of(subject)
        for kind in (np.float64, np.array, jnp.float32):
            optimizer = optimizer_of(subject, learning_rate=kind(rate))
            updates, _ = optimizer.update(
                gradients(params), optimizer.init(params), params, **extras(params)
            )
            same_dtypes(f"with {kind.__name__}({rate})", updates, params)


def schedules(subject: Subject) -> None:
    """A schedule in place of the learning rate gives the numbers of the rates it returns."""
    if "learning_rate" not in subject.numbers:
        raise DoesNotApply("there is no learning rate to give.")
    rate, params = subject.numbers["learning_rate"], params_of(subject)
    try:
        with jax.disable_jit():
            scheduled = run(optimizer_of(subject, learning_rate=lambda count: rate), params)
    except Exception as error:
        raise DoesNotApply(f"it takes no schedule ({type(error).__name__}).") from error
    agree("a constant schedule", scheduled[0], run(optimizer_of(subject), params)[0])


def without_params(subject: Subject) -> None:
    """Without parameters it gives the same update, or says that it needs them."""
    optimizer, params = optimizer_of(subject), params_of(subject)
    grads, state = gradients(params), optimizer.init(params)
    given, _ = optimizer.update(grads, state, params, **extras(params))
    try:
        updates, _ = optimizer.update(grads, state, **extras(params))
    except ValueError as error:
        if "param" in str(error):
            return
        raise
    agree("the update without parameters", updates, given)


def extra_arguments(subject: Subject) -> None:
    """An extra argument that it does not know changes nothing."""
    optimizer, params = subject.optimizer, params_of(subject)
    if not isinstance(optimizer, optax.GradientTransformationExtraArgs):
        raise DoesNotApply("it takes none; optax.with_extra_args_support lets it be offered some.")
    inputs, known = (gradients(params), optimizer.init(params), params), extras(params)
    told = optimizer.update(*inputs, **known, of_no_use_to_an_optimizer=1.0)
    agree("the update", told, optimizer.update(*inputs, **known), rtol=0)


BEHAVIOUR = (
    pure,
    one_trace,
    stable_types,
    same_numbers,
    learning_rate_kinds,
    schedules,
    without_params,
    extra_arguments,
)
