"""Schedules equal their formulas, optax's and torch's, with numbers that may be traced."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

import dljax as dj
from dljax import schedules

T = 20
COUNT = np.arange(T + 5, dtype=np.int32)
MADE = {  # by one traced level
    "constant": lambda rate: schedules.constant(rate),
    "exponential_decay": lambda rate: schedules.exponential_decay(rate, 0.5, 4),
    "step_down": lambda rate: schedules.step_down(rate, [5, 12], 0.1),
    "polynomial": lambda rate: schedules.polynomial(rate, T, power=2.0, end=0.1 * rate),
    "cosine": lambda rate: schedules.cosine(rate, T, end=0.1 * rate),
    "restarts": lambda rate: schedules.restarts(schedules.cosine(rate, 8), 8),
    "warmup": lambda rate: schedules.warmup(schedules.cosine(rate, 15), 5),
    "one_cycle": lambda rate: schedules.one_cycle(rate, T),
    "warmup_stable_decay": lambda rate: schedules.warmup_stable_decay(rate, T, warm=0.2),
    "from_epochs": lambda rate: schedules.from_epochs(schedules.cosine(rate, 5), 4),
}
every_schedule = pytest.mark.parametrize("name", MADE)


def close(schedule, expected):
    """To float32: a few roundings of numbers up to 1, and cosines that cancel near 0."""
    np.testing.assert_allclose(schedule(COUNT), expected, rtol=1e-5, atol=2e-7)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (schedules.constant(0.3), optax.constant_schedule(0.3)),
        (schedules.exponential_decay(0.3, 0.5, 4), optax.exponential_decay(0.3, 4, 0.5)),
        (
            schedules.step_down(0.3, [5, 12], [0.1, 0.5]),
            optax.piecewise_constant_schedule(0.3, {5: 0.1, 12: 0.5}),
        ),
        (
            schedules.polynomial(0.3, T, power=3, end=0.1),
            optax.polynomial_schedule(0.3, 0.1, 3, T),
        ),
        (schedules.cosine(0.3, T, end=0.03), optax.cosine_decay_schedule(0.3, T, 0.1)),
        (
            schedules.warmup(schedules.cosine(0.3, 15), 5, start=0.01),
            optax.warmup_cosine_decay_schedule(0.01, 0.3, 5, 20),
        ),
        (
            schedules.one_cycle(0.3, T, peak=0.25, back=0.75, end=1e-4 / 25),
            optax.linear_onecycle_schedule(T, 0.3, pct_start=0.25, pct_final=0.75),
        ),
    ],
    ids=["constant", "exponential", "step", "polynomial", "cosine", "warmup", "one_cycle"],
)
def test_equals_optax(ours, theirs):
    close(ours, jax.vmap(theirs)(COUNT))


def test_equals_torch():
    torch = pytest.importorskip("torch")
    there = torch.optim.lr_scheduler

    def rates(scheduler, **arguments):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3, momentum=0.9)
        scheduler = scheduler(optimizer, **arguments)
        found = []
        for _ in range(T):
            found.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        return found

    count = COUNT[:T]
    for ours, theirs in (
        (schedules.step_down(0.3, [5, 12]), rates(there.MultiStepLR, milestones=[5, 12])),
        (schedules.exponential_decay(0.3, 0.9), rates(there.ExponentialLR, gamma=0.9)),
        (
            schedules.cosine(0.3, T, end=0.01),
            rates(there.CosineAnnealingLR, T_max=T, eta_min=0.01),
        ),
        (
            schedules.restarts(schedules.cosine(0.3, 7), 7),
            rates(there.CosineAnnealingWarmRestarts, T_0=7),
        ),
        (schedules.polynomial(0.3, T), rates(there.PolynomialLR, total_iters=T, power=1)),
        (  # torch ends at its last update, T - 1, and rises for 0.4 T - 1 of them
            schedules.one_cycle(0.3, T - 1, peak=7 / 19, back=14 / 19, end=1e-4 / 25),
            rates(
                there.OneCycleLR,
                max_lr=0.3,
                total_steps=T,
                pct_start=0.4,
                anneal_strategy="linear",
                three_phase=True,
            ),
        ),
    ):
        np.testing.assert_allclose(ours(count), theirs, rtol=1e-5, atol=2e-7)


def test_the_pieces_of_warmup_stable_decay_meet():
    schedule = schedules.warmup_stable_decay(0.5, T, warm=0.2, stable=0.7, end=0.1)
    up, down = np.linspace(0, 0.5, 5), np.linspace(0.5, 0.05, 7)
    close(schedule, np.concatenate([up, np.full(9, 0.5), down, np.full(4, 0.05)]))


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [
        (schedules.exponential_decay(0.4, 0.01, T), 0.4, 0.004),
        (schedules.polynomial(0.4, T, power=0.5, end=0.1), 0.4, 0.1),
        (schedules.cosine(0.4, T, end=0.1), 0.4, 0.1),
        (schedules.warmup(0.4, 0), 0.4, 0.4),
        (schedules.warmup(0.4, T, start=0.1), 0.1, 0.4),
        (schedules.one_cycle(0.4, T, start=0.5, end=0.25), 0.2, 0.1),
    ],
    ids=["exponential", "polynomial", "cosine", "no warmup", "warmup", "one cycle"],
)
def test_a_schedule_begins_and_ends_where_it_is_told_to(schedule, first, last):
    np.testing.assert_allclose([schedule(0), schedule(T)], [first, last], rtol=1e-6)


def test_decays_never_rise():
    for name in ("exponential_decay", "step_down", "polynomial", "cosine", "from_epochs"):
        assert (np.diff(MADE[name](0.3)(COUNT)) <= 0).all(), name


@every_schedule
def test_traced_levels_give_the_numbers_of_python_ones_and_finite_gradients(name):
    rates = jnp.array([0.1, 0.4])
    together = jax.jit(jax.vmap(lambda rate: MADE[name](rate)(COUNT)))(rates)
    for rate, found in zip([0.1, 0.4], together, strict=True):
        close(MADE[name](rate), found)
    one_by_one = jnp.stack([MADE[name](0.1)(jnp.int32(count)) for count in (0, 7, T)])
    chex.assert_trees_all_close(one_by_one, together[0][np.array([0, 7, T])], rtol=1e-6)
    slope = jax.grad(lambda rate: MADE[name](rate)(COUNT).sum())(0.1)
    # every schedule is proportional to its learning rate
    np.testing.assert_allclose(slope, together[0].sum() / 0.1, rtol=1e-5)


def test_every_number_may_be_traced_and_has_a_finite_gradient():
    def rates(x):
        made = (
            schedules.exponential_decay(x["a"], x["b"], x["T"]),
            schedules.step_down(x["a"], [x["b"] * 10, x["T"]], x["b"]),
            schedules.polynomial(x["a"], x["T"], power=x["b"], end=x["c"]),
            schedules.cosine(x["a"], x["T"], end=x["c"]),
            schedules.restarts(schedules.cosine(x["a"], x["T"]), x["T"]),
            schedules.warmup(x["a"], x["c"] * 0, start=x["c"]),
            schedules.one_cycle(x["a"], x["T"], peak=x["b"], back=x["b"], start=x["c"], end=x["c"]),
            schedules.warmup_stable_decay(x["a"], x["T"], warm=x["c"] * 0, stable=x["b"]),
            schedules.from_epochs(schedules.cosine(x["a"], x["T"]), x["T"]),
        )
        return jnp.stack([schedule(COUNT[::5]) for schedule in made]).sum()

    x = {"a": 0.3, "b": 0.5, "c": 0.1, "T": 20.0}
    chex.assert_tree_all_finite(jax.jit(jax.value_and_grad(rates))(x))


def test_a_study_varies_a_level_and_the_trainer_tells_the_loss():
    data = small.blobs()

    def member(data, *, learning_rate):
        schedule = schedules.warmup(schedules.cosine(learning_rate, 8), 2)
        # nag asks for the rate one step ahead; every loss of a rate of 0 is a plateau
        nag = schedules.reduce_on_plateau(dj.optimizers.nag, schedule, patience=1, factor=0.5)
        task = dj.supervised(small.linear_model(), dj.losses.cross_entropy)
        fit = dj.trainer(task, nag, data)
        state, history = dj.run(fit, fit.init(jax.random.key(0)), num_steps=10)
        return history["train_loss"], state.opt_state.plateau.scale

    losses, scale = dj.study(member, data, axes={"learning_rate": [0.0, 0.1]}).results
    assert losses[0, 0] == losses[0, 1]
    assert losses[1, 1] < losses[1, 0]
    np.testing.assert_array_equal(scale, [0.5**9, 1.0])


def test_optax_takes_our_schedules():
    optimizer, p = optax.sgd(schedules.step_down(1.0, [1], 0.5)), jnp.zeros(2)
    state = optimizer.init(p)
    for expected in (-1.0, -0.5, -0.5):
        updates, state = optimizer.update(jnp.ones(2), state)
        np.testing.assert_array_equal(updates, expected)


LOSSES = np.array([5, 4, 4.5, 4.4, 4.3, 3, 3.5, 3.4, 3.2, 3.1, 3, 3, 3, 3, 2.9, 2.9], np.float32)


def scales(optimizer, losses=LOSSES):
    """Minus the updates of gradients of one."""

    def step(state, value):
        updates, state = optimizer.update(jnp.ones([]), state, jnp.zeros([]), value=value)
        return state, -updates

    return jax.lax.scan(step, optimizer.init(jnp.zeros([])), jnp.asarray(losses))[1]


@pytest.mark.parametrize(
    "rules",
    [
        {"patience": 2, "factor": 0.5},
        {"patience": 2, "factor": 0.5, "cooldown": 3},
        {"patience": 1, "factor": 0.5, "min_scale": 0.25},
    ],
    ids=["plain", "cooldown", "bounded"],
)
def test_reduce_on_plateau_equals_optax_and_torch(rules):
    ours = scales(schedules.reduce_on_plateau(dj.optimizers.sgd, 1.0, **rules))
    theirs = optax.chain(optax.sgd(1.0), optax.contrib.reduce_on_plateau(**rules))
    np.testing.assert_array_equal(ours, scales(theirs))  # powers of a half are exact
    assert ours[-1] < 1
    torch = pytest.importorskip("torch")
    there = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        there,
        factor=rules["factor"],
        patience=rules["patience"] - 1,  # torch counts one more
        cooldown=rules.get("cooldown", 0),
        min_lr=rules.get("min_scale", 0.0),
    )
    for value, expected in zip(LOSSES, ours, strict=True):
        scheduler.step(value)
        assert there.param_groups[0]["lr"] == expected


def test_reduce_on_plateau_averages_over_a_window():
    ours = schedules.reduce_on_plateau(dj.optimizers.sgd, 1.0, window=2, patience=1, factor=0.5)
    # means 1, 2, 3/2: the second and the third are no improvement
    expected = [1, 1, 1, 0.5, 0.5, 0.25]
    np.testing.assert_array_equal(scales(ours, [1, 1, 1, 3, 0, 3]), expected)


def test_reduce_on_plateau_scales_the_rate_of_nag_and_keeps_its_weights():
    def run(optimizer):
        p = jnp.ones(2)
        state = optimizer.init(p)
        for value in (1.0, 1.0, 0.5):
            updates, state = optimizer.update(2 * p, state, p, value=jnp.float32(value))
            p = p + updates
        return dj.optimizers.eval_params(state, p)

    ours = run(schedules.reduce_on_plateau(dj.optimizers.nag, 0.1, patience=1, factor=0.5))
    # W = W - rate a at gradients of the look-ahead point, whose rate is the one known then
    W, a = 1.0, 0.0
    for now, known in ((0.1, 0.1), (0.05, 0.1), (0.05, 0.05)):
        a = 0.9 * a + 2 * (W - known * 0.9 * a)
        W = W - now * a
    np.testing.assert_allclose(ours, W, rtol=1e-6)


def test_reduce_on_plateau_takes_traced_numbers():
    def run(factor):
        optimizer = schedules.reduce_on_plateau(dj.optimizers.sgd, 1.0, factor=factor, patience=3)
        return scales(optimizer)

    together = jax.vmap(run)(jnp.array([0.5, 0.25]))
    np.testing.assert_array_equal(together, [run(0.5), run(0.25)])


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: schedules.constant(-1), r"learning_rate must be in \[0, inf\), got -1"),
        (lambda: schedules.exponential_decay(0.1, 0.0), r"decay must be in \(0, inf\), got 0"),
        (lambda: schedules.cosine(0.1, 0), r"num_steps must be in \(0, inf\), got 0"),
        (lambda: schedules.cosine(0.1, 9, end=-1), r"end must be in \[0, inf\), got -1"),
        (lambda: schedules.step_down(0.1, [5, -1]), r"a boundary must be in \[0, inf\), got -1"),
        (lambda: schedules.polynomial(0.1, 9, power=0), r"power must be in \(0, inf\), got 0"),
        (lambda: schedules.warmup(0.1, -1), r"num_steps must be in \[0, inf\), got -1"),
        (lambda: schedules.one_cycle(0.1, 9, peak=1.5), r"peak must be in \[0, 1\], got 1.5"),
        (
            lambda: schedules.warmup_stable_decay(0.1, 9, warm=0.5, stable=0.4),
            "stable must be at least warm, got 0.4 and 0.5",
        ),
        (lambda: schedules.from_epochs(abs, 0), r"steps_per_epoch must be in \(0, inf\), got 0"),
        (
            lambda: schedules.reduce_on_plateau(dj.optimizers.sgd(0.1), 0.1),
            "optimizer must be a function of the learning rate, .*, got GradientTransform",
        ),
        (
            lambda: schedules.reduce_on_plateau(dj.optimizers.sgd, 0.1, factor=1.0),
            r"factor must be in \(0, 1\), got 1",
        ),
        (
            lambda: schedules.reduce_on_plateau(dj.optimizers.sgd, 0.1, patience=0),
            r"patience must be in \[1, inf\), got 0",
        ),
    ],
)
def test_a_number_out_of_range_says_its_name_its_rule_and_what_came(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()


def test_a_missing_loss_is_said():
    optimizer = schedules.reduce_on_plateau(dj.optimizers.sgd, 0.1)
    with pytest.raises(ValueError, match=r"reduce_on_plateau needs the loss: call update\(grads"):
        optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)), jnp.ones(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dj.schedules.step_down(0.1, 10), "boundaries must be a list of counts, got 10"),
        (
            lambda: dj.schedules.step_down(0.1, [10, 20], factor=[0.1, 0.2, 0.3]),
            "factor must be one number or 2, one for each boundary, got 3",
        ),
        (lambda: dj.schedules.one_cycle(0.1, 10, start=-1.0), r"start must be in \[0, inf\)"),
        (lambda: dj.schedules.warmup_stable_decay(0.1, 9, end=-1.0), r"end must be in \[0, inf\)"),
    ],
    ids=["boundaries", "factors", "start", "end"],
)
def test_an_argument_of_the_wrong_kind_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
