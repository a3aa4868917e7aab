"""One member of a resampling: it fits one split and predicts the rows that were held out."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from dljax import trees
from dljax.keys import stream
from dljax.learners import Learner, average
from dljax.named import Study
from dljax.splits import Split
from dljax.types import Batch, Data, PyTree


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
    model = learner.fit(key, data, Split(split.train), **numbers)
    rows = split.valid
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


def checked_names(axes: Mapping[str, Any] | None, own: str) -> dict[str, Any]:
    """Returns the axes; raises a `ValueError` if one has the name of the resampling's own."""
    if axes and own in axes:
        raise ValueError(f"axes must not name {own!r}, which is counted here, got {sorted(axes)}.")
    return dict(axes or {})


def each_cell(study: Study) -> itertools.product:
    """Goes through the positions of all cells of a study."""
    return itertools.product(*(range(n) for n in study.results["index"].shape[:-1]))


def held_out(results: PyTree, cell: tuple[int, ...]) -> tuple[np.ndarray, PyTree]:
    """Returns the rows that a cell held out, int[count], and its outputs for them."""
    count = results["count"][cell]
    outputs = jax.tree.map(lambda x: x[cell][:count], results["outputs"])
    return results["index"][cell][:count], outputs
