"""Many members through one mechanism: tiles, lanes, rounds, memory."""

import gc
import threading
import time
import weakref
from functools import lru_cache

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import small

import dljax as dj
from dljax import machine, placement, populations, programs, widths
from dljax.lanes import side_by_side, spread

SEEDS = {"seed": np.arange(5, dtype=np.uint32)}


def plain(offset, *, seed):
    return {"value": offset + seed.astype(jnp.float32), "key": jax.random.key(seed)}


def counter(stop_at=None, num_rounds=4):
    """Counts its rounds in `state`; seed s stops after s rounds if `stop_at` says so."""

    def init(offset, *, seed):
        return {"count": jnp.int32(0), "seed": seed, "key": jax.random.key(seed)}

    def advance(offset, state, number, *, seed):
        return {**state, "count": state["count"] + 1}, {"number": number, "at": offset + number}

    def result(offset, state, reports, *, seed):
        return {"count": state["count"], "reports": reports, "key": state["key"]}

    return dj.Member(init, advance, result, num_rounds, stop_at)


def run(member, cells=SEEDS, **options):
    return dj.population(member, **options)((jnp.float32(100),), cells)


def test_one_function_is_a_member_of_one_round():
    found = run(plain, width=2)
    assert found["value"].tolist() == [100, 101, 102, 103, 104]
    assert (jax.random.key_data(found["key"])[:, 1] == np.arange(5)).all()


def test_rounds_are_counted_and_reports_are_stacked():
    found = run(counter(), width=2)
    assert found["count"].tolist() == [4] * 5
    assert found["reports"]["number"].tolist() == [[0, 1, 2, 3]] * 5
    assert found["reports"]["at"][0].tolist() == [100, 101, 102, 103]
    assert (jax.random.key_data(found["key"])[:, 1] == np.arange(5)).all()


def test_a_finished_member_takes_no_further_round_and_repeats_its_report():
    member = counter(lambda state: state["count"] >= state["seed"].astype(jnp.int32))
    found = run(member, width=2)
    assert found["count"].tolist() == [1, 1, 2, 3, 4]  # whether it has finished is asked after one
    assert found["reports"]["number"][2].tolist() == [0, 1, 1, 1]


def test_the_members_that_still_run_close_ranks(monkeypatch):
    sizes = []

    def counted(program, name, shared, number, state, cells, device):
        sizes.append((name, number, len(cells["seed"])))
        return programs.run_tile(program, name, shared, number, state, cells, device)

    monkeypatch.setattr(populations, "run_tile", counted)
    run(counter(lambda state: state["count"] >= state["seed"].astype(jnp.int32)), width=2)
    advanced = [(number, size) for name, number, size in sizes if name == "advance"]
    rounds = [sum(size for number, size in advanced if number == r) for r in range(4)]
    assert rounds == [5, 3, 2, 1]


def test_keys_may_be_axes():
    keys = jax.random.split(jax.random.key(0), 3)
    found = run(lambda offset, *, key: jax.random.normal(key), {"key": keys}, width=2)
    np.testing.assert_array_equal(found, [jax.random.normal(key) for key in keys])


def test_a_state_that_changes_its_shape_is_refused():
    member = counter()._replace(
        advance=lambda offset, state, number, *, seed: ({**state, "count": number + 0.5}, number)
    )
    with pytest.raises(ValueError, match="advance must return a state of the shapes"):
        run(member)


@pytest.mark.parametrize(
    ("width", "message"),
    [
        (0, r"width must be in \[1, inf\), got 0"),
        (1.5, "width must be a whole number in"),
        ("wide", "width must be a whole number >= 1, 'auto' or None, got 'wide'"),
    ],
)
def test_a_bad_width_is_refused(width, message):
    with pytest.raises(ValueError, match=message):
        run(plain, width=width)


def test_the_fastest_candidate_is_taken_and_told(monkeypatch):
    seconds = {2: 1.0, 4: 1.2, 8: 9.0}
    monkeypatch.setattr(widths, "default_width", lambda *_: 4)
    monkeypatch.setattr(
        widths, "_tile_seconds", lambda many, *_: np.array([seconds[p.width] for p in many])
    )
    told = []
    cells = {"seed": np.arange(40, dtype=np.uint32)}
    mesh = placement.default_mesh()
    shared = placement.replicated((jnp.float32(1),), mesh)
    program = widths.resolve(plain, shared, cells, width="auto", mesh=mesh, note=told.append)
    assert program.width == 4
    assert told == ["width 4, by members a second on one lane: 2 at 2, 3.33 at 4, 0.889 at 8"]


