"""What one of several processes runs in the tests: `hosts_studies.py JOB HOST:PORT N I FOLDER`."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import small

import dljax as dj
from dljax import populations, programs


def with_key(data, *, seed):
    """Least squares by gradient descent: next to nothing to compile."""
    key = dj.stream(jax.random.key(0), "member", seed)

    def step(w, _):
        loss, slope = jax.value_and_grad(lambda w: jnp.mean((data["x"] @ w - data["y"]) ** 2))(w)
        return w - 0.02 * slope, loss

    w, losses = jax.lax.scan(step, jax.random.normal(key, data["x"].shape[1:]), length=20)
    return {"w": w, "losses": losses, "key": key, "even": seed % 2 == 0}


def network(data, *, seed):
    return small.history(data, seed=seed, num_steps=10)


def setup(data, *, seed, learning_rate):
    """Full batches and a linear model: little to compile."""
    task = dj.supervised(small.linear_model(), dj.losses.cross_entropy)
    split = dj.holdout(jax.random.key(0), len(data["y"]), valid=0.25)
    fit = dj.trainer(task, dj.optimizers.sgd(learning_rate), data, split, batch_size=None)
    return fit, dj.stream(jax.random.key(0), "member", seed)


def plain(*, seed, scale=1.0):
    return {"value": scale * seed.astype(jnp.float32)}


def studies(kind, progress=False):
    """Returns the results of studies of several kinds, by name."""
    data, rounds = small.blobs(), dj.run_in_rounds(setup, num_steps=4, eval_every=1)
    axes = {"seed": [0, 1], "learning_rate": [1e-3, 1e-2, 0.1]}
    if kind == "networks":
        return {"odd": dj.study(network, data, axes={"seed": np.arange(7)}, width=2).results}
    found = {
        "odd": dj.study(with_key, data, axes={"seed": np.arange(7)}, width=2, progress=progress),
        "halving": dj.successive_halving(
            rounds, data, axes=axes, metric="valid_loss", eta=2, width=2, progress=progress
        ),
        "fewer": dj.study(plain, axes={"seed": [5]}, progress=progress),
        "static": dj.study(
            plain,
            axes={"seed": np.arange(5)},
            static={"scale": {"once": 1.0, "twice": 2.0, "thrice": 3.0}},
            width="auto",
            progress=progress,
        ),
    }
    return {name: study.results for name, study in found.items()}


def flat(results):
    """Returns arrays by their paths; keys as their numbers."""
    return {
        jax.tree_util.keystr(path): np.asarray(
            jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        )
        for path, x in jax.tree_util.tree_leaves_with_path(results)
    }


def same_bits(folder, kind):
    results = studies(kind, progress=True)
    is_last = jax.process_index() == jax.process_count() - 1

    def full(program, *inputs):
        if is_last and program.width > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return programs.run_tile(program, *inputs)

    populations.run_tile = full
    halved = dj.study(plain, axes={"seed": np.arange(5)}, width=8, progress=False)
    (program,) = halved.plan.programs.values()
    results["halved"] = {**halved.results, "width": np.int32(program.width)}
    np.savez(folder / f"{jax.process_index()}.npz", **flat(results))


def killed(folder, who):
    """Process `who` is killed while the others compute (even) or wait for it (odd)."""
    dj.study(plain, axes={"seed": np.arange(4)}, progress=False)
    if jax.process_index() == who:
        (folder / "killed").write_text(str(time.time()))
        os.kill(os.getpid(), signal.SIGKILL)
    if jax.process_index() % 2 == 0:
        time.sleep(600)
    dj.study(plain, axes={"seed": np.arange(4)}, progress=False)


def kept(folder, dies):
    """Studies with run folders; the last process may be killed at the third tile of a stage."""
    is_last, tiles = jax.process_index() == jax.process_count() - 1, []

    def counted(program, name, *inputs, **options):
        if name in ("whole", "advance"):
            tiles.append(name)
        if dies and is_last and tiles.count(dies) == 3:
            time.sleep(3)  # meanwhile the first one stores what it has
            os.kill(os.getpid(), signal.SIGKILL)
        return programs.run_tile(program, name, *inputs, **options)

    populations.run_tile = counted
    data, rounds = small.blobs(), dj.run_in_rounds(setup, num_steps=4, eval_every=1)
    axes = {"seed": np.arange(4), "learning_rate": [1e-2, 0.1]}
    plain = {"axes": {"seed": np.arange(12)}, "width": 2, "progress": False}
    found = {
        "whole": dj.study(with_key, data, out=folder / "whole", **plain).results,
        "rounds": dj.study(
            rounds, data, axes=axes, width=2, out=folder / "rounds", progress=False
        ).results,
    }
    arrays = {**flat(found), "tiles": len(tiles)}
    np.savez(folder / f"{jax.process_index()}.npz", **arrays)


def raises(folder):
    """The last process finds bad data, where the others wait for it."""
    if jax.process_index() == jax.process_count() - 1:
        raise ValueError("the data are bad here.")
    dj.study(plain, axes={"seed": np.arange(4)}, progress=False)


def leaves(folder):
    """The last process has one study less to run."""
    if jax.process_index() < jax.process_count() - 1:
        dj.study(plain, axes={"seed": np.arange(4)}, progress=False)


JOBS = {
    "small": partial(same_bits, kind="small"),
    "networks": partial(same_bits, kind="networks"),
    "killed_0": lambda folder: killed(folder, 0),
    "killed_1": lambda folder: killed(folder, 1),
    "kept": lambda folder: kept(folder, ""),
    "kept_to_whole": lambda folder: kept(folder, "whole"),
    "kept_to_rounds": lambda folder: kept(folder, "advance"),
    "raises": raises,
    "leaves": leaves,
}

if __name__ == "__main__":
    job, address, num_processes, process_id, folder = sys.argv[1:]
    dj.configure(cache=False)
    dj.join(address, int(num_processes), int(process_id))
    JOBS[job](Path(folder))
