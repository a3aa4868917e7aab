"""Results that others published, read into one table: DeepOBS's JSON, and tidy CSV."""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dljax.errors import DataError

MINIBATCH = "minibatch_train_losses"
TARGETS = "convergence_performance.json"
SETTINGS = ("argument", "value", "learning_rate", "lr", "setting", "hyperparams")
TIMES = ("epoch", "step", "evaluation")  # of a row of a curve, what comes first is taken
STAGES = ("tuning", "evaluation")  # as a column, or as a folder of JSON
RUN = ["problem", "optimizer", "setting", "value", "seed", "stage"]
PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
PARTS |= dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "valid")
MEASURES = {"acc": "accuracy"}


class Published(NamedTuple):
    """Curves of runs, whoever made them.

    Attributes:
      curves: A row an evaluation: problem, optimizer, setting (all arguments, as text), value (the
        argument that was tuned), seed, stage ("" where there are none), time, and measures such
        as "test_loss"; NaN and infinite numbers stay.
      minibatches: Losses of minibatches, float[T], and steps of an epoch, by the run's coordinates.
      targets: The value that counts as reached, by problem.
      length: Evaluations that a run should have, by its coordinates, where its file says so.
      times: What `time` counts, a name of `TIMES`, of every file.
    """

    curves: pd.DataFrame
    minibatches: dict[tuple, tuple[np.ndarray, int]]
    targets: dict[str, float]
    length: dict[tuple, int]
    times: frozenset[str] = frozenset({"epoch"})

    def measure(self, problem: str) -> tuple[str, int]:
        """Returns what a problem is judged by, and 1 or -1 if lower or higher is better."""
        rows = self.curves[self.curves.problem == problem]
        for name, sign in (("test_accuracy", -1), ("valid_accuracy", -1), ("test_loss", 1)):
            if name in rows and rows[name].notna().any():
                return name, sign
        given = [name for name in measures(rows) if rows[name].notna().any()]
        losses = [name for name in given if name.endswith("_loss")]
        if not given:
            raise DataError(f"{problem} must have a loss or an accuracy, got {', '.join(rows)}.")
        return (losses or given)[0], 1


def measures(rows: pd.DataFrame) -> list[str]:
    """Returns the columns of `Published.curves` that are measures."""
    return [name for name in rows if name not in (*RUN, "argument", "time")]


def read(folder: str | os.PathLike, metric: str | None = None) -> Published:
    """Reads all results below a folder, or of one file.

    Args:
      folder: Where they lie.
      metric: A measure of a CSV beside its losses and accuracies.

    Raises:
      ValueError: If there is no such folder, or no results in it.
      DataError: If a file is damaged; the message names it.
    """
    folder = Path(folder)
    if not folder.exists():
        raise ValueError(f"results must lie in a folder or a file, got no {folder}.")
    paths = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    frames, minibatches, length, targets, times = [], {}, {}, {}, set()
    for path in paths:
        if path.name == TARGETS:
            targets |= {name: float(value) for name, value in _json(path).items()}
        elif path.suffix == ".json" and (run := _deepobs(path)):
            frames.append(run.curves)
            minibatches |= run.minibatches
            length |= run.length
            times |= run.times
        elif path.name.endswith((".csv", ".csv.gz")):
            for time, frame in _tidy(path, metric):
                frames.append(frame)
                times.add(time)
    if not frames:
        raise ValueError(f"{folder} must hold DeepOBS's JSON or a tidy CSV, got neither.")
    curves = pd.concat(frames, ignore_index=True)
    return Published(curves, minibatches, targets, length, frozenset(times))


def measure_columns(columns: Iterable[str], metric: str | None = None) -> dict[str, str]:
    """Returns the columns that are measures, with the part of the data in front of their names.

    "val_acc", "valid/accuracy" and "accuracy_val" are valid_accuracy. A bare "loss" is that of the
    training rows where there is one of other rows too, and what is reported, test_loss, where not.

    Args:
      columns: Of a CSV.
      metric: A measure beside losses and accuracies.
    """
    told = {name: _part_and_measure(name) for name in columns}
    wanted = ("loss", "accuracy", *([_part_and_measure(metric)[1]] if metric else []))
    rule = re.compile(f"(.*_)?({'|'.join(map(re.escape, wanted))})")
    kept = {name: (part, x) for name, (part, x) in told.items() if rule.fullmatch(x)}
    parted = {measure for part, measure in kept.values() if part}
    found: dict[str, str] = {}
    for name, (part, measure) in kept.items():
        part = part or ("train" if measure in parted else "test")
        if f"{part}_{measure}" not in found.values():
            found[name] = f"{part}_{measure}"
    return found