def test_auto_measures_real_members():
    found = run(plain, width="auto")
    assert found["value"].tolist() == [100, 101, 102, 103, 104]
    rounds = run(counter(), width="auto")
    assert rounds["count"].tolist() == [4] * 5


def test_a_width_that_does_not_fit_the_memory_is_halved_before_it_runs(monkeypatch):
    mesh = placement.default_mesh()
    shared = placement.replicated((jnp.float32(1),), mesh)

    def large(offset, *, seed):
        return jnp.cumsum(jnp.full(10_000, offset) + seed)

    compiled = {
        w: programs.compile_program(large, shared, SEEDS, width=w, mesh=mesh) for w in (2, 8)
    }
    assert compiled[8].memory > 3 * compiled[2].memory > 80_000
    room = 1.01 * widths.num_lanes(mesh) * compiled[2].memory / widths.MEMORY_SHARE
    monkeypatch.setattr(machine, "memory", lambda device: room)
    told = []
    assert widths.resolve(large, shared, SEEDS, width=8, mesh=mesh, note=told.append).width == 2
    assert [line.split(" needs ")[0] for line in told] == ["width 8", "width 4"]
    monkeypatch.setattr(machine, "memory", lambda device: 10_000)
    with pytest.raises(ValueError, match="one member must fit in memory, got"):
        widths.resolve(large, shared, SEEDS, width=8, mesh=mesh)


def test_a_backend_that_refuses_to_compile_what_does_not_fit_is_given_half(monkeypatch):
    compile_program = widths.compile_program

    def strict(*inputs, width, mesh):
        if width > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: does not fit")
        return compile_program(*inputs, width=width, mesh=mesh)

    monkeypatch.setattr(widths, "compile_program", strict)
    assert run(plain, width=8)["value"].tolist() == [100, 101, 102, 103, 104]


def devices_of(num_devices):
    return jax.sharding.Mesh(np.array(jax.devices()[:num_devices]), ("members",))


@pytest.mark.parametrize("member", [plain, counter()], ids=["at once", "in rounds"])
def test_every_device_runs_tiles_and_results_come_in_order(monkeypatch, member):
    ran = []

    def slow_first(program, name, shared, number, state, cells, device):
        ran.append(device)
        time.sleep(0.05 if device == 0 else 0.01)
        return programs.run_tile(program, name, shared, number, state, cells, device)

    cells = {"seed": np.arange(13, dtype=np.uint32)}
    expected = run(member, cells, width=2)
    monkeypatch.setattr(populations, "run_tile", slow_first)
    chex.assert_trees_all_equal(run(member, cells, width=2, mesh=devices_of(4)), expected)
    assert set(ran) == {0, 1, 2, 3}


def test_calls_at_once_are_spread_evenly_over_devices():
    meet, found = threading.Barrier(5, timeout=60), []

    def where(device):
        meet.wait()
        found.append(device)

    list(side_by_side([spread(where, num_devices=2, lanes=5)] * 5, 5))
    assert sorted(found) == [0, 0, 0, 1, 1]


def test_a_second_program_of_a_member_is_the_first_one_on_every_device():
    mesh = devices_of(2)
    shared = placement.replicated((jnp.float32(1),), mesh)
    assert [x.devices() for (x,) in shared] == [{d} for d in mesh.devices]
    member = counter()
    first, again = (
        programs.compile_program(member, shared, SEEDS, width=2, mesh=mesh) for _ in range(2)
    )
    for name in programs.ROUNDS:
        executables = [one.runtime_executable() for one in first.stages[name]]
        assert len(set(map(id, executables))) == 2
        for stage, executable in zip(again.stages[name], executables, strict=True):
            assert stage.runtime_executable() is executable


