"""A comparison's run folder: what is declared of it, and the comparison read back from it."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dljax.axes import checked_axes, product
from dljax.comparison.claims import Question
from dljax.comparison.design import EVALUATION, Arm, Design, arms_of
from dljax.comparison.members import axes_of, section_of, tidy
from dljax.comparison.plan import Plan
from dljax.comparison.search import Points, Range, Search
from dljax.comparison.statistics import Comparison
from dljax.comparison.summary import comparison_of, declared_by, told_of
from dljax.folders import stored_results
from dljax.named import Study
from dljax.store import declarations
from dljax.store.files import canonical, parsed
from dljax.store.reading import Stored
from dljax.store.runs import Run

GROWS = ("dialects",)  # of the settings: with the axis of the optimizers


def opened(out: str | os.PathLike, plan: Plan, source: Mapping[str, Any]) -> Run:
    """Opens the run folder of a comparison, and declares in it what was decided.

    Raises:
      ValueError: If the folder cannot be written, or holds another run.
      DataError: If it is damaged.
    """
    design = plan.design
    axes = {"optimizer": {"labels": list(design.points)}}
    for name, dialect in told_of(plan)["settings"]["dialects"].items():
        axes[f"{name} dialect"] = {"labels": [dialect or "own"]}
    for name, points in design.points.items():
        axes[f"{name} point"] = {"labels": [_spelt(_plain(point)) for point in points]}
    for name, ranges in design.ranges.items():
        axes[f"{name} range"] = {"labels": [_spelt([x, *found]) for x, found in ranges.items()]}
    axes["evaluation seed"] = declarations.axis(design.evaluation_seeds)
    return Run(out, "compare", declared_of(plan), axes, {"told": told_of(plan), "source": source})


def declared_of(plan: Plan) -> dict[str, Any]:
    """Returns what determines the runs of a comparison and what is asked, ready for JSON."""
    told = told_of(plan)
    return {  # the fields that a user knows come first, as they do in a message
        **{name: told[name] for name in ("protocol", "problem", "question")},
        "settings": {k: v for k, v in told["settings"].items() if k not in GROWS},
        "width": plan.width,
        "numerics": declarations.numerics(),
        "fingerprint": told["fingerprint"],
    }


def read_comparison(stored: Stored) -> Comparison:
    """Reads a comparison back from its run folder.

    Raises:
      ValueError: If it is not finished.
      DataError: If it is damaged.
    """
    declaration = stored.declaration
    design = design_of(declaration)
    programs = declaration["programs"]
    arms = stored_arms(stored, design)
    widths = {name: programs[section_of(name, EVALUATION)]["width"] for name in design.points}
    declared = declared_by(declaration, stored.sessions)
    return comparison_of(declaration["about"]["told"], design, arms, widths, declared, seconds={})


def stored_arms(stored: Stored, design: Design) -> list[Arm]:
    """Returns what each optimizer gave; raises as `read_comparison`."""
    numerics = stored.declaration["declared"]["numerics"]

    def results_of(name, points, indices, seeds, stage):
        with jax.enable_x64(numerics["enable_x64"]):
            axes = checked_axes(axes_of([points[i] for i in indices], seeds))
        results = stored_results(stored, section_of(name, stage), product(axes))
        lengths = [len(indices)] * ("point" in axes) + [len(seeds)]
        named = {k: x.reshape(*lengths, *x.shape[1:]) for k, x in results.items()}
        return tidy(name, points, indices, stage, Study(axes, named))

    return arms_of(design, results_of)


def design_of(declaration: Mapping[str, Any]) -> Design:
    """Returns the design that a folder declares."""
    declared, axes = declaration["declared"], declaration["axes"]
    settings, problem = declared["settings"], declared["problem"]
    names = axes["optimizer"]["labels"]
    seeds = declarations.axis_values(axes["evaluation seed"])
    return Design(
        search=Search(**settings["search"]),
        points={name: _labels(axes, f"{name} point") for name in names},
        ranges={
            name: {argument: Range(*found) for argument, *found in _labels(axes, f"{name} range")}
            for name in names
            if f"{name} range" in axes
        },
        tuning_seeds=np.array(settings["tuning_seeds"]),
        evaluation_seeds=seeds,
        batch=settings["adaptive"]["batch"] if settings["adaptive"] else len(seeds),
        question=Question(**declared["question"]),
        seed=settings["seed"],
        metric=problem["metric"],
        goal=problem["goal"],
        optimum=problem["optimum"],
    )


def _labels(axes: Mapping[str, Any], name: str) -> Points | list:
    return [parsed(text.encode()) for text in axes[name]["labels"]]


def _spelt(value: Any) -> str:
    return canonical(value).decode()


def _plain(point: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in point.items()}
