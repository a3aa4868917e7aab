"""The pictures of the claims: effects with their intervals, and who beats whom how often."""

from typing import TYPE_CHECKING, Any

import numpy as np

from dljax.comparison.canvas import canvas, styled
from dljax.comparison.claim_lines import SIGNS, Claim, bounds, effect, unit
from dljax.comparison.statistics import Comparison
from dljax.comparison.wording import MINUS, Summary, p_text, percent, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, GRAY = "#0072B2", "#777777"
SHADES = ("#EDBB63", "#FFFFFF", "#8CC6EA")  # never, half the time, always
ROW = 0.24  # inches


def effects(comparison: Comparison) -> "Figure":
    """Draws the effect of every claim with its interval; ratios have a panel of their own.

    Rows are sorted by the effect, those that favour the first of their pair most on top. A pair
    of which a run diverged has no effect: its row, below, says how often the first won.
    """
    summary = comparison.summary
    claims = summary["claims"]
    panels = [[claim for claim in claims if claim["scale"] == "difference"]]
    panels.append([claim for claim in claims if claim["scale"] == "log ratio"])
    panels = [panel for panel in panels if panel] or [[]]
    panels[0] = panels[0] + [claim for claim in claims if claim["scale"] == "sign"]
    height = ROW * max(map(len, panels)) + 0.9
    with styled():
        figure = canvas(_title(summary, "differences"), [5.6] * len(panels), [height])
        for axes, panel in zip(figure.axes, panels, strict=True):
            _draw_effects(axes, _sorted(panel, summary), summary)
        _verdicts(figure)
    return figure


def win_rates(comparison: Comparison) -> "Figure":
    """Draws how often the optimizer of a row ends better than that of a column, in percent."""
    summary = comparison.summary
    names = [entry["name"] for entry in summary["optimizers"]]
    return win_matrix(_title(summary, "row beats column, % of the seeds"), names, summary["claims"])


def win_matrix(title: str, names: list[str], claims: list[Claim]) -> "Figure":
    """Draws the wins of every claim as a matrix, in percent; bold where a difference is found."""
    from matplotlib.colors import LinearSegmentedColormap

    rates, found = _rates(claims, names)
    size = 0.56 * len(names)
    with styled():
        figure = canvas(title, [size + 1.2], [size + 0.9])
        (axes,) = figure.axes
        shades = LinearSegmentedColormap.from_list("wins", SHADES)
        axes.imshow(rates, cmap=shades, vmin=0, vmax=100, aspect="equal")
        for (row, column), rate in np.ndenumerate(rates):
            if np.isfinite(rate):
                weight = "bold" if found[row, column] else "normal"
                where = {"ha": "center", "va": "center", "fontsize": 8.5}
                axes.text(column, row, f"{rate:.0f}", fontweight=weight, **where)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="left", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure


def _title(summary: Summary, what: str) -> str:
    return f"{summary['problem']['name']}: {what}"


def _sorted(claims: list[Claim], summary: Summary) -> list[Claim]:
    """Returns the claims that favour the first most in front, those without effect at the end."""
    sign = -1 if summary["problem"]["goal"] == "max" else 1

    def place(claim):
        lost = claim["effect"] is None
        return lost, -claim["wins"]["mean"] if lost else sign * claim["effect"]["mean"]

    return sorted(claims, key=place)


def _draw_effects(axes: "Axes", claims: list[Claim], summary: Summary) -> None:
    """Draws one row per claim: the bar of the margin, the interval, the mean or a text."""
    seen, measured = [], [claim for claim in claims if claim["effect"] is not None]
    axes.vlines(0, -0.6, len(measured) - 0.5, color="#555555", linewidth=0.9, zorder=1)
    for row, claim in enumerate(claims):
        if claim["effect"] is None:
            axes.annotate(_lost(claim, summary), (0.02, row), **_LOST)
            continue
        scale = unit(claim, summary)[0]
        mean, low, high = bounds(claim, scale)
        if claim["margin"]:
            margin = scale * claim["margin"]
            axes.barh(row, 2 * margin, 0.86, -margin, color="#EEEEEE", zorder=0)
            seen += [-margin, margin]
        look = _look(claim["verdict"])
        far = 1e3 * (abs(mean) or 1.0)
        ends = np.where(np.isfinite([low, high]), [low, high], [-far, far])  # some have no end
        axes.plot(ends, [row, row], color=look["color"], linewidth=1.5)
        axes.plot(mean, row, linestyle="", markeredgewidth=1.5, **look)
        seen += [mean, low, high]
    axes.set_ylim(len(claims) - 0.4, -0.6)
    labels = [f"{claim['a']} {MINUS} {claim['b']}" for claim in claims]
    axes.set_yticks(range(len(claims)), labels, fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    if seen := [x for x in seen if np.isfinite(x)]:
        reach = max(map(abs, seen)) * 1.08 or 1.0
        axes.set_xlim(min(min(seen) * 1.08, -0.15 * reach), max(max(seen) * 1.08, 0.15 * reach))
    axes.set_xlabel(_effect_label(claims, summary))


_LOST: dict[str, Any] = {
    "xycoords": ("axes fraction", "data"),
    "va": "center",
    "fontsize": 8,
    "color": "#555555",
    "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1.5},
}


def _lost(claim: Claim, summary: Summary) -> str:
    p = p_text(claim["adjusted_p"])
    wins = f"{claim['a']} wins {100 * claim['wins']['mean']:.0f} %"
    return f"{effect(claim, summary)}: {wins}, adjusted p {p}, {claim['verdict']}"


def _effect_label(claims: list[Claim], summary: Summary) -> str:
    metric, goal = summary["problem"]["metric"], summary["problem"]["goal"]
    favours = f"{SIGNS[goal]} favours the first"
    if any(claim["scale"] == "log ratio" for claim in claims):
        return f"ln of the ratio of test {words(metric)} above its least ({favours})"
    points = ", points" if percent(metric) else ""
    return f"difference in test {words(metric)}{points} ({favours})"


def _look(verdict: str) -> dict[str, Any]:
    """Returns colour and mark of a verdict."""
    if verdict in ("better", "worse"):
        return {"color": BLUE, "marker": "o", "markersize": 6}
    if verdict == "equivalent":
        return {"color": GRAY, "marker": "s", "markersize": 5.5}
    return {"color": GRAY, "marker": "o", "markersize": 6, "markerfacecolor": "white"}


def _verdicts(figure: "Figure") -> None:
    """Names the marks below the panels."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    kinds = {"better": "different", "equivalent": "equivalent", "unresolved": "unresolved"}
    marks = [
        Line2D([], [], label=name, markeredgewidth=1.5, linewidth=1.5, **_look(kind))
        for kind, name in kinds.items()
    ]
    marks.append(Patch(color="#E4E4E4", label="margin"))
    figure.legend(handles=marks, loc="outside lower left", ncols=4, fontsize=8.5)


def _rates(claims: list[Claim], names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns percent [A, A] that the row wins, NaN where not asked, and which are found."""
    place = {name: index for index, name in enumerate(names)}
    rates = np.full((len(names), len(names)), np.nan)
    found = np.zeros(rates.shape, dtype=bool)
    for claim in claims:
        a, b = place[claim["a"]], place[claim["b"]]
        rates[a, b] = 100 * claim["wins"]["mean"]
        rates[b, a] = 100 - rates[a, b]
        found[a, b] = found[b, a] = claim["verdict"] in ("better", "worse")
    return rates, found
