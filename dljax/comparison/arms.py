"""The runs of a comparison made: every stage of every optimizer is one study."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from time import perf_counter

import jax

from dljax.comparison.design import Arm, arms_of
from dljax.comparison.members import axes_of, member_of, section_of, shared_of, tidy
from dljax.comparison.plan import Plan
from dljax.folders import Part
from dljax.lanes import side_by_side
from dljax.progress import progress_line
from dljax.store.runs import Run
from dljax.studies import study


def run_arms(
    plan: Plan, folder: Run | None, progress: bool
) -> tuple[list[Arm], dict[str, int], dict[str, float]]:
    """Runs all optimizers, each in a thread: while one runs, the next compiles.

    Args:
      plan: What was decided.
      folder: Where runs are kept as they finish, if anywhere.
      progress: Whether to show a progress line.

    Returns:
      What each gave, the members of a tile of each, and the seconds that it took to compile and to
      run.
    """
    members = {name: member_of(plan, name) for name in plan.factories}
    widths: dict[str, int] = {}
    watch = _Watch(plan)
    line = progress_line(watch.total, "member-steps") if progress else nullcontext(lambda *_: None)
    with line as watch.show:

        def results_of(name, points, indices, seeds, stage):
            new = [points[i] for i in indices]
            result = study(
                members[name],
                *shared_of(plan),
                axes=axes_of(new, seeds),
                width=widths.get(name, plan.width),
                mesh=plan.mesh,
                out=Part(folder, section_of(name, stage)) if plan.keeps else None,
                progress=lambda stage, part, _: watch.note(name, stage, part),
            )
            (program,) = result.plan.programs.values()
            widths[name] = program.width
            watch.ended(name, len(new) * len(seeds))
            return tidy(name, points, indices, stage, result)

        # several processes meet at every study, so they must come to them in one order
        at_once = 1 if jax.process_count() > 1 else 2
        each = lambda f, things: side_by_side((partial(f, x) for x in things), at_once)  # noqa: E731
        return arms_of(plan.design, results_of, each), widths, watch.seconds


class _Watch:
    """Adds up the seconds of each stage, and tells the progress line of it."""

    def __init__(self, plan: Plan):
        design = plan.design
        trials = [design.search.trials] * len(design.points)
        if design.search.method != "zoom":
            trials = [len(points) for points in design.points.values()]
        runs = sum(trials) * len(design.tuning_seeds)
        self.num_steps = plan.problem.num_steps
        # at most: seeds need not all be added; at least: grids may be widened
        self.total = (runs + len(design.points) * len(design.evaluation_seeds)) * self.num_steps
        self.seconds = {"compile": 0.0, "run": 0.0}
        self._since: dict[str, tuple[str, float]] = {}
        self._ran: dict[str, int] = {}
        self.show: Callable = lambda *_: None

    def note(self, name: str, stage: str | None, members: float) -> None:
        now = perf_counter()
        if name in self._since:
            before, since = self._since.pop(name)
            self.seconds[before] += now - since
        if stage is not None:
            self._since[name] = stage, now
            self.show(name, stage, (self._ran.get(name, 0) + members) * self.num_steps)

    def ended(self, name: str, members: int) -> None:
        self.note(name, None, 0)
        self._ran[name] = self._ran.get(name, 0) + members
        self.show(name, "done", self._ran[name] * self.num_steps)
