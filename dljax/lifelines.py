"""Lines between the processes of a study: what they agree on, and that one has ended.

A line is a TCP connection of a process to process 0. Over jax's collectives alone a process would
wait for another half an hour at most, and a killed one would be noticed after minutes.
"""

import atexit
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, wait
from queue import SimpleQueue
from typing import NamedTuple

import jax
import numpy as np

from dljax.addresses import first_line

FAILED, INTERRUPTED = 1, 130
FINE, FULL = 0, 1  # words of a meeting
WORD, LEFT, ENDED, BLOCK = b"w", b"l", b"e", b"b"  # kinds of messages
GRACE = 1.0  # seconds that the others get to end before process 0, without which jax aborts them


class OutOfMemory(RuntimeError):
    """A process of the study ran out of memory, and all of them know."""


def meet(word: int) -> list[int]:
    """Waits, however long, until all processes have come here; returns what each of them says."""
    if jax.process_count() == 1:
        return [word]
    open_all()
    if jax.process_index() > 0:
        _send(0, WORD + json.dumps(word).encode())
        return json.loads(_heard(0))
    words = [word, *(json.loads(_heard(i)) for i in sorted(_lines))]
    for i in _lines:
        _send(i, WORD + json.dumps(words).encode())
    return words


def from_first(content: bytes) -> bytes:
    """Returns, in all processes, the bytes of process 0; all must call it, in one order."""
    if jax.process_count() == 1:
        return content
    open_all()
    if jax.process_index() > 0:
        return _heard(0)
    for i in _lines:
        _send(i, WORD + content)
    return content


def send_to_first(content: bytes) -> None:
    """Sends a block of results to process 0, which takes it as it comes; see `on_block`."""
    _send(0, BLOCK + content)


def on_block(take: Callable[[bytes], None]) -> None:
    """Says what process 0 does with the blocks that others send, in the thread that listens."""
    _takers[:] = [take]


def give_up(code: int, reason: str) -> None:
    """Ends this process and, with the reason, all others; does nothing where there are none."""
    if _lines:
        sys.stdout.flush()
        _end(code, f"process {jax.process_index()} of this study has ended: {reason}", told=True)


class _Line(NamedTuple):
    """A connection to another process, and the words that came over it."""

    wire: Connection
    words: SimpleQueue


_lines: dict[int, _Line] = {}  # of this process, by the other's number; jax's own are as global
_takers: list[Callable[[bytes], None]] = []  # of blocks, at most one
_ending = threading.Lock()


def open_all() -> None:
    """Connects all processes to process 0, once; they must come here together."""
    if jax.process_count() == 1 or _lines:
        return
    from jax._src import distributed  # jax tells the address nowhere else

    host = host_of(distributed.global_state.coordinator_address)
    token = secrets.token_bytes(16)
    if jax.process_index() == 0:
        inside = host if is_loopback(host) else ""
        with Listener((inside, 0), backlog=jax.process_count(), authkey=token) as door:
            _told(token + door.address[1].to_bytes(2, "big"))
            while len(_lines) < jax.process_count() - 1:
                with suppress(AuthenticationError, EOFError, OSError):  # a stranger
                    wire = door.accept()
                    _lines[int(wire.recv_bytes())] = _Line(wire, SimpleQueue())
    else:
        told = _told(bytes(18))
        wire = Client((host, int.from_bytes(told[16:], "big")), authkey=told[:16])
        wire.send_bytes(b"%d" % jax.process_index())
        _lines[0] = _Line(wire, SimpleQueue())
    threading.Thread(target=_listen, daemon=True, name="dljax lines").start()
    atexit.register(lambda: [_send(i, LEFT) for i in _lines])
    sys.excepthook = partial(_give_up_too, sys.excepthook)


def _listen() -> None:
    """Takes what comes over the lines; a line that breaks is a process that was killed."""
    numbers = {line.wire: i for i, line in _lines.items()}
    while numbers:
        for wire in wait(list(numbers)):
            i = numbers[wire]
            try:
                message = wire.recv_bytes()
            except (EOFError, OSError):
                _end(FAILED, f"process {i} of this study has ended")
            kind, rest = message[:1], message[1:]
            if kind == ENDED:
                _end(rest[0], rest[1:].decode())
            if kind == BLOCK:
                _takers[0](rest)
                continue
            if kind == LEFT:
                del numbers[wire]
            _lines[i].words.put(rest if kind == WORD else None)


def _end(code: int, line: str, told: bool = False) -> None:
    _ending.acquire()  # for good: the first reason is told, whoever comes second waits for the end
    if not told:
        print(f"dljax: {line}; the same command starts it again.", file=sys.stderr, flush=True)
    for i in _lines:
        _send(i, ENDED + bytes([code]) + line.encode())
    if jax.process_index() == 0:
        time.sleep(GRACE)
    os._exit(code)  # jax would wait at its exit for those that are no more


def _give_up_too(before: Callable, kind: type, error: BaseException, trace) -> None:
    before(kind, error, trace)
    interrupted = issubclass(kind, KeyboardInterrupt)
    give_up(INTERRUPTED if interrupted else FAILED, first_line(error).rstrip(": "))


def _send(i: int, message: bytes) -> None:
    with suppress(OSError):  # the thread that listens knows more
        _lines[i].wire.send_bytes(message)


def _heard(i: int) -> bytes:
    word = _lines[i].words.get()
    if word is None:
        raise RuntimeError(f"process {i} has left before this study was over.")
    return word


def _told(own: bytes) -> bytes:
    """Returns the bytes of process 0."""
    with _quiet():
        return allgather(np.frombuffer(own, np.uint8))[0].tobytes()


def allgather(x: np.ndarray) -> np.ndarray:
    from jax.experimental import multihost_utils

    try:
        return multihost_utils.process_allgather(x)
    except Exception as error:
        time.sleep(2 * GRACE)  # the thread that listens knows who it was, and ends this process
        raise RuntimeError(f"the processes of this study lost each other: {error}") from error


@contextmanager
def _quiet():
    """Drops what C++ writes to standard output: gloo greets there, before results do."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def host_of(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.")
