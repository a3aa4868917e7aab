"""Runs from anywhere as the tidy results of a comparison: at the same steps, in stages, by points.

Nothing is dropped: a run with a number that is not finite has diverged, and so has one that ends
before the others do.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from dljax.comparison.design import EVALUATION, TUNING
from dljax.comparison.published import STAGES

KEY = ["optimizer", "setting", "seed", "stage"]  # of a run on one problem


class Chosen(NamedTuple):
    """The runs of one optimizer, in stages.

    Attributes:
      rows: In the columns of `Comparison.results`.
      point: Index of the setting that is reported.
      texts: Every setting as it was given.
      reused: Whether the setting was chosen by runs that are reported.
      numbered: Whether its settings share no seeds, so that runs that tune are numbered anew.
    """

    rows: pd.DataFrame
    point: int
    texts: list[str]
    reused: bool
    numbered: bool


def at_shared_steps(
    rows: pd.DataFrame, names: list[str], column: str
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the runs of a problem at the steps that all have, and what was done, in sentences.

    Args:
      rows: With the columns of `KEY`, argument, value, time, cost, diverged_at and measures.
      names: The measures.
      column: The one that is reported.

    Raises:
      ValueError: If a run has two rows at one step.
    """
    given = rows.groupby("time")[column].transform("count") > 0
    rows = rows[given | (rows["time"] > rows["time"][given].max())]  # cells between evaluations
    if (twice := rows.duplicated([*KEY, "time"])).any():
        name, setting, seed, _, time = rows.loc[twice, [*KEY, "time"]].iloc[0]
        where = f"{name} {setting}".strip()
        raise ValueError(
            f"a run must have one row a step, got two of {where} at seed {seed}, step {time}; "
            "a column for what differs (problem, setting, stage) tells runs apart."
        )
    ends = rows.groupby("optimizer")["time"].max()
    end, done = ends.min(), []
    if ends.max() > end:
        done.append(f"runs of other optimizers go on to {ends.max():g} and were cut at {end:g}")
    rows = rows[rows["time"] <= end]
    through = rows.groupby(KEY)["time"].transform("max") == end
    counts = rows[through].groupby("time").size()
    steps = pd.DataFrame({"time": counts.index[counts == counts[end]]})
    runs = rows.drop_duplicates(KEY)[[*KEY, "argument", "value"]]
    if short := len(runs) - counts[end]:
        done.append(f"{short} of {len(runs)} runs end before {end:g} and count as diverged")
    measured = rows[[*KEY, "time", "cost", "diverged_at", *names]]
    full = runs.merge(steps, how="cross").merge(measured, how="left", on=[*KEY, "time"])
    return full.assign(diverged_at=_diverged_at(full, names, column, end)), done


def _diverged_at(rows: pd.DataFrame, names: list[str], column: str, end: float) -> pd.Series:
    """Returns the first step at which each run has a number that is not finite, -1 if none.

    A measure counts where others have it at that step and the optimizer has it at all.
    """
    finite = np.isfinite(rows[names])
    expected = finite.groupby(rows["time"]).transform("any")
    expected &= finite.groupby(rows["optimizer"]).transform("any")
    expected[column] = True
    lost = rows["time"].where((~finite & expected).any(axis=1))
    run = [rows[name] for name in KEY]
    first = lost.groupby(run).transform("min").fillna(-1)
    known = rows["diverged_at"].groupby(run).transform("max").fillna(-1)
    return known.where((known >= 0) & (known <= end), first).astype(np.int64)


def chosen_of(rows: pd.DataFrame, column: str, goal: str) -> Chosen:
    """Chooses the setting of one optimizer, and puts its runs into stages.

    Where both stages are given, tuning runs choose among the settings that were evaluated. Else
    every setting is judged on the seeds that all settings share, or, where they share none, on as
    many of its first runs as every setting has; then all runs of the best are reported.

    Args:
      rows: As `at_shared_steps` returns them, of one optimizer.
      column: The measure that chooses.
      goal: "min" or "max" of it.
    """
    settings = _settings(rows)
    rows = rows.assign(
        argument=settings["argument"].iloc[0],
        value=rows["setting"].map(settings["shown"]),
        point=rows["setting"].map(settings["point"]),
    )
    declared, numbered = set(rows["stage"]) >= set(STAGES), False
    reported = tuning = rows
    if declared:
        reported, tuning = (rows[rows["stage"] == stage] for stage in (EVALUATION, TUNING))
    elif len(settings) == 1:
        tuning, rows = rows[:0], rows.assign(argument="", value=np.nan)
        reported = rows
    else:
        seen = rows.groupby("seed")["setting"].transform("nunique")
        numbered = seen.max() < len(settings)
        tuning = _numbered(rows) if numbered else rows[seen == len(settings)]
    point = _best(tuning[tuning["point"].isin(reported["point"])], column, goal)
    point = reported["point"].iloc[0] if point is None else point
    reported = reported[reported["point"] == point]
    staged = pd.concat([tuning.assign(stage=TUNING), reported.assign(stage=EVALUATION)])
    reused = bool(not declared and len(settings) > 1)
    return Chosen(staged, int(point), settings.index.tolist(), reused, numbered)


def _settings(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns point, argument and shown value of every setting, in the order of the values."""
    settings = rows.drop_duplicates("setting").set_index("setting")[["argument", "value"]]
    numbers = pd.to_numeric(settings["value"], errors="coerce")
    settings = settings.assign(number=numbers).sort_index()
    settings = settings.sort_values("number", kind="stable")
    settings["point"] = np.arange(len(settings))
    settings["shown"] = settings["number"]
    if not np.isfinite(settings["number"]).all() or settings["number"].duplicated().any():
        if settings["argument"].str.contains(",").all():
            return settings.assign(shown=settings["value"])
        return settings.assign(argument="setting", shown=settings["point"])
    return settings


def _numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns as many first runs of every setting as all have, numbered from 0."""
    number = rows.groupby("setting")["seed"].rank("dense").astype(np.int64) - 1
    least = (number.groupby(rows["setting"]).max() + 1).min()
    return rows.assign(seed=number)[number < least]


def _best(rows: pd.DataFrame, column: str, goal: str) -> int | None:
    """Returns the point with the best median at the last step; `None` without a row."""
    last = rows[rows["time"] == rows["time"].max()]
    if last.empty:
        return None
    cost = last[column] if goal == "min" else -last[column]
    cost = cost.where((last["diverged_at"] < 0) & np.isfinite(cost), np.inf)
    return int(cost.groupby(last["point"]).median().idxmin())
