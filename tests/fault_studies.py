"""A nest for the fault tests: it imports once, and forks a real process for each job it is told.

`python fault_studies.py` reads a JSON line a job on standard input and answers each with a line.
A process of its own is what can be killed, stopped or run out of disk; forked before jax has a
device it starts in milliseconds.
"""

import fcntl
import json
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.backends.backend_agg
import matplotlib.backends.backend_svg  # noqa: F401
import numpy as np

import dljax as dj
from dljax import cli, populations
from dljax.comparison import report  # noqa: F401
from dljax.store import runs, sections

DATA = {
    "x": np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32),
    "y": np.random.default_rng(1).normal(size=32).astype(np.float32),
}
RATES = [0.01, 0.1, 1e20]  # the last one diverges


def _start(key, data):
    return jax.random.normal(key, data["x"].shape[1:])


def _step(data, learning_rate, w):
    loss, slope = jax.value_and_grad(lambda w: jnp.mean((data["x"] @ w - data["y"]) ** 2))(w)
    return w - learning_rate * slope, loss


def descent(data, *, seed, learning_rate):
    """Least squares by gradient descent."""
    key = dj.stream(jax.random.key(0), "member", seed)
    descend = lambda w, _: _step(data, learning_rate, w)  # noqa: E731
    w, losses = jax.lax.scan(descend, _start(key, data), length=8)
    bad = ~jnp.isfinite(losses)
    diverged_at = jnp.where(bad.any(), jnp.argmax(bad), -1)
    return {"w": w, "loss": losses, "final": losses[-1], "key": key, "diverged_at": diverged_at}


def _finished(state):
    return state["w"][0] > 1.5


rounds = dj.Member(
    init=lambda data, *, seed, learning_rate: {
        "w": _start(dj.stream(jax.random.key(0), "member", seed), data)
    },
    advance=lambda data, state, round, *, seed, learning_rate: (
        lambda w, loss: ({"w": w}, {"loss": loss})
    )(*_step(data, learning_rate, state["w"])),
    result=lambda data, state, reports, *, seed, learning_rate: {**state, **reports},
    num_rounds=4,
    finished=_finished,
)


def study(out, kind="whole", seeds=3, rates=RATES, **options):
    """Runs a study whose blocks are tiles, so that there is much to interrupt."""
    sections.OFTEN = -1.0
    return dj.study(
        descent if kind == "whole" else rounds,
        DATA,
        axes={"seed": np.arange(seeds), "learning_rate": rates},
        width=2,
        out=out,
        progress=False,
        **options,
    )


def killed_at(number, **told):
    """Runs a study that dies at its `number`-th step of writing.

    Of what it was about to write, or had not yet synced, half is lost.
    """
    steps, write, truncate = iter(range(number)), os.write, os.ftruncate

    def die(name, file, *inputs):
        if name == "write":
            write(file, inputs[0][: len(inputs[0]) // 2])
        if name == "fsync" and not fcntl.fcntl(file, fcntl.F_GETFL) & os.O_APPEND:
            with suppress(OSError):  # a folder
                truncate(file, os.fstat(file).st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    def dying(name, call):
        def step(*inputs, **named):
            if next(steps, None) is None:
                die(name, *inputs)
            return call(*inputs, **named)

        return step

    for name in ("write", "fsync", "replace", "unlink", "ftruncate"):
        setattr(os, name, dying(name, getattr(os, name)))
    study(**told)


def full(limit, **told):
    """Runs a comparison where no file may be longer than `limit` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    cli.main(told["arguments"])


def holding(out, after, marker):
    """Runs a study that stays in its run after some tiles, until it is told to end."""
    tiles, run_tile = iter(range(after)), populations.run_tile

    def stays(*inputs):
        if next(tiles, None) is None:
            Path(marker).touch()
            while True:
                time.sleep(0.05)
        return run_tile(*inputs)

    populations.run_tile = stays
    study(out)


def slow_to_close(marker, arguments):
    """Runs a command that takes a minute to close its folder."""
    close = runs.Run.close

    def closes(run):
        Path(marker).touch()
        time.sleep(60)
        close(run)

    runs.Run.close = closes
    cli.main(arguments)


JOBS = {
    "slow_to_close": slow_to_close,
    "study": lambda **told: study(**told) and None,
    "killed_at": killed_at,
    "full": full,
    "holding": holding,
    "command": lambda arguments: cli.main(arguments),
}


def _born(job, log, cwd, environment, **told):
    """Forks a process that does a job, with its output in a file."""
    if child := os.fork():
        return child
    number = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(number, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(cwd)
    os.environ.update(environment)
    dj.configure()
    JOBS[job](**told)
    sys.exit()


def main():
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        if "wait" in told:
            status = os.waitpid(told["wait"], 0)[1]
            print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)
        else:
            print(json.dumps(_born(**told)), flush=True)


if __name__ == "__main__":
    main()
