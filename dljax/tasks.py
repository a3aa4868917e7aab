"""A task says what is learnt: how to start, to predict, to be wrong and to be measured."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from dljax.models import Model
from dljax.types import Batch, Metrics, Variables


class Task(NamedTuple):
    """Four pure functions.

    Attributes:
      init: `init(key, batch) -> variables`, with the trained parameters under "params"; `batch`
        only shows shapes.
      predict: `predict(variables, batch, *, key=None, train=False, mask=None) -> (outputs,
        variables)`, whose keywords mean what they mean in `Model.apply`.
      loss: `loss(outputs, batch) -> float[B]`, what training lowers, of each example.
      measure: `measure(outputs, batch) -> {name: float[B]}`, what evaluations average.
    """

    init: Callable[[jax.Array, Batch], Variables]
    predict: Callable[..., tuple[Any, Variables]]
    loss: Callable[[Any, Batch], jax.Array]
    measure: Callable[[Any, Batch], Metrics]


def supervised(
    model: Model,
    loss: Callable[[Any, jax.Array], jax.Array],
    metrics: Mapping[str, Callable[[Any, jax.Array], jax.Array]] | None = None,
    *,
    inputs: Callable[[Batch], Any] = lambda batch: batch["x"],
) -> Task:
    """Learns `batch["y"]` from the inputs.

    Args:
      model: Maps inputs to outputs.
      loss: `loss(outputs, y) -> float[B]`, see `dj.losses`.
      metrics: Further measures by name, each like `loss`; "loss" itself is always measured.
      inputs: Picks the model's input from a batch, and scales it where that is needed: data stay
        as they are stored, and are never copied for a member.
    """
    measures = {"loss": loss, **(metrics or {})}

    def init(key, batch):
        return model.init(key, inputs(batch))

    def predict(variables, batch, *, key=None, train=False, mask=None):
        return model.apply(variables, inputs(batch), key=key, train=train, mask=mask)

    def measure(outputs, batch):
        return {name: f(outputs, batch["y"]) for name, f in measures.items()}

    return Task(init, predict, lambda outputs, batch: loss(outputs, batch["y"]), measure)
