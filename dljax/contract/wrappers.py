"""Properties under the wrappers of optax and flax: what is wrapped does what it does alone."""

import flax.training.train_state
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dljax.contract.findings import DoesNotApply, Fails, agree, all_finite, same_dtypes
from dljax.contract.subject import Subject, extras, gradients, optimizer_of, params_of, run, step
from dljax.optimizers import eval_params
from dljax.types import PyTree


def chain(subject: Subject) -> None:
    """In optax.chain it steps as alone."""
    optimizer, params = optimizer_of(subject), params_of(subject)
    chained, state = run(optax.chain(optax.identity(), optimizer), params)
    alone, own = run(optimizer, params)
    agree("chained", chained, alone)
    agree("the point to evaluate", eval_params(state, chained), eval_params(own, alone))


def partition(subject: Subject) -> None:
    """In optax.partition it steps on its part as with the rest masked."""
    _needs_no_extra_arguments(subject, "optax.partition")
    labels = {"dense": {"bias": "mine", "kernel": "mine"}, "scale": "other"}
    parts = optax.partition({"mine": optimizer_of(subject), "other": optax.sgd(0.1)}, labels)
    agree("its part", run(parts, params_of(subject))[0]["dense"], _dense_alone(subject))


def masked(subject: Subject) -> None:
    """In optax.masked it steps on its part as with the rest masked."""
    _needs_no_extra_arguments(subject, "optax.masked")
    part = optax.masked(optimizer_of(subject), {"dense": True, "scale": False})
    agree("its part", run(part, params_of(subject))[0]["dense"], _dense_alone(subject))


def multi_steps(subject: Subject) -> None:
    """In optax.MultiSteps it steps once on the mean of two gradients."""
    optimizer, params = optimizer_of(subject), params_of(subject)["dense"]
    kept = {"float64": jnp.float64, "complex64": jnp.complex64}.get(subject.dtype, jnp.float32)
    several = optax.MultiSteps(optimizer, every_k_schedule=2, accumulator_dtype=kept)
    grads = gradients(params)
    with jax.disable_jit():  # it branches: not compiled anew for each
        held, state = several.update(grads, several.init(params), params, **extras(params))
        updates, _ = several.update(grads, state, params, **extras(params))
    agree("the first of two", held, jax.tree.map(jnp.zeros_like, params), rtol=0)
    alone, _ = optimizer.update(grads, optimizer.init(params), params, **extras(params))
    agree("the second of two", updates, alone)


def apply_if_finite(subject: Subject) -> None:
    """In optax.apply_if_finite it steps as alone, and a NaN leaves its state as it was."""
    optimizer, params = optimizer_of(subject), params_of(subject)["dense"]
    guarded = optax.apply_if_finite(optimizer, max_consecutive_errors=2)
    with jax.disable_jit():  # it branches: not compiled anew for each
        moved, state = step(guarded, params, guarded.init(params))
        after, rejected = step(guarded, moved, state, float("nan"))
    alone, _ = step(optimizer, params, optimizer.init(params))
    agree("guarded", moved, alone)
    agree("parameters after a NaN", after, moved, rtol=0)
    agree("state after a NaN", rejected.inner_state, state.inner_state, rtol=0)


def lookahead(subject: Subject) -> None:
    """In optax.lookahead the fast parameters move as alone between synchronizations."""
    _needs_no_extra_arguments(subject, "optax.lookahead")
    optimizer, params = optimizer_of(subject), params_of(subject)
    ahead = optax.lookahead(optimizer, sync_period=3, slow_step_size=0.5)
    pair = optax.LookaheadParams.init_synced(params)
    state, own, alone = ahead.init(pair), optimizer.init(params), params
    for _ in range(2):
        updates, state = ahead.update(gradients(pair.fast), state, pair)
        pair = optax.apply_updates(pair, updates)
        updates, own = optimizer.update(gradients(alone), own, alone)
        alone = optax.apply_updates(alone, updates)
    agree("fast parameters", pair.fast, alone)


