"""A comparison's run folder: what is declared of it, and the comparison read back from it."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pandas as pd

from dljax.axes import checked_axes, product
from dljax.comparison.arms import EVALUATION, TUNING, axes_of, chosen, section_of, tidy
from dljax.comparison.plan import Plan, described
from dljax.comparison.statistics import Comparison, summarize_optimizer
from dljax.folders import stored_results
from dljax.named import Study
from dljax.store import declarations
from dljax.store.files import canonical, parsed
from dljax.store.fingerprints import of_arrays
from dljax.store.reading import Stored
from dljax.store.runs import Run

GROWS = ("evaluation_seeds", "width")  # of the settings: declared apart


def opened(out: str | os.PathLike, plan: Plan, source: Mapping[str, Any]) -> Run:
    """Opens the run folder of a comparison, and declares in it what was decided.

    Raises:
      ValueError: If the folder cannot be written, or holds another run.
      DataError: If it is damaged.
    """
    axes = {"optimizer": {"labels": list(plan.points)}}
    for name, points in plan.points.items():
        axes[f"{name} point"] = {"labels": [canonical(_plain(point)).decode() for point in points]}
    axes["evaluation seed"] = declarations.axis(plan.evaluation_seeds)
    about = {"told": described(plan, {}), "source": source}
    return Run(out, "compare", declared_of(plan), axes, about)


def declared_of(plan: Plan) -> dict[str, Any]:
    """Returns what determines the runs of a comparison, ready for JSON."""
    told, problem = described(plan, {}), plan.problem
    return {
        "problem": told["problem"],
        "data": None if callable(problem.data) else of_arrays(problem.data),
        "split": None if problem.split is None else of_arrays(problem.split),
        "settings": {k: v for k, v in told["settings"].items() if k not in GROWS},
        "width": plan.width,
        "numerics": declarations.numerics(),
    }


def comparison_of(stored: Stored) -> Comparison:
    """Reads a comparison back from its run folder.

    Raises:
      ValueError: If it is not finished.
      DataError: If it is damaged.
    """
    declaration, told = stored.declaration, stored.declaration["about"]["told"]
    widths, entries, frames = {}, [], []
    for name in declaration["axes"]["optimizer"]["labels"]:
        points = points_of(declaration, name)
        tuning_seeds = np.array(told["settings"]["tuning_seeds"])
        tuning = _frame(stored, name, TUNING, points, range(len(points)), tuning_seeds)
        point = chosen(tuning, told["problem"]["metric"], told["problem"]["goal"])
        seeds = declarations.axis_values(declaration["axes"]["evaluation seed"])
        evaluation = _frame(stored, name, EVALUATION, points, [point], seeds)
        frames.append(pd.concat([tuning, evaluation], ignore_index=True))
        entries.append(summarize_optimizer(frames[-1], point, told["problem"]))
        widths[name] = declaration["programs"][section_of(name, EVALUATION)]["width"]
    settings = {**told["settings"], "width": widths}
    summary = {**told, "settings": settings, "seconds": {}, "optimizers": entries}
    return Comparison(summary, pd.concat(frames, ignore_index=True))


def points_of(declaration: Mapping[str, Any], name: str) -> list[dict[str, float]]:
    """Returns the grid of an optimizer, as it was declared."""
    return [parsed(text.encode()) for text in declaration["axes"][f"{name} point"]["labels"]]


def _frame(stored, name, stage, points, indices, seeds) -> pd.DataFrame:
    with jax.enable_x64(stored.declaration["declared"]["numerics"]["enable_x64"]):
        axes = checked_axes(axes_of([points[i] for i in indices], seeds))
    results = stored_results(stored, section_of(name, stage), product(axes))
    lengths = [len(indices)] * ("point" in axes) + [len(seeds)]
    named = {k: x.reshape(*lengths, *x.shape[1:]) for k, x in results.items()}
    return tidy(name, points, indices, stage, Study(axes, named))


def _plain(point: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in point.items()}
