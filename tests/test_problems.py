"""Problems: minima are minima, parts share no row, and training sees nothing of the rest."""

import functools
import os

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dljax as dj
from dljax import datasets, deepobs, modules
from dljax.functions import FUNCTIONS
from dljax.problems import PROBLEMS, SUITES, load, suite, summary

KEY = jax.random.key(0)
FROM_FILES = ("mnist-mlp", "fashion-mnist-cnn", "fmnist-2c2d")
SCALED = {  # arrays that are standardized
    "breast-cancer-logistic": ["x"],
    "wine-mlp": ["x"],
    "diabetes-linear": ["x", "y"],
    "diabetes-mlp": ["x", "y"],
}
each_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)


@functools.cache
def built(name):
    if name in FROM_FILES and not os.environ.get("DLJAX_DATA"):
        pytest.skip("DLJAX_DATA is not set to the folder of the data sets")
    return load(name)


@pytest.fixture(scope="module", params=PROBLEMS)
def problem(request):
    return built(request.param)


def entries(rows):
    return np.asarray(rows.index)[: int(rows.count)]


@each_function
def test_the_stated_minimum_has_value_0_and_no_slope(x64, function):
    at = jnp.array(function.minimum)
    assert abs(function.value(at)) < 1e-15  # float64
    assert jnp.abs(jax.grad(function.value)(at)).max() < 1e-12


@each_function
@pytest.mark.parametrize("distance", [1e-3, 0.3, 3.0])
def test_no_point_near_the_minimum_is_lower(x64, function, distance):
    at = np.array(function.minimum)
    points = at + distance * np.random.default_rng(0).normal(size=(1000, at.size))
    values = jax.jit(jax.vmap(function.value))(points)
    assert (values > 0).all()


def test_the_curvatures_of_the_quadratic_are_what_it_says(x64):
    curvatures = jax.grad(FUNCTIONS[0].value)(jnp.ones(10))  # h w at w = 1
    chex.assert_trees_all_close([curvatures.min(), curvatures.max()], [0.01, 10.0], rtol=1e-12)


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_has_its_name_and_can_be_trained(name):
    problem = built(name)
    assert problem.name == name
    fit = dj.trainer(
        problem.task,
        dj.optimizers.sgd(0.1),
        problem.data,
        problem.split,
        batch_size=problem.batch_size,
        parts=problem.parts,
    )
    row = jax.eval_shape(lambda: fit.evaluate(fit.init(KEY)))
    assert row.keys() >= {
        problem.target.metric,
        f"valid_{problem.metric}",
        f"test_{problem.metric}",
    }
    assert problem.num_steps % problem.eval_every == 0
    assert problem.goal in ("min", "max")


def test_the_parts_of_a_problem_partition_its_rows(problem):
    if problem.split is None:
        assert callable(problem.data)
        return
    num_rows = len(jax.tree.leaves(problem.data)[0])
    rows = np.concatenate([entries(part) for part in problem.split])
    np.testing.assert_array_equal(np.sort(rows), np.arange(num_rows))
    assert len(entries(problem.split.train)) > num_rows / 3


@pytest.mark.parametrize("name", FROM_FILES[:2])
def test_mnist_is_tested_on_the_official_last_rows(name):
    split = built(name).split
    np.testing.assert_array_equal(entries(split.test), np.arange(60_000, 70_000))
    assert [len(entries(rows)) for rows in split] == [50_000, 10_000, 10_000]


@pytest.mark.parametrize("name", SCALED)
def test_standardization_uses_training_rows_alone(name, monkeypatch):
    problem = load(name)
    train = entries(problem.split.train)
    scaled = SCALED[name]
    for array in scaled:
        x = problem.data[array][train].astype(np.float64)
        # float32 of numbers up to 4,254
        np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-4)

    held_out = np.setdiff1d(np.arange(len(problem.data["y"])), train)
    original = datasets.load

    def spoiled(*args, **options):
        data = original(*args, **options)
        for array in scaled:
            data[array][held_out] = 1e9
        return data

    monkeypatch.setattr(datasets, "load", spoiled)
    again = load(name)
    for array in scaled:
        np.testing.assert_array_equal(again.data[array][train], problem.data[array][train])
        assert (again.data[array][held_out] != problem.data[array][held_out]).any()


def test_an_analytic_problem_starts_near_the_usual_point_and_measures_the_way_to_the_minimum():
    for function in FUNCTIONS:
        task = built(function.name).task
        start = task.init(KEY, {})["params"]["w"] - jnp.array(function.start)
        assert 0 < jnp.abs(start).max() < 5 * function.spread
        w, _ = task.predict({"params": {"w": jnp.array(function.minimum)}}, {})
        assert task.measure(w, {})["distance"].tolist() == [0.0]


def test_an_unknown_problem_offers_the_nearest():
    with pytest.raises(ValueError, match=r"unknown problem 'digit-mlp'; did you mean 'digits-mlp'"):
        dj.problems.load("digit-mlp")


