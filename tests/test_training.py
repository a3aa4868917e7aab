"""One run: epochs, batches, evaluations, divergence, resuming, early stopping."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from hypothesis import given, settings
from hypothesis import strategies as st

import dljax as dj
from dljax.slots import go_through


def times_seen(num_rows, rows, *, num_steps, batch_size, **options):
    """How often each row entered a step, weighted by 1 / real rows of its batch."""
    data = {"row": np.arange(num_rows, dtype=np.int32)}
    fit = dj.trainer(
        small.spy_task(num_rows),
        dj.optimizers.sgd(1.0),
        data,
        dj.Split(rows),
        batch_size=batch_size,
        **options,
    )
    state = fit.init(jax.random.key(1))
    batches = fit.draw(state, num_steps)
    state, _ = dj.run(fit, state, num_steps=num_steps)
    return -np.asarray(state.variables["params"]["seen"]), np.asarray(batches)


@settings(max_examples=6, deadline=None)
@given(st.integers(2, 40), st.integers(1, 40))
def test_every_epoch_visits_every_row_once_also_with_a_remainder(num_rows, batch_size):
    batch_size = min(batch_size, num_rows)
    slots = -(-num_rows // batch_size)
    fit = dj.trainer(
        small.spy_task(num_rows),
        dj.optimizers.sgd(1.0),
        {"row": np.arange(num_rows, dtype=np.int32)},
        batch_size=batch_size,
    )
    positions = np.asarray(fit.draw(fit.init(jax.random.key(0)), 3 * slots))
    for epoch in positions.reshape(3, -1):
        assert sorted(epoch[epoch < num_rows]) == list(range(num_rows))


def test_every_epoch_visits_every_row_once_with_unequal_folds():
    num_rows, num_folds, batch_size = 23, 5, 4
    data = {"row": np.arange(num_rows, dtype=np.int32)}
    slots = -(-(num_rows - num_rows // num_folds) // batch_size)

    @jax.vmap
    def two_epochs(fold):
        split = dj.kfold(jax.random.key(0), num_rows, num_folds, fold)
        fit = dj.trainer(
            small.spy_task(num_rows), dj.optimizers.sgd(1.0), data, split, batch_size=batch_size
        )
        positions = fit.draw(fit.init(jax.random.key(1)), 2 * slots)
        state, _ = dj.run(fit, fit.init(jax.random.key(1)), num_steps=2 * slots)
        return split.train, positions, -state.variables["params"]["seen"]

    for rows, positions, seen in zip(*map(_members, jax.jit(two_epochs)(jnp.arange(num_folds)))):
        trained = rows.index[: rows.count]
        for epoch in positions.reshape(2, -1):
            assert sorted(epoch[epoch < rows.count]) == list(range(rows.count))
        assert np.flatnonzero(seen).tolist() == sorted(trained.tolist())
        # a batch of B real rows moves each of them by 1 / B: together by 1, if it has any
        np.testing.assert_allclose(seen.sum(), 2 * -(-rows.count // batch_size), rtol=1e-6)


def _members(tree):
    tree = jax.tree.map(np.asarray, tree)
    return [jax.tree.map(lambda x, i=i: x[i], tree) for i in range(len(jax.tree.leaves(tree)[0]))]


def test_a_slot_without_real_rows_leaves_the_state_and_its_count_unchanged():
    rows = dj.Rows(jnp.array([3, 1, 3, 3], jnp.int32), jnp.int32(2), jnp.array([1.0, 1, 0, 0]))
    data = {"row": np.arange(5, dtype=np.int32)}
    adam = dj.optimizers.adam(0.1)
    fit = dj.trainer(small.spy_task(5), adam, data, dj.Split(rows), batch_size=2)
    one, _ = dj.run(fit, fit.init(jax.random.key(0)), num_steps=1)
    two, _ = dj.run(fit, fit.init(jax.random.key(0)), num_steps=2)
    assert int(two.slot) == 2
    assert int(two.opt_state.count) == 1
    chex.assert_trees_all_equal(one.variables, two.variables)


def test_remainder_drop_leaves_out_the_last_rows_of_every_epoch():
    seen, positions = times_seen(
        11, dj.splits.all_rows(11), num_steps=4, batch_size=4, remainder="drop"
    )
    assert (positions < 11).all()
    np.testing.assert_allclose(seen.sum(), 4, rtol=1e-6)
    for epoch in positions.reshape(2, 8):
        assert len(set(epoch)) == 8


def test_order_once_replays_the_first_epoch_and_reshuffle_does_not():
    for order, same in (("once", True), ("reshuffle", False)):
        _, positions = times_seen(
            12, dj.splits.all_rows(12), num_steps=6, batch_size=4, order=order
        )
        assert np.array_equal(positions[:3], positions[3:]) is same


def test_order_replacement_draws_rows_again_within_an_epoch():
    _, positions = times_seen(
        12, dj.splits.all_rows(12), num_steps=30, batch_size=12, order="replacement"
    )
    distinct = np.mean([len(set(slot)) for slot in positions])
    # 12 (1 - (1 - 1/12)^12) = 7.8 distinct rows on average; 30 draws vary by about 0.2
    assert 7.0 < distinct < 8.6


def test_full_batch_mini_batch_and_one_example_are_one_call():
    data = small.blobs()
    task = dj.supervised(small.linear_model(), dj.losses.cross_entropy)
    for batch_size, slots in ((None, 1), (16, 3), (1, 47)):
        fit = dj.trainer(task, dj.optimizers.sgd(0.1), data, batch_size=batch_size)
        run = jax.jit(lambda key, f=fit, n=slots: dj.run(f, f.init(key), num_steps=2 * n)[1])
        loss = run(jax.random.key(0))["train_loss"]
        assert loss[1] < loss[0]


def test_a_full_batch_step_is_gradient_descent_on_the_weighted_mean():
    data = small.blobs(6)
    weight = jnp.array([1.0, 2.0, 0.0, 1.0, 1.0, 0.5])
    rows = dj.Rows(jnp.arange(6, dtype=jnp.int32), jnp.int32(6), weight)
    task = dj.supervised(small.linear_model(), dj.losses.cross_entropy)
    fit = dj.trainer(task, dj.optimizers.sgd(0.1), data, dj.Split(rows))
    start = fit.init(jax.random.key(0))
    end, _ = dj.run(fit, start, num_steps=1)

    def loss(params):
        logits = data["x"] @ params["W"] + params["b"][None]
        return (weight * dj.losses.cross_entropy(logits, jnp.asarray(data["y"]))).sum() / 6

    params = start.variables["params"]
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))
    chex.assert_trees_all_close(end.variables["params"], expected, rtol=1e-5)


def test_history_starts_at_step_zero_with_the_initial_parameters():
    data = small.blobs()
    _, history = jax.jit(lambda data: small.member(data, seed=0))(data)
    assert history["step"].tolist() == [0, 5, 10, 15, 20]
    assert history["valid_loss"].shape == (5,)
    assert int(history["diverged_at"]) == -1


def test_resuming_from_a_train_state_equals_running_through_bitwise():
    data = small.blobs()
    fit = dj.trainer(small.classifier(), dj.optimizers.momentum(0.05), data, batch_size=7)
    start = jax.jit(fit.init)(jax.random.key(0))

    @functools.cache
    def run_on(num_steps):
        return jax.jit(lambda s: dj.run(fit, s, num_steps=num_steps, eval_every=5))

    through, history = run_on(20)(start)
    for parts in ((10, 10), (5, 5, 5, 5)):  # 47 rows in batches of 7: within an epoch too
        state, rows = start, []
        for num_steps in parts:
            state, part = run_on(num_steps)(state)
            rows.append({name: part[name][1:] for name in ("step", "train_loss")})
        chex.assert_trees_all_equal(state._replace(key=0), through._replace(key=0))
        joined = jax.tree.map(lambda *x: jnp.concatenate(x), *rows)
        chex.assert_trees_all_equal(joined, {name: history[name][1:] for name in joined})


def test_divergence_keeps_the_state_before_it_and_marks_later_rows():
    task = dj.Task(
        init=lambda key, batch: {"params": {"w": jnp.float32(1.0)}},
        predict=lambda variables, batch, **_: (variables["params"]["w"], variables),
        loss=lambda w, batch: (w**2)[None],
        measure=lambda w, batch: {"loss": (w**2)[None]},
    )
    # w <- w - 1e10 * 2 w: |w| grows by 2e10 a step: w^2 overflows float32 before step 3
    fit = dj.trainer(task, dj.optimizers.sgd(1e10), lambda key: {}, parts=("valid",))
    state, history = dj.run(fit, fit.init(jax.random.key(0)), num_steps=6, eval_every=1)
    assert int(state.diverged_at) == int(history["diverged_at"]) == 3
    assert np.isfinite(state.variables["params"]["w"])
    np.testing.assert_allclose(state.variables["params"]["w"], 4e20, rtol=1e-5)
    assert np.isnan(history["valid_loss"][3:]).all()
    assert np.isfinite(history["valid_loss"][:2]).all()
    assert int(state.opt_state.count) == 2


def walk(slots, idle, alive, bad):
    """What `go_through` promises of one member, slot by slot."""
    x, taken = np.int32(1), len(slots)
    for i in np.flatnonzero(~idle):
        if bad[i]:
            taken = i
            break
        x = x * np.int32(3) + slots[i]
    return (x if alive else np.int32(1)), taken


def test_slots_are_gone_through_as_a_loop_would_whichever_members_hold_still():
    draw = np.random.default_rng(0)
    slots, idle = draw.integers(9, size=(6, 4, 7), dtype=np.int32), draw.random((6, 4, 7)) < 0.2
    bad, alive = draw.random((6, 4, 7)) < 0.1, draw.random((6, 4)) < 0.8
    idle[0], bad[0], alive[0] = False, False, True  # a tile in which nothing happens

    def member(slots, idle, alive, bad):
        step = lambda x, slot: (x * 3 + slot[0], ~slot[1])  # noqa: E731
        return go_through(step, jnp.int32(1), (slots, bad), idle=idle, alive=alive)

    cases = (slots, idle, alive, bad)
    expected = [[walk(*(x[i, j] for x in cases)) for j in range(4)] for i in range(6)]
    end, last = np.moveaxis(np.array(expected), -1, 0)
    in_tiles = jax.jit(lambda *x: jax.lax.map(lambda tile: jax.vmap(member)(*tile), x))
    nested = jax.jit(jax.vmap(jax.vmap(member)))
    alone = jax.jit(jax.vmap(lambda *tile: jax.lax.map(lambda one: member(*one), tile)))
    for way in (in_tiles, nested, alone):
        found, taken = way(*cases)
        np.testing.assert_array_equal(found, end)
        np.testing.assert_array_equal(taken[alive], last[alive])


def test_a_member_that_diverges_within_a_round_leaves_the_bits_of_its_tile_alone():
    data = small.blobs()

    def member(data, *, seed, last):
        key = dj.stream(jax.random.key(0), "member", seed)
        rate = lambda count: jnp.where(count < last, 0.1, jnp.inf)  # noqa: E731
        fit = dj.trainer(small.classifier(), dj.optimizers.momentum(rate), data, batch_size=8)
        return dj.run(fit, fit.init(key), num_steps=20, eval_every=10)

    def run(seeds, lasts):
        cells = {"seed": np.array(seeds, np.uint32), "last": np.array(lasts, np.int32)}
        state, history = dj.population(member, width=2)((data,), cells)
        return _members((state._replace(key=()), history))

    never = 99
    one = run([0, 1], [never, never])[0]
    for last in (3, 10, 16):  # in the first round, at the beginning of the second, within it
        beside, lost = run([0, 1], [never, last])
        chex.assert_trees_all_equal(beside, one)
        assert lost[0].diverged_at == last + 1
        assert lost[0].opt_state.count == last
        assert np.isnan(lost[1]["train_loss"]).tolist() == [False, last < 10, True]
        lost_alone = run([1], [last])[0]
        chex.assert_trees_all_equal(lost, lost_alone)
    both = run([0, 1], [7, 3])
    assert [int(state.diverged_at) for state, _ in both] == [8, 4]
    chex.assert_trees_all_equal(both[1], run([1, 0], [3, never])[0])


@pytest.mark.slow
def test_a_run_is_differentiated_in_reverse_as_its_steps_are():
    data = small.blobs()

    def trained(rate, steps_of):
        fit = dj.trainer(small.classifier(()), dj.optimizers.sgd(rate), data, batch_size=16)
        state = steps_of(fit, fit.init(jax.random.key(0)))
        return fit.evaluate(state)["train_loss"]

    def one_by_one(fit, state):
        rows = fit.draw(state, 2)
        for i in range(2):
            state = fit.step(state, jax.tree.map(lambda x, i=i: x[i], rows))[0]
            state = state._replace(slot=state.slot + 1)
        return state

    in_rounds = lambda fit, state: dj.run(fit, state, num_steps=2, eval_every=1)[0]  # noqa: E731

    def slope(steps_of):
        return jax.jit(jax.vmap(jax.grad(lambda rate: trained(rate, steps_of))))

    rates = jnp.array([0.03, 0.1])
    found, expected = slope(in_rounds)(rates), slope(one_by_one)(rates)
    # sums in another order, over two steps
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
def test_evaluation_in_slices_is_the_plain_mean(monkeypatch):
    data = small.blobs(47)
    split = dj.holdout(jax.random.key(3), 47, valid=0.3)
    whole = dj.trainer(small.classifier(), dj.optimizers.sgd(0.1), data, split)
    monkeypatch.setattr(dj.batches, "EVAL_ROWS", 10)
    sliced = dj.trainer(small.classifier(), dj.optimizers.sgd(0.1), data, split)
    state = whole.init(jax.random.key(0))
    chex.assert_trees_all_close(whole.evaluate(state), sliced.evaluate(state), rtol=1e-6)
    rows = np.asarray(split.valid.index)
    logits = whole.predict(state, {name: jnp.asarray(x[rows]) for name, x in data.items()})
    plain = dj.losses.cross_entropy(logits, jnp.asarray(data["y"][rows])).mean()
    np.testing.assert_allclose(sliced.evaluate(state)["valid_loss"], plain, rtol=1e-6)


def stopping_run(patience, max_steps, seed):
    data = small.blobs(30)
    key = dj.stream(jax.random.key(0), "member", seed)
    split = dj.holdout(dj.stream(key, "split"), 30, valid=0.3)
    fit = dj.trainer(
        small.classifier(()), dj.optimizers.sgd(2.0), data, split, batch_size=8, parts=("valid",)
    )
    best, history = dj.run_until(
        fit, fit.init(key), max_steps=max_steps, eval_every=5, patience=patience
    )
    _, plain = dj.run(fit, fit.init(key), num_steps=max_steps, eval_every=5)
    return history, fit.evaluate(best)["valid_loss"], plain["valid_loss"]


@pytest.fixture(scope="module")
def stopped():
    """Four members that stop early, together in one program."""
    return jax.jit(jax.vmap(lambda seed: stopping_run(3, 200, seed)))(jnp.arange(4))


def test_early_stopping_keeps_the_best_parameters_and_repeats_the_last_row(stopped):
    for history, best_loss, plain in zip(*map(_members, stopped), strict=True):
        losses, steps = history["valid_loss"], history["step"]
        last = int(history["stopped_at"]) // 5
        assert last < 40
        assert int(history["best_step"]) == steps[np.argmin(losses)] == 5 * (last - 3)
        np.testing.assert_allclose(best_loss, losses.min(), rtol=1e-6)
        np.testing.assert_allclose(losses[: last + 1], plain[: last + 1], rtol=1e-6)
        assert (losses[last:] == losses[last]).all()
        assert (steps[last:] == history["stopped_at"]).all()


def test_finished_members_are_frozen_while_others_go_on(stopped):
    histories = _members(stopped[0])
    assert len({int(history["stopped_at"]) for history in histories}) > 1
    alone = jax.jit(lambda seed: stopping_run(3, 200, seed)[0])
    for seed, together in enumerate(histories):
        one = alone(jnp.int32(seed))
        assert int(one["stopped_at"]) == together["stopped_at"]
        # another program than the vmapped one: last bits may differ
        np.testing.assert_allclose(one["valid_loss"], together["valid_loss"], rtol=2e-5)


@pytest.mark.slow
def test_early_stopping_that_never_stops_equals_run():
    history, _, plain = jax.jit(lambda seed: stopping_run(1000, 30, seed))(0)
    np.testing.assert_allclose(history["valid_loss"], plain, rtol=1e-6)
    assert int(history["stopped_at"]) == 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"batch_size must be in \[1, 36\], got 0"),
        ({"batch_size": 48}, r"batch_size must be in \[1, 36\], got 48"),
        ({"num_steps": 0}, r"the number of steps must be in \[1, inf\), got 0"),
        ({"eval_every": 7}, "eval_every must divide the number of steps, got 7 and 20"),
        ({"order": "sorted"}, "order must be one of reshuffle, once, replacement, got 'sorted'"),
        ({"remainder": "pad"}, "remainder must be one of keep, drop, got 'pad'"),
    ],
)
def test_a_bad_size_says_the_rule_and_what_came(options, message):
    with pytest.raises(ValueError, match=message):
        small.member(small.blobs(), seed=0, **options)


def test_a_measure_to_monitor_must_exist():
    data = small.blobs(30)
    split = dj.holdout(jax.random.key(0), 30, valid=0.3)
    fit = dj.trainer(small.classifier(), dj.optimizers.sgd(0.5), data, split)
    with pytest.raises(ValueError, match="did you mean 'valid_loss'"):
        dj.run_until(
            fit,
            fit.init(jax.random.key(0)),
            max_steps=5,
            eval_every=5,
            patience=1,
            monitor="valid_los",
        )
