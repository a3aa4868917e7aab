"""Milliseconds and CPU-seconds of one optimizer step, against optax and PyTorch.

Question: what does a step (update and apply) cost, and how far is it from the memory's limit?
Method: one leaf of 50 million float32 numbers, and 200 small leaves of 2.6 million in all. A step
of dljax, of optax and of PyTorch (its loop, foreach and fused forms, with one thread and two: the
fastest in two tries) starts from the same numbers; the old parameters and state are donated. After
a warm-up the contenders for one rule are timed in turn, forth and back, `REPEATS` times: medians,
their range, and the CPU-seconds of the whole process, which a second thread does not hide. The
limit is the bandwidth that scaling one of the same trees, or adding two in place, reaches in the
same run; a rule is charged with what it must read and write: for Adam g, m, v, p, and m, v, p.
Tracing (lowering included) and compiling are timed apart, each program anew `COMPILES` times.

Command: pip install -e ".[bench]" && python benchmarks/optimizer_step.py
Expect, on two CPU cores: what optax costs; PyTorch's fused Adam takes 0.6 of the CPU-seconds.
Why is in docs/optimizer_speed.md. Three to four minutes.
"""

import gc
import json
import statistics
import sys
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import dljax as dj

REPEATS, COMPILES, THREADS = 9, 3, (1, 2)
LARGE = {"leaf": (50_000_000,)}
WIDTHS = (32, 64, 128, 256)  # scale, shift, a square and a wide matrix, as in a transformer
SMALL = {
    f"layer {i:02} {name}": shape
    for i in range(50)
    for d in [WIDTHS[i % 4]]
    for name, shape in {"a": (d,), "b": (d,), "c": (d, d), "d": (d, 256)}.items()
}


class Rule(NamedTuple):
    """One update in three libraries, and the arrays that it must read and write."""

    words: int
    ours: Any
    optax: Any
    torch: tuple[str, dict] | None


RULES = {
    "sgd": Rule(3, dj.optimizers.sgd, optax.sgd, ("SGD", {})),
    "momentum": Rule(
        5,
        dj.optimizers.momentum,
        lambda learning_rate: optax.sgd(learning_rate, momentum=0.9),
        ("SGD", {"momentum": 0.9}),
    ),
    "adam": Rule(7, dj.optimizers.adam, optax.adam, ("Adam", {})),
    "adamw": Rule(
        7,
        dj.optimizers.adamw,
        lambda learning_rate: optax.adamw(learning_rate, weight_decay=0.01),
        ("AdamW", {}),
    ),
    "lion": Rule(5, dj.optimizers.lion, optax.lion, None),
}


def compiled(optimizer, params, grads):
    """Compiles a step that overwrites its carry; returns it, its carry, and what that took."""

    def step(carry, grads):
        params, state = carry
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    carry = jax.tree.map(jnp.copy, (params, optimizer.init(params)))
    times = [time.perf_counter()]
    lowered = jax.jit(step, donate_argnums=0).lower(carry, grads)
    times.append(time.perf_counter())
    program = lowered.compile()
    times.append(time.perf_counter())
    donated = sum(x.nbytes for x in jax.tree.leaves(carry))
    aliased = program.memory_analysis().alias_size_in_bytes
    facts = {"trace": times[1] - times[0], "compile": times[2] - times[1]}
    return program, carry, facts | {"aliased": aliased / donated}


def in_place(program, carry, *others):
    """Returns a function of the number of steps to make, each on what the last one left."""
    carries = [carry]

    def run(num_steps):
        for _ in range(num_steps):
            carries[0] = program(carries[0], *others)
        jax.block_until_ready(carries[0])

    return run


def torch_forms(rule, grads):
    """The forms of a step in PyTorch by name; none where PyTorch or the rule is missing."""
    try:
        import torch
    except ImportError:
        return {}
    on_gpu = jax.default_backend() == "gpu"
    if rule.torch is None or (on_gpu and not torch.cuda.is_available()):
        return {}
    device = "cuda" if on_gpu else "cpu"
    grads = [torch.tensor(np.asarray(g), device=device) for g in jax.tree.leaves(grads)]
    params = [torch.nn.Parameter(torch.zeros_like(g)) for g in grads]
    for p, g in zip(params, grads, strict=True):
        p.grad = g
    name, arguments = rule.torch

    def form(how, num_threads):
        options = {"foreach": how == "foreach", "fused": how == "fused"}
        optimizer = getattr(torch.optim, name)(params, lr=1e-3, **arguments, **options)

        def run(num_steps):
            torch.set_num_threads(num_threads)
            for _ in range(num_steps):
                optimizer.step()
            if on_gpu:
                torch.cuda.synchronize()

        return run

    return {
        f"torch {how}, {num_threads} thread(s)": form(how, num_threads)
        for how in ("loop", "foreach", "fused")
        for num_threads in THREADS[: 1 if on_gpu else None]
    }


