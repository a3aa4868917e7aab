"""Member-steps a second: one study, against the loops that one would write instead.

Question: how much faster do many small training runs go as members of one compiled program?
Method: N independent runs of an MLP 64-128-128-10 on scikit-learn's digits (Adam, batches of 64,
reshuffled each epoch) are trained for T steps from N seeds: as one population; by a Python loop
over a jitted step, as most JAX training scripts do; and by PyTorch's eager loop (fused Adam, one
thread and two). Every contender evaluates the validation rows once, at the end. Each is warmed
up, then all are timed in turn, `REPEATS` times, in one process: medians, their range, and ratios
to the per-step-jit loop. Compile time, which the warm-up pays, is a column of its own.

Command: pip install -e ".[bench]" && python benchmarks/population_throughput.py
Expect, on two CPU cores: the study 2 to 3 times the per-step-jit loop, PyTorch a quarter to a half
of it. About two minutes.
"""

import itertools
import json
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import dljax as dj

NUM_MEMBERS, NUM_STEPS, BATCH_SIZE, LEARNING_RATE, REPEATS = 32, 300, 64, 1e-3, 5


def study(problem):
    """All members in one compiled program."""

    def member(data, split, *, seed):
        adam = dj.optimizers.adam(LEARNING_RATE)
        fit = dj.trainer(problem.task, adam, data, split, batch_size=BATCH_SIZE, parts=("valid",))
        state = fit.init(dj.stream(jax.random.key(0), "member", seed))
        state, history = dj.run(fit, state, num_steps=NUM_STEPS)
        return history["valid_accuracy"][-1]

    run = dj.population(member)
    shared = (problem.data, problem.split)
    return lambda seeds: run(shared, {"seed": seeds})


def per_step_jit(problem):
    """A Python loop over a jitted step, one member after the other."""
    train, valid = (np.asarray(rows.index) for rows in problem.split[:2])
    data = jax.tree.map(jnp.asarray, problem.data)
    adam = optax.adam(LEARNING_RATE)

    @jax.jit
    def start(seed):
        key = jax.random.key(seed)
        variables = problem.task.init(key, jax.tree.map(lambda x: x[:1], data))
        return variables, adam.init(variables["params"])

    @jax.jit
    def step(variables, opt_state, index):
        batch = jax.tree.map(lambda x: x[index], data)

        def loss(params):
            outputs, _ = problem.task.predict({**variables, "params": params}, batch)
            return problem.task.loss(outputs, batch).mean()

        updates, opt_state = adam.update(jax.grad(loss)(variables["params"]), opt_state)
        params = optax.apply_updates(variables["params"], updates)
        return {**variables, "params": params}, opt_state

    @jax.jit
    def accuracy(variables):
        batch = jax.tree.map(lambda x: x[valid], data)
        outputs, _ = problem.task.predict(variables, batch)
        return problem.task.measure(outputs, batch)["accuracy"].mean()

    def one(seed):
        variables, opt_state = start(seed)
        for index in batch_order(train, seed):
            variables, opt_state = step(variables, opt_state, index)
        return accuracy(variables)

    return lambda seeds: np.array([float(one(int(seed))) for seed in seeds])


def pytorch_eager(problem, num_threads):
    """PyTorch's eager loop, one member after the other."""
    import torch

    data = {name: np.asarray(x) for name, x in problem.data.items()}
    x, y = torch.tensor(data["x"] / np.float32(16)), torch.tensor(data["y"]).long()
    train, valid = (np.array(rows.index) for rows in problem.split[:2])

    def one(seed):
        torch.manual_seed(seed)
        sizes = (64, 128, 128, 10)
        layers = []
        for before, after in itertools.pairwise(sizes):
            layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
        net = torch.nn.Sequential(*layers[:-1])
        adam = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
        for index in batch_order(train, seed):
            adam.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(net(x[index]), y[index]).backward()
            adam.step()
        with torch.no_grad():
            return (net(x[valid]).argmax(1) == y[valid]).float().mean().item()

    def run(seeds):
        torch.set_num_threads(num_threads)
        return np.array([one(int(seed)) for seed in seeds])

    return run


def batch_order(train, seed):
    """Draws reshuffled epochs of full batches, int[NUM_STEPS, BATCH_SIZE]."""
    draw = np.random.default_rng(seed)
    slots = len(train) // BATCH_SIZE
    epochs = [
        draw.permutation(train)[: slots * BATCH_SIZE].reshape(slots, -1)
        for _ in range(-(-NUM_STEPS // slots))
    ]
    return np.concatenate(epochs)[:NUM_STEPS]


def main():
    """Times all contenders in turn and prints the table, and JSON with `--json`."""
    dj.configure(cache=False)
    problem = dj.problems.load("digits-mlp")
    contenders = {"per-step-jit loop": per_step_jit(problem), "dljax study": study(problem)}
    try:
        for threads in (1, 2):
            contenders[f"PyTorch eager, {threads} thread(s)"] = pytorch_eager(problem, threads)
    except ImportError:
        print('PyTorch is not installed: pip install -e ".[bench]"', file=sys.stderr)
    # the slow ones are timed on fewer members: a rate does not depend on their number
    members = {name: NUM_MEMBERS if name == "dljax study" else 2 for name in contenders}
    rates, warm, found = {name: [] for name in contenders}, {}, {}
    for repeat in range(REPEATS + 1):
        for name, run in contenders.items():
            print(f"\r{repeat} of {REPEATS}: {name:28}", end="", file=sys.stderr, flush=True)
            started = time.perf_counter()
            found[name] = jax.block_until_ready(run(np.arange(members[name], dtype=np.uint32)))
            seconds = time.perf_counter() - started
            if repeat == 0:
                warm[name] = seconds
            else:
                rates[name].append(members[name] * NUM_STEPS / seconds)
    print(file=sys.stderr)
    base = statistics.median(rates["per-step-jit loop"])
    table = [
        {
            "contender": name,
            "member_steps_per_second": round(statistics.median(rate)),
            "range": [round(min(rate)), round(max(rate))],
            "ratio": round(statistics.median(rate) / base, 2),
            "compile_seconds": round(
                max(0.0, warm[name] - members[name] * NUM_STEPS / statistics.median(rate)), 2
            ),
            "valid_accuracy": round(float(np.mean(found[name])), 3),
        }
        for name, rate in rates.items()
    ]
    device = jax.devices()[0].device_kind
    if "--json" in sys.argv[1:]:
        print(json.dumps({"device": device, "num_devices": jax.device_count(), "rows": table}))
        return
    print(f"{jax.device_count()} x {device}, jax {jax.__version__}; N = {NUM_MEMBERS} members")
    print(
        f"{'contender':28} {'member-steps/s':>14} {'range':>16} {'ratio':>6} {'compile':>9}  acc."
    )
    for row in table:
        spread = "{:,} - {:,}".format(*row["range"])
        print(
            f"{row['contender']:28} {row['member_steps_per_second']:>14,} {spread:>16} "
            f"{row['ratio']:>6.2f} {row['compile_seconds']:>7.1f} s  {row['valid_accuracy']:.3f}"
        )


if __name__ == "__main__":
    main()
