"""What must hold of every member: others do not touch it, and its luck is that of its seed."""

import hashlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

import dljax as dj

NAMES = ("sgd", "momentum", "nag", "adagrad", "adadelta", "rmsprop", "adam")


TRACES = []


def member(data, **cell):
    """One run: its weights, its key and its history; counts how often it is traced."""
    TRACES.append(cell)
    state, history = small.member(data, **cell)
    return state.variables, state.key, history


def run(shared, cells, **options):
    weights, keys, history = dj.population(member, **options)(shared, cells)
    return weights, np.asarray(jax.random.key_data(keys)), history


@pytest.fixture(scope="module")
def shared():
    return (small.blobs(),)


@pytest.fixture(scope="module")
def cells():
    return {
        "seed": np.arange(7, dtype=np.uint32),
        "learning_rate": np.logspace(-3, -1, 7, dtype=np.float32),
    }


@pytest.fixture(scope="module")
def together(shared, cells):
    return run(shared, cells)


def pick(tree, index):
    return jax.tree.map(lambda x: x[index], tree)


def test_a_diverging_member_leaves_the_bits_of_the_others_alone(shared, cells, together):
    wild = {**cells, "learning_rate": cells["learning_rate"].copy()}
    wild["learning_rate"][3] = 1e38
    with_wild = run(shared, wild)
    history = with_wild[-1]
    assert history["diverged_at"][3] > 0
    assert np.isnan(history["valid_loss"][3, -1])
    others = [0, 1, 2, 4, 5, 6]
    assert (history["diverged_at"][others] == -1).all()
    chex.assert_trees_all_equal(pick(with_wild, others), pick(together, others))


def test_a_program_is_traced_once_whatever_the_values_and_the_number_of_members(
    shared, cells, together
):
    before = len(TRACES)
    assert before > 0
    for members in (7, 1, 4):
        dj.population(member)(shared, pick(cells, slice(0, members)))
    dj.population(member)(shared, jax.tree.map(lambda x: x * 3, cells))
    dj.study(member, *shared, axes={"seed": [8, 9], "learning_rate": [0.2, 0.3, 0.5]})
    assert len(TRACES) == before


def luck(optimizer, data):
    """Hashes of the first weights and of the batches that an optimizer sees, by seed."""

    @jax.jit
    def draws(seed):
        key = dj.stream(jax.random.key(0), "member", seed)
        split = dj.kfold(dj.stream(key, "folds"), len(data["y"]), 5, 0)
        fit = dj.trainer(small.classifier(), optimizer, data, split, batch_size=8)
        state = fit.init(key)
        return jax.tree.leaves(state.variables), fit.draw(state, 12)

    def digest(arrays):
        return hashlib.sha256(b"".join(np.asarray(x).tobytes() for x in arrays)).hexdigest()

    return lambda seed: tuple(map(digest, draws(jnp.uint32(seed))))


def test_two_optimizers_at_one_seed_see_the_same_weights_and_batches(shared):
    adam, sgd = (luck(o, *shared) for o in (dj.optimizers.adam(0.1), dj.optimizers.sgd(0.5)))
    assert adam(3) == sgd(3)
    assert adam(4) == sgd(4)
    assert adam(3)[0] != adam(4)[0]
    assert adam(3)[1] != adam(4)[1]


def test_padding_and_held_out_rows_never_enter_a_loss_or_a_statistic(shared):
    (data,) = shared
    split = dj.holdout(jax.random.key(0), len(data["y"]), valid=0.3)
    garbage = {name: x.copy() for name, x in data.items()}
    garbage["x"][np.asarray(split.valid.index)] = np.inf

    def weights(data):
        fit = dj.trainer(
            small.classifier(), dj.optimizers.adam(0.1), data, split, batch_size=7, parts=("train",)
        )
        state, history = dj.run(fit, fit.init(jax.random.key(0)), num_steps=10)
        return state.variables, history

    chex.assert_trees_all_equal(*map(jax.jit(weights), (data, garbage)))


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_learns(shared, name):
    factory = getattr(dj.optimizers, name)
    optimizer = factory(eps=1e-4) if name == "adadelta" else factory(0.05)
    task = dj.supervised(small.linear_model(), dj.losses.cross_entropy)
    fit = dj.trainer(task, optimizer, *shared)
    _, history = jax.jit(lambda key: dj.run(fit, fit.init(key), num_steps=60))(jax.random.key(0))
    assert history["train_loss"][1] < 0.7 * history["train_loss"][0]


def test_linen_nnx_and_plain_models_run_through_one_study(shared):
    from flax import linen, nnx

    class Nnx(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(4, 8, rngs=rngs)
            self.outputs = nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x):
            return self.outputs(nnx.relu(self.hidden(x)))

    models = {
        "linen": dj.linen_model(linen.Dense(3)),
        "nnx": dj.nnx_model(lambda rngs: Nnx(rngs)),
        "plain": small.linear_model(),
    }

    def member(data, *, seed, model):
        task = dj.supervised(model, dj.losses.cross_entropy)
        fit = dj.trainer(task, dj.optimizers.adam(0.1), data, batch_size=16)
        return dj.run(fit, fit.init(dj.stream(jax.random.key(0), "m", seed)), num_steps=30)[1]

    study = dj.study(member, *shared, axes={"seed": np.arange(3)}, static={"model": models})
    losses = study.results["train_loss"]
    assert losses.shape == (3, 3, 2)
    assert (losses[..., 1] < losses[..., 0]).all()
    assert study.select(model="nnx").results["train_loss"].shape == (3, 2)


def test_widths_are_checked_before_anything_runs(shared, cells):
    with pytest.raises(ValueError, match=r"width must be in \[1, inf\), got 0"):
        run(shared, cells, width=0)


def test_keys_and_weights_come_back_from_a_population(shared, cells):
    weights, keys, _ = dj.population(member)(shared, cells)
    assert weights["params"]["outputs"]["kernel"].shape == (7, 8, 3)
    assert jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
    assert keys.shape == (7,)
