"""Made-up comparisons for the tests of the report: seven optimizers, one of which diverges."""

import functools
import itertools

import numpy as np
import pandas as pd

from dljax.comparison.claims import Question, claims, family
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


FINGERPRINT = {
    "id": "0f1e2d3c4b5a",
    "data": "aa" * 32,
    "split": "bb" * 32,
    "parameters": "cc" * 32,
    "initial_loss": 2.3,
    "initial_gradient_norm": 1.25,
    "order": "reshuffle",
    "order_digest": "dd" * 32,
    "precision": "float32",
}


def make_comparison(problem, optimizers=OPTIMIZERS, question=Question()):  # noqa: B008
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
    results = pd.concat(tables, ignore_index=True)
    names = [entry["name"] for entry in entries]
    search = {"method": "grid", "trials": dict.fromkeys(names, 13), "widened": {}}
    summary = {
        "schema": 2,
        "evidence": "confirmatory",
        "because": [],
        "protocol": "dljax-1",
        "declaration": {"id": "9a8b7c6d5e4f", "time": "2026-01-02T03:04:05+00:00"},
        "fingerprint": FINGERPRINT,
        "question": question._asdict(),
        "family": family(names, question),
        "claims": claims(finals_of(results, problem), problem["goal"], question),
        "problem": problem,
        "settings": {**SETTINGS, "search": search, "adaptive": None},
        "environment": ENVIRONMENT,
        "seconds": {"compile": 20.1, "run": 30.2, "total": 55.0},
        "optimizers": entries,
    }
    return Comparison(summary, results)


def finals_of(results, problem):
    """The final test metric of every evaluation run, by optimizer."""
    runs = results[results["stage"] == "evaluation"]
    return {
        name: final_metric(rows, f"test_{problem['metric']}").to_numpy().ravel()
        for name, rows in runs.groupby("optimizer", sort=False)
    }


def older(comparison):
    """The same comparison as summaries of schema 1 told it: without claims and fingerprint."""
    added = ("because", "protocol", "declaration", "fingerprint", "question", "family", "claims")
    kept = {name: value for name, value in comparison.summary.items() if name not in added}
    summary = {**kept, "schema": 1, "evidence": "exploratory", "settings": SETTINGS}
    return comparison._replace(summary=summary)


@functools.cache
def digits():
    """A comparison with accuracies; shared by the tests, so leave it as it is."""
    return make_comparison(PROBLEM)


@functools.cache
def rosenbrock():
    """A comparison without accuracies; shared by the tests, so leave it as it is."""
    return make_comparison(LOSS_PROBLEM)
