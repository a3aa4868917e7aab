"""What a member costs is read off its jaxpr, and the width follows."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

import dljax as dj
from dljax import widths
from dljax.costs import Cost, cost
from dljax.programs import member_cost
from dljax.widths import default_width

A, X = jnp.ones((4, 3)), jnp.ones((3, 5))


def counted(f, *inputs):
    return cost(jax.make_jaxpr(f)(*inputs))


def test_a_product_counts_two_operations_for_each_term():
    assert counted(jnp.matmul, A, X).flops == 2 * 4 * 3 * 5
    batched = counted(jax.vmap(jnp.matmul, (None, 0)), A, jnp.ones((7, 3, 5)))
    assert batched.flops == 7 * 2 * 4 * 3 * 5


def test_a_convolution_counts_what_its_products_would():
    x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 6))

    def convolve(x, kernel):
        dimensions = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dimensions)

    assert counted(convolve, x, kernel).flops == 2 * (2 * 8 * 8) * (3 * 3 * 3) * 6


def test_a_scan_counts_its_turns_and_its_body_is_the_step():
    def two_products(w, _):
        return jnp.tanh(w @ w @ w), None

    found = counted(lambda w: jax.lax.scan(two_products, w, None, length=10), jnp.ones((6, 6)))
    assert found.step_flops == 2 * 2 * 6**3
    assert found.flops == 10 * found.step_flops
    assert not found.open_ended


def test_the_step_of_nested_loops_is_the_innermost_body():
    def rounds(w, _):
        return jax.lax.fori_loop(0, 5, lambda _, w: w @ w, w), None

    found = counted(lambda w: jax.lax.scan(rounds, w, None, length=10), jnp.ones((6, 6)))
    assert (found.flops, found.step_flops) == (50 * 2 * 6**3, 2 * 6**3)


def trained_over_time(weights, xs):
    """Three steps of training a recurrent layer."""

    def last(weights):
        return jax.lax.scan(lambda h, x: (jnp.tanh(h @ weights + x), None), xs[0], xs)[0].sum()

    step = lambda w, _: (w - 0.1 * jax.grad(last)(w), None)  # noqa: E731
    return jax.lax.scan(step, weights, None, length=3)


def test_training_a_recurrent_layer_is_recurrent_and_other_training_is_not():
    assert counted(trained_over_time, jnp.ones((6, 6)), jnp.ones((9, 2, 6))).recurrent
    for batch_size in (8, None):  # the data of a full batch are constants of the loop, too

        def member(data, *, seed, batch_size=batch_size):
            fit = dj.trainer(
                small.classifier(), dj.optimizers.sgd(0.1), data, batch_size=batch_size
            )
            return dj.run(fit, fit.init(jax.random.key(seed)), num_steps=20)[1]

        assert not member_cost(member, (small.blobs(),), {"seed": np.arange(2)}).recurrent


def test_a_loop_that_ends_at_a_condition_is_told():
    found = counted(
        lambda x: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ x, x), X[:3, :3]
    )
    assert found.open_ended
    assert found.flops == 2 * 3**3


def test_the_dearer_branch_counts():
    found = counted(lambda x: jax.lax.cond(x.sum() > 0, lambda x: x @ x, lambda x: x, x), X[:3, :3])
    assert found.flops == 2 * 3**3


def test_a_member_tells_its_parameters_and_its_rounds():
    data, cells = (small.blobs(),), {"seed": np.arange(2)}
    assert member_cost(small.member, data, cells).parameters == 4 * 8 + 8 + 8 * 3 + 3

    def setup(data, *, seed):
        fit = dj.trainer(small.classifier(), dj.optimizers.sgd(0.1), data, batch_size=8)
        return fit, dj.stream(jax.random.key(0), "member", seed)

    def of_rounds(num_rounds):
        rounds = dj.run_in_rounds(
            setup, num_steps=20, eval_every=5, num_rounds=num_rounds, monitor="train_loss"
        )
        return member_cost(rounds, data, cells)

    assert of_rounds(4).parameters == 67
    assert of_rounds(4).flops == of_rounds(2).flops > 0


@pytest.mark.parametrize(
    ("platform", "num_devices", "lanes"),
    [("cpu", 1, 3), ("cpu", 2, 3), ("cpu", 4, 4), ("gpu", 1, 2), ("gpu", 4, 8)],
)
def test_every_core_and_every_device_has_a_lane(monkeypatch, platform, num_devices, lanes):
    monkeypatch.setattr(widths, "num_cores", lambda: 3)
    devices = np.array([SimpleNamespace(platform=platform)] * num_devices)
    assert widths.num_lanes(SimpleNamespace(devices=devices, size=num_devices)) == lanes


@pytest.mark.parametrize(
    ("found", "platform", "members", "width"),
    [
        (Cost(step_flops=1e7), "cpu", 100, 2),
        (Cost(step_flops=5e6), "cpu", 100, 4),
        (Cost(step_flops=1e5), "cpu", 100, 64),
        (Cost(step_flops=1e5), "cpu", 5, 8),
        (Cost(step_flops=1e5), "cpu", 1, 2),
        (Cost(step_flops=3e7), "cpu", 100, 1),
        (Cost(step_flops=1e5, recurrent=True), "cpu", 100, 1),
        (Cost(step_flops=1e5, open_ended=True), "cpu", 100, 1),
        (Cost(), "cpu", 100, 64),
        (Cost(step_flops=1e9), "gpu", 100, 128),
        (Cost(step_flops=1e5), "gpu", 10**6, 1024),
    ],
)
def test_the_default_width_is_narrow_where_a_step_is_dear_and_wide_on_an_accelerator(
    found, platform, members, width
):
    assert default_width(found, platform, members) == width