def test_suites_are_of_known_problems_and_the_small_one_of_real_data_without_files():
    assert all(set(names) <= set(PROBLEMS) for names in SUITES.values())
    assert len(SUITES["small"]) >= 6  # with fewer no test over problems can reach 0.05
    assert not set(SUITES["small"]) & set(FROM_FILES)
    assert all(isinstance(built(name).data, dict) for name in SUITES["small"])
    assert tuple(problem.name for problem in suite("analytic")) == SUITES["analytic"]
    with pytest.raises(ValueError, match="unknown suite 'smal'; did you mean 'small'"):
        suite("smal")


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITES["small"])
def test_a_run_of_a_small_problem_starts_finite_and_short_of_its_target(name):
    problem = built(name)
    fit = dj.trainer(problem.task, dj.optimizers.sgd(0.01), problem.data, problem.split)
    start = jax.jit(lambda key: fit.evaluate(fit.init(key)))(KEY)
    assert np.isfinite(start["valid_loss"])
    reached, target = float(start[problem.target.metric]), problem.target
    is_up = target.metric.endswith("accuracy")
    assert reached < target.value if is_up else reached > target.value


def test_an_autoencoder_is_to_give_its_input_back():
    problem = load("digits-autoencoder")
    np.testing.assert_array_equal(problem.data["x"], problem.data["y"])
    batch = {name: x[:3] for name, x in problem.data.items()}
    outputs = jnp.zeros((3, 64))
    expected = (batch["x"] ** 2).mean(axis=1)
    np.testing.assert_allclose(problem.task.loss(outputs, batch), expected, rtol=1e-6)  # float32
    # squares of 64 outputs over 64 are a normal's of variance 32: B B^T = 2 / 64
    roots = problem.task.fisher_root(outputs, jnp.ones((3, 64)))
    np.testing.assert_allclose(roots**2, np.full((3, 64), 2 / 64), rtol=1e-6)


def test_the_summary_of_every_problem_is_a_line():
    lines = {name: summary(name) for name in PROBLEMS}
    assert all(line.strip() and "\n" not in line for line in lines.values())
    assert lines["digits-mlp"].startswith("1,797 handwritten digits")
    assert lines["rosenbrock"].startswith("(1 - x)^2")


def test_the_deep_quadratic_is_the_one_that_was_published():
    problem = load("quadratic-deep")
    fit = dj.trainer(problem.task, dj.optimizers.sgd(0.0), problem.data, problem.split)
    start = fit.evaluate(fit.init(jax.random.key(0)))
    np.testing.assert_allclose(start["test_loss"], 353.446764, rtol=1e-6)  # as printed: 353.446764
    H = deepobs.hessian()
    eigenvalues = np.linalg.eigvalsh(H)
    assert np.sum(eigenvalues < 1) == 90
    assert np.sum((eigenvalues > 30) & (eigenvalues < 60)) == 10


def test_a_row_of_the_deep_quadratic_holds_all_that_its_loss_needs():
    task, data, split = deepobs.quadratic_deep()
    theta = np.random.default_rng(0).normal(size=100)
    x = np.random.RandomState(deepobs.TRAIN).normal(0, 0.6, (1000, 100)).astype(np.float32)[:8]
    apart = theta - x
    expected = np.einsum("ni,ij,nj->n", apart, deepobs.hessian(), apart) / 2
    rows = {name: values[:8] for name, values in data.items()}
    found = task.loss(jnp.asarray(theta, jnp.float32), rows)
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32 of sums of 100 terms
    assert [int(part.count) for part in split] == [1000, 1000, 896]


def test_the_convolutional_net_of_deepobs_starts_as_published():
    net = modules.CNN(10, channels=(32, 64), hidden=1024, kernel=(5, 5))
    model = deepobs.constant_scale(net)
    params = jax.jit(model.init)(KEY, jnp.zeros((1, 28, 28)))["params"]
    assert sum(p.size for p in jax.tree.leaves(params)) == 3_274_634
    for layer in params.values():
        np.testing.assert_array_equal(layer["bias"], np.float32(0.05))
        assert jnp.abs(layer["kernel"]).max() <= 0.1
    # cut at 2, not scaled back: a deviation of 0.8796 x 0.05; 3.2 million draws
    np.testing.assert_allclose(params["hidden"]["kernel"].std(), 0.05 * 0.87963, rtol=2e-3)


def test_the_convolutional_net_of_deepobs_trains_on_all_rows_but_as_a_problem_holds_some_out():
    built("fmnist-2c2d")  # or skips
    _, data, split = deepobs.fmnist_2c2d()
    assert split.valid is None
    np.testing.assert_array_equal(np.sort(entries(split.train)), np.arange(60_000))
    np.testing.assert_array_equal(entries(split.test), np.arange(60_000, 69_984))
    assert {len(x) for x in data.values()} == {69_984}
    assert [len(entries(rows)) for rows in built("fmnist-2c2d").split] == [50_000, 10_000, 9_984]