def flatten(subject: Subject) -> None:
    """In optax.flatten it steps as on one long vector."""
    if subject.dtype == "mixed":
        raise DoesNotApply("optax.flatten makes one array of one dtype.")
    _needs_no_extra_arguments(subject, "optax.flatten")
    optimizer, params = optimizer_of(subject), params_of(subject)
    moved, _ = run(optax.flatten(optimizer), params)
    ravel = lambda tree: jnp.concatenate([x.ravel() for x in jax.tree.leaves(tree)])  # noqa: E731
    agree("flattened", ravel(moved), run(optimizer, ravel(params))[0])


def inject_hyperparams(subject: Subject) -> None:
    """In optax.inject_hyperparams it steps as alone, and takes new numbers in flight."""
    if not subject.numbers:
        raise DoesNotApply("it has no numeric hyperparameters to inject.")
    params = params_of(subject)
    half = {np.dtype("bfloat16"), np.dtype("float16")} & {p.dtype for p in jax.tree.leaves(params)}
    injected = optax.inject_hyperparams(
        subject.make, hyperparam_dtype=jnp.float32 if subject.dtype == "complex64" else None
    )(**subject.numbers)
    moved, state = run(injected, params)
    all_finite("injected", moved)
    if not half:  # 0.999 is 1 in bfloat16
        agree("injected", moved, run(optimizer_of(subject), params)[0])
    still, _ = run(injected, params, (0.0, 0.0))
    all_finite("injected, at zero gradients", still)
    name, value = next(iter(subject.numbers.items()))
    changed = optax.tree.set(state, **{name: jnp.asarray(value / 2, state.hyperparams[name].dtype)})
    updates, _ = injected.update(gradients(moved), changed, moved, **extras(moved))
    same_dtypes("in flight", updates, params)
    other = optimizer_of(subject, **{name: value / 2})
    wanted, _ = other.update(gradients(moved), state.inner_state, moved, **extras(moved))
    if not half:
        agree(f"with another {name} in flight", updates, wanted)


def map_params(subject: Subject) -> None:
    """optax.tree.map_params, get and set find their way in the state."""
    optimizer, params = optimizer_of(subject), params_of(subject)
    _, state = run(optimizer, params)
    agree("mapped", optax.tree.map_params(optimizer, lambda x: x, state), state, rtol=0)
    if optax.tree.get_all_with_path(state, "count"):
        reset = optax.tree.set(state, count=jnp.zeros([], jnp.int32))
        (_, count), *_ = optax.tree.get_all_with_path(reset, "count")
        if count != 0:
            raise Fails(f"the count is {count} after it was set to 0.")


def train_state(subject: Subject) -> None:
    """In a flax TrainState it steps as alone."""
    _needs_no_extra_arguments(subject, "TrainState")
    optimizer, params = optimizer_of(subject), params_of(subject)
    state = flax.training.train_state.TrainState.create(apply_fn=None, params=params, tx=optimizer)
    for _ in range(3):
        state = state.apply_gradients(grads=gradients(state.params))
    agree("the parameters", state.params, run(optimizer, params)[0])


def _dense_alone(subject: Subject) -> PyTree:
    params = {**params_of(subject), "scale": optax.MaskedNode()}
    return run(optimizer_of(subject), params)[0]["dense"]


def _needs_no_extra_arguments(subject: Subject, wrapper: str) -> None:
    """Raises `DoesNotApply` for an optimizer that a wrapper starves.

    Some wrappers pass no extra arguments; others pass functions of all parameters to an optimizer
    of a part of them.
    """
    optimizer, params = optimizer_of(subject), params_of(subject)
    try:
        optimizer.update(gradients(params), optimizer.init(params), params)
    except (TypeError, ValueError) as error:
        line = f"it needs extra arguments, which {wrapper} does not pass or does not cut."
        raise DoesNotApply(line) from error


WRAPPERS = (
    chain,
    partition,
    masked,
    multi_steps,
    apply_if_finite,
    lookahead,
    flatten,
    inject_hyperparams,
    map_params,
    train_state,
)
