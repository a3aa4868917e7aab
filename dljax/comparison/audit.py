"""What is wrong with results that somebody published: checks that need nothing but the results."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from dljax.comparison.published import RUN, Published

REPLAYED = 0.5  # autocorrelation at a lag of one epoch, and how far above that of other lags
PEAK = 0.3
FEWEST_EPOCHS = 6
ALIKE = 1e-3  # relative, of initial losses at one seed


class Finding(NamedTuple):
    """Something that a reader of these results should know.

    Attributes:
      check: Name of the check.
      where: Problem and optimizer, as far as it is of one.
      evidence: What was seen, in a sentence.
    """

    check: str
    where: str
    evidence: str


def audit(published: Published) -> list[Finding]:
    """Returns all findings, check by check."""
    return [finding for check in CHECKS for finding in check(published)]


def replayed_order(published: Published) -> Iterator[Finding]:
    """Whether every epoch had the batches of the one before in the same order.

    The loss of a minibatch then has the same noise one epoch later: with the residuals z about a
    centred mean over one epoch, in the later half of the run, the autocorrelation at a lag of one
    epoch is near 1, and far above that of the lags beside it, as a mere trend's is not.
    """
    found: dict[str, list[float]] = {}
    for run, (losses, per_epoch) in published.minibatches.items():
        correlation = epoch_autocorrelation(losses, per_epoch)
        if correlation is not None:
            found.setdefault(run[0], []).append(correlation)
    for problem, values in found.items():
        replayed = [value for value in values if value > REPLAYED]
        if len(replayed) > len(values) / 2:
            yield Finding(
                "batch order replayed",
                problem,
                f"the minibatch loss repeats itself after one epoch in {len(replayed)} of "
                f"{len(values)} runs: autocorrelation {min(replayed):.3f} to {max(replayed):.3f}.",
            )


def epoch_autocorrelation(losses: np.ndarray, per_epoch: int) -> float | None:
    """Returns the autocorrelation of minibatch losses at a lag of one epoch, in [-1, 1].

    Args:
      losses: Of each step, float[T].
      per_epoch: Steps of an epoch, S.

    Returns:
      It; at most 0.0 if lags beside S have about as much, `None` if there are fewer than 3 steps an
      epoch or 6 epochs, or the run diverged.
    """
    losses = losses[len(losses) // 2 :]
    if per_epoch < 3 or len(losses) < FEWEST_EPOCHS // 2 * per_epoch:
        return None
    if not np.isfinite(losses).all() or np.ptp(losses) == 0:
        return None
    window = np.ones(per_epoch) / per_epoch
    mean = np.convolve(losses, window, mode="valid")
    z = losses[per_epoch // 2 :][: len(mean)] - mean
    beside = [lag for lag in range(per_epoch - 3, per_epoch + 4) if lag > 0 and lag != per_epoch]
    at_epoch = _correlation(z, per_epoch)
    others = max(_correlation(z, lag) for lag in beside)
    return at_epoch if at_epoch - others > PEAK else min(at_epoch, 0.0)


def several_problems(published: Published) -> Iterator[Finding]:
    """Whether one name stands for several problems: at one seed all runs start from one loss."""
    for problem, rows in published.curves.groupby("problem"):
        name, _ = published.measure(problem)
        name = (
            name.replace("accuracy", "loss") if name.replace("accuracy", "loss") in rows else name
        )
        first = rows[rows.time == 0].dropna(subset=[name])  # later ones need not be alike
        spread = first.groupby("seed")[name].agg(["min", "max", "size"])
        apart = (spread["max"] - spread["min"]) / spread["min"].abs().clip(lower=1e-12)
        if (apart > ALIKE).any():
            seed = apart.idxmax()
            low, high, size = spread.loc[seed]
            yield Finding(
                "several problems under one name",
                problem,
                f"the {size:.0f} runs at seed {seed} begin at losses from {low:.6g} to {high:.6g}.",
            )


def edge_of_the_grid(published: Published) -> Iterator[Finding]:
    """Whether the best value of an optimizer is the smallest or the largest that was tried."""
    for (problem, optimizer), rows in published.curves.groupby(["problem", "optimizer"]):
        last = _last(_stage(rows, "tuning"))
        values = last.groupby("seed").value.nunique()  # the seeds that chose saw all values
        last = last[last.seed.isin(values.index[values == values.max()])]
        name, sign = published.measure(problem)
        cost = (sign * last[name]).where(np.isfinite(last[name]), np.inf)
        by_value = cost.groupby(last["value"]).median()
        if len(by_value) > 2 and by_value.idxmin() in (by_value.index[0], by_value.index[-1]):
            yield Finding(
                "optimum on the edge of the grid",
                f"{problem}, {optimizer}",
                f"the best of {len(by_value)} values is {by_value.idxmin():.4g}, of "
                f"{by_value.index[0]:.4g} to {by_value.index[-1]:.4g}.",
            )


def target_too_easy(published: Published) -> Iterator[Finding]:
    """Whether a target is met at the first evaluation by every optimizer's best runs."""
    for problem, target in published.targets.items():
        rows = published.curves[published.curves.problem == problem]
        if rows.empty:
            continue
        name, sign = published.measure(problem)
        best = pd.concat([_best(own, name, sign) for _, own in rows.groupby("optimizer")])
        second = best[best.time == sorted(best.time.unique())[1]][name]
        if len(second) and (sign * second <= sign * target).all():
            yield Finding(
                "target met after one epoch",
                problem,
                f"all {len(second)} runs have a {name.replace('_', ' ')} of {target:.4g} or better "
                "at the first evaluation after the start.",
            )


