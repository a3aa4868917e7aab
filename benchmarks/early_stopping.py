"""Does early stopping pay in a population? Members a second, and the share of useful work.

Question: members that stop at different steps leave holes in a tile; what fills them best?
Method: N runs of the digits perceptron (64-128-128-10, Adam, learning rates from 1e-4 to 1e-1)
stop when the validation loss has not improved for three evaluations. Ways: no early stopping at
all; `dj.run_until` in tiles of 8, where under `vmap` all wait for the last; `dj.run_until` at its
default width, a tile of one whose loop really ends; `dj.run_in_rounds`, where members that have
stopped leave between rounds and the others close ranks, at its default width and at 8. Each is
warmed up, then all are timed in turn: medians and their range. Useful: steps of members before
they stopped, of all steps computed, empty slots of a tile included.

Command: python benchmarks/early_stopping.py
Expect: about two minutes on two CPU cores.
"""

import json
import statistics
import sys
import time

import jax
import numpy as np

import dljax as dj
from dljax import populations, programs

NUM_MEMBERS, NUM_STEPS, EVAL_EVERY, PATIENCE, REPEATS = 64, 1000, 50, 3, 3
RULE = {"eval_every": EVAL_EVERY, "patience": PATIENCE, "monitor": "valid_loss"}


def ways(problem):
    """Names and members: plain functions, and members in rounds."""

    def setup(data, split, *, seed, learning_rate):
        adam = dj.optimizers.adam(learning_rate)
        fit = dj.trainer(problem.task, adam, data, split, batch_size=64, parts=("valid",))
        return fit, dj.stream(jax.random.key(0), "member", seed)

    def whole(data, split, **cell):
        fit, key = setup(data, split, **cell)
        history = dj.run(fit, fit.init(key), num_steps=NUM_STEPS, eval_every=EVAL_EVERY)[1]
        return {"stopped_at": history["step"][-1]}

    def until(data, split, **cell):
        fit, key = setup(data, split, **cell)
        history = dj.run_until(fit, fit.init(key), max_steps=NUM_STEPS, **RULE)[1]
        return {"stopped_at": history["stopped_at"]}

    keep = lambda best, history: {"stopped_at": history["stopped_at"]}  # noqa: E731
    rounds = dj.run_in_rounds(setup, num_steps=NUM_STEPS, keep=keep, **RULE)
    return {
        "never stops": (whole, None),
        "run_until, tiles of 8": (until, 8),
        "run_until, default": (until, None),
        "run_in_rounds, default": (rounds, None),
        "run_in_rounds, tiles of 8": (rounds, 8),
    }


def counted(computed):
    """Runs tiles as the engine does, and adds up the steps that their slots compute."""

    def run_tile(program, name, *inputs):
        found = programs.run_tile(program, name, *inputs)
        if name == "advance":
            computed.append(program.width * EVAL_EVERY)
        if name == "whole":
            computed.append(program.width * found["stopped_at"].max())
        return found

    return run_tile


def main():
    """Times all ways in turn and prints the table, and JSON with `--json`."""
    dj.configure(cache=False)
    problem = dj.problems.load("digits-mlp")
    shared = (problem.data, problem.split)
    cells = {
        "seed": np.arange(NUM_MEMBERS, dtype=np.uint32),
        "learning_rate": np.tile(np.logspace(-4, -1, 8, dtype=np.float32), NUM_MEMBERS // 8),
    }
    runs = {name: dj.population(m, width=w) for name, (m, w) in ways(problem).items()}
    seconds, useful = {name: [] for name in runs}, {}
    for repeat in range(REPEATS + 1):
        for name, run in runs.items():
            print(f"\r{repeat} of {REPEATS}: {name:28}", end="", file=sys.stderr, flush=True)
            computed = []
            populations.run_tile = counted(computed) if repeat == 0 else programs.run_tile
            started = time.perf_counter()
            stopped_at = run(shared, cells)["stopped_at"]
            if repeat:
                seconds[name].append(time.perf_counter() - started)
            else:
                useful[name] = float(stopped_at.sum() / sum(computed))
    print(file=sys.stderr)
    base = statistics.median(seconds["never stops"])
    rows = [
        {
            "way": name,
            "seconds": round(statistics.median(s), 2),
            "range": [round(min(s), 2), round(max(s), 2)],
            "ratio": round(base / statistics.median(s), 2),
            "useful": round(useful[name], 3),
        }
        for name, s in seconds.items()
    ]
    if "--json" in sys.argv[1:]:
        print(json.dumps({"num_members": NUM_MEMBERS, "rows": rows}))
        return
    print(f"{NUM_MEMBERS} members, at most {NUM_STEPS} steps; jax {jax.__version__}")
    print(f"{'way':28} {'seconds':>8} {'range':>16} {'ratio':>6} {'useful':>7}")
    for row in rows:
        spread = "{} - {}".format(*row["range"])
        print(
            f"{row['way']:28} {row['seconds']:>8.2f} {spread:>16} {row['ratio']:>6.2f} "
            f"{100 * row['useful']:>5.1f} %"
        )


if __name__ == "__main__":
    main()