def _part_and_measure(name: str) -> tuple[str, str]:
    words = [MEASURES.get(word, word) for word in re.split(r"[_/. -]+", name.lower())]
    for place in (0, -1):
        if len(words) > 1 and words[place] in PARTS:
            return PARTS[words.pop(place)], "_".join(words)
    return "", "_".join(words)


def _deepobs(path: Path) -> Published | None:
    """Reads one run of DeepOBS; `None` if the file is of another kind."""
    told = _json(path)
    if not isinstance(told, dict) or not {"testproblem", "optimizer", "random_seed"} <= set(told):
        return None
    names = {"test_losses": "test_loss", "test_accuracies": "test_accuracy"}
    names |= {"train_losses": "train_loss", "train_accuracies": "train_accuracy"}
    curves = {new: _numbers(path, told[old]) for old, new in names.items() if old in told}
    lengths = {len(curve) for curve in curves.values()}
    if len(lengths) != 1:
        raise DataError(f"{path} must have curves of one length, got {sorted(lengths)}.")
    (num_rows,) = lengths
    rate = float(told.get("learning_rate", math.nan))
    setting = json.dumps(told.get("hyperparams", {}), sort_keys=True)
    coordinates = (
        told["testproblem"], told["optimizer"], f"{setting} {rate:.6g}", float(f"{rate:.6g}"),
        int(told["random_seed"]), next((part for part in path.parts if part in STAGES), ""),
    )  # fmt: skip
    run = {**dict(zip(RUN, coordinates)), "argument": "learning_rate"}
    frame = pd.DataFrame({**run, "time": np.arange(num_rows), **curves})
    losses, epochs = _numbers(path, told.get(MINIBATCH, [])), max(num_rows - 1, 1)
    is_whole = len(losses) > 0 and len(losses) % epochs == 0
    minibatches = {coordinates: (losses, len(losses) // epochs)} if is_whole else {}
    return Published(frame, minibatches, {}, {coordinates: int(told["num_epochs"]) + 1})


def _tidy(path: Path, metric: str | None) -> Iterator[tuple[str, pd.DataFrame]]:
    """Reads a CSV with a row an evaluation, and what it counts; nothing if of another kind."""
    try:
        frame = pd.read_csv(path)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} must be a CSV, got {error}.") from None
    times = [name for name in TIMES if name in frame]
    seeds = [name for name in ("seed", "random_seed") if name in frame]
    if "optimizer" not in frame or not times or not seeds:
        return
    settings = [name for name in SETTINGS if name in frame]
    values = [name for name in ("value", "learning_rate", "lr") if name in frame]
    names = measure_columns(frame, metric)
    if not names:
        raise DataError(
            f"{path} must have a column of a loss or an accuracy (or name its metric), "
            f"got {', '.join(map(str, frame))}."
        )
    texts = [frame[name].astype(str) for name in settings]
    text = texts[0].str.cat(texts[1:], sep=" ") if texts else ""
    value = pd.to_numeric(frame[values[0]], errors="coerce") if values else math.nan
    rate = "learning_rate" if values and values[0] != "value" else "value"
    yield (
        times[0],
        pd.DataFrame(
            {
                "problem": frame.get("problem", path.parent.name or "results"),
                "optimizer": frame["optimizer"],
                "setting": text,
                "value": value,
                "seed": frame[seeds[0]],
                "stage": frame.get("stage", ""),
                "argument": frame.get("argument", rate),
                "time": frame[times[0]],
                **{new: pd.to_numeric(frame[x], errors="coerce") for x, new in names.items()},
            }
        ),
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (ValueError, OSError, RecursionError) as error:
        raise DataError(f"{path} must be JSON, got {error}.") from None


def _numbers(path: Path, values: Any) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{path} must hold curves of numbers, got others.") from None
