"""How much of a claimed gain is smaller than a change of dialect?

Question: libraries give one name to several formulas (`dljax.optimizers.dialects`). If optimizer A
beats B on a problem, does it by more than A differs from A as another library computes it?
Method: every optimizer in every dialect is an arm of one comparison on digits-mlp, tuned by the
learning rate alone, the rest at its dialect's defaults, and run on ten fresh seeds that share
weights and batches. Every gain of A over B within one dialect stands beside the largest mean
difference between two dialects of A or of B, which is noise in part: see the standard errors.

Command: python experiments/dialects.py
Expect, in two minutes on two CPU cores: momentum the same in all dialects (the control), 0.11
points of test accuracy between dialects of adam, 0.31 of adagrad, 0.50 of rmsprop; 13 of the 18
gains, which reach 0.53, are no larger than that. RMSprop is the best of torch, momentum of tf1.
"""

from itertools import combinations

import numpy as np
import pandas as pd

import dljax as dj

DIALECTS = ("torch", "keras", "tf1")
OPTIMIZERS = ("momentum", "adagrad", "rmsprop", "adam")
SETTINGS = {"learning_rates": np.logspace(-3, -0.5, 6), "tuning_seeds": 2, "seeds": 10}


def accuracies(comparison):
    """Returns the test accuracy of the fresh seeds in percent, [seeds, (optimizer, dialect)]."""
    results = comparison.results.query("stage == 'evaluation' and step == step.max()")
    table = results.pivot(index="seed", columns="optimizer", values="test_accuracy") * 100
    table.columns = pd.MultiIndex.from_tuples(name.split("/") for name in table)
    return table


def change_of_dialect(accuracy):
    """Returns the largest |mean paired difference| between two dialects of each optimizer."""
    pairs = list(combinations(DIALECTS, 2))
    return {
        name: max(abs((accuracy[name, a] - accuracy[name, b]).mean()) for a, b in pairs)
        for name in OPTIMIZERS
    }


def gains(accuracy, change):
    """Returns a row for every pair of optimizers and dialect: the gain of the better one."""
    for a, b in combinations(OPTIMIZERS, 2):
        for dialect in DIALECTS:
            difference = accuracy[a, dialect] - accuracy[b, dialect]
            better, worse = (a, b) if difference.mean() >= 0 else (b, a)
            yield {
                "dialect": dialect,
                "claim": f"{better} > {worse}",
                "gain": abs(difference.mean()),
                "standard error": difference.sem(),
                "change of dialect": max(change[a], change[b]),
            }


def main():
    dj.configure()
    print("max |theta - theta'| after 50 steps on a quadratic, at the defaults and one rate:")
    print(dj.optimizers.dialects.matrix().to_string(float_format="{:.2g}".format), "\n")
    modules = dj.optimizers.dialects.DIALECTS
    arms = {f"{o}/{d}": getattr(modules[d], o) for o in OPTIMIZERS for d in DIALECTS}
    accuracy = accuracies(dj.compare("digits-mlp", arms, **SETTINGS))
    change = change_of_dialect(accuracy)
    table = accuracy.mean().unstack().loc[list(OPTIMIZERS), list(DIALECTS)]
    print("test accuracy, %, and the largest difference between two dialects, points:")
    print(table.assign(change=pd.Series(change)).to_string(float_format="{:.2f}".format), "\n")
    rows = pd.DataFrame(gains(accuracy, change)).sort_values("gain", ascending=False)
    rows["smaller"] = rows["gain"] <= rows["change of dialect"]
    print(rows.to_string(index=False, float_format="{:.2f}".format))
    print(f"\n{rows.smaller.sum()} of {len(rows)} gains are no larger than a change of dialect.")


if __name__ == "__main__":
    main()
