"""One training run: a state, a step, and the loop around them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax
from jax.ad_checkpoint import checkpoint_name

from dljax import spectrum, trees
from dljax.batches import batch_mean, batches, share
from dljax.costs import PARAMETERS
from dljax.curvature import Local, extra_args
from dljax.keys import stream
from dljax.optimizers import eval_params, gradient_equivalents, operations
from dljax.optimizers.wrapping import inner_optimizer
from dljax.slots import checked_rounds, go_through
from dljax.spectrum import Curvature
from dljax.splits import Split
from dljax.tasks import Task
from dljax.types import Batch, Data, Metrics, PyTree, Variables


class TrainState(NamedTuple):
    """All there is to know of a run in progress.

    Attributes:
      variables: The model's, as the optimizer carries them: "params" and other collections.
      opt_state: State of the optimizer.
      key: The run's own key, key[]; batches and dropout are named streams of it.
      slot: Slots of the batch order gone through, int32[].
      diverged_at: The step at which a loss or a parameter was first not finite, counted from 1,
        int32[]; -1 if never. From then on the state stays as it was before that step.
    """

    variables: Variables
    opt_state: Any
    key: jax.Array
    slot: jax.Array
    diverged_at: jax.Array


class Trainer(NamedTuple):
    """What `run` needs of a way of learning; `trainer` makes the usual one.

    Attributes:
      init: `init(key) -> TrainState`; that of `trainer` takes parameters to begin with as a second
        argument, such as a run folder kept.
      draw: `draw(state, num_slots) -> rows`, what the next steps consume, leading axis [num_slots].
      step: `step(state, rows) -> (state, loss)`, one update on one slot that is not idle.
      evaluate: `evaluate(state) -> {name: float[]}`, one row of the history.
      predict: `predict(state, batch) -> outputs`, with the parameters to evaluate.
      idle: `idle(rows) -> bool[num_slots]`, the slots without real rows, which are no step;
        `None` where there are none.
    """

    init: Callable[[jax.Array], TrainState]
    draw: Callable[[TrainState, int], Any]
    step: Callable[[TrainState, Any], tuple[TrainState, jax.Array]]
    evaluate: Callable[[TrainState], Metrics]
    predict: Callable[[TrainState, Batch], Any]
    idle: Callable[[Any], jax.Array] | None = None


def trainer(
    task: Task,
    optimizer: optax.GradientTransformation,
    data: Data | Callable[[jax.Array], Batch],
    split: Split | None = None,
    *,
    batch_size: int | None = None,
    order: str = "reshuffle",
    remainder: str = "keep",
    parts: tuple[str, ...] = ("train", "valid", "test"),
    curvature: Curvature | None = None,
) -> Trainer:
    """Trains a task by an optax transformation on minibatches of the split's training rows.

    The loss of a batch is sum(w l) / B over its B real rows with losses l and weights w.

    Args:
      task: What is learnt.
      optimizer: Any optax transformation; it is offered the extra arguments `value` and `grad`
        of the batch, and the functions of `dljax.curvature.extra_args`: `value_fn`, `grad_fn`,
        `hvp_fn`, `gauss_newton_vp`, `fisher_vp`, `fisher_diagonal_fn` and `kronecker_fn`.
      data: Arrays [N, ...]; or, for a task without a data set, `data(key) -> batch`, which
        draws a batch.
      split: Which rows train and which are evaluated; all rows train where it is `None`.
      batch_size: Rows of a step, B, in [1, M]; `None` is full batch, 1 is one example at a time.
      order: "reshuffle" visits every row once an epoch in a new order, "once" replays the order
        of the first epoch, "replacement" draws every row anew.
      remainder: Of the rows beyond the last full batch of an epoch: "keep" or "drop".
      parts: Parts of the split to evaluate; those the split does not have are left out.
      curvature: What evaluations measure of the Hessian, see `dljax.spectrum.curvature_row`: that
        of a part's mean loss at the parameters to evaluate, without dropout, in slices of rows as
        evaluations take them. `None` measures nothing.

    Raises:
      ValueError: If the optimizer is none, the batch is larger than the training part, or a name
        is not known.
    """
    optimizer = inner_optimizer(optimizer)
    source = batches(
        data, split, batch_size=batch_size, order=order, remainder=remainder, parts=parts
    )
    if curvature is not None:
        spectrum.checked(curvature, source.parts)

    def init(key: jax.Array, params: PyTree | None = None) -> TrainState:
        variables = task.init(stream(key, "init"), source.example(key))
        if params is not None:
            variables = {**variables, "params": trees.in_containers(params, variables["params"])}
        params = checkpoint_name(variables["params"], PARAMETERS)  # for `dljax.costs` to count
        variables = {**variables, "params": params}
        zero = jnp.zeros([], jnp.int32)
        opt_state = optimizer.init(variables["params"])
        return TrainState(variables, opt_state, stream(key, "run"), zero, zero - 1)

    def step(state: TrainState, rows: Any) -> tuple[TrainState, jax.Array]:
        batch, weight, mask = source.fetch(rows)
        dropout = stream(state.key, "dropout", state.slot)

        def predicted(params):
            variables = {**state.variables, "params": params}
            return task.predict(variables, batch, key=dropout, train=True, mask=mask)

        def output_loss(outputs):
            return batch_mean(task.loss(outputs, batch), weight, mask)

        def mean_loss(params):
            outputs, variables = predicted(params)
            return output_loss(outputs), variables

        def outputs_of_row(params, b):
            row = jax.tree.map(lambda x: x[b][None], batch)
            return task.predict({**state.variables, "params": params}, row)[0]

        params = state.variables["params"]
        (loss, variables), grads = jax.value_and_grad(mean_loss, has_aux=True)(params)
        local = Local(
            params,
            lambda params: predicted(params)[0],
            output_loss,
            outputs_of_row,
            share(batch, weight, mask),
            task.fisher_root,
            stream(state.key, "fisher", state.slot),
        )
        updates, opt_state = optimizer.update(
            grads, state.opt_state, params, value=loss, grad=grads, **extra_args(local)
        )
        variables = {**variables, "params": optax.apply_updates(params, updates)}
        return state._replace(variables=variables, opt_state=opt_state), loss

    def predict(state: TrainState, batch: Batch) -> Any:
        return task.predict(_eval_variables(state), batch)[0]

    def evaluate(state: TrainState) -> Metrics:
        variables = _eval_variables(state)
        measure = lambda batch: task.measure(task.predict(variables, batch)[0], batch)  # noqa: E731
        metrics = source.average(state.key, measure)
        return metrics if curvature is None else {**metrics, **curvature_of(state.key, variables)}

    def curvature_of(key, variables):
        def gradient(p):
            def of_slice(batch, mean):
                outputs = lambda p: task.predict({**variables, "params": p}, batch)[0]  # noqa: E731
                return jax.grad(lambda p: mean(task.loss(outputs(p), batch)))(p)

            return source.total(key, curvature.part, of_slice)

        directions = stream(key, "curvature")
        return spectrum.curvature_row(curvature, gradient, variables["params"], directions)

    return Trainer(init, source.draw, step, evaluate, predict, source.idle)


def run(
    fit: Trainer, state: TrainState, *, num_steps: int, eval_every: int | None = None
) -> tuple[TrainState, Metrics]:
    """Trains for a fixed number of steps.

    Running on from the state that comes back gives the bits of one longer run.

    Args:
      fit: The way of learning.
      state: Where to begin: `fit.init(key)`, or the state of an earlier run.
      num_steps: Slots of the batch order to go through, >= 1.
      eval_every: Steps between evaluations; it must divide `num_steps`. `None` evaluates at
        the beginning and at the end.

    Returns:
      The last state and the history: what `fit.evaluate` measures, float[E] with
      E = num_steps // eval_every + 1 rows, the first before any step, NaN after divergence;
      "step" of each row, int32[E], and "cost", what it took until then in gradients of a batch
      (`dj.optimizers.gradient_equivalents`), float32[E], with the counts of
      `dj.optimizers.operations` behind it, [E]; and "diverged_at", int32[].
    """
    eval_every = checked_rounds(num_steps, eval_every)

    def one_round(state, number):
        # the counter comes from the loop, the same for all members: a real branch under vmap
        state = jax.lax.cond(number > 0, lambda s: advance(fit, s, eval_every), lambda s: s, state)
        return state, history_row(fit, state)

    state, history = jax.lax.scan(one_round, state, jnp.arange(num_steps // eval_every + 1))
    return state, {**history, "diverged_at": state.diverged_at}


def advance(fit: Trainer, state: TrainState, num_slots: int) -> TrainState:
    """Takes `num_slots` steps; a member that diverges keeps the state before it for good."""

    def step(learnt, slot_and_rows):
        slot, rows = slot_and_rows
        new, loss = fit.step(state._replace(**learnt, slot=slot), rows)
        chex.assert_shape(loss, ())
        sound = jnp.isfinite(loss) & trees.all_finite(new.variables["params"])
        return {"variables": new.variables, "opt_state": new.opt_state}, sound

    rows, alive = fit.draw(state, num_slots), state.diverged_at < 0
    idle = jnp.zeros(num_slots, bool) if fit.idle is None else fit.idle(rows)
    learnt = {"variables": state.variables, "opt_state": state.opt_state}
    slots_and_rows = state.slot + jnp.arange(num_slots), rows
    learnt, taken = go_through(step, learnt, slots_and_rows, idle=idle, alive=alive)
    diverged_at = jnp.where(alive & (taken < num_slots), state.slot + taken + 1, state.diverged_at)
    return state._replace(**learnt, slot=state.slot + num_slots, diverged_at=diverged_at)


def history_row(fit: Trainer, state: TrainState) -> Metrics:
    """Evaluates a state: one row of a history, NaN after divergence."""
    metrics = fit.evaluate(state)
    diverged = state.diverged_at >= 0
    return {
        "step": state.slot,
        "cost": gradient_equivalents(state.opt_state, state.slot),
        **operations(state.opt_state, state.slot)._asdict(),
        **{name: jnp.where(diverged, jnp.nan, value) for name, value in metrics.items()},
    }


def _eval_variables(state: TrainState) -> Variables:
    params = eval_params(state.opt_state, state.variables["params"])
    return {**state.variables, "params": params}
