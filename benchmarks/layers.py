"""Milliseconds of a training step by layer: dropout, convolution, batch normalization, LSTM.

Question: what does a step of a small network cost with the layers of `dj.modules`, with those of
linen, and in PyTorch?
Method: Adam on random data, batches of 64, each network from the same shapes. Ours and linen's are
trained by `dj.trainer` inside one compiled scan, two members side by side on two CPU devices (the
MLP: two tiles of two members, each a vmap); PyTorch runs its eager loop with fused Adam, one thread
and two, convolutions in both memory formats. All are warmed up, then timed in turn, forth and
back, `REPEATS` times: medians per member and step, their range, and CPU-milliseconds of the whole
process. The ratio is PyTorch's best median over the contender's. Compiling is timed apart.

Command: pip install -e ".[bench]" && python benchmarks/layers.py
Expect, on two quiet cores: PyTorch's best 1.7 times the CNN's milliseconds (2.1 in its usual memory
format), 1.4 to 2 times the LSTM's; linen's convolution ten times. Why is in docs/layers.md. Five to
eight minutes. On busy cores PyTorch's second thread waits for the first: compare CPU-milliseconds.
"""

import json
import statistics
import sys
import time
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import dljax as dj

REPEATS, BATCH_SIZE, NUM_ROWS, THREADS = 5, 64, 640, (1, 2)


class LinenMLP(nn.Module):
    """64-128-128-10 with linen's dropout, which is threefry's."""

    rate: float

    @nn.compact
    def __call__(self, x, deterministic=True):
        for i in range(2):
            x = nn.relu(nn.Dense(128, name=f"hidden_{i}")(x))
            x = nn.Dropout(self.rate, name=f"dropout_{i}")(x, deterministic)
        return nn.Dense(10, name="outputs")(x)


class LinenCNN(nn.Module):
    """The network of `dj.modules.CNN` of linen's layers."""

    batch_norm: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        x = x[..., None]
        for i, features in enumerate((8, 16)):
            x = nn.Conv(features, (3, 3), name=f"conv_{i}")(x)
            if self.batch_norm:
                x = nn.BatchNorm(not train, momentum=0.9, name=f"norm_{i}")(x)
            x = nn.max_pool(nn.relu(x), (2, 2), (2, 2))
        x = nn.relu(nn.Dense(64, name="hidden")(x.reshape(x.shape[0], -1)))
        return nn.Dense(10, name="outputs")(x)


class LinenLSTM(nn.Module):
    """The network of `dj.modules.LSTMClassifier` of linen's layers."""

    hidden: int

    @nn.compact
    def __call__(self, x):
        h = nn.RNN(nn.OptimizedLSTMCell(self.hidden, name="cell"), name="lstm")(x)[:, -1]
        return nn.Dense(10, name="outputs")(h)


class Case(NamedTuple):
    """A network in three libraries: modules by name, and what builds PyTorch's."""

    shape: tuple[int, ...]
    num_steps: int
    width: int
    modules: dict[str, nn.Module]
    torch: Any
    formats: tuple[str, ...] = ("",)


def torch_mlp(torch, rate):
    layers = []
    for before in (64, 128):
        layers += [torch.nn.Linear(before, 128), torch.nn.ReLU()]
        layers += [torch.nn.Dropout(rate)] if rate else []
    return torch.nn.Sequential(*layers, torch.nn.Linear(128, 10))


