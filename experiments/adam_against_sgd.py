"""Question: is Adam as good as SGD with momentum, or better, or worse?

Method: a test of difference cannot show that two optimizers are alike. Here a margin is declared
first, half a point of test accuracy or a hundredth of the loss, and seeds are added ten at a time,
a hundred at the most, until the confidence sequence of the paired difference lies within it
(equivalent) or on one side of 0 (better, worse), or the seeds are spent (unresolved). Both tune the
learning rate and the momentum, or b1, by 24 points that zoom in on the best.

Command: python experiments/adam_against_sgd.py
Two minutes on two CPU cores; runs/adam_against_sgd keeps all runs, and the same command goes on.

Expect no winner: adam is worse on the digits (after 30 seeds), better on the tumours (after 10),
and unresolved on the wines, where 100 seeds are too few for the margin.
"""

import dljax as dj
from dljax.comparison.claim_lines import claim_line
from dljax.comparison.search import Range

MARGINS = {"digits-mlp": 0.005, "wine-mlp": 0.01, "breast-cancer-logistic": 0.01}
OPTIMIZERS = {"adam": dj.optimizers.adam, "sgd with momentum": dj.optimizers.momentum}
RATES = Range(1e-5, 10.0)
SPACE = {
    "adam": {"learning_rate": RATES, "b1": Range(0.0, 0.99, "log1m")},
    "sgd with momentum": {"learning_rate": RATES, "b": Range(0.0, 0.99, "log1m")},
}


def main():
    dj.configure()
    for name, margin in MARGINS.items():
        comparison = dj.compare(
            name,
            OPTIMIZERS,
            space=SPACE,
            search="zoom",
            trials=24,
            seeds=10,
            most_seeds=100,
            baseline="sgd with momentum",
            margin=margin,
            out=f"runs/adam_against_sgd/{name}",
        )
        summary = comparison.summary
        print(f"{name}: {claim_line(summary['claims'][0], summary)}; {summary['evidence']}.")


if __name__ == "__main__":
    main()
