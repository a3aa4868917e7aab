"""Optimizers that break the contract, each in one way: what a property must notice.

`BROKEN[property]` is a factory, all of them gradient descent with something wrong.
"""

import jax
import jax.numpy as jnp
import optax
from jax import lax

is_none = lambda x: x is None  # noqa: E731
is_masked = lambda x: isinstance(x, optax.MaskedNode)  # noqa: E731


def stateless(update):
    """A factory from `update(g, learning_rate) -> u`."""

    def factory(learning_rate):
        descend = lambda grads, params: jax.tree.map(lambda g: update(g, learning_rate), grads)  # noqa: E731
        return optax.stateless(descend)

    return factory


def whole(update):
    """A factory from `update(grads, state, params, learning_rate, extra) -> updates`."""

    def factory(learning_rate):
        def update_fn(grads, state, params=None, **extra):
            return update(grads, state, params, learning_rate, extra), state

        return optax.GradientTransformationExtraArgs(lambda params: (), update_fn)

    return factory


def scaled(grads, size):
    return jax.tree.map(lambda g: size * g, grads)


def counts_its_calls(learning_rate):
    calls = []

    def update(grads, state, params=None):
        calls.append(None)
        return scaled(grads, -learning_rate * len(calls)), state

    return optax.GradientTransformation(optax.init_empty_state, update)


STATES = []


def counts_its_states(learning_rate):
    """What is wrapped does not do what it does alone: each new state steps further."""

    def init(params):
        STATES.append(None)
        return jnp.float32(len(STATES))

    def update(grads, state, params=None):
        return jax.tree.map(
            lambda g: jnp.asarray(-learning_rate * state * g, g.dtype), grads
        ), state

    return optax.GradientTransformation(init, update)


def counts_in_float(learning_rate):
    update = lambda grads, count, params=None: (scaled(grads, -learning_rate), count + 1.0)  # noqa: E731
    return optax.GradientTransformation(lambda params: jnp.int32(0), update)


def halves_schedules(learning_rate):
    return optax.sgd(learning_rate(0) / 2 if callable(learning_rate) else learning_rate)


def branches(learning_rate, weight_decay=0.1):
    rule = optax.add_decayed_weights(weight_decay) if weight_decay > 0 else optax.identity()
    return optax.chain(rule, optax.sgd(learning_rate))


def hides_its_derivative(learning_rate):
    return optax.sgd(learning_rate if callable(learning_rate) else lax.stop_gradient(learning_rate))


def by_kind(is_leaf):
    """Looks into leaves that are not there."""

    def factory(learning_rate):
        init = lambda params: jax.tree.map(lambda p: p.shape, params, is_leaf=is_leaf)  # noqa: E731
        update = lambda grads, state, params=None: (scaled(grads, -learning_rate), state)  # noqa: E731
        return optax.GradientTransformation(init, update)

    return factory


def needs_a_leaf(learning_rate):
    update = lambda grads, state, params=None: (scaled(grads, -learning_rate), state)  # noqa: E731
    return optax.GradientTransformation(lambda params: jax.tree.leaves(params)[0] * 0, update)


def keeps_the_parameters(learning_rate):
    update = lambda grads, state, params=None: (scaled(grads, -learning_rate), params)  # noqa: E731
    return optax.GradientTransformation(lambda params: params, update)


class Unwritable:
    """A state that only jax knows."""


jax.tree_util.register_pytree_node(Unwritable, lambda x: ((), None), lambda aux, xs: Unwritable())


def keeps_an_object(learning_rate):
    update = lambda grads, state, params=None: (scaled(grads, -learning_rate), state)  # noqa: E731
    return optax.GradientTransformation(lambda params: Unwritable(), update)


def keeps_no_rows(learning_rate):
    update = lambda grads, state, params=None: (scaled(grads, -learning_rate), state)  # noqa: E731
    return optax.GradientTransformation(lambda params: jnp.zeros((0, 2)), update)


def doubles_arrays(learning_rate):
    return optax.sgd(2 * learning_rate if isinstance(learning_rate, jax.Array) else learning_rate)


def traced_otherwise(g, learning_rate):
    return -learning_rate * g * (2 if isinstance(g, jax.core.Tracer) else 1)


def needs_params(grads, state, params, learning_rate, extra):
    return jax.tree.map(lambda g, p: -learning_rate * (g + 0 * p), grads, params)


def plain_dict(grads, state, params, learning_rate, extra):
    return {**scaled(dict(grads), -learning_rate)}


def zero_for_none(grads, state, params, learning_rate, extra):
    descend = lambda g: jnp.zeros([]) if g is None else -learning_rate * g  # noqa: E731
    return jax.tree.map(descend, grads, is_leaf=is_none)


def by_leaves(grads, state, params, learning_rate, extra):
    return jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(scaled(grads, -0.1)))


def shares(grads, state, params, learning_rate, extra):
    return scaled(grads, -learning_rate / len(jax.tree.leaves(grads)))


def one_device(grads, state, params, learning_rate, extra):
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.device_put(scaled(grads, -learning_rate), device)


BROKEN = {
    "pure": counts_its_calls,
    "one_trace": counts_in_float,
    "stable_types": counts_in_float,
    "same_numbers": stateless(traced_otherwise),
    "learning_rate_kinds": stateless(lambda g, rate: -rate * g),
    "schedules": halves_schedules,
    "without_params": whole(needs_params),
    "extra_arguments": whole(lambda grads, s, p, rate, extra: scaled(grads, -rate * len(extra))),
    "traced_numbers": branches,
    "vmapped_numbers": branches,
    "finite_hypergradients": optax.adam,  # its eps stands outside the root
    "exact_hypergradients": hides_its_derivative,
    "bfloat16": optax.adam,  # statistics in bfloat16
    "float16": optax.adam,  # eps is 0 in float16
    "float64": stateless(lambda g, rate: (-rate * g).astype(jnp.float32).astype(g.dtype)),
    "mixed_dtypes": stateless(lambda g, rate: -rate * g.astype(jnp.float32)),
    "complex_parameters": stateless(lambda g, rate: -rate * jnp.abs(g)),
    "none_leaves": by_kind(is_none),
    "none_gradients": whole(zero_for_none),
    "masked_nodes": by_kind(is_masked),
    "empty_arrays": whole(shares),
    "empty_tree": needs_a_leaf,
    "frozen_dicts": whole(plain_dict),
    "wrong_trees": whole(by_leaves),
    "chain": counts_its_states,
    "partition": counts_its_states,
    "masked": counts_its_states,
    "multi_steps": counts_its_states,
    "apply_if_finite": counts_its_states,
    "lookahead": counts_its_states,
    "flatten": counts_its_states,
    "inject_hyperparams": doubles_arrays,
    "map_params": needs_a_leaf,
    "train_state": counts_its_states,
    "donation": keeps_the_parameters,
    "flax_bytes": keeps_an_object,
    "orbax_checkpoint": keeps_no_rows,
    "sharding": whole(one_device),
}
