"""The line that long work shows: what compiles, what runs, how fast, how long still."""

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress_line(total: int, unit: str) -> Iterator[Callable[[str, str, int], None]]:
    """Shows progress on standard error: one moving line on a terminal, else a line a change.

    Args:
      total: All the work, in units.
      unit: What is counted, in the plural, such as "member-steps".

    Yields:
      `report(name, stage, done)`: part `name` of the work is at `stage` ("compile", "run" or
      "done") and has done that many units. Threads may call it.
    """
    console = Console(stderr=True)
    speed = TextColumn("{task.fields[speed_so_far]}")
    columns = (TextColumn("{task.description}"), BarColumn(24), speed, TimeRemainingColumn())
    parts: dict[str, tuple[str, int]] = {}
    began: list[tuple[float, int]] = []  # when the first part began to run, and what was done
    lock = threading.Lock()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=total, speed_so_far="")

        def report(name: str, stage: str, done: int) -> None:
            with lock:
                is_news = parts.get(name, ("", 0))[0] != stage
                parts[name] = (stage, done)
                num_done = sum(n for _, n in parts.values())
                now = " · ".join(
                    f"{doing} {', '.join(names)}"
                    for doing, wanted in (("compiling", "compile"), ("running", "run"))
                    if (names := [n for n, (stage, _) in parts.items() if stage == wanted])
                )
                if stage == "run" and not began:
                    began.append((time.perf_counter(), num_done))
                then, before = began[0] if began else (-math.inf, 0)
                per_second = (num_done - before) / max(time.perf_counter() - then, 1e-9)
                speed = f"{per_second:,.{0 if per_second >= 10 else 1}f} {unit}/s"
                bar.update(task, completed=num_done, description=now, speed_so_far=speed)
                if is_news and not console.is_terminal:
                    percent = min(100, 100 * num_done / total)  # rounds may come on the way
                    print(
                        f"{percent:3.0f} %  {now or 'done'}  {speed}", file=sys.stderr, flush=True
                    )

        yield report
