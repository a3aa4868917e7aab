"""Learning curves: parts are nested, full size is cross-validation, and other rows do not count."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import blobs, classifier
from tables import SLOTS, entries, table

import dljax as dj
from dljax.comparison.canvas import picture
from dljax.diagnose_pictures import size_curves
from dljax.resampling.sizes import part_of

DATA = blobs(47)
SIZES, FOLDS, AXES = [5, 20, 32], 3, {"repeat": [0, 1], "learning_rate": [0.01, 0.05]}
LEARNER = dj.learner(classifier(), dj.optimizers.adam, num_steps=25, batch_size=8)


def curve(data=DATA, sizes=SIZES, axes=AXES, **options):
    return dj.learning_curve(LEARNER, data, sizes, FOLDS, axes=axes, progress=False, **options)


@pytest.fixture(scope="module")
def found():
    return curve()


def test_parts_are_nested_and_keep_the_order_of_their_table():
    draw = jax.jit(lambda rows, size: part_of(jax.random.key(0), rows, size))
    for count in (9, SLOTS):
        parts = [entries(draw(table(count), size)) for size in (1, 4, 9, SLOTS)]
        assert [len(p) for p in parts] == [1, 4, 9, count]
        for smaller, larger in itertools.pairwise(parts):
            assert set(smaller) <= set(larger)
            assert smaller == sorted(smaller)
        assert parts[-1] == list(range(count))


def test_full_size_is_cross_validation_to_the_bit(found):
    whole = dj.cross_validate(LEARNER, DATA, FOLDS, axes=AXES, progress=False)
    for name, scores in whole.study.results["scores"].items():
        np.testing.assert_array_equal(found.valid[name][:, :, -1], scores)
    assert list(found.study.axes) == ["repeat", "learning_rate", "size", "fold"]
    # 47 rows in 3 folds leave 31, 31 and 32 to train; a size above is all of them
    assert sorted(found.count[0, 0, -1].tolist()) == [31, 31, 32]
    np.testing.assert_array_equal(found.count[:, :, 0], 5)


def test_a_table_has_a_row_for_every_fit(found):
    table = found.to_dataframe()
    assert list(table)[:5] == [*found.study.axes, "count"]
    assert {"train_loss", "valid_loss"} <= set(table)
    assert table.valid_loss.iloc[-1] == found.valid["loss"][-1, -1, -1, -1]


def test_one_size_of_a_run_folder_is_replayed(tmp_path):
    found = curve(axes={"learning_rate": [0.05]}, out=tmp_path / "curve")
    assert found.replay(learning_rate=0.05, size=20, fold=1).is_same


def test_more_rows_help_those_held_out(found):
    loss = found.valid["loss"][:, 1].mean(axis=(0, -1))
    assert loss[0] > loss[-1]


@pytest.mark.slow
def test_rows_that_a_size_leaves_out_change_no_bit():
    axes = {"learning_rate": [0.05]}
    options = {"sizes": [10], "check": lambda data: None}
    split = dj.kfold(dj.stream(jax.random.key(0), "folds", 0), 47, FOLDS, 0)
    key = dj.stream(dj.stream(jax.random.key(0), "folds", 0), "part", 0)
    part = part_of(key, split.train, jnp.int32(10))
    unused = np.setdiff1d(entries(split.train), entries(part))
    x = DATA["x"].copy()
    x[unused] = np.nan
    sound, garbage = (curve(data, axes=axes, **options) for data in (DATA, {**DATA, "x": x}))
    for scores in ("train", "valid"):
        one, other = (getattr(c, scores)["loss"][..., 0] for c in (sound, garbage))  # fold 0
        np.testing.assert_array_equal(one, other)
        assert np.isfinite(one).all()


def test_an_epoch_is_an_epoch_at_every_size():
    """The parameter of a row falls by 1 whenever the row is the batch."""

    def seen(size):
        rows = part_of(jax.random.key(0), dj.splits.all_rows(20), size)
        task = dj.Task(
            init=lambda key, batch: {"params": jnp.zeros(20)},
            predict=lambda variables, batch, **_: (variables["params"][batch["row"]], variables),
            loss=lambda outputs, batch: outputs,
            measure=lambda outputs, batch: {"loss": outputs},
        )
        data = {"row": jnp.arange(20)}
        fit = dj.trainer(task, dj.optimizers.sgd(1.0), data, dj.Split(rows), batch_size=1)
        state, _ = dj.run(fit, fit.init(jax.random.key(1)), num_steps=60)
        return rows, state.variables["params"]

    rows, params = jax.jit(jax.vmap(seen))(jnp.array([4, 20]))
    np.testing.assert_array_equal(params[1], -3.0)
    part = np.asarray(rows.index[0, :4])
    np.testing.assert_array_equal(params[0][part], -3.0)
    np.testing.assert_array_equal(np.delete(params[0], part), 0.0)


def test_sizes_that_no_fold_has_are_told():
    for sizes, rule in (([0], "sizes must be in"), ([33], "sizes must be in"), ([0.5], "whole")):
        with pytest.raises(ValueError, match=rule):
            curve(sizes=sizes)
    with pytest.raises(ValueError, match="size"):
        curve(axes={"size": [3]})


def test_a_picture_has_the_means_over_runs(found):
    figure = size_curves(found.count, found.train["loss"], found.valid["loss"], measure="nats")
    train, held_out = figure.axes[0].lines
    mean = found.valid["loss"].mean(axis=(0, 1, 3))
    np.testing.assert_allclose(held_out.get_ydata(), mean, rtol=1e-6)  # float32
    assert train.get_xdata()[0] == 5
    assert picture(figure, "png")[:4] == b"\x89PNG"
