"""How an optimizer's arguments are searched: on a grid, at random, and around what did best.

Every optimizer gets the same number of trials, drawn before the first run or by a rule that was
declared before it: at one seed, optimizers that tune the same ranges try the same points.
"""

import itertools
import warnings
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from dljax.errors import require, require_whole

Points = list[dict[str, float]]

METHODS = ("grid", "random", "sobol", "zoom")
TRIALS = 25  # of each optimizer where points are drawn
ZOOM_ROUNDS, ZOOM = 3, 1 / 3  # rounds of "zoom", and the part of each range that the next one keeps
BEYOND = 2  # values by which a grid is widened at an edge
WIDENS = ("learning_rate", "eps")  # arguments of which it is, positive and without an upper bound


class Range(NamedTuple):
    """Where a tuned argument is drawn from.

    Attributes:
      low: Smallest value; > 0 on the scale "log", > `low` and < 1 on "log1m".
      high: Largest value.
      scale: "log" draws the logarithm evenly, "linear" the value, "log1m" the logarithm of
        1 - value, for decays near 1 such as Adam's b2.
    """

    low: float
    high: float
    scale: str = "log"


class Search(NamedTuple):
    """How points are found; a part of a comparison's declaration.

    Attributes:
      method: "grid" tries the product of the values given; "random" draws points from ranges,
        "sobol" scrambled Sobol points, which leave smaller holes; "zoom" draws at random in
        rounds, each in a third of the ranges around the best point so far (in their scales).
      trials: Points of each optimizer, where they are drawn.
      widen: How many times a grid is continued, geometrically and by two values, whose best
        learning rate (or eps) lies on its edge.
    """

    method: str = "grid"
    trials: int = TRIALS
    widen: int = 0


def checked_search(method: str, trials: int | None, widen: int) -> Search:
    """Returns the search that these arguments mean, or raises a `ValueError`."""
    if method not in METHODS:
        raise ValueError(f"search must be one of {', '.join(METHODS)}, got {method!r}.")
    if method == "grid" and trials is not None:
        raise ValueError("trials must come with a search that draws points, got a grid.")
    if method != "grid" and widen:
        raise ValueError(f"only a grid can be widened, got the search {method!r}.")
    require_whole("widen", widen, "[0, 20]")
    trials = TRIALS if trials is None else trials
    require_whole("trials", trials, f"[{ZOOM_ROUNDS if method == 'zoom' else 1}, 100000]")
    return Search(method, trials, widen)


def checked_range(name: str, found: Range) -> Range:
    """Returns the range, or raises a `ValueError` if its ends do not fit its scale."""
    inside = {"log": "(0, inf)", "linear": "(-inf, inf)", "log1m": "[0, 1)"}
    if found.scale not in inside:
        raise ValueError(f"scale must be one of {', '.join(inside)}, got {found.scale!r}.")
    for end in (found.low, found.high):
        require(f"range of {name}", end, inside[found.scale])
    if found.low >= found.high:
        raise ValueError(f"range of {name} must have low < high, got {found.low} and {found.high}.")
    return found


def first(search: Search, space: Mapping[str, Iterable[float] | Range], seed: int) -> Points:
    """Returns the points of the first round.

    Args:
      search: How.
      space: Values of each argument for a grid, and ranges otherwise.
      seed: Root of all randomness.

    Returns:
      For a grid the product of the values, else `trials` points ("zoom": those of its round).
    """
    if search.method == "grid":
        return [dict(zip(space, point)) for point in itertools.product(*space.values())]
    if not space:
        return [{}]  # nothing to tune
    return _placed(space, _draw(search, len(space), seed, 0))


def further(
    search: Search,
    space: Mapping[str, Iterable[float] | Range],
    seed: int,
    points: Points,
    best: int,
    number: int,
) -> Points:
    """Returns the points of the next round, none if the search is over.

    Args:
      search: How.
      space: As of `first`.
      seed: As of `first`.
      points: All that were tried.
      best: Index of the best of them.
      number: Rounds that are over, >= 1.
    """
    if search.method == "grid":
        return _continued(points, points[best]) if number <= search.widen else []
    if search.method != "zoom" or number >= ZOOM_ROUNDS or not space:
        return []
    return _placed(space, _draw(search, len(space), seed, number), points[best], ZOOM**number)


def _draw(search: Search, dim: int, seed: int, number: int) -> np.ndarray:
    """Returns the points of a round in the unit cube, float64[trials, dim]."""
    trials = search.trials
    if search.method == "zoom":  # the first round has what does not divide
        trials = trials // ZOOM_ROUNDS + (trials % ZOOM_ROUNDS if number == 0 else 0)
    if search.method == "sobol":
        from scipy.stats import qmc  # a second to import, and needed here only

        with warnings.catch_warnings():  # that a number of points is no power of two
            warnings.simplefilter("ignore", UserWarning)
            return qmc.Sobol(dim, rng=np.random.default_rng(seed)).random(trials)
    return np.random.default_rng([seed, number]).random((trials, dim))


def _placed(
    space: Mapping[str, Range],
    unit: np.ndarray,
    around: Mapping[str, float] | None = None,
    part: float = 1.0,
) -> Points:
    """Places points of the unit cube in ranges, or in a part of each that holds `around`."""
    columns = {}
    for (name, found), u in zip(space.items(), unit.T, strict=True):
        low, high = (_scaled(found, end) for end in (found.low, found.high))
        if around is not None:
            middle, half = _scaled(found, around[name]), part * (high - low) / 2
            start = np.clip(middle - half, low, high - 2 * half)
            low, high = start, start + 2 * half
        columns[name] = _unscaled(found, low + u * (high - low))
    return [dict(zip(columns, map(float, row))) for row in zip(*columns.values())]


def _scaled(found: Range, value: float) -> float:
    if found.scale == "log1m":
        return -np.log1p(-value)
    return np.log(value) if found.scale == "log" else value


def _unscaled(found: Range, x: np.ndarray) -> np.ndarray:
    if found.scale == "log1m":
        return -np.expm1(-x)
    return np.exp(x) if found.scale == "log" else x


def _continued(points: Points, best: Mapping[str, float]) -> Points:
    """Continues a grid beyond the edge that the best point lies on, by two values of one argument.

    That is the learning rate, or eps: what other arguments may be is not known here.
    """
    name = next((name for name in WIDENS if name in best), None)
    axes = {other: sorted({point[other] for point in points}) for other in best}
    values = [] if name is None else [value for value in axes[name] if value > 0]
    if len(values) < 2 or best[name] not in (axes[name][0], axes[name][-1]) or best[name] <= 0:
        return []
    near, edge = (values[-2], values[-1]) if best[name] == values[-1] else (values[1], values[0])
    new = [edge * (edge / near) ** (i + 1) for i in range(BEYOND)]
    choices = (new if other == name else axes[other] for other in axes)
    return [dict(zip(axes, point)) for point in itertools.product(*choices)]
