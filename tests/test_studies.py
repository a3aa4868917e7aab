"""Named axes in, named results out."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dljax as dj


def member(offset, *, seed, rate, scale=1.0):
    """A run of two evaluations that tells its own coordinates."""
    value = seed.astype(jnp.float32) + 100 * rate + offset
    return {"value": scale * jnp.stack([value, value + 0.5]), "once": rate}


AXES = {"seed": np.arange(3), "rate": [0.1, 0.2, 0.3, 0.4]}


@pytest.fixture(scope="module")
def study():
    return dj.study(member, jnp.float32(1000.0), axes=AXES)


def test_results_carry_the_axes_in_order_then_their_own(study):
    assert list(study.axes) == ["seed", "rate"]
    assert study.results["value"].shape == (3, 4, 2)
    assert study.results["once"].shape == (3, 4)
    expected = 1000 + np.arange(3)[:, None] + 100 * np.array([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(study.results["value"][..., 0], expected, rtol=1e-6)


def test_select_finds_floats_to_a_relative_1e_6_and_drops_the_axis(study):
    one = study.select(rate=0.3, seed=2)
    assert one.axes == {}
    np.testing.assert_allclose(one.results["value"], [1032, 1032.5], rtol=1e-6)
    some = study.select(rate=[0.4, 0.1])
    np.testing.assert_allclose(some.axes["rate"], [0.4, 0.1], rtol=1e-6)
    assert some.results["value"].shape == (3, 2, 2)
    with pytest.raises(ValueError, match=r"axis 'rate' must hold 0.30001 once"):
        study.select(rate=0.30001)
    with pytest.raises(ValueError, match="unknown axis 'rat'; did you mean 'rate'"):
        study.select(rat=0.3)
    large = dj.study(lambda *, seed: {"seed": seed}, axes={"seed": [2_000_000, 2_000_001]})
    assert large.select(seed=2_000_001).results["seed"] == 2_000_001


def test_at_picks_positions_and_mean_averages_named_axes(study):
    assert study.at(seed=0).results["value"].shape == (4, 2)
    assert study.at(seed=slice(0, 2)).axes["seed"].tolist() == [0, 1]
    mean = study.mean("seed")
    assert list(mean.axes) == ["rate"]
    np.testing.assert_allclose(mean.results["value"][0, 0], 1011, rtol=1e-6)
    assert study.mean("rate", "seed").results["once"].shape == ()


def test_the_mean_of_a_nan_is_nan(study):
    values = study.results["value"].copy()
    values[1, 2, 0] = np.nan
    broken = study._replace(results={"value": values}).mean("seed")
    assert np.isnan(broken.results["value"][2, 0])
    assert np.isfinite(broken.results["value"][[0, 1, 3]]).all()


def test_the_data_frame_is_tidy(study):
    frame = study.to_dataframe()
    assert list(frame.columns) == ["seed", "rate", "evaluation", "once", "value"]
    assert len(frame) == 3 * 4 * 2
    row = frame[(frame.seed == 2) & np.isclose(frame.rate, 0.3) & (frame.evaluation == 1)]
    np.testing.assert_allclose(row.value, 1032.5, rtol=1e-6)
    np.testing.assert_allclose(row.once, 0.3, rtol=1e-6)


def test_a_tree_is_one_axis_whose_values_vary_together():
    def paired(*, point, seed):
        return {"sum": point["a"] + 10 * point["b"] + 100 * seed.astype(jnp.float32)}

    point = {"b": [1.0, 2.0, 3.0], "a": [0.1, 0.2, 0.3]}
    study = dj.study(paired, axes={"point": point, "seed": [5, 6]})
    assert study.results["sum"].shape == (3, 2)
    np.testing.assert_allclose(study.results["sum"][:, 0], [510.1, 520.2, 530.3], rtol=1e-6)
    chosen = study.select(point={"a": 0.2, "b": 2.0})
    np.testing.assert_allclose(chosen.results["sum"], [520.2, 620.2], rtol=1e-6)
    assert {"point.a", "point.b"} <= set(study.to_dataframe().columns)


def test_static_axes_change_the_program_and_come_first():
    def scaled(*, seed, rate, scale, power):
        value = seed.astype(jnp.float32) + 100 * rate
        return {"value": jnp.stack([scale * value**power] * 2)}

    static = {"scale": {"one": 1.0, "ten": 10.0}, "power": {"square": 2}}
    study = dj.study(scaled, axes=AXES, static=static)
    assert study.axes["scale"] == ("one", "ten")
    assert study.results["value"].shape == (2, 1, 3, 4, 2)
    ratio = study.select(scale="ten").results["value"] / study.select(scale="one").results["value"]
    np.testing.assert_allclose(ratio[0, 1], 10, rtol=1e-6)
    assert set(study.to_dataframe()["scale"]) == {"one", "ten"}
    with pytest.raises(ValueError, match="did you mean 'ten'"):
        study.select(scale="tenn")


def test_labels_may_be_numbers():
    scaled = lambda *, seed, depth: 10 * depth + seed  # noqa: E731
    study = dj.study(scaled, axes={"seed": [0, 1]}, static={"depth": {1: 1, 2: 2}})
    assert study.select(depth=2).results.tolist() == [20, 21]


@pytest.mark.parametrize(
    ("static", "message"),
    [
        ({"depth": [1, 2]}, r"static axis 'depth' must be \{label: value\}"),
        ({"depth": {}}, "of one label at least, got {}"),
        ({"seed": {"one": 1}}, "an axis must be in axes or in static, got 'seed' in both"),
    ],
)
def test_a_bad_static_axis_says_the_rule_and_what_came(static, message):
    with pytest.raises(ValueError, match=message):
        dj.study(lambda **cell: cell, axes={"seed": [0]}, static=static)


def test_large_seeds_reach_the_member_as_they_are():
    study = dj.study(lambda *, seed: seed, axes={"seed": [0, 2**32 - 1]})
    assert study.results.tolist() == [0, 2**32 - 1]


def test_an_axis_in_bfloat16_is_seen_in_float32():
    rates = jnp.array([0.5, 0.1], jnp.bfloat16)
    found = dj.study(lambda *, rate: rate, axes={"rate": rates}).results
    assert found.dtype == np.float32
    assert found.tolist() == rates.astype(jnp.float32).tolist()


def test_progress_tells_the_stage_and_the_members_done():
    told = []
    dj.study(
        member,
        jnp.float32(0),
        axes=AXES,
        width=1,
        progress=lambda stage, done, total: told.append((stage, done, total)),
    )
    assert told[0] == ("compile", 0, 12)
    assert told[-1] == ("run", 12, 12)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_before_it_starts_a_study_says_what_it_will_run(capsys):
    def trained(*, seed, optimizer):
        data = {"x": np.ones((8, 3), np.float32), "y": np.arange(8) % 2}
        task = dj.supervised(dj.linen_model(dj.modules.MLP(2)), dj.losses.cross_entropy)
        fit = dj.trainer(task, optimizer(0.1), data, batch_size=4)
        return dj.run(fit, fit.init(jax.random.key(seed)), num_steps=3)[1]

    optimizers = {"sgd": dj.optimizers.sgd, "adam": dj.optimizers.adam}
    study = dj.study(trained, axes={"seed": np.arange(6)}, static={"optimizer": optimizers})
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert [line.startswith("dljax: ") for line in lines].count(True) == 1
    (line,) = [line for line in lines if line.startswith("dljax: ")]
    for part in ("12 members in 2 programs, tiles of", "8 parameters", "FLOP a member", "B a tile"):
        assert part in line
    assert re.search(r"roughly \d+ s to run", line)
    plan = study.plan
    assert list(plan.programs) == [("sgd",), ("adam",)]
    assert (plan.num_members, plan.num_processes) == (6, 1)
    for program in plan.programs.values():
        assert (program.num_parameters, program.width >= 2) == (8, True)
        assert program.memory > 0
        assert program.flops > 3 * 2 * 4 * 3 * 2
    assert study.select(optimizer="sgd").mean("seed").plan is plan
    dj.study(lambda *, seed: seed, axes={"seed": [1]}, progress=False)
    assert capsys.readouterr().err == ""


def test_programs_of_other_shapes_are_refused_before_they_run():
    ran = []

    def member(*, seed, size):
        jax.debug.callback(lambda: ran.append(size))
        return jnp.zeros(size)

    with pytest.raises(ValueError, match="must return results of the same shapes") as error:
        dj.study(member, axes={"seed": [0]}, static={"size": {"two": 2, "three": 3}})
    assert "\n" not in str(error.value)
    assert "of three after" in str(error.value)
    assert 3 not in ran


def test_a_second_study_of_static_axes_traces_nothing_anew():
    traced = []

    def member(*, seed, power):
        traced.append(power)
        return seed**power

    for _ in range(2):
        dj.study(member, axes={"seed": [1, 2]}, static={"power": {"one": 1, "two": 2}})
    assert sorted(traced) == [1, 2]


def test_a_member_in_rounds_may_have_static_axes():
    member = dj.Member(
        init=lambda *, seed, step: seed,
        advance=lambda state, number, *, seed, step: (state + jnp.uint32(step), number),
        result=lambda state, reports, *, seed, step: {"end": state},
        num_rounds=3,
    )
    study = dj.study(member, axes={"seed": [5, 6]}, static={"step": {"one": 1, "ten": 10}})
    assert study.results["end"].tolist() == [[8, 9], [35, 36]]


def test_the_check_runs_first():
    data = {"x": np.array([1.0, np.nan])}
    with pytest.raises(dj.DataError, match="x must be finite, got 1 NaN or inf"):
        dj.study(lambda data, *, seed: 1 / 0, data, axes={"seed": [0]}, check=dj.check)
    labelled = {"x": np.ones((3, 2)), "y": np.array([0, 1, 1])}
    check = partial(dj.check, labels="y", num_folds=5)
    with pytest.raises(ValueError, match=r"num_folds must be an integer in \[2, 3\], got 5"):
        dj.study(lambda data, *, seed: 1 / 0, labelled, axes={"seed": [0]}, check=check)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"seed": [-1]}, r"axis 'seed' must be in \[0, 4294967296\), got -1"),
        ({"seed": [2**32]}, r"axis 'seed' must be in \[0, 4294967296\), got 4294967296"),
        ({"seed": [1, 2, 1]}, "axis 'seed' must not hold a value twice, got 1 twice"),
        ({}, "axes must name at least one axis"),
        ({"seed": []}, "axis 'seed' must be a list of values"),
        ({"seed": 3}, "axis 'seed' must be a list of values"),
        ({"rate": [0.1, float("nan")]}, "axis 'rate' must be finite, got nan"),
        ({"rate": [1.0, 1e300]}, r"axis 'rate' must be finite, got 1e\+300 as float32"),
        ({"rate": ["fast"]}, "axis 'rate' must hold numbers"),
        ({"seed": [0.0, 1.0]}, "axis 'seed' must hold whole numbers, got float64"),
        ({"seed": [True]}, "axis 'seed' must hold whole numbers, got bool"),
        ({"rate": [[1, 2], [3]]}, r"axis 'rate' must be a list .* got \[\[1, 2\], \[3\]\]"),
        ({"n": [2**40 + 1]}, r"axis 'n' must be in \[-2147483648, 2147483648\), got 1099511627777"),
        ({"point": {"a": [1.0], "b": [1.0, 2.0]}}, "tree of lists of one length"),
    ],
)
def test_a_bad_axis_says_the_rule_and_what_came(axes, message):
    with pytest.raises(ValueError, match=message):
        dj.study(lambda **cell: cell, axes=axes)
