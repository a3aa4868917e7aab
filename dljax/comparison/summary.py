"""What is said of a comparison: the problem, the settings, the machine, the arms, the claims."""

import platform
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jaxlib
import numpy as np
import pandas as pd

from dljax import trees
from dljax.comparison.claims import family
from dljax.comparison.design import Arm, Design, claims_of, num_batches
from dljax.comparison.fingerprint import check_same_start, short
from dljax.comparison.plan import Plan
from dljax.comparison.space import dialect_of
from dljax.comparison.statistics import Comparison, summarize_optimizer
from dljax.problems import Problem
from dljax.store.runs import Run
from dljax.widths import num_lanes

SCHEMA, PROTOCOL = 2, "dljax-1"


def told_of(plan: Plan) -> dict[str, Any]:
    """Returns what is known of a comparison before its first run, ready for JSON."""
    import dljax  # its version; the package imports this module

    problem, design = plan.problem, plan.design
    rows = problem.split and {
        part: int(rows.count) for part, rows in problem.split._asdict().items() if rows is not None
    }
    target = problem.target and {**problem.target._asdict(), "goal": _target_goal(problem)}
    return {
        "schema": SCHEMA,
        "protocol": PROTOCOL,
        "problem": {
            "name": problem.name,
            "metric": problem.metric,
            "goal": problem.goal,
            "optimum": design.optimum,
            "target": target,
            "num_rows": rows,
            "num_parameters": _count_parameters(problem),
        },
        "fingerprint": plan.fingerprint,
        "question": design.question._asdict(),
        "settings": {
            "num_steps": problem.num_steps,
            "batch_size": problem.batch_size,
            "eval_every": problem.eval_every,
            "tuning_seeds": design.tuning_seeds.tolist(),
            "seed": design.seed,
            "order": problem.order,
            "remainder": problem.remainder,
            "search": design.search._asdict(),
            "adaptive": _adaptive(design),
            "curvature": problem.curvature and problem.curvature._asdict(),
            "dialects": {name: dialect_of(name, f) for name, f in plan.factories.items()},
        },
        "environment": {
            "dljax": dljax.__version__,
            "jax": jax.__version__,
            "jaxlib": jaxlib.__version__,
            "python": platform.python_version(),
            "backend": plan.mesh.devices.flat[0].platform,
            "device": plan.mesh.devices.flat[0].device_kind,
            "num_devices": plan.mesh.size,
            "num_lanes": num_lanes(plan.mesh),
            "num_processes": jax.process_count(),
        },
    }


def comparison_of(
    told: Mapping[str, Any],
    design: Design,
    arms: Iterable[Arm],
    widths: Mapping[str, int],
    declared: Mapping[str, Any] | None,
    seconds: Mapping[str, float],
) -> Comparison:
    """Puts together what came of a comparison.

    Args:
      told: What `told_of` said before the first run.
      design: What was decided.
      arms: What each optimizer gave.
      widths: Members of a tile on one device, of each optimizer's program.
      declared: What `declaration_of` says; `None` where nothing was written before the runs.
      seconds: What compiling and running took.

    Raises:
      ValueError: If the arms did not begin alike.
    """
    arms = list(arms)
    results = pd.concat([arm.results for arm in arms], ignore_index=True)
    check_same_start(results)
    search, dialects = told["settings"]["search"], told["settings"]["dialects"]
    entries = [
        {
            **summarize_optimizer(arm.results, arm.chosen, told["problem"]),
            "dialect": dialects[arm.name],
        }
        for arm in arms
    ]
    looks = num_batches(design, arms[0])
    seeds = design.evaluation_seeds[: looks * design.batch].tolist()
    trials = {arm.name: len(arm.points) for arm in arms}
    widened = {arm.name: arm.widened for arm in arms}
    settings = {name: x for name, x in told["settings"].items() if name != "dialects"}
    search = {"method": search["method"], "trials": trials, "widened": widened}
    settings |= {"evaluation_seeds": seeds, "width": dict(widths), "search": search}
    because = _because(entries, widened, declared)
    summary = {
        **told,
        "evidence": "exploratory" if because else "confirmatory",
        "because": because,
        "declaration": {name: declared[name] for name in ("id", "time")} if declared else None,
        "settings": settings,
        "seconds": dict(seconds),
        "optimizers": entries,
        "family": family([arm.name for arm in arms], design.question),
        "claims": claims_of(design, arms, looks),
    }
    return Comparison(summary, results)


def declaration_of(run: Run) -> dict[str, Any]:
    """Returns the digest of what a run folder declared before its first run, and when it did."""
    return declared_by(run.declaration, run.sessions)


def declared_by(declaration: Mapping[str, Any], sessions: list[Mapping[str, Any]]) -> dict:
    """Returns the same of a folder that was read."""
    what = {name: declaration[name] for name in ("declared", "axes")}
    return {"id": short(what), "time": sessions[0]["time"], "added": declaration["added"]}


def _because(entries, widened, declared) -> list[str]:
    """Returns why the evidence is exploratory, a sentence each."""
    if declared is None:
        return ["nothing was written down before the runs: give a run folder"]
    found = []
    for added in declared["added"]:
        what = ", ".join(added["axes"])
        found.append(f"values of {what} were added at {added['time']}, when results were there")
    tried = {
        entry["name"]: len(entry["tuning"]["points"])
        for entry in entries
        if not widened[entry["name"]]
    }
    if len(set(tried.values())) > 1:
        found.append("the optimizers did not have the same number of trials")
    if pairs := [entry["name"] for entry in entries if _tried_two(entry)]:
        found.append(f"of the values of {', '.join(pairs)} there were two, which are both edges")
    if edges := [entry["name"] for entry in entries if entry["edge"]]:
        found.append(f"the best value of {', '.join(edges)} lies on the edge of what was tried")
    return found


def _tried_two(entry: Mapping[str, Any]) -> bool:
    """Says whether the first argument, as a rule the learning rate, was tried at two values."""
    return len({point[0] for point in entry["tuning"]["points"] if point}) == 2


def _adaptive(design: Design) -> dict[str, int] | None:
    most = len(design.evaluation_seeds)
    return {"batch": design.batch, "most": most} if design.adapts else None


def _target_goal(problem: Problem) -> str:
    upward = problem.target.metric.endswith("accuracy")
    return problem.target.goal or ("max" if upward else "min")


def _count_parameters(problem: Problem) -> int:
    data = problem.data
    example = (
        jax.eval_shape(data, jax.random.key(0))
        if callable(data)
        else jax.eval_shape(lambda d: trees.take_rows(d, np.zeros(1, np.int32)), data)
    )
    variables = jax.eval_shape(problem.task.init, jax.random.key(0), example)
    return trees.count_parameters(variables["params"])
