"""What proves that arms ran on one problem: the same data, start, gradient and batches."""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
import pandas as pd

from dljax import trees
from dljax.comparison.plan import trainer_of
from dljax.comparison.statistics import jsonable
from dljax.keys import stream
from dljax.optimizers import sgd
from dljax.problems import Problem
from dljax.store.blocks import leaves_of
from dljax.store.files import canonical
from dljax.store.fingerprints import of_arrays

PROBE = 256  # rows of the fixed batch
EPOCHS = 2  # of the order that are hashed
NEAR = 1e-4  # relative, of numbers that another program or machine computed
NUMBERS = ("initial_loss", "initial_gradient_norm")
SHORT = 12  # hexadecimal digits of a digest that are shown


def short(told: Any) -> str:
    """Returns the first digits of the SHA-256 of anything that is ready for JSON."""
    return hashlib.sha256(canonical(told)).hexdigest()[:SHORT]


def fingerprint(problem: Problem, root: int, seed: int) -> dict[str, Any]:
    """Returns what must be the same for arms to be compared, ready for JSON.

    Args:
      problem: With its horizon and batch size as they will be run.
      root: Root of all random streams.
      seed: The first evaluation seed, whose start and batches are looked at.

    Returns:
      Digests of the data and the split (`None` where batches are drawn), of the shapes of the
      parameters and of the rows of the first two epochs; the loss and the norm of its gradient at
      the initial parameters on a fixed batch, the first 256 training rows; how rows are ordered;
      and "id", a digest of all these, with the two numbers to four digits.
    """
    data = None if callable(problem.data) else problem.data
    looked_at = jax.jit(partial(_start, problem))(root, seed, data, problem.split)
    loss, norm, params, order = jax.tree.map(np.asarray, looked_at)
    told = {
        "data": data if data is None else of_arrays(data),
        "split": problem.split if problem.split is None else of_arrays(problem.split),
        "parameters": short(leaves_of(jax.tree.map(lambda x: x[None], params))),
        "initial_loss": float(loss),
        "initial_gradient_norm": float(norm),
        "order": f"{problem.order}, remainder: {problem.remainder}",
        "batch_size": problem.batch_size,
        "order_digest": order if order is None else of_arrays(order),
        "precision": str(jax.config.jax_default_matmul_precision or "default"),
    }
    return jsonable({"id": identity(told), **told})


def identity(told: Mapping[str, Any]) -> str:
    """Returns the digest of a fingerprint's fields."""
    rounded = {name: f"{told[name]:.3e}" for name in NUMBERS if told[name] is not None}
    return short({name: x for name, x in {**told, **rounded}.items() if name != "id"})


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Returns the fields in which two fingerprints differ; numbers may, by a ten-thousandth."""
    apart = []
    for name in one:
        x, y = one[name], other.get(name)
        is_near = name in NUMBERS and None not in (x, y) and np.isclose(x, y, rtol=NEAR, atol=0)
        if name != "id" and x != y and not is_near:
            apart.append(f"{name}: {_shown(x)} and {_shown(y)}")
    return apart


def check_comparable(fingerprints: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises a `ValueError` that names arms whose fingerprints differ, and the field.

    Args:
      fingerprints: Of each arm, or of each folder of arms.
    """
    (first, one), *others = fingerprints.items()
    for name, other in others:
        if apart := differing(one, other):
            raise ValueError(
                f"arms must have run on one problem to be compared; {first} and {name} differ in "
                f"{'; '.join(apart)}."
            )


def check_same_start(results: pd.DataFrame) -> None:
    """Raises a `ValueError` unless at each seed all optimizers began at the same measures."""
    start = results[results["step"] == results["step"].min()]
    measures = [name for name in start if name.startswith("test_")]
    for (seed, measure), values in (
        ((seed, measure), rows[measure])
        for seed, rows in start.groupby("seed")
        for measure in measures
    ):
        low, high = values.min(), values.max()
        if not np.isclose(low, high, rtol=NEAR, atol=1e-12):
            names = [results.loc[at(), "optimizer"] for at in (values.idxmin, values.idxmax)]
            raise ValueError(
                f"arms must begin alike to be compared; at seed {seed} the {measure} before the "
                f"first step is {low:.6g} of {names[0]} and {high:.6g} of {names[1]}."
            )


def _start(problem: Problem, root, seed, data, split):
    """Returns loss and gradient norm on the fixed batch, the parameters, and the first rows."""
    fit = trainer_of(problem, sgd(0.0), data, split)
    key = stream(jax.random.key(root), "member", seed)
    state = fit.init(key)
    if callable(problem.data):
        batch, order = problem.data(stream(key, "probe")), None
    else:
        num_rows = split.train.index.shape[0]
        batch = trees.take_rows(data, split.train.index[:PROBE])
        order = fit.draw(state, EPOCHS * num_rows // (problem.batch_size or num_rows))

    def loss(params):
        variables = {**state.variables, "params": params}
        return problem.task.loss(problem.task.predict(variables, batch)[0], batch).mean()

    params = state.variables["params"]
    value, gradient = jax.value_and_grad(loss)(params)
    return value, optax.tree.norm(gradient), params, order


def _shown(value: Any) -> str:
    return value[:SHORT] if isinstance(value, str) and len(value) > 40 else str(value)
