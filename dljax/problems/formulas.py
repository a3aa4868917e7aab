"""Problems without a data set: functions of few variables, and DeepOBS's noisy quadratic."""

from typing import Any

import jax
import jax.numpy as jnp

from dljax import deepobs
from dljax.functions import Function
from dljax.problems.problem import Problem, Target
from dljax.tasks import Task


def quadratic_deep(**_: Any) -> Problem:
    """A noisy quadratic in 100 dimensions, 10 of them steep; DeepOBS's P1, rebuilt."""
    return Problem(
        "quadratic-deep",
        *deepobs.quadratic_deep(),
        batch_size=128,
        num_steps=700,
        eval_every=70,
        target=Target("valid_loss", 87.703),
        parts=("valid", "test"),
        remainder="drop",
    )


def analytic(function: Function, **_: Any) -> Problem:
    """A function of few variables with a known minimum, from a random start near the usual one."""

    def init(key, batch):
        start = jnp.asarray(function.start)
        return {"params": {"w": start + function.spread * jax.random.normal(key, start.shape)}}

    def predict(variables, batch, **_):
        return variables["params"]["w"], variables

    def loss(w, batch):
        return function.value(w)[None]

    def measure(w, batch):
        to_minimum = jnp.linalg.norm(w - jnp.asarray(function.minimum))
        return {"loss": loss(w, batch), "distance": to_minimum[None]}

    return Problem(
        function.name,
        Task(init, predict, loss, measure),
        lambda key: {},
        num_steps=500,
        eval_every=10,
        target=Target("valid_loss", function.target),
        parts=("valid", "test"),
        optimum=0.0,
    )
