"""The words of a report: what its cells, captions and notes say, for the terminal and the page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dljax.comparison.statistics import goal_of

Summary = Mapping[str, Any]

MINUS = "\N{MINUS SIGN}"
EDGES = {"low": "◂", "high": "▸"}
SUGGEST = "suggest which optimizer to look at next and do not confirm that one is better"


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
        unit = ", %" if percent(metric) else ""
        table.append(Column(f"test\n{metric}{unit}", _means(metric, stats), "right"))
    if summary["problem"]["target"] is not None:
        cells = [_steps(entry["steps_to_target"], summary) for entry in entries]
        table.append(Column(f"{units(summary)} to\ntarget", cells, "right"))
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


def evidence(summary: Summary) -> str:
    """Returns the kind of evidence, and why it is of that kind."""
    kind, because = summary["evidence"], summary.get("because") or []
    if kind == "confirmatory":
        told = summary.get("declaration") or {}
        named = ", ".join(filter(None, (told.get("id"), told.get("time"))))
        when = f" ({named})" if named else ""
        return f"{kind}: question, seeds and settings were declared{when} before the first run"
    if kind != "exploratory":
        return kind
    reasons = "; ".join(reason.strip().rstrip(".") for reason in because)
    return f"{kind}: {reasons or 'no claim was declared before the runs'}; the results {SUGGEST}"


def title(summary: Summary) -> str:
    """Returns the heading of a report."""
    return f"{counted(summary)} on {summary['problem']['name']}"


def tables(summary: Summary) -> dict[str, dict[str, Any]]:
    """Returns what was set, what was run and where, by heading; what is not known is left out."""
    decided = {"decided by": words(f"valid_{summary['problem']['metric']}")}
    question = {f"question, {n}": v for n, v in (summary.get("question") or {}).items()}
    identity = {"protocol": summary.get("protocol")}
    for part in ("declaration", "fingerprint"):
        identity |= {f"{part} {n}": v for n, v in (summary.get(part) or {}).items()}
    seconds = {f"seconds, {n}": v for n, v in summary["seconds"].items()}
    found = {
        "Settings": decided | summary["settings"] | question,
        "Identity": identity,
        "Environment": {**(summary["environment"] or {}), **seconds},
    }
    known = {h: {n: v for n, v in told.items() if v is not None} for h, told in found.items()}
    return {heading: values for heading, values in known.items() if values}


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
    if problem["num_parameters"] is not None:
        parts.append(f"{problem['num_parameters']:,} parameters")
    return "; ".join([*parts, f"{settings['num_steps']:,} {units(summary)}"])


def units(summary: Summary) -> str:
    """Returns what the steps count, which of results of others may be epochs."""
    return summary["settings"].get("units", "steps")


def machine(summary: Summary) -> str:
    """Returns one line on the versions and the device, or where results of others are from."""
    environment = summary["environment"]
    if environment is None:
        return f"Read from {summary['source']}." if summary.get("source") else ""
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
    amount = f"{100 * value:.4g} %" if percent(metric) else f"{value:.6g}"
    return f"{words(metric)} {sign} {amount}"


def percent(metric: str) -> bool:
    """Says whether a metric is a share that is told in percent."""
    return metric.endswith("accuracy")


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


def value(setting: Any) -> str:
    """Returns a setting as text; a list of seeds is shortened."""
    if isinstance(setting, Mapping):
        return "; ".join(f"{name} {value(part)}" for name, part in setting.items()) or "none"
    if isinstance(setting, list) and all(isinstance(item, int) for item in setting):
        return ranges(setting) or "none"
    return f"{setting:.6g}" if isinstance(setting, float) else str(setting)


def p_text(p: float | None) -> str:
    """Returns a p as text, to three digits."""
    if p is None:
        return "—"
    return "< 0.0001" if p < 1e-4 else f"{p:.3g}"


def decimals(mean: float, half: float, at_least: int) -> int | None:
    """Returns the decimals that a half width supports, `None` for a power of ten."""
    size = max(abs(mean), half)
    if size and not 1e-3 <= size < 1e5:
        return None
    return min(5, max(at_least, 1 - math.floor(math.log10(half)))) if half else 3


def signed(x: float, digits: int | None) -> str:
    """Returns a number with its sign, to a number of decimals or as a power of ten."""
    if math.isinf(x):
        return "∞" if x > 0 else f"{MINUS}∞"
    text = f"{x:+.1e}" if digits is None else f"{x:+.{digits}f}"
    return text.replace("-", MINUS, 1) if x < 0 else text


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
    scale = 100 if percent(metric) else 1
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