@pytest.mark.parametrize("member", [plain, counter()], ids=["at once", "in rounds"])
def test_a_member_is_let_go_once_others_took_its_place(monkeypatch, member):
    kept = lru_cache(maxsize=3)(programs._jitted.__wrapped__)
    monkeypatch.setattr(programs, "_jitted", kept)

    class Data:
        """What a member closes over."""

    def study_of_its_own():
        data = Data()
        held.append(weakref.ref(data))

        def closing(stage):
            return lambda *inputs, seed: (data, stage(*inputs, seed=seed))[1]

        own = closing(member) if callable(member) else member._replace(init=closing(member.init))
        run(own)

    held = []
    for _ in range(2):
        study_of_its_own()
    run(counter())
    gc.collect()
    assert [data() for data in held] == [None, None]


def test_a_mesh_of_other_axes_is_refused():
    types = (jax.sharding.AxisType.Auto,) * 2
    mesh = jax.make_mesh((2, 2), ("members", "model"), axis_types=types)
    with pytest.raises(ValueError, match=r"mesh must be a jax\.sharding\.Mesh of one axis, 'memb"):
        run(plain, mesh=mesh)


def test_a_mesh_of_another_process_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with pytest.raises(ValueError, match="mesh must hold devices of this process alone, got"):
        placement.checked_mesh(devices_of(2))


def test_out_of_memory_halves_the_width_and_begins_anew(monkeypatch, capsys):
    ran = []

    def full(program, *inputs):
        ran.append(program.width)
        if program.width > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return programs.run_tile(program, *inputs)

    monkeypatch.setattr(populations, "run_tile", full)
    study = dj.study(plain, jnp.float32(100), axes={"seed": np.arange(5)}, width=8)
    assert study.results["value"].tolist() == [100, 101, 102, 103, 104]
    assert [p.width for p in study.plan.programs.values()] == [2]
    assert set(ran) == {8, 4, 2}
    assert "dljax: out of memory at width 8: all members begin anew at 4" in capsys.readouterr().err


def test_work_that_out_of_memory_undid_is_taken_back(monkeypatch):
    told, tiles = [], []

    def full(program, *inputs):
        tiles.append(program.width)
        if program.width > 2 and len(tiles) > 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return programs.run_tile(program, *inputs)

    monkeypatch.setattr(populations, "run_tile", full)
    monkeypatch.setattr(populations, "num_lanes", lambda mesh: 1)
    progress = lambda *stage_done_total: told.append(stage_done_total)  # noqa: E731
    dj.study(plain, jnp.float32(0), axes={"seed": np.arange(8)}, width=4, progress=progress)
    assert [done for stage, done, _ in told if stage == "run"] == [0, 4, 0, 2, 4, 6, 8]


def test_a_tile_that_ran_out_of_memory_is_let_go_before_the_next_begins(monkeypatch):
    class Tile:
        """What a tile holds on the device."""

    held = []

    def full(program, *inputs):
        if program.width > 2:
            tile = Tile()
            held.append(weakref.ref(tile))
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        held.append(held[0]())
        return programs.run_tile(program, *inputs)

    monkeypatch.setattr(populations, "run_tile", full)
    gc.disable()
    try:
        assert run(plain, {"seed": np.arange(2, dtype=np.uint32)}, width=4)["value"].size == 2
    finally:
        gc.enable()
    assert held[1:] == [None]


def test_without_memory_all_begins_anew_when_what_was_begun_has_ended(monkeypatch):
    """Else the new tiles would find the memory of the old ones taken."""
    begun, told = threading.Event(), []

    def full(program, name, shared, number, state, cells, device):
        if program.width > 2 and cells["seed"][0] > 0:
            begun.wait(60)
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        told.append(("begins", program.width))
        if program.width > 2:
            begun.set()
            time.sleep(0.3)
        found = programs.run_tile(program, name, shared, number, state, cells, device)
        told.append(("ends", program.width))
        return found

    monkeypatch.setattr(populations, "run_tile", full)
    monkeypatch.setattr(populations, "num_lanes", lambda mesh: 2)
    cells = {"seed": np.arange(8, dtype=np.uint32)}
    assert run(plain, cells, width=4)["value"].tolist() == list(range(100, 108))
    assert told[:3] == [("begins", 4), ("ends", 4), ("begins", 2)]


