"""Whether a confidence of 80 % is right 80 % of the time, and one number that makes it so."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dljax.errors import require, unknown
from dljax.predict.checks import checked_classes, checked_log_p

_BISECTIONS = 40  # of log T in [-6.9, 6.9]: finer than float32


class Reliability(NamedTuple):
    """Rows by their confidence; of an empty bin the means are NaN.

    Attributes:
      confidence: Mean probability of the likeliest class, float[num_bins].
      accuracy: Share of the rows whose likeliest class is the label, float[num_bins].
      count: Rows n_b of the bin, int32[num_bins].
    """

    confidence: jax.Array
    accuracy: jax.Array
    count: jax.Array


def reliability(
    log_p: jax.Array, labels: jax.Array, *, num_bins: int = 15, bins: str = "width"
) -> Reliability:
    """Sorts rows by the probability of their likeliest class; Guo et al. 2017, section 2.

    Args:
      log_p: Log-probabilities, float[N, C].
      labels: Classes in [0, C), int[N].
      num_bins: Number of bins, >= 1.
      bins: "width": bin m holds confidences in ((m - 1) / num_bins, m / num_bins]; "mass": as many
        rows in each as can be while equal confidences stay together (some may then be empty).
    """
    log_p, labels = checked_classes(log_p, labels)
    require("num_bins", num_bins, "[1, inf)")
    confidence = jnp.exp(log_p.max(axis=1))
    right = (jnp.argmax(log_p, axis=1) == labels).astype(confidence.dtype)
    if bins == "width":
        place = jnp.ceil(confidence * num_bins).astype(jnp.int32) - 1
    elif bins == "mass":
        rank = jnp.searchsorted(jnp.sort(confidence), confidence)  # of the first equal one
        place = rank // -(-len(labels) // num_bins)
    else:
        raise unknown("kind of bins", bins, ("width", "mass"))
    place = jnp.clip(place, 0, num_bins - 1)
    count = jnp.zeros(num_bins, jnp.int32).at[place].add(1)
    mean = lambda x: jnp.zeros(num_bins, x.dtype).at[place].add(x) / count  # noqa: E731
    return Reliability(mean(confidence), mean(right), count)


def ece(table: Reliability) -> jax.Array:
    """Expected calibration error; Guo et al. 2017, arXiv:1706.04599, eq. 3.

        ECE = sum_b n_b / N |acc_b - conf_b|

    It is too large: a perfectly calibrated model has one of about sqrt(num_bins / N).

    Args:
      table: See `reliability`.

    Returns:
      float[], in [0, 1].
    """
    return _over_bins(table, jnp.abs(table.accuracy - table.confidence))


def debiased_ece(table: Reliability) -> jax.Array:
    """`ece` less what chance adds to it.

    A normal number around d_b = |acc_b - conf_b| of variance s_b^2 = acc_b (1 - acc_b) / n_b has
    an absolute value whose mean is larger than d_b (the folded normal distribution) by

        m_b = s_b sqrt(2 / pi) exp(-z^2 / 2) - d_b erfc(z / sqrt(2)),  z = d_b / s_b

    and ECE - sum_b n_b / N m_b is the parametric bootstrap's correction in closed form; the code
    of Kumar et al. 2019, arXiv:1909.10155, draws it at random. It takes away a part of the bias,
    not all. Bins in which all rows are right, or all wrong, are not corrected. May be below 0.

    Args:
      table: See `reliability`.

    Returns:
      float[].
    """
    d = jnp.abs(table.accuracy - table.confidence)
    variance = table.accuracy * (1 - table.accuracy) / table.count
    s = jnp.sqrt(jnp.where(variance > 0, variance, 1.0))
    z = d / s
    m = s * math.sqrt(2 / math.pi) * jnp.exp(-(z**2) / 2) - d * jax.lax.erfc(z / math.sqrt(2))
    return ece(table) - _over_bins(table, jnp.where(variance > 0, m, 0.0))


def debiased_squared_error(table: Reliability) -> jax.Array:
    """Squared calibration error without bias; Kumar et al. 2019, arXiv:1909.10155, section 5.

        sum_b n_b / N [ (conf_b - acc_b)^2 - acc_b (1 - acc_b) / (n_b - 1) ]

    The mean over data sets is that of the true acc_b (for given confidences); so it may be below
    0. Bins of one row, of which no variance is known, are not corrected.

    Args:
      table: See `reliability`.

    Returns:
      float[], the square of an error.
    """
    spread = table.accuracy * (1 - table.accuracy) / jnp.maximum(table.count - 1, 1)
    return _over_bins(table, (table.confidence - table.accuracy) ** 2 - spread)


def temperature(log_p: jax.Array, labels: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    """Finds the temperature T of `tempered` of the least mean `nll`; Guo et al. 2017, section 4.2.

    The loss is convex in 1 / T; the sign of its derivative, mean(E_q[z] - z_y) with z = log p and
    q = softmax(z / T), halves log T in log [1e-3, 1e3]. Where all rows are right, the end 1e-3
    comes back. Probabilities below the smallest normal float count as that.

    Args:
      log_p: Log-probabilities, float[N, C].
      labels: Classes y in [0, C), int[N].
      weight: Of each row, >= 0, float[N]; `None` is 1.

    Returns:
      float[], > 0.
    """
    log_p, labels = checked_classes(log_p, labels)
    weight = jnp.asarray(1.0 if weight is None else weight, log_p.dtype)
    z = jnp.maximum(log_p, jnp.log(jnp.finfo(log_p.dtype).tiny))
    z = z - jnp.take_along_axis(z, labels[:, None], axis=1)

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        slope = (jax.nn.softmax(z / jnp.exp(middle)) * z).sum(axis=1)
        hotter = (weight * slope).sum() > 0  # the loss falls with T
        return jnp.where(hotter, middle, low), jnp.where(hotter, high, middle)

    ends = jnp.log(jnp.array([1e-3, 1e3], z.dtype))
    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (ends[0], ends[1]))
    found = jnp.exp((low + high) / 2)
    return jnp.where(jnp.isnan(z).any(), jnp.nan, found)


def tempered(log_p: jax.Array, temperature: ArrayLike) -> jax.Array:
    """Divides log-probabilities by a temperature and normalizes them: log softmax(log_p / T).

    The likeliest class stays, exactly: where roundings make another one equal to it, that one goes
    to the next smaller number.

    Args:
      log_p: float[N, C].
      temperature: T > 0, float[] or one of each row, float[N].

    Returns:
      float[N, C].
    """
    require("temperature", temperature, "(0, inf)")
    log_p = checked_log_p(log_p)
    T = jnp.broadcast_to(jnp.asarray(temperature, log_p.dtype), log_p.shape[:1])[:, None]
    z = log_p - log_p.max(axis=1, keepdims=True)
    q = jax.nn.log_softmax(z / T)
    top = q.max(axis=1, keepdims=True)
    first = jnp.argmax(log_p, axis=1)[:, None] == jnp.arange(log_p.shape[1])[None]
    return jnp.where(first, top, jnp.minimum(q, jnp.nextafter(top, -jnp.inf)))


def cross_fitted(
    key: jax.Array, log_p: jax.Array, labels: jax.Array, *, num_parts: int = 5
) -> tuple[jax.Array, jax.Array]:
    """Calibrates each part of the rows by the `temperature` of all others.

    So no row has a hand in its own temperature, every row is used, and `accuracy` stays exactly.

    Args:
      key: Divides the rows into parts.
      log_p: Log-probabilities, float[N, C].
      labels: Classes in [0, C), int[N].
      num_parts: Number of near-equal parts K, in [2, N].

    Returns:
      The calibrated log-probabilities, float[N, C], and the temperature of each part, float[K].
    """
    log_p, labels = checked_classes(log_p, labels)
    part = parts(key, len(labels), num_parts)
    others = (part[None] != jnp.arange(num_parts)[:, None]).astype(log_p.dtype)
    temperatures = jax.vmap(lambda weight: temperature(log_p, labels, weight))(others)
    return tempered(log_p, temperatures[part]), temperatures


def parts(key: jax.Array, num_rows: int, num_parts: int) -> jax.Array:
    """Draws for every row one of near-equal parts, int32[N]."""
    require("num_parts", num_parts, f"[2, {num_rows}]")
    return jax.random.permutation(key, jnp.arange(num_rows, dtype=jnp.int32) % num_parts)


def _over_bins(table: Reliability, x: jax.Array) -> jax.Array:
    share = table.count / table.count.sum()
    return jnp.where(table.count > 0, share * x, 0.0).sum()