def torch_cnn(torch, batch_norm):
    layers = [torch.nn.Unflatten(1, (1, 28))]
    for before, after in ((1, 8), (8, 16)):
        layers += [torch.nn.Conv2d(before, after, 3, padding=1)]
        layers += [torch.nn.BatchNorm2d(after)] if batch_norm else []
        layers += [torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    layers += [torch.nn.Flatten(), torch.nn.Linear(784, 64), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(64, 10))


def torch_lstm(torch, hidden):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(16, hidden, batch_first=True)
            self.outputs = torch.nn.Linear(hidden, 10)

        def forward(self, x):
            return self.outputs(self.lstm(x)[0][:, -1])

    return Net()


FORMATS = ("", ", channels last")
mlp, cnn = partial(dj.modules.MLP, 10, (128, 128)), partial(dj.modules.CNN, 10)
dropping = {"dljax": mlp(dropout=0.5), "linen": LinenMLP(0.5)}
plain, normed = ({"dljax": cnn(batch_norm=norm), "linen": LinenCNN(norm)} for norm in (False, True))
CASES = {
    "MLP 64-128-128-10": Case((64,), 300, 2, {"dljax": mlp()}, partial(torch_mlp, rate=None)),
    "the same, dropout 0.5": Case((64,), 300, 2, dropping, partial(torch_mlp, rate=0.5)),
    "CNN 28 x 28": Case((28, 28), 10, 1, plain, partial(torch_cnn, batch_norm=False), FORMATS),
    "the same, batch norm": Case(
        (28, 28), 10, 1, normed, partial(torch_cnn, batch_norm=True), FORMATS
    ),
}
for size in (32, 64):
    modules = {"dljax": dj.modules.LSTMClassifier(10, size), "linen": LinenLSTM(size)}
    CASES[f"LSTM of {size}, 64 steps"] = Case(
        (64, 16), 10, 1, modules, partial(torch_lstm, hidden=size)
    )


def in_jax(case, module, data):
    """Compiles a run of `width` members for each device; returns it and the seconds that took."""
    task = dj.supervised(dj.linen_model(module), dj.losses.cross_entropy)

    def member(data, seed):
        adam = dj.optimizers.adam(1e-3)
        fit = dj.trainer(task, adam, data, batch_size=BATCH_SIZE, parts=())
        state, _ = dj.run(fit, fit.init(jax.random.key(seed)), num_steps=case.num_steps)
        return state.variables["params"]

    tile = jax.jit(jax.vmap(member, (None, 0)))
    inputs = [jax.device_put((data, jnp.arange(case.width)), d) for d in jax.devices()]
    started = time.perf_counter()
    programs = [tile.lower(*x).compile() for x in inputs]
    seconds = (time.perf_counter() - started) / len(programs)

    def run():
        outputs = [program(*x) for program, x in zip(programs, inputs, strict=True)]
        jax.block_until_ready(outputs)  # the devices compute at the same time

    return run, case.width * len(inputs) * case.num_steps, seconds


def in_torch(case, data, num_threads, form):
    """The usual eager loop."""
    import torch

    torch.manual_seed(0)
    net = case.torch(torch)
    if form:
        net = net.to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    x, y = (torch.tensor(np.array(data[name])) for name in "xy")
    rows = torch.randperm(NUM_ROWS).reshape(-1, BATCH_SIZE)

    def run():
        torch.set_num_threads(num_threads)
        for step in range(case.num_steps):
            index = rows[step % len(rows)]
            adam.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(net(x[index]), y[index].long()).backward()
            adam.step()

    return run, case.num_steps, 0.0


def timed(contenders):
    """Times all in turn; returns milliseconds and CPU-milliseconds a member and step."""
    wall, cpu = ({name: [] for name in contenders} for _ in range(2))
    for repeat in range(REPEATS + 1):
        for name, (run, num_steps, _) in list(contenders.items())[:: (-1) ** repeat]:
            time.sleep(0.01)  # a thread pool spins for a while before it sleeps
            started, used = time.perf_counter(), time.process_time()
            run()
            if repeat > 0:
                wall[name].append((time.perf_counter() - started) * 1e3 / num_steps)
                cpu[name].append((time.process_time() - used) * 1e3 / num_steps)
    return wall, cpu


def measure(case):
    """Rows of the table of one network."""
    draw = np.random.default_rng(0)
    data = {
        "x": draw.standard_normal((NUM_ROWS, *case.shape), np.float32),
        "y": draw.integers(0, 10, NUM_ROWS, dtype=np.int32),
    }
    contenders = {name: in_jax(case, module, data) for name, module in case.modules.items()}
    try:
        for threads in THREADS:
            for form in case.formats:
                name = f"PyTorch, {threads} thread(s){form}"
                contenders[name] = in_torch(case, data, threads, form)
    except ImportError:
        print('PyTorch is not installed: pip install -e ".[bench]"', file=sys.stderr)
    wall, cpu = timed(contenders)
    best = min(statistics.median(t) for name, t in wall.items() if name.startswith("PyTorch"))
    return [
        {
            "contender": name,
            "ms": statistics.median(wall[name]),
            "range": [min(wall[name]), max(wall[name])],
            "cpu_ms": statistics.median(cpu[name]),
            "ratio": best / statistics.median(wall[name]),
            "compile_seconds": seconds,
        }
        for name, (_, _, seconds) in contenders.items()
    ]


def main():
    """Prints a table for each network, or JSON with `--json`."""
    dj.configure(num_cpu_devices=2, cache=False)
    results = {}
    for name, case in CASES.items():
        print(f"\r{name:30}", end="", file=sys.stderr, flush=True)
        results[name] = measure(case)
    print(file=sys.stderr)
    if "--json" in sys.argv[1:]:
        print(json.dumps({"device": jax.devices()[0].device_kind, "networks": results}))
        return
    print(f"{jax.device_count()} x {jax.devices()[0].device_kind}, jax {jax.__version__}")
    for name, rows in results.items():
        print(f"\n{name:36} {'ms':>8} {'range':>16} {'CPU ms':>8} {'ratio':>6} {'compile':>9}")
        for row in rows:
            spread = "{:.2f} - {:.2f}".format(*row["range"])
            print(
                f"{row['contender']:36} {row['ms']:>8.2f} {spread:>16} {row['cpu_ms']:>8.2f} "
                f"{row['ratio']:>6.2f} {row['compile_seconds']:>7.1f} s"
            )


if __name__ == "__main__":
    main()
