"""The published regressions: their splits, normals as outputs, tables and the dot plot."""

import os

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import dljax as dj
from dljax.comparison.canvas import picture
from dljax.regression_tables import (
    DEEP_ENSEMBLES_2017,
    MC_DROPOUT_2018,
    MC_DROPOUT_GRIDS,
    Row,
    dot_plot,
    reported,
)

SETS = sorted(name for name in dj.datasets.names() if name.startswith("uci/"))


@pytest.mark.parametrize("name", SETS)
def test_a_regression_is_as_the_table_states(name):
    if not os.environ.get("DLJAX_DATA"):
        pytest.skip("DLJAX_DATA is not set to the folder of the data sets")
    data, stated = dj.datasets.load(name), dj.datasets.DATASETS[name]
    assert data["x"].shape == (stated.num_rows, *stated.shape)
    assert data["y"].shape == (stated.num_rows,)
    dj.check(data, targets="y")


def test_tables_and_grids_are_of_the_sets_that_there_are():
    names = {name.removeprefix("uci/") for name in SETS}
    assert set(MC_DROPOUT_2018) == set(DEEP_ENSEMBLES_2017) == set(MC_DROPOUT_GRIDS) == names
    for taus, (_, tau) in MC_DROPOUT_GRIDS.values():
        assert tau in taus


def test_published_splits_part_the_rows_as_numpys_legacy_generator_does():
    draw = np.random.RandomState(1)
    for fold in range(3):
        order = draw.choice(range(308), 308, replace=False)
        split = dj.datasets.published_split(jax.random.key(0), 308, 20, fold)
        np.testing.assert_array_equal(split.train.index, order[:277])
        np.testing.assert_array_equal(split.valid.index, order[277:])
    inner = dj.datasets.first_rows(jax.random.key(0), split.train, 1, 0)
    np.testing.assert_array_equal(inner.train.index, order[:221])
    np.testing.assert_array_equal(inner.valid.index, order[221:277])


def test_a_split_that_was_not_published_is_refused():
    with pytest.raises(ValueError, match=r"fold must be .*got 20"):
        dj.datasets.published_split(jax.random.key(0), 308, 20, 20)
    with pytest.raises(ValueError, match=r"num_rows must be .*got 1"):
        dj.datasets.published_orders(1)


def normals(seed=0):
    draw = np.random.default_rng(seed)
    mean, variance = draw.normal(size=(3, 7)), draw.uniform(0.5, 2, size=(3, 7))
    return {"mean": jnp.asarray(mean), "variance": jnp.asarray(variance)}, draw.normal(size=7)


def test_an_ensemble_of_normals_has_the_moments_of_the_mixture_and_the_scores_of_all():
    members, y = normals()
    joined = dj.predict.normal_ensemble(members)
    mean, variance = (np.asarray(members[name], np.float64) for name in ("mean", "variance"))
    m = mean.mean(axis=0)
    v = (variance + mean**2).mean(axis=0) - m**2
    scores = dj.predict.normal_scores(joined, {"y": jnp.asarray(y)})
    # float32 sums of three
    close = {"rtol": 2e-5, "atol": 1e-6}
    chex.assert_trees_all_close((joined["mean"], joined["variance"]), (m, v), **close)
    chex.assert_trees_all_close(scores["nll"], -stats.norm.logpdf(y, m, np.sqrt(v)), **close)
    each = stats.norm.logpdf(y[:, None], mean.T, np.sqrt(variance.T))
    chex.assert_trees_all_close(scores["member_nll"], -each, **close)
    chex.assert_trees_all_close(scores["mixture_nll"], -np.log(np.exp(each).mean(axis=1)), **close)
    chex.assert_trees_all_close(scores["member_squared_error"], (mean.T - y[:, None]) ** 2, **close)
    single = dj.predict.normal_scores(jax.tree.map(lambda x: x[0], members), {"y": jnp.asarray(y)})
    chex.assert_trees_all_close(single["nll"], scores["member_nll"][:, 0], **close)


def test_two_outputs_are_a_normal_in_units_of_the_target():
    class Scale:
        mean, sd = 10.0, 3.0

    found = dj.predict.normal_outputs(jnp.array([[1.0, 0.5]]), Scale)
    # softplus(0.5) = log(1 + e^0.5)
    chex.assert_trees_all_close(found["mean"], np.array([13.0]), rtol=1e-6)
    variance = 9 * (np.log1p(np.exp(0.5)) + 1e-6)
    chex.assert_trees_all_close(found["variance"], np.array([variance]), rtol=1e-6)


def test_masks_are_scored_as_one_mixture_of_normals():
    draw = np.random.default_rng(1)
    draws, y, tau = draw.normal(size=(5, 40)), draw.normal(size=5), 0.7
    outputs = {"draws": jnp.asarray(draws), "variance": jnp.full(5, 1 / tau)}
    scores = dj.predict.draw_scores(outputs, {"y": jnp.asarray(y)})
    # the mean over masks of exp(-tau / 2 (y - f)^2) sqrt(tau / 2 pi), Gal & Ghahramani 2016
    ll = np.log(np.exp(-tau / 2 * (y[:, None] - draws) ** 2).mean(axis=1))
    ll += -np.log(2 * np.pi) / 2 + np.log(tau) / 2
    # float32 sums of forty
    chex.assert_trees_all_close(scores["nll"], -ll, rtol=1e-4)
    chex.assert_trees_all_close(scores["squared_error"], (draws.mean(axis=1) - y) ** 2, rtol=1e-4)


def test_a_line_says_how_far_ours_is_in_published_standard_errors(capsys):
    rmse, nll = np.array([1.0, 3.0]), np.array([0.5, 0.5])
    ours = reported("yacht", rmse, nll, Row(1.0, 0.5, 0.7, 0.0), "7 s")
    assert ours == Row(2.0, 1.0, 0.5, 0.0)
    published, found = capsys.readouterr().out.splitlines()
    assert published.split()[2:] == ["1.0000", "±", "0.5000", "0.7000", "±", "0.0000"]
    assert found.split()[-6:] == ["+2.0", "-", "published", "se", "7", "s"]


def test_the_dot_plot_has_a_line_a_set_and_a_point_a_method():
    tables = {"published": DEEP_ENSEMBLES_2017, "ours": DEEP_ENSEMBLES_2017}
    figure = dot_plot("Deep ensembles", tables)
    assert len(figure.axes) == 2 * len(SETS)
    assert all(len(axes.containers) == 2 for axes in figure.axes)
    assert picture(figure, "png")[:4] == b"\x89PNG"


def test_inputs_are_dropped_at_their_own_rate():
    x = jnp.ones([1, 4000])
    ones = lambda key, shape, dtype=jnp.float32: jnp.ones(shape, dtype)  # noqa: E731
    model = dj.linen_model(dj.modules.MLP(1, input_dropout=0.25, kernel_init=ones))
    variables = model.init(jax.random.key(0), x)
    kept, _ = model.apply(variables, x, key=jax.random.key(1), train=True)
    # a sum of 4,000 inputs, each 4/3 with probability 3/4: sd 36.5, so that 200 is 5.5 of them
    assert abs(float(kept[0, 0]) - 4000) < 200
    assert float(kept[0, 0]) != 4000
    assert float(model.apply(variables, x)[0][0, 0]) == 4000
