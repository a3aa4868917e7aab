"""Is an ensemble better than one network when both cost the same to train?

Question: of what five independent runs gain, how much costs one run: by snapshots (Huang et al.
2017) or SWAG (Maddox et al. 2019), or one network's weights: BatchEnsemble (Wen et al. 2020)?
Method: 500 digits train a perceptron 64-64-10, the others test it. Momentum, 1000 updates a run,
rate 0.1 by half a cosine, for snapshots by five; SWAG falls to 0.05 in half the run and stays: 20
points and draws, rank 10. Nothing is tuned. 20 seeds of split, weights and batches.
Command: python experiments/ensembles_at_one_cost.py
Expect, of the loss of the ensemble less that of one network, 0.155: independent runs -0.010 (-0.012
to -0.008), snapshots -0.006 (-0.009 to -0.002), SWAG 0.000, BatchEnsemble -0.005 (-0.014 to 0.003).
Two minutes on two cores, most of it compiling.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import dljax as dj
from dljax.comparison.statistics import mean_interval
from dljax.schedules import cosine, restarts

SEEDS, NUM_STEPS, RATE, LEVEL, MEMBERS, POINTS, RANK = np.arange(20), 1000, 0.1, 0.05, 5, 20, 10


def member(data, *, seed):
    """Labels of the test rows, int[N], and logits of the networks of each method, [S, N, 10]."""
    key = dj.stream(jax.random.key(0), "member", seed)
    data = {**data, "x": data["x"] / 16}
    split = dj.holdout(dj.stream(key, "split"), 1797, valid=0.0, test=1297 / 1797)
    test = jax.tree.map(lambda x: jnp.asarray(x)[split.test.index], data)
    task = dj.supervised(dj.linen_model(dj.modules.MLP(10, (64,))), dj.losses.cross_entropy)
    logits = lambda variables: jax.vmap(lambda v: task.predict(v, test)[0])(variables)  # noqa: E731
    cycle, half = NUM_STEPS // MEMBERS, NUM_STEPS // 2

    def started(rate, number=0, task=task):
        fit = dj.trainer(task, dj.optimizers.momentum(rate), data, split, batch_size=32, parts=())
        return fit, fit.init(dj.stream(key, "run", number))

    def alone(number):
        state, _ = dj.run(*started(cosine(RATE, NUM_STEPS), number), num_steps=NUM_STEPS)
        return dj.predict.eval_variables(state)

    apart = logits(jax.vmap(alone)(jnp.arange(MEMBERS)))
    start = started(restarts(cosine(RATE, cycle), cycle))
    _, kept = dj.snapshots(*start, num_cycles=MEMBERS, cycle_steps=cycle)
    fit, state = started(cosine(RATE, half, end=LEVEL))
    state, _ = dj.run(fit, state, num_steps=half)
    _, swag = dj.swag(fit, state, num_snapshots=POINTS, snapshot_steps=half // POINTS, rank=RANK)
    draws = jax.vmap(partial(dj.swag_sample, swag=swag))(jax.random.split(key, POINTS))
    shared = dj.linen_model(dj.modules.BatchEnsembleMLP(10, (64,), MEMBERS))
    shared = dj.supervised(shared, dj.losses.over_members(dj.losses.cross_entropy))
    fit, state = started(cosine(RATE, NUM_STEPS), task=shared)
    state, _ = dj.run(fit, state, num_steps=NUM_STEPS)
    found = {"one": apart[:1], "independent": apart, "snapshots": logits(kept)}
    found["SWAG"] = logits({"params": draws})
    return test["y"], {**found, "BatchEnsemble": fit.predict(state, test).transpose(1, 0, 2)}


def scores(logits, labels):
    """What `dj.predict.summary` says of one method and seed, of members and of their ensemble."""
    rows = dj.predict.summary(jax.random.key(0), dj.predict.log_probabilities(logits), labels)
    return pd.Series({"a member's nll": rows.members["nll"], **rows.ensemble}, dtype=float)


def main():
    dj.configure()
    labels, found = dj.study(member, dj.datasets.load("digits"), axes={"seed": SEEDS}).results
    table = {name: pd.DataFrame(map(scores, f, labels)) for name, f in found.items()}
    print(pd.DataFrame({name: rows.mean() for name, rows in table.items()}).T.round(4).to_string())
    for name, rows in table.items():
        mean, low, high = mean_interval((rows.nll - table["one"].nll).to_numpy())
        print(f"nll of {name} - one: {mean:+.4f} [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main()
