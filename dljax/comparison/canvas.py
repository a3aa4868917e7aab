"""What the pictures are drawn on: one style, colours that all readers tell apart, files.

Colours are those of Okabe & Ito 2008, "Color Universal Design", which people with the common
kinds of colour blindness tell apart; the line style changes after every seven lines.
matplotlib takes a second to import, so it is imported where it is used, and never `pyplot`,
whose figures are global state.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": "#222222",
    "figure.titlesize": 11,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": "#222222",
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#ECECEC",
    "grid.linewidth": 0.8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.labelspacing": 0.7,
    "pdf.fonttype": 42,  # outlines that journals accept
    "svg.hashsalt": "dljax",  # the same figure gives the same file
}


def styled() -> Any:
    """Returns a context in which matplotlib draws in one style, whatever is set outside."""
    import matplotlib

    plain = {
        name: value
        for name, value in matplotlib.rcParamsDefault.items()
        if not name.startswith("backend")  # a context does not set these back
    }
    return matplotlib.rc_context({**plain, **_STYLE})


def canvas(
    title: str, widths: Sequence[float], heights: Sequence[float], *, sharex: str = "col"
) -> "Figure":
    """Returns an empty figure with a panel for every height and width, row by row.

    Args:
      title: One line over all panels.
      widths: Width of every column, in inches.
      heights: Height of every row, in inches.
      sharex: "col" where the panels of a column have one horizontal axis, "none" if each its own.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(sum(widths) + 1.6, sum(heights) + 0.7), layout="constrained")
    figure.get_layout_engine().set(hspace=0.02, wspace=0.05, w_pad=0.08, h_pad=0.05)
    figure.subplots(
        len(heights),
        len(widths),
        squeeze=False,
        sharex=sharex,
        gridspec_kw={"width_ratios": widths, "height_ratios": heights},
    )
    figure.suptitle(title, x=0.01, horizontalalignment="left")
    return figure


def look(index: int) -> dict[str, Any]:
    """Returns colour and line style of the optimizer of an index."""
    dash = _DASHES[index // len(_COLORS) % len(_DASHES)]
    return {"color": _COLORS[index % len(_COLORS)], "linestyle": dash}


def legend(figure: "Figure", labels: Sequence[str], **marks: str) -> None:
    """Names every optimizer once, to the right of all panels, and then the marks on its line."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], **look(index), linewidth=2.2) for index in range(len(labels))]
    gray = {"color": "#777777", "linestyle": "", "markerfacecolor": "white"}
    lines += [Line2D([], [], marker=mark, **gray, markersize=7, mew=1.6) for mark in marks.values()]
    place = {"loc": "outside right upper", "borderaxespad": 1.5, "ncols": 1 + len(lines) // 17}
    figure.legend(lines, [*labels, *marks], **place)


def accuracy_axis(axes: "Axes", values: np.ndarray) -> None:
    """Stretches the axis of an accuracy in percent like log(101 - accuracy), and ends it at 100.

    The step from 90 to 95 is then as wide as that from 80 to 90, as both halve the errors.
    """
    from matplotlib.ticker import FixedLocator, NullLocator

    seen = values[np.isfinite(values)] if np.isfinite(values).any() else np.array([0.0, 100.0])
    stretch = (lambda a: -np.log(np.maximum(101 - a, 1e-3)), lambda y: 101 - np.exp(-y))
    axes.set_yscale("function", functions=stretch)
    axes.yaxis.set_major_locator(FixedLocator([0, 30, 50, 70, 80, 90, 95, 98, 99, 100]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(max(seen.min() - 5, 0.0), 101 - 0.88 * (101 - seen.max()))


def loss_axis(axes: "Axes", values: np.ndarray, initial: float) -> None:
    """Scales the axis of a loss: logarithmic if no value is negative, at most 1.5 x `initial`.

    Args:
      axes: The panel.
      values: Losses that must be seen; NaN and infinite ones are passed over.
      initial: Loss before the first step, what an optimizer is there to improve on.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    cap = initial + 0.5 * abs(initial) + (initial == 0)
    seen = np.append(np.clip(values[np.isfinite(values)], None, cap), initial)
    high = seen.max()
    if seen.min() < 0 or initial == 0:
        margin = 0.05 * (high - seen.min()) or 1.0
        axes.set_ylim(seen.min() - margin, high + margin)
        return
    low = max(seen[seen > 0].min(), 1e-16 * high)
    margin = (high / low) ** 0.04
    axes.set_yscale("log")
    axes.set_ylim(low / margin, max(min(high * margin, cap), 1.1 * low))
    if high / low < 1e3:
        plain, near = FuncFormatter(lambda value, _: f"{value:g}"), high / low < 30
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5) if near else range(2, 10)))
        axes.yaxis.set_minor_formatter(plain if near else NullFormatter())


def picture(figure: "Figure", kind: str) -> bytes:
    """Returns the file of a figure, "png", "svg" or "pdf"; the same figure gives the same bytes.

    The panels are laid out once, for all kinds; `savefig` would draw everything twice for each.
    """
    from matplotlib.backends import backend_agg, backend_pdf, backend_svg

    file = io.BytesIO()
    with styled():
        figure.set(facecolor="white", dpi=170)
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")
        if kind == "png":
            backend_agg.FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
        elif kind == "svg":
            told = {"Date": None, "Creator": None}
            backend_svg.FigureCanvasSVG(figure).print_svg(file, metadata=told)
        else:
            told = {"CreationDate": None, "Creator": None, "Producer": None}
            backend_pdf.FigureCanvasPdf(figure).print_pdf(file, metadata=told)
    return file.getvalue()
