"""Several processes that share one study: who runs which members, and how all get the results."""

import re

import jax
import numpy as np

from dljax import lifelines
from dljax.errors import require_whole
from dljax.lifelines import FINE, FULL, OutOfMemory
from dljax.types import PyTree


def join(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Makes this process one of several that share each study; call it after `dj.configure`.

    All processes run the same program. Each study then divides its members among them, and all get
    all the results. Without arguments jax finds the others itself: under SLURM, Kubernetes, Open
    MPI and on TPU pods. When a process ends early, the others end too.

    Args:
      coordinator: "HOST:PORT" of process 0, a free port there that all others reach.
      num_processes: Processes in all, >= 1.
      process_id: Which one this is, in [0, num_processes).

    Raises:
      ValueError: If only some arguments are given, one is out of range, or none is given and jax
        finds no others.
    """
    given = {
        "coordinator": coordinator,
        "num_processes": num_processes,
        "process_id": process_id,
    }
    missing = [name for name, value in given.items() if value is None]
    if 0 < len(missing) < len(given):
        raise ValueError(f"{_listed(given)} must be given together, got no {_listed(missing)}.")
    how = {}
    if not missing:
        if not re.fullmatch(r"[^\s/]+:\d+", coordinator):
            raise ValueError(f"coordinator must be HOST:PORT, got {coordinator!r}.")
        require_whole("num_processes", num_processes, "[1, inf)")
        require_whole("process_id", process_id, f"[0, {num_processes})")
        how = {"cluster_detection_method": "deactivate"}
        if lifelines.is_loopback(lifelines.host_of(coordinator)):
            how["coordinator_bind_address"] = coordinator  # else any machine could connect
    jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id, **how)
    except ValueError as error:
        if not missing:
            raise
        raise ValueError(
            "processes must be started by SLURM, Kubernetes, Open MPI or on a TPU pod, "
            f"or be given {_listed(given)}, got neither."
        ) from error
    lifelines.open_all()


def own_members(num_members: int) -> np.ndarray:
    """Returns the members that this process runs, int[n]: an even share, in order, at least one."""
    share = np.array_split(np.arange(num_members), jax.process_count())[jax.process_index()]
    return share if share.size else np.array([num_members - 1])


def gathered(own: PyTree, num_members: int) -> PyTree:
    """Puts together the shares of all processes: leaves [n, ...] to [P, ...], on every process.

    All processes must call it with trees of the same kind in the same order. The trees travel as
    bytes, in one collective.

    Raises:
      OutOfMemory: If a process does not come, as it ran out of memory.
    """
    num_processes = jax.process_count()
    if num_processes == 1:
        return own
    if FULL in lifelines.meet(FINE):
        raise OutOfMemory("another process ran out of memory.")
    leaves, tree = jax.tree.flatten(own)
    if not leaves:
        return own
    leaves = [np.ascontiguousarray(x) for x in leaves]
    shares = np.array_split(np.arange(num_members), num_processes)
    slots = np.minimum(np.arange(len(shares[0])), len(leaves[0]) - 1)
    as_bytes = [x.reshape(len(x), x[0].size).view(np.uint8) for x in leaves]
    everyone = lifelines.allgather(np.concatenate(as_bytes, axis=1)[slots])
    members = np.concatenate([part[: len(share)] for part, share in zip(everyone, shares)])
    columns = np.split(members, np.cumsum([x.shape[1] for x in as_bytes])[:-1], axis=1)
    return tree.unflatten(
        np.ascontiguousarray(column).view(x.dtype).reshape(num_members, *x.shape[1:])
        for column, x in zip(columns, leaves)
    )


def _listed(names) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