def test_other_errors_wait_for_nothing():
    begun, over = threading.Event(), threading.Event()

    def fails():
        begun.wait(60)
        raise ZeroDivisionError

    def waits():
        begun.set()
        over.wait(60)

    with pytest.raises(ZeroDivisionError):
        list(side_by_side([waits, fails], 2, settle=machine.is_full))
    over.set()


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        ([1.0], "shared must be a tuple of trees, got list"),
        (1.0, "shared must be a tuple of trees, got float"),
        (({"x": pd.DataFrame({"a": [1.0]})},), "must hold arrays and numbers .* got DataFrame"),
        ((pd.Series([1.0]),), r"of pandas, what to_numpy\(\) gives\), got Series"),
        ((np.array(["a"]),), "shared must hold arrays and numbers .* got ndarray of <U1"),
        (("a",), "shared must hold arrays and numbers .* got str"),
    ],
)
def test_what_no_device_takes_is_refused(shared, message):
    with pytest.raises(ValueError, match=message):
        dj.population(plain)(shared, SEEDS)


def test_whole_numbers_that_would_wrap_are_refused():
    member = lambda *, n: n  # noqa: E731
    message = "cells of whole numbers must fit int32 unless jax_enable_x64 is set, got 1 to 1099"
    with pytest.raises(ValueError, match=message):
        dj.population(member)((), {"n": np.array([1, 2**40 + 1])})
    with pytest.raises(ValueError, match="must fit uint32"):
        dj.population(member)((), {"n": np.array([2**32], np.uint64)})
    with jax.enable_x64(True):
        assert dj.population(member)((), {"n": np.array([2**40 + 1])}).tolist() == [2**40 + 1]


@pytest.mark.parametrize("seeds", [{"a": np.arange(3), "b": np.arange(4)}, {"a": [1, 2]}, {}])
def test_cells_that_are_not_arrays_of_one_length_are_refused(seeds):
    with pytest.raises(ValueError, match=r"cells must hold arrays .* of one number of members"):
        dj.population(lambda **cell: cell)((), seeds)


def test_a_member_may_return_nothing():
    assert dj.study(lambda *, seed: None, axes={"seed": [1, 2]}).results is None
    rounds = dj.Member(lambda seed: (), lambda s, r, seed: (s, {}), lambda s, r, seed: seed, 2)
    assert dj.study(rounds, axes={"seed": [1, 2]}).results.tolist() == [1, 2]


@pytest.mark.parametrize("chosen", [True, None, [0, 1, 2, 3, 4], [True] * 9, np.ones((5, 1), bool)])
def test_survive_must_choose_among_all_members(chosen):
    with pytest.raises(ValueError, match=r"survive must return bool\[5\], got \w+\["):
        dj.study(
            counter(),
            jnp.float32(0),
            axes={"seed": np.arange(5)},
            survive=lambda number, reports, going: chosen,
        )


def test_what_survive_is_given_is_its_own():
    told = []

    def survive(number, reports, going):
        reports["number"][:] = -1
        told.append(going)
        return going & (np.arange(5) > number)

    axes = {"seed": np.arange(5)}
    found = dj.study(counter(), jnp.float32(0), axes=axes, survive=survive).results
    assert found["reports"]["number"].min() == 0
    assert found["count"].tolist() == [1, 2, 3, 4, 4]
    assert [going.sum() for going in told] == [5, 4, 3, 2]


def test_jobs_come_back_in_order_and_run_side_by_side():
    meet = threading.Barrier(2, timeout=60)  # passes only if two jobs run at once

    def job(number):
        meet.wait()
        return number

    assert list(side_by_side((lambda i=i: job(i) for i in range(6)), 2)) == list(range(6))


def test_the_first_error_is_raised_and_no_further_job_begins():
    begun = []

    def job(number):
        begun.append(number)
        if number == 2:
            raise ZeroDivisionError("two")
        return number

    with pytest.raises(ZeroDivisionError, match="two"):
        list(side_by_side((lambda i=i: job(i) for i in range(100)), 1))
    time.sleep(0.05)
    assert begun == [0, 1, 2]


def test_threads_see_the_settings_of_the_caller():
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        (seen,) = side_by_side(
            [lambda: (jnp.ones(1).dtype, jax.config.jax_default_matmul_precision)], 1
        )
    assert seen == (np.float64, "highest")
    with jax.default_prng_impl("rbg"):
        (seen,) = side_by_side([lambda: str(jax.random.key_impl(jax.random.key(0)))], 1)
    assert seen == "rbg"


