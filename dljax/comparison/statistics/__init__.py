"""The numbers of a comparison: pure functions with their sources, one subject a module.

`runs` and `summaries` make the summary of an optimizer; `intervals`, `paired` and `unpaired`
compare two; `families` and `aggregates` compare many over several problems; `budget`, `survival`
and `sensitivity` say what tuning, time and the learning rate cost; `sequential` adds seeds until
enough is known. The latter are imported from their modules.

No function drops a run: a diverged run is counted as the worst possible where an order is enough
(medians, choices, ranks), and makes the result undefined, or is refused, where it is not (means).
"""

from dljax.comparison.statistics.runs import (
    censored_median,
    edge,
    mean_interval,
    select,
    steps_to_target,
)
from dljax.comparison.statistics.summaries import (
    Comparison,
    final_metric,
    goal_of,
    grid,
    jsonable,
    summarize_optimizer,
)

__all__ = [
    "Comparison",
    "censored_median",
    "edge",
    "final_metric",
    "goal_of",
    "grid",
    "jsonable",
    "mean_interval",
    "select",
    "steps_to_target",
    "summarize_optimizer",
]
