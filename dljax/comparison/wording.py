"""The words of a report: what its cells, captions and notes say, for the terminal and the page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dljax.comparison.statistics import goal_of

Summary = Mapping[str, Any]

EDGES = {"low": "◂", "high": "▸"}
EVIDENCE = {
    "exploratory": "no claim was declared before the runs, so they suggest which optimizer to "
    "look at next and do not confirm that one is better",
}


class Column(NamedTuple):
    """One column of the table of results."""

    header: str
    cells: list[str]  # one per optimizer
    justify: str  # "left" or "right"


def columns(summary: Summary, most_metrics: int | None = None) -> list[Column]:
    """Returns the columns of the table of results, optimizers in the order of the summary.

    Args:
      summary: `Comparison.summary`.
      most_metrics: Test metrics at the most, the one that decides first; `None` takes all.
    """
    entries = summary["optimizers"]
    table = [
        Column("optimizer", [entry["name"] for entry in entries], "left"),
        Column("tuned\nvalue", [_tuned(entry) for entry in entries], "left"),
    ]
    for metric in metrics(summary)[:most_metrics]:
        stats = [entry["test"][metric] for entry in entries]
        unit = ", %" if metric.endswith("accuracy") else ""
        table.append(Column(f"test\n{metric}{unit}", _means(metric, stats), "right"))
    if summary["problem"]["target"] is not None:
        cells = [_steps(entry["steps_to_target"], summary) for entry in entries]
        table.append(Column("steps to\ntarget", cells, "right"))
    if costs_differ(summary):
        cost = [f"{entry['gradients_per_step']:.3g}" for entry in entries]
        table.append(Column("gradients\na step", cost, "right"))
    diverged = [f"{entry['diverged']}/{entry['num_runs']}" for entry in entries]
    return [*table, Column("diverged", diverged, "right")]


def metrics(summary: Summary) -> list[str]:
    """Returns the test metrics of a summary, the one that decides first."""
    decisive = summary["problem"]["metric"]
    first = (decisive, "loss")
    return sorted(
        summary["optimizers"][0]["test"],
        key=lambda name: (first.index(name) if name in first else len(first), name),
    )


def costs_differ(summary: Summary) -> bool:
    """Says whether a step of one optimizer costs more than a step of another."""
    return len({entry["gradients_per_step"] for entry in summary["optimizers"]}) > 1


def notes(summary: Summary) -> list[str]:
    """Returns what a reader of the table must know, one sentence or two each."""
    problem, settings = summary["problem"], summary["settings"]
    covered = "initial weights and batch order; the split of the data is fixed"
    if problem["num_rows"] is None:
        covered = "what a seed draws: the start and any noise"
    num_runs = len(settings["evaluation_seeds"])
    tuned = (
        f"Tuned on seeds {ranges(settings['tuning_seeds'])} by the median final "
        f"{words('valid_' + problem['metric'])}; evaluated on the fresh seeds "
        if any(entry["argument"] for entry in summary["optimizers"])
        else "Nothing was tuned; evaluated on the seeds "
    )
    if any(entry["argument"] == ["learning_rate"] for entry in summary["optimizers"]):
        tuned = f"Tuned value: of the learning rate, or as named. {tuned}"
    told = [
        f"{tuned}{ranges(settings['evaluation_seeds'])}.",
        f"±: half of the 95 % Student-t interval of a mean over {num_runs} runs. It covers "
        f"{covered}."
        if num_runs > 1
        else "One evaluation run: there is no interval.",
    ]
    if problem["target"] is not None:
        told.append(
            f"Target: {target(problem)}; median first step over all runs (runs that met it)."
        )
    if costs_differ(summary):
        told.append(
            "Gradients a step: a loss counts 1/3, a gradient 1, a product of a vector with a "
            "matrix of curvature 2; time spent on linear algebra is not counted."
        )
    if any(entry["diverged"] for entry in summary["optimizers"]):
        told.append("—: a run diverged, so there is no mean; a mean of the others would flatter.")
    trials = {entry["name"]: len(entry["tuning"]["points"]) for entry in summary["optimizers"]}
    if len(set(trials.values())) > 1:
        counts = ", ".join(f"{name} {number}" for name, number in trials.items())
        told.append(f"Not the same number of trials: {counts}; more trials flatter.")
    if any(entry["edge"] for entry in summary["optimizers"]):
        told.append(
            "◂ or ▸: on the edge of the grid, the smallest or largest value tried; a better may "
            "lie outside; extend the grid."
        )
    return [*told, f"Evidence: {evidence(summary)}."]


def evidence(summary: Summary) -> str:
    """Returns the kind of evidence and, for an exploratory comparison, what that means."""
    meaning = EVIDENCE.get(summary["evidence"])
    return summary["evidence"] + (f": {meaning}" if meaning else "")


def counted(summary: Summary) -> str:
    """Returns the number of optimizers in words: `1 optimizer`, `7 optimizers`."""
    number = len(summary["optimizers"])
    return f"{number} optimizer{'s' if number != 1 else ''}"


def subject(summary: Summary) -> str:
    """Returns one line on the problem and the horizon of every run."""
    problem, settings = summary["problem"], summary["settings"]
    parts = [problem["name"]]
    if problem["num_rows"] is not None:
        sizes = ", ".join(f"{count:,} {part}" for part, count in problem["num_rows"].items())
        parts.append(f"{sizes} rows")
    parts.append(f"{problem['num_parameters']:,} parameters")
    return "; ".join([*parts, f"{settings['num_steps']:,} steps"])


def machine(summary: Summary) -> str:
    """Returns one line on the versions and the device."""
    environment = summary["environment"]
    count, device = environment["num_devices"], environment["device"]
    versions = [f"{name} {environment[name]}" for name in ("dljax", "jax", "jaxlib")]
    where = f"{count} {'device' if count == 1 else 'devices'}: {device}"
    if environment["backend"] == "cpu":
        where += f", {environment['num_lanes']} programs at once"
    if environment["num_processes"] > 1:
        where += f", {environment['num_processes']} processes"
    return f"{', '.join(versions)}, Python {environment['python']}; {where}"


def target(problem: Mapping[str, Any]) -> str:
    """Returns the rule of the target, such as `validation accuracy ≥ 95 %`."""
    metric, value = problem["target"]["metric"], problem["target"]["value"]
    sign = "≥" if goal_of(metric, problem) == "max" else "≤"
    amount = f"{100 * value:.4g} %" if metric.endswith("accuracy") else f"{value:.6g}"
    return f"{words(metric)} {sign} {amount}"


def ranges(seeds: Sequence[int]) -> str:
    """Returns integers as text, with runs of three or more shortened: `0 to 2, 7`."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    texts = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(texts)


