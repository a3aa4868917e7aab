"""MC-dropout: every mask is one network, and the networks are an ensemble."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax.errors import require_whole
from dljax.keys import stream
from dljax.optimizers import eval_params
from dljax.tasks import Task
from dljax.training import TrainState
from dljax.types import Batch, Variables


def thinned(
    key: jax.Array, task: Task, variables: Variables, batch: Batch, sample: ArrayLike
) -> Any:
    """Predicts with one mask: the network that dropout number `sample` leaves.

    Rows go through one by one, as `vmap`, each with the key `stream(key, "mc", sample)`, from which
    each layer of dropout derives its own by its name. So a mask is drawn in the shape of
    one row, per unit (and per place of an image), never per row: the network is one function,
    the same for all rows and all batches. Training draws for each row anew. Statistics, such
    as those of batch normalization, are those of `variables` and do not move.

    In a population `sample` is an axis, and so is a rate of dropout of which the task is made:

        def member(variables, batch, *, sample, rate):
            return dj.predict.thinned(key, make_task(rate), variables, batch, sample)

    Args:
      key: The member's own, such as `state.key`.
      task: Of a model with dropout; without one all samples are equal.
      variables: See `eval_variables`.
      batch: Rows, leaves [B, ...].
      sample: Number of the mask, in [0, 2**32), int[], may be traced.

    Returns:
      Outputs, leaves [B, ...].
    """
    mask_key = stream(key, "mc", sample)

    def of_row(row):
        one = jax.tree.map(lambda x: x[None], row)
        outputs, _ = task.predict(variables, one, key=mask_key, train=False)
        return jax.tree.map(lambda x: x[0], outputs)

    return jax.vmap(of_row)(batch)


def mc_dropout(
    key: jax.Array, task: Task, variables: Variables, batch: Batch, *, num_masks: int
) -> Any:
    """Predicts with one mask after the other; Gal & Ghahramani 2016, arXiv:1506.02142.

    The outputs are those of an ensemble of T members: `mixture` of the log-probabilities is the
    prediction, `stability` and `class_uncertainty` say how sure it is.

    Args:
      key: See `thinned`; mask t is the same for every T > t.
      task: See `thinned`.
      variables: See `eval_variables`.
      batch: Rows, leaves [B, ...].
      num_masks: Number of masks T, >= 1.

    Returns:
      Outputs, leaves [T, B, ...].
    """
    require_whole("num_masks", num_masks, "[1, inf)")
    one = lambda sample: thinned(key, task, variables, batch, sample)  # noqa: E731
    return jax.lax.map(one, jnp.arange(num_masks))


def eval_variables(state: TrainState) -> Variables:
    """Returns the variables of a run with the parameters to evaluate, as `Trainer.predict` does."""
    return {
        **state.variables,
        "params": eval_params(state.opt_state, state.variables["params"]),
    }
