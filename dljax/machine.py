"""What the machine under a program can do: memory, and how fast it multiplies and copies."""

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Limits(NamedTuple):
    """What one device was measured to do at best, by programs of one operation each.

    Attributes:
      flops: Floating-point operations a second of a large matrix product.
      bytes: Bytes a second read and written by a copy larger than the caches.
      overhead: Seconds that a product of two small matrices in a compiled loop takes.
    """

    flops: float
    bytes: float
    overhead: float


def memory(device: jax.Device) -> int:
    """Returns the bytes that programs may use on a device; of a CPU what this process may have."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"]
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container
    text = limit.read_text().strip() if limit.is_file() else "max"
    return min(there, int(text)) if text.isdigit() else there


def planned(stage: jax.stages.Compiled) -> int:
    """Returns the bytes that one call of a program will use; 0 where XLA does not say."""
    used = stage.memory_analysis()
    if used is None:
        return 0
    return (
        used.argument_size_in_bytes
        + used.output_size_in_bytes
        + used.temp_size_in_bytes
        - used.alias_size_in_bytes
    )


def is_full(error: BaseException) -> bool:
    """Tells whether an error is that of a device without memory for what it was asked."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


@functools.lru_cache(maxsize=8)
def limits(device: jax.Device, dtype: str = "float32", precision: str | None = None) -> Limits:
    """Measures a device once in a process, half a second.

    The product is the better of two sizes; the copy overwrites what it reads, since new memory
    costs an operating system more than the copy itself.

    Args:
      device: Where to measure.
      dtype: Of the matrices that are multiplied.
      precision: Of the product: a name that `jax.default_matmul_precision` takes.
    """
    sides = (512, 1024) if device.platform == "cpu" else (4096, 8192)
    numbers = 2**24 if device.platform == "cpu" else 2**28
    turns = 1000

    def matrix(side):  # of random numbers: a chip may multiply zeros faster
        numbers = np.random.default_rng(0).random((side, side), np.float32)
        return jax.device_put((numbers - 0.5) / side, device)

    with jax.default_matmul_precision(precision):
        multiply = jax.jit(lambda a: a @ a)
        flops = max(2.0 * n**3 / seconds(multiply, matrix(n).astype(dtype)) for n in sides)
    x = [jax.device_put(jnp.zeros(numbers, jnp.float32), device)]
    scale = jax.jit(lambda x: 0.5 * x, donate_argnums=0)

    def copy():
        x[0] = scale(x[0])
        return x[0]

    bandwidth = 2.0 * x[0].nbytes / seconds(copy)
    small = jax.jit(lambda a: jax.lax.fori_loop(0, turns, lambda _, a: a @ a, a))
    return Limits(flops, bandwidth, seconds(small, matrix(8)) / turns)


def seconds(f: Callable, *inputs, repeats: int = 5) -> float:
    """Returns the least wall time of calls of a function: the first, or the `repeats` after it."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(f(*inputs))
        times.append(time.perf_counter() - start)
    return min(times[1:] or times)
