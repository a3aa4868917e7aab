"""Successive halving: who goes on, from where, and at what cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dljax as dj
from dljax.halving import rung_rounds


def advance(state, number, *, seed, rate):
    loss = rate + 0.01 * seed.astype(jnp.float32) - 0.001 * number
    return state + 1, {"loss": jnp.where(rate > 90, jnp.nan, loss), "gain": -loss}


MEMBER = dj.Member(
    init=lambda *, seed, rate: jnp.int32(0),
    advance=advance,
    result=lambda state, reports, *, seed, rate: {"rounds": state, "losses": reports["loss"]},
    num_rounds=9,
)
RATES = [5.0, 3.0, 8.0, 1.0, 99.0, 7.0, 2.0, 6.0, 4.0]


def halving(**options):
    axes = {"seed": [0, 1], "rate": RATES}
    return dj.successive_halving(MEMBER, axes=axes, **{"metric": "loss", **options}).results


def test_a_third_goes_on_after_one_round_and_a_third_of_these_after_three():
    rounds = halving()["rounds"]
    assert rounds[0].tolist() == [1, 3, 1, 9, 1, 1, 3, 1, 1]
    assert rounds[1].tolist() == rounds[0].tolist()  # seeds live and die together


def test_the_best_may_be_the_largest():
    assert halving(metric="gain", goal="max")["rounds"][0].tolist() == [1, 3, 1, 9, 1, 1, 3, 1, 1]
    assert halving(metric="gain", goal="min")["rounds"][0].tolist() == [1, 1, 3, 1, 9, 3, 1, 1, 1]


def test_without_axes_to_average_every_member_is_its_own_configuration():
    rounds = halving(over=())["rounds"]
    assert sorted(rounds.ravel().tolist()) == [1] * 12 + [3] * 4 + [9] * 2
    assert (rounds[:, 3] == 9).all()


def test_a_configuration_with_a_nan_comes_last():
    assert halving(eta=2)["rounds"][:, 4].tolist() == [1, 1]


def test_reports_without_names_are_refused():
    member = MEMBER._replace(
        advance=lambda state, number, *, seed, rate: (state, rate),
        result=lambda state, r, **_: state,
    )
    with pytest.raises(ValueError, match="reports must be a dict that holds 'loss', got ndarray"):
        dj.successive_halving(member, axes={"rate": RATES, "seed": [0]}, metric="loss")


def test_one_that_still_runs_goes_on_before_any_that_has_finished():
    member = MEMBER._replace(
        init=lambda *, seed, rate: jnp.where(rate > 90, 0, 100), finished=lambda state: state > 50
    )
    axes = {"seed": [0, 1], "rate": RATES}
    study = dj.successive_halving(member, axes=axes, metric="loss")
    assert study.results["rounds"][:, 4].tolist() == [9, 9]


def test_survivors_have_the_results_they_have_alone():
    everyone = dj.study(MEMBER, axes={"seed": [0, 1], "rate": RATES}).results
    found = halving()
    survived = found["rounds"] == 9
    np.testing.assert_array_equal(found["losses"][survived], everyone["losses"][survived])
    stopped = found["losses"][found["rounds"] == 1]
    assert (stopped == stopped[:, :1])[~np.isnan(stopped)].all()  # rows repeat the last one


@pytest.mark.parametrize(
    ("num_rounds", "eta", "rungs"),
    [(9, 3, {1, 3}), (8, 2, {1, 2, 4}), (10, 3, {1, 3}), (2, 3, set()), (1, 2, set())],
)
def test_rungs_are_the_powers_of_eta_from_the_end(num_rounds, eta, rungs):
    assert rung_rounds(num_rounds, eta) == rungs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eta": 1}, r"eta must be in \[2, inf\), got 1"),
        ({"eta": 2.5}, "eta must be a whole number"),
        ({"over": "seed"}, "over must be a tuple of names, got 'seed'"),
        ({"goal": "best"}, "goal must be 'min' or 'max', got 'best'"),
        ({"metric": "lss"}, "unknown measure 'lss'; did you mean 'loss'"),
    ],
)
def test_a_bad_rule_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        halving(**options)


def test_a_function_has_no_rounds_to_halve():
    with pytest.raises(ValueError, match=r"the member must be a dljax\.Member, got function"):
        dj.successive_halving(halving, axes={"seed": [0]}, metric="loss")
    with pytest.raises(ValueError, match=r"survive must come with a dljax\.Member in rounds"):
        dj.study(lambda *, seed: seed, axes={"seed": [0]}, survive=lambda *_: True)


@pytest.mark.slow
def test_training_runs_are_halved():
    data = {"x": np.linspace(-1, 1, 24, dtype=np.float32)[:, None], "y": np.arange(24) % 2}
    model = dj.linen_model(dj.modules.MLP(2))

    def setup(data, *, seed, learning_rate):
        task = dj.supervised(model, dj.losses.cross_entropy)
        fit = dj.trainer(task, dj.optimizers.sgd(learning_rate), data, batch_size=6)
        return fit, dj.stream(jax.random.key(0), "member", seed)

    member = dj.run_in_rounds(setup, num_steps=16, eval_every=2, monitor="train_loss")
    axes = {"learning_rate": [0.001, 0.01, 0.1, 1.0], "seed": [0, 1]}
    found = dj.successive_halving(member, data, axes=axes, metric="train_loss", eta=2)
    assert sorted(found.results["stopped_at"][:, 0].tolist()) == [2, 2, 4, 16]
    best = found.at(learning_rate=found.results["stopped_at"][:, 0].argmax(), seed=0).results
    assert best["train_loss"][-1] < best["train_loss"][0]
