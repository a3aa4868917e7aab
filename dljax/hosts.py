"""Several processes that share one study: who runs which members, and how all get the results."""

import jax
import numpy as np

from dljax.types import PyTree


def own_members(num_members: int) -> np.ndarray:
    """Returns the members that this process runs, int[n]: an even share, in order, at least one."""
    share = np.array_split(np.arange(num_members), jax.process_count())[jax.process_index()]
    return share if share.size else np.array([num_members - 1])


def gathered(own: PyTree, num_members: int) -> PyTree:
    """Puts together the shares of all processes: leaves [n, ...] to [P, ...], on every process.

    All processes must call it with trees of the same kind in the same order.
    """
    num_processes = jax.process_count()
    if num_processes == 1:
        return own
    from jax.experimental import multihost_utils

    shares = np.array_split(np.arange(num_members), num_processes)
    rows = len(shares[0])

    def gather(x):
        padded = np.concatenate([x, np.repeat(x[-1:], rows - len(x), axis=0)])
        everyone = multihost_utils.process_allgather(padded)
        return np.concatenate([part[: len(s)] for part, s in zip(everyone, shares)])

    return jax.tree.map(gather, own)
