"""Properties of the trees and arrays that an optimizer takes."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dljax.contract.findings import DoesNotApply, Fails, agree, all_finite, same_dtypes
from dljax.contract.subject import Subject, extras, gradients, optimizer_of, params_of, run, step
from dljax.types import PyTree


def bfloat16(subject: Subject) -> None:
    """bfloat16 parameters: float32 statistics, updates in bfloat16, finite at zero gradients."""
    _half_precision(subject._replace(dtype="bfloat16"))


def float16(subject: Subject) -> None:
    """float16 parameters: float32 statistics, updates in float16, finite at zero gradients."""
    _half_precision(subject._replace(dtype="float16"))


def float64(subject: Subject) -> None:
    """float64 parameters get updates computed in float64."""
    with jax.enable_x64(True):
        updates, _ = _second_update(subject._replace(dtype="float64"))
        same_dtypes("float64", updates, updates)
        for u in jax.tree.leaves(updates):
            if u.dtype != np.float64 or (u == u.astype(np.float32)).all():
                raise Fails("the updates have no more digits than float32.")


def mixed_dtypes(subject: Subject) -> None:
    """A tree may mix dtypes: every update has the dtype of its parameter."""
    subject = subject._replace(dtype="mixed")
    updates, _ = _second_update(subject)
    same_dtypes("mixed", updates, params_of(subject))
    all_finite("updates", updates)


def complex_parameters(subject: Subject) -> None:
    """Complex parameters get finite complex updates, at zero gradients too."""
    subject = subject._replace(dtype="complex64")
    for sizes in ((1.0, 1.0), (0.0, 0.0)):
        try:
            updates, _ = _second_update(subject, sizes)
        except (TypeError, ValueError) as error:
            raise DoesNotApply(f"it takes none ({type(error).__name__}).") from error
        same_dtypes("complex", updates, params_of(subject))
        all_finite("updates", updates)


def none_leaves(subject: Subject) -> None:
    """A leaf that is None stays None, and the others do not notice."""
    params = params_of(subject)
    _same_beside(subject, {**params, "nothing": None}, {**params})


def none_gradients(subject: Subject) -> None:
    """A parameter whose gradient is None gets no update."""
    params = params_of(subject)
    grads = {**gradients(params), "scale": None}
    optimizer = optimizer_of(subject)
    known = {**extras(params), "grad": grads, "grad_fn": lambda p: {**gradients(p), "scale": None}}
    try:
        updates, _ = optimizer.update(grads, optimizer.init(params), params, **known)
    except (TypeError, ValueError, AttributeError) as error:
        raise DoesNotApply(f"it takes none ({type(error).__name__}).") from error
    if updates["scale"] is not None:
        raise Fails("the update of a parameter without a gradient is not None.")


def masked_nodes(subject: Subject) -> None:
    """A leaf masked by optax.MaskedNode stays masked, and the others do not notice."""
    params = params_of(subject)
    _same_beside(subject, {**params, "masked": optax.MaskedNode()}, params)


def empty_arrays(subject: Subject) -> None:
    """An array of no elements gets an update of its shape, and the others do not notice."""
    params = params_of(subject)
    _same_beside(subject, {**params, "no_rows": jnp.zeros((0, 3), params["scale"].dtype)}, params)


def empty_tree(subject: Subject) -> None:
    """An empty tree is a tree."""
    optimizer = optimizer_of(subject)
    if run(optimizer, {})[0] != {}:
        raise Fails("the parameters {} did not stay {}.")


def frozen_dicts(subject: Subject) -> None:
    """A flax FrozenDict gives what a dict gives."""
    optimizer, params = optimizer_of(subject), params_of(subject)
    frozen, _ = run(optimizer, flax.core.freeze(params))
    if not isinstance(frozen, flax.core.FrozenDict):
        raise Fails(f"the parameters became a {type(frozen).__name__}.")
    agree("a FrozenDict", flax.core.unfreeze(frozen), run(optimizer, params)[0])


def wrong_trees(subject: Subject) -> None:
    """Gradients of another tree are an error that names the leaf at which they differ."""
    optimizer, params = optimizer_of(subject), params_of(subject)
    grads = gradients(params)
    wrong = {"dense": {"bias": grads["dense"]["bias"], "kernal": grads["dense"]["kernel"]}}
    try:
        grads = {**grads, **wrong}
        known = {**extras(params), "grad": grads}
        updates, _ = optimizer.update(grads, optimizer.init(params), params, **known)
        optax.apply_updates(params, updates)
    except Exception as error:
        if "kern" not in str(error):
            raise Fails(f"the error does not name the leaf: {type(error).__name__}.") from error
        return
    raise Fails("gradients for dense/kernal were taken for those of dense/kernel.")


def leaf_by_leaf(subject: Subject) -> None:
    """A tree gives what its leaves give one by one."""
    optimizer, params = optimizer_of(subject), params_of(subject)
    together = jax.tree.leaves(run(optimizer, params)[0])
    alone = [run(optimizer, p)[0] for p in jax.tree.leaves(params)]
    try:
        agree("leaves", together, alone)
    except Fails:
        raise DoesNotApply("the update of a leaf depends on the other leaves.") from None


def _second_update(
    subject: Subject, sizes: tuple[float, float] = (1.0, 1.0)
) -> tuple[PyTree, PyTree]:
    """The second update, after a step, and the state behind it."""
    optimizer, params = optimizer_of(subject), params_of(subject)
    params, state = step(optimizer, params, optimizer.init(params), sizes[0])
    grads = gradients(params, sizes[1])
    return optimizer.update(grads, state, params, **extras(params, sizes[1]))


def _half_precision(subject: Subject) -> None:
    for sizes, where in (((0.0, 0.0), "at zero gradients"), ((1.0, 0.0), "after one gradient")):
        updates, state = _second_update(subject, sizes)
        same_dtypes(where, updates, params_of(subject))
        all_finite(f"updates {where}", updates)
        all_finite(f"state {where}", state)
    for path, x in jax.tree_util.tree_flatten_with_path(state)[0]:
        if x.dtype in (jnp.bfloat16, jnp.float16):
            raise Fails(f"state{jax.tree_util.keystr(path)} is kept in {x.dtype}.")


def _same_beside(subject: Subject, params: PyTree, fewer: PyTree) -> None:
    """Steps on `params` are those on the `fewer`, with the rest of its tree beside them."""
    optimizer = optimizer_of(subject)
    moved, _ = run(optimizer, params)
    if jax.tree.structure(moved) != jax.tree.structure(params):
        raise Fails(f"the tree became {jax.tree.structure(moved)}.")
    agree("the others", {name: moved[name] for name in fewer}, run(optimizer, fewer)[0])


LEAVES = (
    bfloat16,
    float16,
    float64,
    mixed_dtypes,
    complex_parameters,
    none_leaves,
    none_gradients,
    masked_nodes,
    empty_arrays,
    empty_tree,
    frozen_dicts,
    wrong_trees,
    leaf_by_leaf,
)
