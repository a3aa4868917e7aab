"""Floor 0: named random streams, and the errors that users read."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dljax as dj
from dljax.errors import require, unknown

KEY = jax.random.key(0)


def words(key):
    return tuple(np.ravel(jax.random.key_data(key)).tolist())


def test_a_stream_is_the_same_in_every_process_and_on_every_machine():
    # recorded once: a stored study is replayed by other processes, years later, so that what must
    # not change is the number itself; Python's `hash` of a name, for one, changes with the process
    assert words(dj.stream(KEY, "batches", 3, 7)) == (2267291006, 1813520875)


def test_a_stream_folds_in_the_crc_of_its_name_and_then_each_id():
    expected = jax.random.fold_in(KEY, zlib.crc32(b"batches"))
    for i in (3, 7):
        expected = jax.random.fold_in(expected, i)
    assert words(dj.stream(KEY, "batches", 3, 7)) == words(expected)


def test_streams_differ_by_key_name_ids_and_their_order():
    calls = [
        (key, name, *ids)
        for key in (KEY, jax.random.key(1))
        for name in ("a", "b", "init", "batches", "größer")
        for ids in ((), (0,), (1,), (0, 0), (0, 1), (1, 0), (2**31,), (2**32 - 1,))
    ]
    assert len({words(dj.stream(*call)) for call in calls}) == len(calls)


def test_adding_a_stream_changes_no_other():
    def draws(names):
        return {name: jax.random.normal(dj.stream(KEY, name)).item() for name in names}

    few, many = draws(["init", "run"]), draws(["augment", "run", "init", "noise"])
    assert few.items() < many.items()
    assert len(set(many.values())) == 4


def test_traced_ids_give_the_streams_of_numbers():
    ids = jnp.arange(5)
    mapped = jax.jit(jax.vmap(lambda i: dj.stream(KEY, "fold", i)))(ids)
    assert [words(key) for key in mapped] == [words(dj.stream(KEY, "fold", i)) for i in range(5)]


def test_the_draws_of_many_streams_are_uniform_together():
    keys = jax.vmap(lambda i: dj.stream(KEY, "members", i))(jnp.arange(20_000))
    x = jax.vmap(jax.random.uniform)(keys)
    # standard errors: 0.29 / sqrt(20,000) = 0.002 of the mean, 0.007 of the correlation
    assert abs(x.mean() - 0.5) < 0.01
    assert abs(jnp.corrcoef(x[:-1], x[1:])[0, 1]) < 0.03


@pytest.mark.parametrize(
    ("value", "interval"),
    [
        (0, "[0, 1)"),
        (0.999, "[0, 1)"),
        (1, "(0, 1]"),
        (-1e30, "(-inf, inf)"),
        (np.inf, "[0, inf]"),
        (np.array([[0.1, 0.2], [0.3, 0.4]]), "(0, 1)"),
        (jnp.array([1, 2]), "[1, 2]"),
        (np.array([]), "(0, 1)"),
        ([0.1, 0.2], "(0, 1)"),
    ],
)
def test_require_lets_pass_what_lies_in_the_interval(value, interval):
    assert require("x", value, interval) is None


@pytest.mark.parametrize(
    ("value", "interval", "came"),
    [
        (1, "[0, 1)", "1"),
        (0.0, "(0, 1]", "0"),
        (-0.5, "[0, inf)", "-0.5"),
        (np.nan, "(-inf, inf)", "nan"),
        (np.nan, "[-inf, inf]", "nan"),
        (np.inf, "(0, inf)", "inf"),
        (np.array([[0.5, 0.5], [3.0, 4.0]]), "(0, 1)", "3"),
        (jnp.array([0.5, jnp.nan]), "(0, 1)", "nan"),
    ],
)
def test_require_says_the_rule_and_the_first_number_that_breaks_it(value, interval, came):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the whole message is compared)
        require("decay", value, interval)
    assert str(error.value) == f"decay must be in {interval}, got {came}."


@pytest.mark.parametrize("value", ["much", {"a": 1}, [[1], [1, 2]]])
def test_require_refuses_what_is_no_number(value):
    with pytest.raises(ValueError, match=r"decay must be a number in \[0, 1\), got "):
        require("decay", value, "[0, 1)")


def test_require_lets_traced_values_pass():
    def checked(x):
        require("x", x, "(0, 1)")
        return x

    assert jax.jit(checked)(5.0) == 5.0
    assert jax.vmap(checked)(jnp.array([-1.0, 2.0])).tolist() == [-1.0, 2.0]
    assert jax.grad(checked)(5.0) == 1.0


def test_an_unknown_name_offers_the_nearest_or_lists_all():
    known = {"sgd": 0, "adam": 1, "adamw": 2}
    assert str(unknown("optimizer", "adm", known)) == (
        "unknown optimizer 'adm'; did you mean 'adam'?"
    )
    assert str(unknown("optimizer", "xyz", known)) == (
        "unknown optimizer 'xyz'; known: adam, adamw, sgd."
    )
