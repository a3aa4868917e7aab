"""Training on the rows and on what the fast gradient sign makes of them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.tasks import Task


class Attacked(NamedTuple):
    """Outputs of a training batch under `adversarial`.

    Attributes:
      clean: Of the rows x, leaves [B, ...].
      attacked: Of x', leaves [B, ...].
    """

    clean: Any
    attacked: Any


def adversarial(task: Task, epsilon: ArrayLike, *, name: str = "x") -> Task:
    """Trains on rows and on their attacks alike; evaluations stay as they are.

        x'   = x + epsilon sign(grad_x l(x, y))
        loss = l(x, y) + l(x', y)

    Lakshminarayanan et al. 2017, arXiv:1612.01474, section 2.3 and algorithm 1, lines 4 and 5; the
    attack is that of Goodfellow et al. 2015, arXiv:1412.6572, section 4. The two are added and not
    averaged, so at epsilon 0 a plain learning rate learns twice as fast. x' is a constant to all
    derivatives; both passes have the dropout masks and, where there is one, the augmentation of one
    key. Batches of x and of x' are normalized apart, and only those of x move running statistics. A
    step takes about two and a half times the operations. The new task has no Fisher root.

    Args:
      task: What is learnt.
      epsilon: Length of the attack, >= 0, in units of the input: a number or an array like one row
        of it; may be traced. The paper has 0.01 of the range of each input.
      name: Array of the batch that is attacked, float[B, ...].

    Raises:
      ValueError: If `epsilon` is negative, or no number for each input, or inputs are no floats.
    """
    require("epsilon", epsilon, "[0, inf)")

    def attack(variables, batch, mask, **how):
        def total_loss(x):
            outputs, _ = task.predict(variables, {**batch, name: x}, mask=mask, **how)
            losses = task.loss(outputs, batch)
            return losses.sum() if mask is None else jnp.where(mask > 0, losses, 0.0).sum()

        x = batch[name]
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"{name} must be an array of floats to be attacked, got {x.dtype}.")
        if jnp.shape(epsilon) not in ((), x.shape[1:]):
            rule = f"epsilon must be a number or have the shape {x.shape[1:]} of a row"
            raise ValueError(f"{rule}, got {jnp.shape(epsilon)}.")
        step = jnp.broadcast_to(epsilon, x.shape) * jnp.sign(jax.grad(total_loss)(x))
        return jax.lax.stop_gradient(x + step.astype(x.dtype))

    def predict(variables, batch, *, key=None, train=False, mask=None):
        how = {"key": key, "train": train, "mask": mask}
        if not train:
            return task.predict(variables, batch, **how)
        # the attack depends on no parameter: no derivative need be traced through a gradient
        x = attack(jax.lax.stop_gradient(variables), batch, **how)
        attacked, _ = task.predict(variables, {**batch, name: x}, **how)
        clean, variables = task.predict(variables, batch, **how)
        return Attacked(clean, attacked), variables

    def loss(outputs, batch):
        if not isinstance(outputs, Attacked):
            return task.loss(outputs, batch)
        return task.loss(outputs.clean, batch) + task.loss(outputs.attacked, batch)

    return task._replace(predict=predict, loss=loss, fisher_root=None)
