"""What stands behind the means: how much tuning matters, the way to the target, what steps take."""

from collections.abc import Mapping
from typing import Any

from dljax.comparison.wording import Column, Summary

OPERATIONS = ("losses", "gradients", "backwards", "products", "solves")


def tables(summary: Summary) -> dict[str, tuple[list[Column], str]]:
    """Returns tables by their headings, each with a sentence on how to read it.

    What a summary does not have, as those of older versions and of others do not, is left out.

    Args:
      summary: `Comparison.summary`.
    """
    entries = summary["optimizers"]
    found = {
        "Tuning": (_tuning(entries), _TUNING),
        "Time to the target": (_target(entries, summary), _TARGET),
        "Operations of a step": (_operations(entries), _OPERATIONS),
        "Curvature along training": (_curvature(entries), _CURVATURE),
    }
    names = Column("optimizer", [entry["name"] for entry in entries], "left")
    return {name: ([names, *columns], told) for name, (columns, told) in found.items() if columns}


_TUNING = (
    "Sensitivity: how far the final validation metric lies from its best, averaged over the "
    "logarithm of the tuned value (Wortsman et al. 2023). Good region: the values around the best "
    "that lose no more than a standard deviation over seeds, in decades; an arrow marks an end "
    "that the values tried do not enclose. Stable up to: the largest value below every one at "
    "which a run diverged."
)
_TARGET = (
    "Runs that miss the target are censored at their last step. Median with its 95 % interval and "
    "mean up to the last step (Kaplan and Meier 1958); share of runs that met it, with Wilson's "
    "interval; steps of all runs together for each that met it."
)
_OPERATIONS = (
    "Passes over a batch: losses count 1/3 of a gradient, further backward passes 2/3, products of "
    "a vector with a matrix of curvature 2. Solves are matrices factorized; they have no fixed "
    "ratio to a gradient and are counted apart."
)
_CURVATURE = (
    "Medians over the evaluation runs, before the first and after the last step: the largest "
    "eigenvalue of the Hessian (Lanczos), its trace (Hutchinson), and the edge 2 / eigenvalue "
    "beyond which gradient descent leaves a quadratic minimum, with the rate in use as a multiple."
)


def _tuning(entries: list[Mapping[str, Any]]) -> list[Column]:
    found = [entry.get("sensitivity") for entry in entries]
    if not any(found):
        return []
    basins = [one and one["basin"] for one in found]
    return [
        Column("sensitivity", [_number(one and one["rate_sensitivity"]) for one in found], "right"),
        Column(
            "good region,\ndecades", [_number(one and one["decades"], 2) for one in basins], "right"
        ),
        Column("from", [_end(one, "low", "◂ ") for one in basins], "right"),
        Column("to", [_end(one, "high", " ▸") for one in basins], "right"),
        Column("stable\nup to", [_number(one and one["stable"]) for one in found], "right"),
        Column("diverges\nfrom", [_number(one and one["diverges_from"]) for one in found], "right"),
    ]


def _target(entries: list[Mapping[str, Any]], summary: Summary) -> list[Column]:
    found = [entry.get("steps_to_target") or {} for entry in entries]
    if not any("hit_rate" in one for one in found):
        return []
    last = f"> {summary['settings']['num_steps']:,}"

    def median(one):
        low, high = (last if x is None else f"{x:g}" for x in one["median_interval"])
        return f"{last if one['median'] is None else format(one['median'], 'g')} [{low}, {high}]"

    def share(one):
        estimate, low, high = (100 * one["hit_rate"][k] for k in ("estimate", "low", "high"))
        return f"{estimate:.0f} [{low:.0f}, {high:.0f}]"

    def mean(one):
        estimate, low, high = (one["restricted_mean"][k] for k in ("estimate", "low", "high"))
        return f"{estimate:.4g} [{low:.4g}, {high:.4g}]"

    return [
        Column("median step", [median(one) for one in found], "right"),
        Column("restricted mean", [mean(one) for one in found], "right"),
        Column("met it, %", [share(one) for one in found], "right"),
        Column("steps\na hit", [_number(one["expected_running_time"]) for one in found], "right"),
    ]


def _operations(entries: list[Mapping[str, Any]]) -> list[Column]:
    found = [entry.get("operations_per_step") or {} for entry in entries]
    shown = [name for name in OPERATIONS if len({one.get(name) for one in found}) > 1]
    columns = [Column(name, [_number(one.get(name)) for one in found], "right") for name in shown]
    return [*columns, _cost(entries)] if columns else []


def _cost(entries: list[Mapping[str, Any]]) -> Column:
    cells = [_number(entry["gradients_per_step"]) for entry in entries]
    return Column("together,\nin gradients", cells, "right")


def _curvature(entries: list[Mapping[str, Any]]) -> list[Column]:
    found = [entry.get("curvature") for entry in entries]
    if not any(found):
        return []
    titles = {
        "top": "largest\neigenvalue",
        "trace": "trace",
        "edge": "edge",
        "rate_over_edge": "rate / edge",
    }
    return [
        Column(title, [_ends(one and one[name]) for one in found], "right")
        for name, title in titles.items()
        if any(one and one[name] for one in found)
    ]


def _ends(pair: list[float | None] | None) -> str:
    return "—" if pair is None else " → ".join(_number(x) for x in pair)


def _end(basin: Mapping[str, Any] | None, side: str, arrow: str) -> str:
    if basin is None:
        return "—"
    text = _number(basin[side])
    if side not in basin["open"]:
        return text
    return f"{arrow}{text}" if side == "low" else f"{text}{arrow}"


def _number(x: float | None, digits: int = 3) -> str:
    return "—" if x is None else f"{x:.{digits}g}"
