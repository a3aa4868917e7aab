"""Seconds until a study of many optimizers shows something, with a cold and with a warm cache.

Question: how long does one wait for the first optimizer's results, and for all of them?
Method: 10 optimizers, 4 learning rates and 8 seeds, 320 runs of the perceptron of `dj.problems`
(64-128-128-10, batches of 64, `NUM_STEPS` steps), as one `dj.study` with the optimizer as a static
axis. Each repeat is a pair of fresh processes with a cache of compiled programs of their own, empty
for the first and filled by it for the second. Seconds count from the call of `dj.study`; importing
and loading the data come before and are told apart. "compiled" is when the last program is. Where
the time goes is as jax's own monitoring tells it, added up over threads: tracing, lowering to
StableHLO, and XLA, which includes reading the cache.

Command: python benchmarks/time_to_first_result.py (--repeats N, --json)
Expect: `benchmarks/RESULTS.md`. A minute for three repeats on two quiet cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

NUM_STEPS, NUM_RATES, NUM_SEEDS = 50, 4, 8
CLASSICS = ("sgd", "momentum", "nag", "adagrad", "rmsprop", "adam")
OPTIMIZERS = (*CLASSICS, "adamw", "lion", "radam", "nadam")
PARTS = {
    "jaxpr_trace_duration": "trace",
    "jaxpr_to_mlir_module_duration": "lower",
    "backend_compile_duration": "XLA",
}
MOMENTS = ("import", "data", "first", "compiled", "done", *PARTS.values(), "CPU")


def one_study() -> dict[str, float]:
    """Runs the study in this process; returns when what was there, and what took how long."""
    began = time.perf_counter()
    import jax
    import numpy as np

    import dljax as dj

    found = {"import": time.perf_counter() - began, **dict.fromkeys(PARTS.values(), 0.0)}
    dj.configure()
    problem = dj.problems.load("digits-mlp")
    found["data"] = time.perf_counter() - began - found["import"]

    def member(data, split, *, seed, learning_rate, optimizer):
        rule = optimizer(learning_rate)
        fit = dj.trainer(problem.task, rule, data, split, batch_size=64, parts=("valid",))
        state = fit.init(dj.stream(jax.random.key(0), "member", seed))
        return dj.run(fit, state, num_steps=NUM_STEPS)[1]["valid_accuracy"][-1]

    started, used = time.perf_counter(), time.process_time()
    since = lambda: time.perf_counter() - started  # noqa: E731

    def heard(event, seconds, **_):
        part = PARTS.get(event.rpartition("/")[2])
        if part is not None:
            found[part] += seconds
        if part == "XLA":
            found["compiled"] = since()

    def progress(stage, done, total):
        if done >= NUM_RATES * NUM_SEEDS:
            found.setdefault("first", since())

    jax.monitoring.register_event_duration_secs_listener(heard)
    study = dj.study(
        member,
        problem.data,
        problem.split,
        axes={"learning_rate": np.logspace(-4, -1, NUM_RATES), "seed": np.arange(NUM_SEEDS)},
        static={"optimizer": {name: getattr(dj.optimizers, name) for name in OPTIMIZERS}},
        progress=progress,
    )
    found["done"], found["CPU"] = since(), time.process_time() - used
    assert np.isfinite(study.results).all()
    return found


def in_fresh_process(folder: str) -> dict[str, float]:
    """Runs the study in a process of its own with its cache in a folder."""
    environment = {**os.environ, "XDG_CACHE_HOME": folder}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, __file__, "--here"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def main():
    """Prints medians and ranges of all moments, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="pairs of fresh processes")
    parser.add_argument("--json", action="store_true", help="JSON instead of the table")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(one_study()))
        return
    found = {"cold": [], "warm": []}
    for repeat in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            for cache in found:
                print(f"{cache}, {repeat + 1} of {options.repeats}", file=sys.stderr, flush=True)
                found[cache].append(in_fresh_process(folder))
    if options.json:
        print(json.dumps(found))
        return
    num_runs = len(OPTIMIZERS) * NUM_RATES * NUM_SEEDS
    print(f"{num_runs} runs of {NUM_STEPS} steps, {len(OPTIMIZERS)} programs; seconds")
    print(f"{'':10}" + "".join(f"{cache:>8} {'range':>16}" for cache in found))
    for moment in MOMENTS:
        line = f"{moment:10}"
        for repeats in found.values():
            values = [one[moment] for one in repeats]
            spread = f"{min(values):.2f} - {max(values):.2f}"
            line += f"{statistics.median(values):8.2f} {spread:>16}"
        print(line)


if __name__ == "__main__":
    main()
