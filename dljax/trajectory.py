"""Several networks from one run: its snapshots, or draws from a normal distribution (SWAG)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from dljax.errors import require, require_whole
from dljax.keys import stream
from dljax.predict import eval_variables
from dljax.tasks import Task
from dljax.training import Trainer, TrainState, advance
from dljax.types import Batch, PyTree, Variables


def snapshots(
    fit: Trainer, state: TrainState, *, num_cycles: int, cycle_steps: int
) -> tuple[TrainState, Variables]:
    """Keeps the network at the end of each cycle; Huang et al. 2017, arXiv:1704.00109, section 3.

    The learning rate of their eq. 2 falls and starts anew in each cycle, so that every one ends
    near another minimum:

        rate = dj.schedules.restarts(dj.schedules.cosine(0.1, cycle_steps), cycle_steps)

    The networks together cost one run. The last one is what `run` ends with.

    Args:
      fit: The way of learning.
      state: Where to begin: `fit.init(key)`, or the state of an earlier run.
      num_cycles: Number of snapshots S, >= 1.
      cycle_steps: Slots of the batch order in a cycle, >= 1.

    Returns:
      The last state, and the variables to evaluate at the end of each cycle, leaves [S, ...], for
      `jax.vmap` of `task.predict`. From a cycle in which the member diverged on they are NaN.
    """
    require_whole("num_cycles", num_cycles, "[1, inf)")
    require_whole("cycle_steps", cycle_steps, "[1, inf)")

    def one_cycle(state, _):
        state = advance(fit, state, cycle_steps)
        return state, _sound_variables(state)

    return jax.lax.scan(one_cycle, state, length=num_cycles)


class Swag(NamedTuple):
    """A normal distribution of parameters; float32 at least.

    Attributes:
      mean: Of the points, a tree like the parameters.
      variance: Of each parameter over the points, >= 0, a tree like the parameters.
      deviations: D, how far each of the last K points was from the mean of those up to it, a tree
        like the parameters with leaves [K, ...].
    """

    mean: PyTree
    variance: PyTree
    deviations: PyTree


def swag(
    fit: Trainer, state: TrainState, *, num_snapshots: int, snapshot_steps: int, rank: int
) -> tuple[TrainState, Swag]:
    """Fits a normal distribution to the points of a run; Maddox et al. 2019, arXiv:1902.02476.

    Algorithm 1: of the points theta_0, where it begins, and theta_1 to theta_n, one every
    `snapshot_steps`,

        mean     = 1 / (n + 1) sum_i theta_i
        variance = 1 / (n + 1) sum_i theta_i^2 - mean^2
        D_i      = theta_i - 1 / (i + 1) sum_{j <= i} theta_j,  of the last K

    The variance is computed as the sum of squared steps of the running mean, which is the same
    number without the difference of two large ones, and so is never negative. Begin with a trained
    state, and go on with a learning rate that is level and high. The points are those to evaluate.

    Args:
      fit: The way of learning.
      state: Where to begin.
      num_snapshots: Number of points n after the first, >= 2.
      snapshot_steps: Slots of the batch order from one point to the next, >= 1.
      rank: K, in [2, n].

    Returns:
      The last state and the distribution, NaN where the member diverged.
    """
    require_whole("num_snapshots", num_snapshots, "[2, inf)")
    require_whole("snapshot_steps", snapshot_steps, "[1, inf)")
    require_whole("rank", rank, f"[2, {num_snapshots}]")

    def one_point(carry, i):
        state, moments = carry
        state = advance(fit, state, snapshot_steps)
        theta = _wide(_sound_variables(state)["params"])
        return (state, _with_point(moments, theta, i)), None

    start = _wide(_sound_variables(state)["params"])
    zeros = lambda shape: jax.tree.map(lambda p: jnp.zeros((*shape, *p.shape), p.dtype), start)  # noqa: E731
    moments = Swag(start, zeros(()), zeros((rank,)))
    return jax.lax.scan(one_point, (state, moments), jnp.arange(1, num_snapshots + 1))[0]


def swag_sample(key: jax.Array, swag: Swag, scale: ArrayLike = 1.0) -> PyTree:
    """Draws parameters; Maddox et al. 2019, arXiv:1902.02476, eq. 1.

        theta = mean + sqrt(scale / 2) (sqrt(variance) z_1 + D z_2 / sqrt(K - 1))

    with standard normal z_1, one for each parameter, and z_2, one for each of the K deviations.
    Running statistics, such as those of batch normalization, fit no sample: see `refreshed`.

    Args:
      key: One key, one sample; `jax.vmap` over keys draws several.
      swag: Of `dj.swag`.
      scale: Factor of the covariance, >= 0; the paper's is 1. May be traced.

    Returns:
      A tree like the parameters, float32 at least.
    """
    require("scale", scale, "[0, inf)")
    mean, as_tree = ravel_pytree(swag.mean)
    variance, _ = ravel_pytree(swag.variance)
    D = jax.vmap(lambda tree: ravel_pytree(tree)[0])(swag.deviations)
    K = len(D)
    z_1 = jax.random.normal(stream(key, "diagonal"), mean.shape, mean.dtype)
    z_2 = jax.random.normal(stream(key, "deviations"), (K, 1), mean.dtype)
    spread = jnp.sqrt(variance) * z_1 + (D * z_2).sum(axis=0) / jnp.sqrt(K - 1.0).astype(mean.dtype)
    return as_tree(mean + jnp.sqrt(scale / 2).astype(mean.dtype) * spread)


def refreshed(task: Task, variables: Variables, batches: Batch) -> Variables:
    """Moves running statistics by batches, in order, and leaves the parameters.

    For averaged or drawn parameters, whose statistics are not those of any point of training
    (Maddox et al. 2019, algorithm 1). With the momentum m of `dj.modules.BatchNorm`, m^n of the old
    statistics is left after n batches. Dropout is off.

    Args:
      task: What is learnt.
      variables: The parameters, and statistics to begin with.
      batches: Leaves [n, B, ...].
    """
    move = lambda variables, batch: (task.predict(variables, batch, train=True)[1], None)  # noqa: E731
    return jax.lax.scan(move, variables, batches)[0]


def _with_point(moments: Swag, theta: PyTree, index: jax.Array) -> Swag:
    """Adds point number `index`, counted from 0, to the moments of those before it."""

    def add(mean, variance, D, theta):
        i = index.astype(mean.dtype)
        step = theta - mean
        mean = mean + step / (i + 1)
        variance = (variance + step**2 / (i + 1)) * (i / (i + 1))
        return mean, variance, jnp.concatenate([D[1:], (theta - mean)[None]])

    parts = jax.tree.map(add, *moments, theta)
    return Swag(
        *jax.tree.transpose(jax.tree.structure(theta), jax.tree.structure((0, 0, 0)), parts)
    )


def _sound_variables(state: TrainState) -> Variables:
    """The variables to evaluate; NaN after divergence, so that no stale network passes for one."""
    diverged = state.diverged_at >= 0
    float_or_same = lambda x: (  # noqa: E731
        jnp.where(diverged, jnp.nan, x) if jnp.issubdtype(x.dtype, jnp.inexact) else x
    )
    return jax.tree.map(float_or_same, eval_variables(state))


def _wide(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: x.astype(jnp.promote_types(x.dtype, jnp.float32)), tree)