def words(name: str) -> str:
    """Returns the name of a column as prose: `valid_loss` is "validation loss"."""
    return name.replace("valid_", "validation_").replace("_", " ")


def _tuned(entry: Mapping[str, Any]) -> str:
    """Returns the tuned values, named unless `learning_rate` is the only one, and their edge."""
    if entry["argument"] == ["learning_rate"]:
        text = f"{entry['value'][0]:.3g}"
    else:
        pairs = zip(entry["argument"], entry["value"], strict=True)
        text = ", ".join(f"{name} {value:.3g}" for name, value in pairs) or "as given"
    mark = EDGES.get(entry["edge"], "")
    return f"{mark} {text}" if entry["edge"] == "low" else f"{text} {mark}".rstrip()


def _means(metric: str, stats: list[Mapping[str, Any]]) -> list[str]:
    """Returns `mean ± half` of every optimizer, with the same decimals throughout."""
    scale = 100 if metric.endswith("accuracy") else 1
    halves = [
        None if one["low"] is None else scale * (one["high"] - one["low"]) / 2 for one in stats
    ]
    smallest = min((half for half in halves if half), default=1e-3)
    decimals = 2 if scale == 100 else min(4, max(2, 1 - math.floor(math.log10(smallest))))
    return [
        "—" if one["mean"] is None else _plus_minus(scale * one["mean"], half, decimals)
        for one, half in zip(stats, halves, strict=True)
    ]


def _plus_minus(mean: float, half: float | None, decimals: int) -> str:
    """Returns one mean and its half width; the power of ten is written out where it must be."""
    power = mean != 0 and not 0.01 <= abs(mean) < 1e5
    if mean == half == 0:
        return "0 ± 0"
    text = f"{mean:.1e}" if power else f"{mean:.{decimals}f}"
    if half is None:
        return text
    return f"{text} ± {half:.0e}" if power else f"{text} ± {half:.{decimals}f}"


def _steps(stats: Mapping[str, Any], summary: Summary) -> str:
    """Returns the median first step, or that it lies beyond the last, and the runs that hit."""
    median, last = stats["median"], summary["settings"]["num_steps"]
    text = f"> {last}" if median is None else f"{median:.10g}"
    return f"{text} ({stats['hits']}/{stats['num_runs']})"