def timed(contenders, num_steps, repeats=REPEATS):
    """Times all contenders in turn; returns lists of milliseconds and CPU-milliseconds a step."""
    wall, cpu = ({name: [] for name in contenders} for _ in range(2))
    for repeat in range(repeats + 1):
        for name, run in list(contenders.items())[:: (-1) ** repeat]:  # no place is the best
            time.sleep(0.01)  # a thread pool spins for a while before it sleeps
            started, used = time.perf_counter(), time.process_time()
            run(num_steps)
            if repeat > 0:
                cpu[name].append((time.process_time() - used) * 1e3 / num_steps)
                wall[name].append((time.perf_counter() - started) * 1e3 / num_steps)
    return wall, cpu


def bandwidth(tree, num_steps):
    """Measures GB/s of scaling a tree into another, and of adding one to another in place."""
    num_bytes = sum(x.nbytes for x in jax.tree.leaves(tree))
    scale = lambda a, b: jax.tree.map(lambda b: 2 * b, b)  # noqa: E731
    add = lambda a, b: jax.tree.map(lambda a, b: a + 0.5 * b, a, b)  # noqa: E731
    runs = {}
    for words, kernel in ((2, scale), (3, add)):
        program = jax.jit(kernel, donate_argnums=0, keep_unused=True)
        carry = jax.tree.map(jnp.copy, tree)
        runs[words] = in_place(program.lower(carry, tree).compile(), carry, tree)
    wall, _ = timed(runs, num_steps)
    return max(words * num_bytes / min(ms) / 1e6 for words, ms in wall.items())


def measure(rule, params, grads, num_steps):
    """Times one rule; returns the rows of ours, of optax and of PyTorch's fastest form."""
    runs, facts = {}, {}
    for _ in range(COMPILES):
        for name, factory in (("dljax", rule.ours), ("optax", rule.optax)):
            program, carry, fact = compiled(factory(learning_rate=1e-3), params, grads)
            runs[name] = in_place(program, carry, grads)
            facts.setdefault(name, []).append(fact)
    if forms := torch_forms(rule, grads):
        tried, _ = timed(forms, num_steps, repeats=2)
        fastest = min(forms, key=lambda name: min(tried[name]))
        runs[fastest] = forms[fastest]
    wall, cpu = timed(runs, num_steps)
    num_bytes = rule.words * sum(x.nbytes for x in jax.tree.leaves(params))
    return {
        name: {
            "ms": statistics.median(wall[name]),
            "range": [min(wall[name]), max(wall[name])],
            "cpu_ms": statistics.median(cpu[name]),
            "gb_per_s": num_bytes / statistics.median(wall[name]) / 1e6,
            **{
                key: statistics.median(fact[key] for fact in facts[name])
                for key in ("trace", "compile", "aliased")
                if name in facts
            },
        }
        for name in runs
    }


def show(tree, limit, rows):
    """Prints the table of one tree, and per rule the ratios that the goals are about."""
    print(f"\n{tree}; memory: {limit:.1f} GB/s")
    print(f"{'rule':9} {'contender':24} {'ms':>7} {'range':>15} {'CPU ms':>7} {'of limit':>8}"
          f" {'aliased':>7} {'trace':>7} {'compile':>7}")  # fmt: skip
    for rule, contenders in rows.items():
        for name, row in contenders.items():
            spread = "{:.1f} - {:.1f}".format(*row["range"])
            line = f"{rule:9} {name:24} {row['ms']:7.1f} {spread:>15} {row['cpu_ms']:7.1f}"
            line += f" {row['gb_per_s'] / limit:8.0%}"
            if "trace" in row:
                line += f" {row['aliased']:7.0%} {row['trace']:5.2f} s {row['compile']:5.2f} s"
            print(line)
    measured = {"wall": "ms", "CPU": "cpu_ms", "trace": "trace", "compile": "compile"}
    for rule, contenders in rows.items():
        ours = contenders["dljax"]
        for name, row in list(contenders.items())[1:]:
            ratios = [f"{k} {row[of] / ours[of]:.2f}" for k, of in measured.items() if of in row]
            print(f"{rule}: {name} over dljax: {', '.join(ratios)}")


def main():
    """Prints the two tables, or JSON with `--json`."""
    dj.configure(num_cpu_devices=1, cache=False)
    device = jax.devices()[0].device_kind
    results = {"device": device, "jax": jax.__version__, "trees": {}}
    if "--json" not in sys.argv[1:]:
        print(f"{device}, jax {jax.__version__}, medians of {REPEATS}")
    trees = {"one leaf": (LARGE, 1), f"{len(SMALL)} leaves": (SMALL, 5)}
    for tree, (shapes, num_steps) in trees.items():
        draw = np.random.default_rng(0)
        grads = {
            k: jnp.asarray(draw.standard_normal(s, np.float32), copy=True)
            for k, s in shapes.items()
        }
        params = jax.tree.map(jnp.zeros_like, grads)
        title = f"{tree}, {sum(x.size for x in grads.values()):,} numbers"
        limit, rows = bandwidth(grads, num_steps), {}
        for rule in RULES:
            print(f"\r{title}: {rule:12}", end="", file=sys.stderr, flush=True)
            rows[rule] = measure(RULES[rule], params, grads, num_steps)
            gc.collect()
        results["trees"][title] = {"gb_per_s": limit, "rules": rows}
        print(file=sys.stderr)
        if "--json" not in sys.argv[1:]:
            show(title, limit, rows)
    if "--json" in sys.argv[1:]:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
