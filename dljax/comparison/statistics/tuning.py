"""What tuning showed of one optimizer besides its best point: how much the rate matters."""

from typing import Any

import numpy as np
import pandas as pd

from dljax.comparison.statistics.sensitivity import basin, rate_sensitivity, stability_edge

NEAR_BEST = 0.01  # of the best value, the margin of the basin where seeds do not differ


def tuning_summary(
    values: list[list[float]], costs: np.ndarray, initial: float, sd: float
) -> dict[str, Any] | None:
    """Summarizes the final metric over the values of a single tuned argument.

    Args:
      values: Of each point that was tried, its arguments.
      costs: float[points, seeds], the final metric, lower is better, +inf where a run diverged.
      initial: Of the metric, as a cost, before the first step.
      sd: Standard deviation over seeds of the evaluation runs, the margin of the basin; where it
        is 0 or undefined, a hundredth of the best value.

    Returns:
      "rate_sensitivity" and "basin" of the median over seeds, and "stable" and "diverges_from", the
      rates between which some run begins to diverge; `None` unless one positive argument was tried
      at two values or more and did not diverge at all of them.
    """
    if not values or {len(point) for point in values} != {1}:
        return None
    rates, order = np.unique([point[0] for point in values], return_index=True)
    median = np.median(costs, axis=1)[order]
    if rates.size < 2 or rates[0] <= 0 or not np.isfinite(median).any() or np.isnan(initial):
        return None
    margin = sd if sd > 0 else NEAR_BEST * abs(np.min(median)) or NEAR_BEST
    found = basin(rates, median, margin)
    edge = stability_edge(rates, costs.max(axis=1)[order])
    return {
        "rate_sensitivity": rate_sensitivity(rates, median, initial),
        "basin": found._asdict(),
        "stable": edge.stable,
        "diverges_from": edge.diverged,
    }


def curvature_summary(runs: pd.DataFrame, rate: float | None) -> dict[str, Any] | None:
    """Summarizes the curvature along the evaluation runs, where it was measured.

    Args:
      runs: Tidy results of the evaluation runs.
      rate: The learning rate in use; `None` if it is not what was tuned.

    Returns:
      Medians over the runs before the first and after the last step: "top", the largest eigenvalue,
      "trace", "edge" = 2 / top, and "rate_over_edge", above 1 where gradient descent with this rate
      leaves a quadratic minimum. Each a list of two.
    """
    if "curvature_top" not in runs:
        return None
    ends = [runs[runs["step"] == step] for step in (runs["step"].min(), runs["step"].max())]
    medians = lambda name: [float(np.median(rows[name])) for rows in ends]  # noqa: E731
    edge = medians("stability_edge")
    return {
        "top": medians("curvature_top"),
        "trace": medians("curvature_trace"),
        "edge": edge,
        "rate_over_edge": None if rate is None else [rate / one for one in edge],
    }
