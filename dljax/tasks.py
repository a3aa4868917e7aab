"""A task says what is learnt: how to start, to predict, to be wrong and to be measured."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from dljax.keys import stream
from dljax.losses import FISHER_ROOTS
from dljax.models import Model
from dljax.types import Batch, Metrics, Variables


class Task(NamedTuple):
    """Four pure functions, and a fifth where the loss is a negative log-likelihood.

    Attributes:
      init: `init(key, batch) -> variables`, with the trained parameters under "params"; `batch`
        only shows shapes.
      predict: `predict(variables, batch, *, key=None, train=False, mask=None) -> (outputs,
        variables)`, whose keywords mean what they mean in `Model.apply`.
      loss: `loss(outputs, batch) -> float[B]`, what training lowers, of each example.
      measure: `measure(outputs, batch) -> {name: float[B]}`, what evaluations average.
      fisher_root: `fisher_root(outputs, z) -> B z`, shaped like `outputs` and linear in `z`, with
        B B^T the Fisher matrix of each example's outputs; natural gradients need it.
    """

    init: Callable[[jax.Array, Batch], Variables]
    predict: Callable[..., tuple[Any, Variables]]
    loss: Callable[[Any, Batch], jax.Array]
    measure: Callable[[Any, Batch], Metrics]
    fisher_root: Callable[[Any, Any], Any] | None = None


def supervised(
    model: Model,
    loss: Callable[[Any, jax.Array], jax.Array],
    metrics: Mapping[str, Callable[[Any, jax.Array], jax.Array]] | None = None,
    *,
    inputs: Callable[[Batch], Any] = lambda batch: batch["x"],
    fisher_root: Callable[[Any, Any], Any] | None = None,
) -> Task:
    """Learns `batch["y"]` from the inputs.

    Args:
      model: Maps inputs to outputs.
      loss: `loss(outputs, y) -> float[B]`, see `dj.losses`.
      metrics: Further measures by name, each like `loss`; "loss" itself is always measured.
      inputs: Picks the model's input from a batch, and scales it where that is needed: data stay
        as they are stored, and are never copied for a member.
      fisher_root: See `Task`; `None` takes that of the losses of `dj.losses` that are negative
        log-likelihoods (all but `huber`).
    """
    measures = {"loss": loss, **(metrics or {})}

    def init(key, batch):
        return model.init(key, inputs(batch))

    def predict(variables, batch, *, key=None, train=False, mask=None):
        return model.apply(variables, inputs(batch), key=key, train=train, mask=mask)

    def measure(outputs, batch):
        return {name: f(outputs, batch["y"]) for name, f in measures.items()}

    def task_loss(outputs, batch):
        return loss(outputs, batch["y"])

    root = FISHER_ROOTS.get(loss) if fisher_root is None else fisher_root
    return Task(init, predict, task_loss, measure, root)


def augmented(task: Task, augment: Callable[[jax.Array, Batch], Batch]) -> Task:
    """Changes the batches of training at random; evaluations see the data as they are.

    Args:
      task: What is learnt.
      augment: `augment(key, batch) -> batch`, see `dj.augment`; its key is a stream of the step's
        own, so that dropout draws what it draws without.
    """

    def predict(variables, batch, *, key=None, train=False, mask=None):
        if train and key is not None:
            batch = augment(stream(key, "augment"), batch)
        return task.predict(variables, batch, key=key, train=train, mask=mask)

    return task._replace(predict=predict)
