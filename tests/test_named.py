"""Results by name, handed on: as xarray, and as parameters that another run begins with."""

import jax
import numpy as np
import pytest
import small

import dljax as dj

DATA = small.blobs()


def fit():
    task = small.classifier((4,))
    return dj.trainer(task, dj.optimizers.sgd(0.1), DATA, batch_size=8)


def member(data, *, seed, rate):
    return {"params": fit().init(jax.random.key(seed)).variables["params"], "half": rate["a"] / 2}


@pytest.fixture(scope="module")
def study():
    axes = {"seed": [3, 5], "rate": {"a": [1.0, 2.0, 4.0], "b": [0, 1, 2]}}
    return dj.study(member, DATA, axes=axes, progress=False)


def test_a_study_is_a_dataset_of_xarray(study):
    halves = study._replace(results={"half": study.results["half"], "row": np.ones((2, 3, 4))})
    found = halves.to_xarray()
    assert dict(found.sizes) == {"seed": 2, "rate": 3, "row_0": 4}
    assert found.half.sel(seed=5).values.tolist() == [0.5, 1.0, 2.0]
    assert found["rate.b"].values.tolist() == [0, 1, 2]


def test_xarray_that_is_not_installed_is_named(study, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xarray", None)
    with pytest.raises(ImportError, match=r"pip install \"dljax\[xarray\]\""):
        study.to_xarray()


def test_a_run_begins_with_the_parameters_that_a_study_kept(study):
    kept = study.select(seed=5, rate={"a": 2.0, "b": 1}).results["params"]
    first = fit().init(jax.random.key(5), kept)
    expected = fit().init(jax.random.key(5))
    assert jax.tree.structure(first) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(first.variables), jax.tree.leaves(expected.variables)):
        np.testing.assert_array_equal(x, y)
    with pytest.raises(ValueError, match="params must have the shapes"):
        fit().init(jax.random.key(5), {"dense": np.ones(3)})
