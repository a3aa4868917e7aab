"""Dropout masks are random numbers: laws, and statistics that threefry's bits pass as well.

Keys are fixed, so that a test always says the same; a perfect source would fail each of the
statistical ones with a probability of ALARM for one choice of keys in 10,000 (times the number of
statistics that a test looks at, which it divides by).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import dljax as dj
from dljax.modules import MLP, Dropout, dropout_mask
from dljax.modules.dropout import hash_words

ALARM = 1e-4
KEY = jax.random.key(0)
NUM_KEYS, SIZE = 192, 1 << 13


def threefry_words(key, shape):
    return jax.random.bits(key, shape, jnp.uint32)


@pytest.fixture(scope="module", params=[hash_words, threefry_words], ids=["hash", "threefry"])
def words(request):
    """uint32[NUM_KEYS, SIZE], of keys that differ by one in their last `fold_in`."""
    keys = jax.vmap(lambda i: jax.random.fold_in(KEY, i))(jnp.arange(NUM_KEYS))
    return np.asarray(jax.jit(jax.vmap(lambda key: request.param(key, (SIZE,))))(keys))


def signs(words, rate=0.5):
    """Kept or not as numbers of mean 0 and variance 1, float64[NUM_KEYS, SIZE]."""
    kept = (words >> 8) < (1 - rate) * 2**24
    return (kept - (1 - rate)) / np.sqrt(rate * (1 - rate))


def assert_normal(z):
    """No entry of standard normal numbers is too large, and their sum of squares is usual."""
    z = np.ravel(z)
    assert np.abs(z).max() < scipy.stats.norm.isf(ALARM / 4 / z.size)
    tails = scipy.stats.chi2(z.size).cdf(np.sum(z**2)), scipy.stats.chi2(z.size).sf(np.sum(z**2))
    assert min(tails) > ALARM / 4


def test_bytes_of_the_words_are_uniform(words):
    planes = [
        np.bincount((words >> shift & 255).ravel(), minlength=256) for shift in (0, 8, 16, 24)
    ]
    assert min(scipy.stats.chisquare(plane).pvalue for plane in planes) > ALARM / 4


def test_each_bit_is_one_half_of_the_time_over_all_positions_and_at_each(words):
    bits = (words[..., None] >> np.arange(32, dtype=np.uint32) & 1).astype(np.int8)
    assert_normal((2 * bits.mean((0, 1)) - 1) * np.sqrt(words.size))
    at_each = (2 * bits.sum(0, dtype=np.int32) - NUM_KEYS) / np.sqrt(NUM_KEYS)
    assert abs(at_each.var() - 1) < 4 * np.sqrt(2 / at_each.size)  # of 262,144 numbers


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_masks_keep_their_rate_in_each_mask_at_each_place_and_in_all(words, rate):
    z = signs(words, rate)
    assert_normal(z.sum() / np.sqrt(z.size))
    assert_normal(z.sum(1) / np.sqrt(SIZE))
    # sums of 192: nearly normal, so the variance alone
    assert abs((z.sum(0) / np.sqrt(NUM_KEYS)).var() - 1) < 4 * np.sqrt(2 / SIZE)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_masks_of_consecutive_keys_are_uncorrelated_pair_by_pair(words, rate):
    z = signs(words, rate)
    correlations = (z @ z.T / np.sqrt(SIZE))[np.triu_indices(NUM_KEYS, 1)]
    assert_normal(correlations)  # 18,336 pairs


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_neighbouring_positions_are_uncorrelated(words, rate):
    z = signs(words, rate)
    lags = [1, 2, 3, 4, 7, 8, 16, 31, 32, 64, 100, 128, 1024, 4096]
    assert_normal([(z[:, lag:] * z[:, :-lag]).sum() / np.sqrt(z[:, lag:].size) for lag in lags])


def test_no_frequency_stands_out_in_a_mask_as_an_image(words):
    images = signs(words).reshape(NUM_KEYS, 64, 128)
    power = (np.abs(np.fft.rfft2(images)) ** 2 / (64 * 128)).mean(0)[1:-1, 1:-1]  # complex ones
    # a mean of 192 exponential numbers is gamma distributed
    gamma = scipy.stats.gamma(NUM_KEYS, scale=1 / NUM_KEYS)
    assert gamma.sf(power.max()) > ALARM / 2 / power.size
    assert gamma.cdf(power.min()) > ALARM / 2 / power.size


def test_a_changed_bit_of_the_position_changes_each_bit_of_the_word_half_of_the_time(words):
    words, positions = words[:32], np.arange(SIZE)
    for bit in range(13):
        changed = words ^ words[:, positions ^ 1 << bit]
        flips = (changed[..., None] >> np.arange(32, dtype=np.uint32) & 1).mean((0, 1))
        # pairs are seen twice: six standard deviations, and 0.2 % for the bias of lowbias32
        assert np.abs(flips - 0.5).max() < 6 * np.sqrt(0.5 / words.size) + 0.002


def test_a_mask_depends_on_its_key_alone_and_not_on_what_is_batched_with_it():
    keys = jax.random.split(KEY, 5)
    draw = lambda key, rate: dropout_mask(key, rate, (3, 7))  # noqa: E731
    alone = np.stack([draw(key, 0.3) for key in keys])
    for width in (1, 2, 5):
        together = jax.jit(jax.vmap(draw))(keys[:width], jnp.full(width, 0.3))
        np.testing.assert_array_equal(together, alone[:width])
    looped = jax.lax.map(lambda key: draw(key, 0.3), keys)
    np.testing.assert_array_equal(looped, alone)


def test_masks_of_named_streams_steps_and_layers_are_distinct():
    keys = [
        dj.stream(dj.stream(KEY, "member", m), name, t)
        for m in (0, 1)
        for name in "ab"
        for t in (0, 1)
    ]
    masks = {np.asarray(dropout_mask(key, 0.5, (64,))).tobytes() for key in keys}
    assert len(masks) == 8
    assert dropout_mask(KEY, 0.5, ()).shape == ()


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.7, 0.999])
def test_the_threshold_is_the_rate_as_float32_knows_it(rate):
    keep = 1 - float(np.float32(rate))
    u = np.asarray(hash_words(KEY, (SIZE,)) >> 8)
    expected = u < np.float32(keep) * 2.0**24
    np.testing.assert_array_equal(dropout_mask(KEY, rate, (SIZE,)), expected)
    np.testing.assert_array_equal(jax.jit(lambda r: dropout_mask(KEY, r, (SIZE,)))(rate), expected)
    assert expected.all() if rate == 0 else not expected.all()


def test_rates_outside_their_interval_are_refused_and_the_largest_is_harmless():
    for rate in (1.0, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"the dropout rate must be in \[0, 1\), got"):
            dropout_mask(KEY, rate, (3,))
    y = Dropout(1 - 1e-12).apply({}, jnp.ones(9), False, rngs={"dropout": KEY})
    assert np.isfinite(y).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_dropout_scales_what_it_keeps_and_passes_the_same_share_of_the_gradient(dtype):
    x = jnp.linspace(1, 2, 64, dtype=dtype)
    run = lambda x, rate: Dropout(rate).apply({}, x, False, rngs={"dropout": KEY})  # noqa: E731
    y, pull = jax.vjp(lambda x: run(x, 0.75), x)
    kept = y != 0
    assert y.dtype == dtype
    assert 0 < kept.sum() < 64
    np.testing.assert_array_equal(y, jnp.where(kept, 4 * x, 0))  # 4 is exact in each type
    np.testing.assert_array_equal(pull(jnp.ones_like(x))[0], jnp.where(kept, 4, 0))
    np.testing.assert_array_equal(Dropout(0.75).apply({}, x, True), x)
    assert jax.grad(lambda rate: run(x, rate).astype(jnp.float32).sum())(0.75) == 0


def test_an_mlp_drops_out_iff_there_is_a_key_and_its_rate_is_an_axis():
    x = jnp.ones((5, 3))
    variables = dj.linen_model(MLP(2, (64, 64))).init(KEY, x)

    def outputs(rate, key):
        return dj.linen_model(MLP(2, (64, 64), dropout=rate)).apply(variables, x, key=key)[0]

    plain = MLP(2, (64, 64)).apply(variables, x)
    np.testing.assert_array_equal(outputs(0.5, None), plain)
    rates = jnp.array([0.0, 0.5, 0.9])
    on = jax.vmap(lambda rate: outputs(rate, KEY))(rates)
    np.testing.assert_allclose(on[0], plain, rtol=1e-6)  # rate 0 keeps all
    for row, rate in zip(on, (0.0, 0.5, 0.9), strict=True):
        np.testing.assert_allclose(row, outputs(rate, KEY), rtol=1e-5)  # float32, two programs
    without = dj.linen_model(MLP(2, (64, 64)))
    program = jax.make_jaxpr(lambda key: without.apply(variables, x, key=key)[0])(KEY)
    assert "random_bits" not in str(program)


def test_each_hidden_layer_has_a_mask_of_its_own():
    net = MLP(2, (64, 64), dropout=0.5)
    variables = net.init(KEY, jnp.ones((1, 3)))
    _, seen = net.apply(
        variables,
        jnp.ones((1, 3)),
        False,
        rngs={"dropout": KEY},
        capture_intermediates=True,
        mutable=["intermediates"],
    )
    seen = seen["intermediates"]
    dropped = [
        np.asarray(
            (seen[f"dropout_{i}"]["__call__"][0] == 0) & (seen[f"hidden_{i}"]["__call__"][0] > 0)
        )
        for i in (0, 1)
    ]
    assert all(0 < d.sum() < 64 for d in dropped)
    assert (dropped[0] != dropped[1]).any()
