"""A comparison that was made again, laid beside the first: which numbers and claims agree."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dljax.comparison.design import EVALUATION
from dljax.comparison.pair_tests import margin_of
from dljax.comparison.statistics import Comparison, final_metric, jsonable
from dljax.comparison.statistics.paired import equivalence

ALPHA = 0.05
OPPOSITE = {("better", "worse"), ("worse", "better")}


def agreement(first: Comparison, again: Comparison, tolerance: float) -> dict[str, Any]:
    """Says how far two makings of one declared comparison agree.

    An optimizer agrees if the same point was chosen and the final metric of every evaluation run
    is within the tolerance. Runs that another machine computed part ways where training is chaotic;
    then it agrees, as a distribution, if the mean difference at equal seeds is less than one
    standard deviation over seeds (two one-sided t tests at 0.05). Claims agree unless
    one says better where the other says worse.

    Args:
      first: The comparison as it was stored.
      again: The same made again, with the same optimizers and seeds.
      tolerance: Of a final metric, relative, >= 0.

    Returns:
      Ready for JSON: "agrees", a bool; "optimizers", for each "name", "how" ("same bits", "within
      the tolerance", "as a distribution" or "differs"), "same_bits" of "num_runs" evaluation runs,
      the "largest" relative difference, and "chosen_alike"; and "claims", the pairs (a, b) whose
      verdicts changed, with both.
    """
    metric = f"test_{first.summary['problem']['metric']}"
    optimizers = [
        _compared(entry, other, _rows(first, entry["name"]), _rows(again, entry["name"]), metric)
        for entry, other in zip(first.summary["optimizers"], again.summary["optimizers"])
    ]
    for told in optimizers:
        told["how"] = _how(told, tolerance)
    pairs = zip(first.summary["claims"], again.summary["claims"], strict=True)
    changed = [
        {"a": one["a"], "b": one["b"], "first": one["verdict"], "again": two["verdict"]}
        for one, two in pairs
        if one["verdict"] != two["verdict"]
    ]
    contradict = any((one["first"], one["again"]) in OPPOSITE for one in changed)
    agrees = not contradict and all(told["how"] != "differs" for told in optimizers)
    return jsonable({"agrees": agrees, "optimizers": optimizers, "claims": changed})


def _rows(comparison: Comparison, name: str) -> pd.DataFrame:
    results = comparison.results
    return results[(results["optimizer"] == name) & (results["stage"] == EVALUATION)]


def _compared(entry: Mapping, other: Mapping, one, two, metric: str) -> dict[str, Any]:
    alike = entry["value"] == other["value"]
    told = {"name": entry["name"], "chosen_alike": alike, "num_runs": entry["num_runs"]}
    if not alike:
        return {**told, "same_bits": 0, "largest": np.inf, "p_apart": 1.0}
    measured = [c for c in one if c.startswith(("train_", "valid_", "test_"))]
    bits = [
        {seed: rows.sort_values("step")[measured].to_numpy().tobytes() for seed, rows in groups}
        for groups in (one.groupby("seed"), two.groupby("seed"))
    ]
    x, y = (final_metric(rows, metric).to_numpy().ravel() for rows in (one, two))
    return {
        **told,
        "same_bits": sum(bits[1].get(seed) == run for seed, run in bits[0].items()),
        "largest": _apart(x, y),
        "p_apart": _p_apart(x, y),
    }


def _how(told: Mapping[str, Any], tolerance: float) -> str:
    if told["same_bits"] == told["num_runs"]:
        return "same bits"
    if told["largest"] <= tolerance:
        return "within the tolerance"
    return "as a distribution" if told["p_apart"] <= ALPHA else "differs"


def _apart(x: np.ndarray, y: np.ndarray) -> float:
    """Returns the largest relative difference; infinite where one of two runs diverged."""
    if x.size != y.size or np.any(np.isnan(x) != np.isnan(y)):
        return np.inf
    x, y = x[~np.isnan(x)], y[~np.isnan(y)]
    scale = np.maximum(np.abs(x), np.abs(y))
    return float(np.max(np.abs(x - y) / np.where(scale > 0, scale, 1.0), initial=0.0))


def _p_apart(x: np.ndarray, y: np.ndarray) -> float:
    """Returns the p of "the means are a standard deviation apart or more"."""
    if x.size != y.size or x.size < 2 or np.isnan(x).any() or np.isnan(y).any():
        return 1.0
    margin, error = margin_of(x, y)
    return equivalence(x - y, margin, error) if margin else float(np.any(x != y))