def test_a_population_in_float64_stays_in_float64():
    with jax.enable_x64(True):
        found = dj.population(lambda *, x: x / 3)((), {"x": np.arange(3.0)})
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.arange(3.0) / 3)


def search(data, *, seed, learning_rate=0.05):
    fit = dj.trainer(
        small.classifier(),
        dj.optimizers.adam(learning_rate),
        data,
        dj.holdout(jax.random.key(1), len(data["y"]), valid=0.3),
        batch_size=8,
    )
    return fit, dj.stream(jax.random.key(0), "member", seed)


AXES = {"seed": np.arange(4, dtype=np.uint32), "learning_rate": np.float32([0.01, 0.1, 1, 1e38])}
STOPPING = {"eval_every": 5, "patience": 2, "monitor": "valid_loss"}


@pytest.fixture(scope="module")
def at_once():
    """Early stopping in one program, under vmap."""

    def member(data, **cell):
        fit, key = search(data, **cell)
        return dj.run_until(fit, fit.init(key), max_steps=30, **STOPPING)[1]

    return dj.population(member, width=2)((small.blobs(),), AXES)


@pytest.mark.parametrize("num_rounds", [6, 2, 1])
def test_early_stopping_is_the_same_however_it_is_cut_into_rounds(at_once, num_rounds):
    member = dj.run_in_rounds(search, num_steps=30, num_rounds=num_rounds, **STOPPING)
    found = dj.population(member, width=2)((small.blobs(),), AXES)
    chex.assert_trees_all_equal(found, at_once)
    assert found["diverged_at"][3] > 0


@pytest.mark.slow
def test_rounds_without_patience_give_the_history_of_run():
    def member(data, **cell):
        fit, key = search(data, **cell)
        return dj.run(fit, fit.init(key), num_steps=20, eval_every=5)[1]

    def in_rounds(num_rounds):
        rounds = dj.run_in_rounds(search, num_steps=20, eval_every=5, num_rounds=num_rounds)
        return dj.population(rounds, width=2)((small.blobs(),), AXES)

    two = in_rounds(2)
    chex.assert_trees_all_equal(two, in_rounds(4))
    expected = dj.population(member, width=2)((small.blobs(),), AXES)
    diverged = expected["diverged_at"] > 0
    assert diverged.tolist() == [False, False, False, True]
    alive = lambda tree: {name: tree[name][~diverged] for name in expected}  # noqa: E731
    # another program: XLA fuses the sums of an evaluation in another order, 2e-6 were seen
    chex.assert_trees_all_close(alive(two), alive(expected), rtol=1e-5)


@pytest.mark.parametrize("form", ["in rounds", "at once"])
def test_nearly_all_work_of_a_population_with_early_stopping_is_useful(monkeypatch, form):
    computed = []

    def counted(program, name, *inputs):
        found = programs.run_tile(program, name, *inputs)
        if name == "advance":
            computed.append(program.width)  # a padded slot computes too
        if name == "whole":  # under vmap all members of a tile go on until the last one stops
            computed.append(program.width * found["stopped_at"].max() // STOPPING["eval_every"])
        return found

    def at_once(data, **cell):
        fit, key = search(data, **cell)
        return dj.run_until(fit, fit.init(key), max_steps=100, **STOPPING)[1]

    monkeypatch.setattr(populations, "run_tile", counted)
    in_rounds = dj.run_in_rounds(search, num_steps=100, **STOPPING)
    cells = {"seed": np.arange(80, dtype=np.uint32)}
    cells["learning_rate"] = np.tile(np.float32([0.03, 0.1, 0.3, 1.0]), 20)
    member = in_rounds if form == "in rounds" else at_once
    found = dj.population(member)((small.blobs(),), cells)
    assert len(set(found["stopped_at"].tolist())) > 3
    useful = found["stopped_at"].sum() / STOPPING["eval_every"]
    assert useful >= 0.95 * sum(computed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_rounds": 4}, "num_rounds must divide the evaluations, got 4 and 6"),
        ({"num_rounds": 7}, r"num_rounds must be in \[1, 6\], got 7"),
        ({"patience": 0}, r"patience must be in \[1, inf\), got 0"),
        ({"goal": "most"}, "goal must be 'min' or 'max', got 'most'"),
    ],
)
def test_rounds_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        dj.run_in_rounds(search, num_steps=30, eval_every=5, **options)
