"""How much members differ from each other, and how unsure each of them is."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dljax.errors import require
from dljax.predict.checks import checked_classes, checked_log_p, checked_members, checked_rows
from dljax.predict.classification import nll


class Uncertainty(NamedTuple):
    """Two parts and their sum, float[N]; nats of classes, squared units of a regression.

    Attributes:
      total: Of the ensemble's prediction.
      aleatoric: What a mean member says of the data's own noise.
      epistemic: What members do not agree upon.
    """

    total: jax.Array
    aleatoric: jax.Array
    epistemic: jax.Array


class Ambiguity(NamedTuple):
    """ensemble = members - ambiguity, float[N] each.

    Attributes:
      ensemble: Loss of the ensemble.
      members: Mean loss of its members.
      ambiguity: What the members differ by, >= 0; it knows no targets.
    """

    ensemble: jax.Array
    members: jax.Array
    ambiguity: jax.Array


def mixture(log_p: jax.Array) -> jax.Array:
    """Averages the probabilities of members: the ensemble's prediction.

    Args:
      log_p: Log-probabilities of S members, float[S, N, C].

    Returns:
      log(1/S sum_s p_s), float[N, C].
    """
    log_p = checked_log_p(log_p, members=True)
    return _mixture(log_p)


def entropy(log_p: jax.Array) -> jax.Array:
    """Entropy -sum_c p_c log p_c; Shannon 1948, section 6.

    Args:
      log_p: Log-probabilities, float[..., C].

    Returns:
      Nats in [0, log C], float[...].
    """
    return -_mean_under(log_p, log_p)


def class_uncertainty(log_p: jax.Array) -> Uncertainty:
    """Splits the entropy of an ensemble; Depeweg et al. 2018, arXiv:1710.07283, section 3.

        H(1/S sum_s p_s)  =  1/S sum_s H(p_s)  +  I
              total             aleatoric       epistemic

    I is the mutual information of class and member (the BALD of Houlsby et al. 2011,
    arXiv:1112.5745), computed as the mean divergence KL(p_s, mixture) and so never below 0.

    Args:
      log_p: Log-probabilities of S members, float[S, N, C].
    """
    log_p = checked_log_p(log_p, members=True)
    m = _mixture(log_p)
    ratio = jnp.where(jnp.isneginf(log_p), 0.0, log_p - m[None])
    divergence = _mean_under(log_p, ratio).mean(axis=0)
    return Uncertainty(entropy(m), entropy(log_p).mean(axis=0), jnp.maximum(divergence, 0))


def variance_parts(mean: jax.Array, variance: jax.Array) -> Uncertainty:
    """Splits the variance of a mixture of S normals; Lakshminarayanan et al. 2017, section 2.4.

        total = aleatoric + epistemic,  aleatoric = 1/S sum_s variance_s,
        epistemic = 1/S sum_s (mean_s - their mean)^2

    Args:
      mean: Predictions of S members, float[S, N].
      variance: What each takes the variance of the noise for, >= 0, float[S, N].
    """
    mean, variance = checked_members(mean=mean, variance=variance)
    require("variance", variance, "[0, inf)")
    aleatoric, epistemic = variance.mean(axis=0), mean.var(axis=0)
    return Uncertainty(aleatoric + epistemic, aleatoric, epistemic)


def disagreement(log_p: jax.Array) -> jax.Array:
    """Share of the pairs of members whose likeliest classes differ.

    Args:
      log_p: Log-probabilities of S >= 2 members, float[S, N, C].

    Returns:
      float[N], in [0, 1].
    """
    log_p = checked_log_p(log_p, members=True)
    S = log_p.shape[0]
    require("the number of members", S, "[2, inf)")
    votes = _votes(log_p)
    return 1 - (votes * (votes - 1)).sum(axis=1) / (S * (S - 1))


def stability(log_p: jax.Array) -> jax.Array:
    """Share of members, or of dropout masks, whose likeliest class is that of their mixture.

    As a confidence it is coarse, a multiple of 1/S, but knows no calibration. 1 less the share of
    the most voted class is the variation ratio of Freeman 1965; see Gal 2016, "Uncertainty in
    deep learning", section 3.3.1.

    Args:
      log_p: Log-probabilities of S members, float[S, N, C].

    Returns:
      float[N], in [0, 1].
    """
    log_p = checked_log_p(log_p, members=True)
    first = jnp.argmax(_mixture(log_p), axis=1)
    return jnp.take_along_axis(_votes(log_p), first[:, None], axis=1)[:, 0] / log_p.shape[0]


def squared_ambiguity(outputs: jax.Array, targets: jax.Array) -> Ambiguity:
    """Ambiguity of the squared error; Krogh & Vedelsby 1995, NIPS 7.

        (f - y)^2 = 1/S sum_s (f_s - y)^2 - 1/S sum_s (f_s - f)^2,  f = 1/S sum_s f_s

    Args:
      outputs: f_s of S members, float[S, N].
      targets: y, float[N].
    """
    (outputs,) = checked_members(outputs=outputs)
    (targets,) = checked_rows(outputs.shape[1], targets=targets)
    f = outputs.mean(axis=0)
    members = ((outputs - targets[None]) ** 2).mean(axis=0)
    return Ambiguity((f - targets) ** 2, members, ((outputs - f[None]) ** 2).mean(axis=0))


def nll_ambiguity(log_p: jax.Array, labels: jax.Array) -> Ambiguity:
    """Ambiguity of the log-likelihood; Heskes 1998, Neural Computation 10.

    The ensemble whose ambiguity needs no labels is the geometric mean, g = exp(mean log p_s) / Z,
    not `mixture`:

        -log g_y = 1/S sum_s -log p_s,y - 1/S sum_s KL(g, p_s),  the last of which is -log Z

    Args:
      log_p: Log-probabilities of S members, float[S, N, C].
      labels: Classes y in [0, C), int[N].
    """
    log_p, labels = checked_classes(log_p, labels, members=True)
    unscaled = log_p.mean(axis=0)
    log_Z = jax.nn.logsumexp(unscaled, axis=1)
    members = jax.vmap(nll, in_axes=(0, None))(log_p, labels).mean(axis=0)
    return Ambiguity(nll(unscaled - log_Z[:, None], labels), members, -log_Z)


def _mixture(log_p: jax.Array) -> jax.Array:
    return jax.nn.logsumexp(log_p, axis=0) - jnp.log(jnp.asarray(len(log_p), log_p.dtype))


def _votes(log_p: jax.Array) -> jax.Array:
    """Members that hold each class for the likeliest, float[N, C]."""
    return jax.nn.one_hot(jnp.argmax(log_p, axis=-1), log_p.shape[-1]).sum(axis=0)


def _mean_under(log_p: jax.Array, x: jax.Array) -> jax.Array:
    """sum_c p_c x_c, in which a class of probability 0 counts nothing."""
    p = jnp.exp(log_p)
    return jnp.where(p > 0, p * jnp.where(p > 0, x, 0.0), 0.0).sum(axis=-1)
