"""The line that long work shows: what compiles, what runs, how fast, how long still."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text


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
    columns = (TextColumn("{task.description}"), BarColumn(24), _Speed(unit), TimeRemainingColumn())
    parts: dict[str, tuple[str, int]] = {}
    lock = threading.Lock()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=total)

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
                bar.update(task, completed=num_done, description=now)
                if is_news and not console.is_terminal:
                    speed = bar.tasks[0].finished_speed or bar.tasks[0].speed or 0
                    percent = min(100, 100 * num_done / total)  # rounds may come on the way
                    print(
                        f"{percent:3.0f} %  {now or 'done'}  {speed:,.0f} {unit}/s",
                        file=sys.stderr,
                        flush=True,
                    )

        yield report


class _Speed(ProgressColumn):
    def __init__(self, unit: str):
        super().__init__()
        self.unit = unit

    def render(self, task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f} {self.unit}/s")
