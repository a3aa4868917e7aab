"""One member of a resampling: it fits one split and predicts the rows that were held out."""

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from dljax import archive, datasets, trees
from dljax.errors import unknown
from dljax.keys import stream
from dljax.learners import Learner, average
from dljax.named import Study
from dljax.replaying import Replay
from dljax.splits import Split
from dljax.studies import study
from dljax.types import Batch, Data, PyTree

Check = Callable[..., None] | Mapping[str, Any] | None  # see `cross_validate`


def resampled(
    member: Callable[..., PyTree],
    learner: Learner | Mapping[str, Learner],
    *shared: PyTree,
    axes: Mapping[str, Any] | None,
    own: Mapping[str, np.ndarray],
    how: Mapping[str, Any],
) -> tuple[Study, Callable[..., Replay]]:
    """Runs a member over the axes, then its own; learners by name are a first axis, "learner".

    Returns:
      The study, and `replay(**cell)`, which runs one of its members again, see `dj.replay`.
    """
    several = isinstance(learner, Mapping)
    learners = dict(learner) if several else {"": learner}
    for one in learners.values():
        if not isinstance(one, Learner):
            raise ValueError(f"learner must be a dj.Learner, got {type(one).__name__}.")
    twice = sorted(set(axes or {}) & {*own, "learner"})
    if twice:
        raise ValueError(f"axes must not name {twice[0]!r}, which is an axis already.")
    found = study(
        member, *shared, axes={**(axes or {}), **own}, static={"learner": learners}, **how
    )

    def replay(**cell: Any) -> Replay:
        cell = cell if several else {"learner": "", **cell}
        label = cell.get("learner")  # none is for `archive.replay` to refuse, as of any axis
        if label is not None and label not in learners:
            raise unknown("learner", str(label), map(str, learners))
        one = partial(member, learner=learners.get(label))
        return archive.replay(how["out"], one, *shared, **cell)

    replay = _without_folder if how.get("out") is None else replay
    return found if several else found.at(learner=0), replay


def _without_folder(**cell: Any) -> Replay:
    raise ValueError("replay compares with a run folder, got none as `out`.")


def check_data(data: Data, check: Check, num_folds: int | None = None) -> None:
    """Raises unless data are fit, see `cross_validate`."""
    if callable(check):
        return check(data)
    names = check
    if names is None:  # what `dj.supervised` learns
        y = np.asarray(data["y"]) if isinstance(data, Mapping) and "y" in data else np.zeros([0, 0])
        kind = "labels" if np.issubdtype(y.dtype, np.integer) else "targets"
        names = {kind: "y"} if y.ndim == 1 else {}
    return datasets.check(data, num_folds=num_folds, **names)


def fit_and_predict(
    learner: Learner,
    key: jax.Array,
    data: Data,
    split: Split,
    test: Batch | None,
    keep: Callable[[PyTree], PyTree] | None,
    numbers: Mapping[str, Any],
) -> PyTree:
    """Fits the training rows; returns what there is to know of `split.valid` and of `test`."""
    rows = split.valid
    if rows is None:
        raise ValueError("split must hold rows out as `valid`, got rows that train alone.")
    model = learner.fit(key, data, Split(split.train), **numbers)
    outputs = learner.predict(model, trees.take_rows(data, rows.index))
    found = {
        "outputs": outputs,
        "index": rows.index,
        "count": rows.count,
        "scores": average(learner, outputs, data, rows),
    }
    if test is not None:
        found["test"] = learner.predict(model, test)
    if keep is not None:
        found["kept"] = keep(model)
    return found


def run_key(seed: Any) -> jax.Array:
    """The key of a seed, that of all members of a resampling."""
    return stream(jax.random.key(0), "member", seed)


def each_cell(study: Study) -> itertools.product:
    """Goes through the positions of all cells of a study."""
    return itertools.product(*(range(n) for n in study.results["index"].shape[:-1]))


def held_out(results: PyTree, cell: tuple[int, ...]) -> tuple[np.ndarray, PyTree]:
    """Returns the rows that a cell held out, int[count], and its outputs for them."""
    count = results["count"][cell]
    outputs = jax.tree.map(lambda x: x[cell][:count], results["outputs"])
    return results["index"][cell][:count], outputs
