"""What the machine under a program can do: memory, and how fast it multiplies and copies."""

import functools
import os
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Limits(NamedTuple):
    """What one device was measured to do at best, by programs of one operation each.

    Attributes:
      flops: Floating-point operations a second of a large matrix product.
      bytes: Bytes a second read and written by a copy larger than the caches.
      overhead: Seconds that one small operation in a compiled loop takes.
    """

    flops: float
    bytes: float
    overhead: float


def memory(device: jax.Device) -> int:
    """Returns the bytes that programs may use on a device; of a CPU all the machine has."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@functools.lru_cache(maxsize=8)
def limits(device: jax.Device, dtype: str = "float32", precision: str | None = None) -> Limits:
    """Measures a device once in a process, a quarter of a second.

    Args:
      device: Where to measure.
      dtype: Of the matrices that are multiplied.
      precision: Of the product: a name that `jax.default_matmul_precision` takes.
    """
    side = 1024 if device.platform == "cpu" else 8192
    numbers = 2**24 if device.platform == "cpu" else 2**28
    a = jax.device_put(jnp.full((side, side), 1e-3, dtype), device)
    x = jax.device_put(jnp.zeros(numbers, jnp.float32), device)
    z = jax.device_put(jnp.zeros(8, jnp.float32), device)
    turns = 1000
    with jax.default_matmul_precision(precision):
        product = seconds(jax.jit(lambda a: a @ a), a)
    copy = seconds(jax.jit(lambda x: x + 1), x)
    loop = seconds(jax.jit(lambda z: jax.lax.fori_loop(0, turns, _four_operations, z)), z)
    return Limits(2.0 * side**3 / product, 2.0 * x.nbytes / copy, loop / (4 * turns))


def seconds(f: Callable, *inputs, repeats: int = 5) -> float:
    """Returns the least wall time of calls of a function: the first, or the `repeats` after it."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(f(*inputs))
        times.append(time.perf_counter() - start)
    return min(times[1:] or times)


def _four_operations(_, z: jax.Array) -> jax.Array:
    for axis in (0, 1):  # a scan of sums is not fused into one operation
        z = jnp.cumsum(z, axis=0)[::-1] * (0.5 + axis)
    return z
