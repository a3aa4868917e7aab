"""Threads that jobs run in side by side: XLA compiles and computes without Python's lock."""

import atexit
import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import TypeVar

import jax

Result = TypeVar("Result")
LANE = "dljax lane"  # name of the threads
PATIENCE = 8.0  # seconds that the end of the process waits for jobs nobody will read


def num_cores() -> int:
    """Returns the CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def side_by_side(
    jobs: Iterable[Callable[[], Result]],
    num_threads: int,
    settle: Callable[[BaseException], bool] = lambda error: False,
) -> Iterator[Result]:
    """Runs jobs in threads and yields what they return, in their order.

    The threads begin at the first result asked for, run ahead of the caller, and take the jobs
    from the iterable one at a time. They see jax's settings of the caller. The first error is
    raised in the caller, and no further job is begun then, nor once the generator is closed; nobody
    waits for a job that nobody will read.

    Args:
      jobs: Functions without arguments.
      num_threads: Jobs at once, >= 1.
      settle: Of which errors to wait until the jobs that were begun have ended.
    """
    numbered, taking = enumerate(jobs), threading.Lock()
    done: SimpleQueue = SimpleQueue()
    over = threading.Event()
    settings = _settings()
    _part_in_peace()

    def work():
        try:
            with settings():
                while not over.is_set():
                    with taking:
                        number, job = next(numbered, (None, None))
                    if job is None:
                        break
                    done.put((number, job(), None))
            done.put((None, None, None))
        except BaseException as error:
            done.put((None, None, error))

    for _ in range(num_threads):
        threading.Thread(target=work, daemon=True, name=LANE).start()
    waiting, running, following = {}, num_threads, 0
    try:
        while running:
            number, result, error = done.get()
            running -= number is None
            if error is not None:
                over.set()
                while running and settle(error):
                    running -= done.get()[0] is None
                raise error
            if number is None:
                continue
            waiting[number] = result
            while following in waiting:
                yield waiting.pop(following)
                following += 1
    finally:
        over.set()
        error = None  # its traceback holds this frame, and what failed jobs hold on devices


def spread(run: Callable[..., Result], num_devices: int, lanes: int) -> Callable[..., Result]:
    """Gives each call, as its last input, the position of a device with a free lane of its own.

    Of `lanes` calls at once each device has as many as any other, or one less.
    """
    free: SimpleQueue = SimpleQueue()
    for lane in range(lanes):
        free.put(lane % num_devices)

    def on_free(*inputs):
        device = free.get()
        try:
            return run(*inputs, device)
        finally:
            free.put(device)

    return on_free


def _settings() -> Callable[[], contextlib.AbstractContextManager]:
    """Takes down jax's settings of this thread, for others to enter."""
    chosen = [
        (jax.enable_x64, jax.config.jax_enable_x64),
        (jax.default_matmul_precision, jax.config.jax_default_matmul_precision),
        (jax.numpy_rank_promotion, jax.config.jax_numpy_rank_promotion),
        (jax.numpy_dtype_promotion, jax.config.jax_numpy_dtype_promotion),
        (jax.debug_nans, jax.config.jax_debug_nans),
        (jax.debug_infs, jax.config.jax_debug_infs),
        (jax.default_prng_impl, jax.config.jax_default_prng_impl),
        (jax.threefry_partitionable, jax.config.jax_threefry_partitionable),
        (jax.default_device, jax.config.jax_default_device),
    ]

    def enter():
        stack = contextlib.ExitStack()
        for setting, value in chosen:
            stack.enter_context(setting(value))
        return stack

    return enter


@functools.cache
def _part_in_peace() -> None:
    """Lets the process end after running jobs: one that came back later would abort it."""

    def wait():
        end = time.monotonic() + PATIENCE
        for thread in threading.enumerate():
            if thread.name == LANE:
                thread.join(max(0.0, end - time.monotonic()))

    atexit.register(wait)