def tuning_seeds_reported(published: Published) -> Iterator[Finding]:
    """Whether runs that chose a value are also among those that are reported."""
    shared: dict[str, set] = {}
    for (problem, _), rows in published.curves.groupby(["problem", "optimizer"]):
        if set(rows.stage) >= {"tuning", "evaluation"}:
            tuning, reported = (set(rows[rows.stage == s].seed) for s in ("tuning", "evaluation"))
        else:
            seeds = rows.groupby("setting").seed.agg(set)
            if len(seeds) < 2:
                continue
            reported = max(seeds, key=len)
            tuning = set.union(*(own for own in seeds if own is not reported))
        if both := tuning & reported:
            shared[problem] = shared.get(problem, set()) | both
    for problem, seeds in shared.items():
        shown = ", ".join(map(str, sorted(seeds)[:5])) + (", …" if len(seeds) > 5 else "")
        yield Finding(
            "tuning seeds among the evaluation seeds",
            problem,
            f"the value was chosen on seed(s) that are reported too: {shown}.",
        )


def dropped(published: Published) -> Iterator[Finding]:
    """Whether runs or rows are missing, as where diverged ones were taken out."""
    for problem, rows in published.curves.groupby("problem"):
        name, _ = published.measure(problem)
        told = rows[RUN].assign(rows=1, finite=np.isfinite(rows[name]))
        runs = told.groupby(RUN, dropna=False).agg({"rows": "sum", "finite": "all"})
        expected = pd.Series(published.length).reindex(runs.index) if published.length else None
        wanted = runs.rows.max() if expected is None else expected.fillna(runs.rows.max())
        short = runs[(runs.rows < wanted) & runs.finite]
        if len(short):
            yield Finding(
                "NaN dropped",
                problem,
                f"{len(short)} of {len(runs)} runs end early without a number that is not finite.",
            )


CHECKS = (
    replayed_order,
    several_problems,
    edge_of_the_grid,
    target_too_easy,
    tuning_seeds_reported,
    dropped,
)


def _correlation(z: np.ndarray, lag: int) -> float:
    x, y = z[:-lag] - z[:-lag].mean(), z[lag:] - z[lag:].mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else 0.0


def _stage(rows: pd.DataFrame, stage: str) -> pd.DataFrame:
    return rows[rows.stage == stage] if (rows.stage == stage).any() else rows


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the last row of each run."""
    return rows.sort_values("time").groupby(RUN, dropna=False, as_index=False).tail(1)


def _best(rows: pd.DataFrame, name: str, sign: int) -> pd.DataFrame:
    """Returns the reported runs of an optimizer: those of the setting with the most seeds."""
    rows = _stage(rows, "evaluation")
    return rows[rows.setting == rows.groupby("setting").seed.nunique().idxmax()]
