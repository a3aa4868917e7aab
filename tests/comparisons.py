"""Made-up comparisons for the tests of the report: seven optimizers, one of which diverges."""

import functools
import itertools

import numpy as np
import pandas as pd

from dljax.comparison.statistics import Comparison, final_metric, select, summarize_optimizer

# name, argument, best value, powers tried, lowest loss, multiple of the best that diverges
OPTIMIZERS = (
    ("sgd", "learning_rate", 0.5, (-5, 1), 0.16, 12.0),
    ("momentum", "learning_rate", 0.06, (-5, 1), 0.12, 12.0),
    ("nesterov", "learning_rate", 0.08, (-5, 1), 0.11, 30.0),
    ("adagrad", "learning_rate", 20.0, (-5, 1), 0.2, 1e9),
    ("adadelta", "eps", 1e-3, (-9, -2), 0.15, 1e9),
    ("rmsprop", "learning_rate", 2e-3, (-5, 1), 0.13, 1e3),
    ("adam", "learning_rate", 3e-3, (-5, 1), 0.1, 1e9),
)
STEPS = np.arange(0, 601, 60)


def curve(generator, speed, floor, diverged_at):
    """One run: a loss that falls from log 10 to `floor`, and its accuracy."""
    loss = floor + (2.3 - floor) * np.exp(-speed * STEPS / 90)
    loss *= 1 + 0.08 * generator.standard_normal(STEPS.size) * (1 - loss / 2.3)
    accuracy = 0.1 + 0.9 * np.clip(1 - loss / 2.3, 0, 1) ** 0.35
    lost = (diverged_at >= 0) & (diverged_at <= STEPS)
    frame = {"step": STEPS, "cost": STEPS.astype(float)}
    for part, gap in (("train", 0.9), ("valid", 1.0), ("test", 1.05)):
        frame[f"{part}_loss"] = np.where(lost, np.nan, loss * gap)
        right = np.clip(accuracy - 0.05 * (gap - 0.9), 0, 1)
        frame[f"{part}_accuracy"] = np.where(lost, np.nan, right)
    return pd.DataFrame(frame).assign(diverged_at=diverged_at)


def runs_of(generator, optimizer, stage, point, seeds):
    """All runs of one optimizer at one point, as tidy rows."""
    name, argument, best, (low, high), floor, limit = optimizer
    value = np.logspace(low, high, 13)[point]
    speed = np.exp(-1.1 * np.log10(value / best) ** 2)
    for seed in seeds:
        chance = np.log10(value / best / limit) + generator.uniform(-0.3, 0.3)
        diverged_at = int(generator.integers(30, 400)) if chance > 0 else -1
        if name == "rmsprop" and stage == "evaluation" and seed in (5, 9):
            diverged_at = 330 + 10 * seed
        yield curve(generator, speed, floor, diverged_at).assign(
            optimizer=name, argument=argument, value=value, point=point, stage=stage, seed=seed
        )


PROBLEM = {
    "name": "digits-mlp",
    "metric": "accuracy",
    "goal": "max",
    "target": {"metric": "valid_accuracy", "value": 0.95},
    "num_rows": {"train": 1079, "valid": 359, "test": 359},
    "num_parameters": 26122,
}
SETTINGS = {
    "num_steps": 600,
    "batch_size": 64,
    "eval_every": 60,
    "tuning_seeds": [0, 1, 2],
    "evaluation_seeds": list(range(3, 13)),
    "seed": 0,
    "width": 2,
    "order": "reshuffle",
}
ENVIRONMENT = {
    "dljax": "0.1.0",
    "jax": "0.10.2",
    "jaxlib": "0.10.2",
    "python": "3.11.7",
    "backend": "cpu",
    "device": "cpu",
    "num_devices": 1,
    "num_lanes": 2,
    "num_processes": 1,
}


LOSS_PROBLEM = {
    **PROBLEM,
    "name": "rosenbrock",
    "metric": "loss",
    "goal": "min",
    "target": {"metric": "valid_loss", "value": 0.11},
    "num_rows": None,
    "num_parameters": 2,
}


def make_comparison(problem, optimizers=OPTIMIZERS):
    """A made-up comparison on `problem`: tuned, chosen and evaluated like a real one."""
    generator = np.random.default_rng(7)
    tables, entries = [], []
    for optimizer in optimizers:
        tuning = itertools.chain.from_iterable(
            runs_of(generator, optimizer, "tuning", point, SETTINGS["tuning_seeds"])
            for point in range(13)
        )
        tuning = pd.concat(tuning)
        metric = f"valid_{problem['metric']}"
        chosen = select(
            final_metric(tuning, metric), problem["goal"], final_metric(tuning, "valid_loss")
        )
        seeds = SETTINGS["evaluation_seeds"]
        rows = pd.concat(
            [tuning, *runs_of(generator, optimizer, "evaluation", chosen, seeds)],
            ignore_index=True,
        )
        if problem["metric"] == "loss":
            rows = rows.drop(columns=[name for name in rows if name.endswith("accuracy")])
        tables.append(rows)
        entries.append(summarize_optimizer(rows, chosen, problem))
    summary = {
        "schema": 1,
        "evidence": "exploratory",
        "problem": problem,
        "settings": SETTINGS,
        "environment": ENVIRONMENT,
        "seconds": {"compile": 20.1, "run": 30.2, "total": 55.0},
        "optimizers": entries,
    }
    return Comparison(summary, pd.concat(tables, ignore_index=True))


@functools.cache
def digits():
    """A comparison with accuracies; shared by the tests, so leave it as it is."""
    return make_comparison(PROBLEM)


@functools.cache
def rosenbrock():
    """A comparison without accuracies; shared by the tests, so leave it as it is."""
    return make_comparison(LOSS_PROBLEM)
