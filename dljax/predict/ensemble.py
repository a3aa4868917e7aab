"""An ensemble next to its members: always three rows, and the curve over their number.

"Ensemble" is the score of the averaged prediction, never an average of scores.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dljax.errors import require
from dljax.predict.calibration import cross_fitted, ece, parts, reliability
from dljax.predict.checks import checked_classes, checked_members, checked_rows
from dljax.predict.classification import accuracy, brier, nll
from dljax.predict.regression import crps, log_likelihood, rmse
from dljax.predict.uncertainty import mixture, variance_parts
from dljax.types import Metrics


class Summary(NamedTuple):
    """Three rows of the same measures; `pandas.DataFrame(summary._asdict()).T` is the table.

    Attributes:
      members: Mean of what each member scores alone.
      ensemble: Score of the averaged prediction.
      calibrated: Score of that prediction, calibrated by cross-fitting.
    """

    members: Metrics
    ensemble: Metrics
    calibrated: Metrics


def summary(
    key: jax.Array,
    log_p: jax.Array,
    labels: jax.Array,
    *,
    num_bins: int = 15,
    num_parts: int = 5,
) -> Summary:
    """Scores an ensemble of classifiers: "accuracy", "nll", "brier" and "ece", float[] each.

    The ensemble is `mixture`; the calibrated one has the temperatures of `cross_fitted`, found
    after the members are averaged, and exactly the accuracy of the ensemble.

    Args:
      key: Divides the rows into the parts of the cross-fitting.
      log_p: Log-probabilities of S members, float[S, N, C].
      labels: Classes in [0, C), int[N].
      num_bins: Of equal width, for `ece`.
      num_parts: Number of parts, in [2, N].
    """
    log_p, labels = checked_classes(log_p, labels, members=True)
    return _summary(key, log_p, labels, num_bins=num_bins, num_parts=num_parts)


def regression_summary(
    key: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    targets: jax.Array,
    *,
    num_parts: int = 5,
) -> Summary:
    """Scores an ensemble of regressions: "rmse", "nll" and "crps", float[] each.

    The ensemble is one normal with the mean and the variance of the mixture (Lakshminarayanan et
    al. 2017, arXiv:1612.01474, section 2.4). The calibrated one has the variance of each part of
    the rows times the mean of (y - mean)^2 / variance over the other parts, the factor of the
    largest likelihood there (Laves et al. 2020, arXiv:2006.15022); its RMSE is the ensemble's.

    Args:
      key: Divides the rows into the parts of the cross-fitting.
      mean: Predictions of S members, float[S, N].
      variance: What each takes the variance of the noise for, > 0, float[S, N].
      targets: y, float[N].
      num_parts: Number of parts, in [2, N].
    """
    mean, variance = checked_members(mean=mean, variance=variance)
    (targets,) = checked_rows(mean.shape[1], targets=targets)
    require("variance", variance, "(0, inf)")
    return _regression_summary(key, mean, variance, targets, num_parts=num_parts)


def normal_mixture(mean: jax.Array, variance: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Joins S normals of equal weight to one with the mean and the variance of their mixture.

        m = 1/S sum_s m_s,  v = 1/S sum_s (v_s + m_s^2) - m^2

    Lakshminarayanan et al. 2017, arXiv:1612.01474, section 2.4. `variance_parts` says how much of v
    is noise.

    Args:
      mean: m_s of S members, float[S, N].
      variance: v_s, what each takes the variance of the noise for, >= 0, float[S, N].

    Returns:
      m and v, float[N] each.
    """
    v = variance_parts(mean, variance).total
    return jnp.asarray(mean).mean(axis=0), v


def member_curve(log_p: jax.Array, labels: jax.Array) -> Metrics:
    """Scores the ensembles of 1, 2, ..., S members of one run.

    The score of s members is the mean over the S ensembles of s members that follow each other in
    a circle, so that each member is in s of them: s = 1 is the mean of the members, s = S the
    ensemble. Neighbouring points share most of their members; their differences are no
    independent ones.

    Args:
      log_p: Log-probabilities of S members, float[S, N, C].
      labels: Classes in [0, C), int[N].

    Returns:
      "accuracy", "nll" and "brier", float[S] each.
    """
    log_p, labels = checked_classes(log_p, labels, members=True)
    return _member_curve(log_p, labels)


def regression_curve(mean: jax.Array, variance: jax.Array, targets: jax.Array) -> Metrics:
    """Scores the ensembles of 1, 2, ..., S members of one run, as `member_curve` does of classes.

    Every ensemble is the one normal of `normal_mixture`, so that the two ends of the curve are the
    first two rows of `regression_summary`.

    Args:
      mean: Predictions of S members, float[S, N].
      variance: What each takes the variance of the noise for, > 0, float[S, N].
      targets: y, float[N].

    Returns:
      "rmse", "nll" and "crps", float[S] each.
    """
    mean, variance = checked_members(mean=mean, variance=variance)
    (targets,) = checked_rows(mean.shape[1], targets=targets)
    require("variance", variance, "(0, inf)")
    return _regression_curve(mean, variance, targets)


@partial(jax.jit, static_argnames=("num_bins", "num_parts"))
def _summary(key, log_p, labels, *, num_bins, num_parts):
    def scores(log_p):
        table = reliability(log_p, labels, num_bins=num_bins)
        return {**_class_scores(log_p, labels), "ece": ece(table)}

    ensemble = mixture(log_p)
    calibrated, _ = cross_fitted(key, ensemble, labels, num_parts=num_parts)
    return Summary(_mean(jax.vmap(scores)(log_p)), scores(ensemble), scores(calibrated))


@partial(jax.jit, static_argnames="num_parts")
def _regression_summary(key, mean, variance, targets, *, num_parts):
    scores = lambda m, v: _normal_scores(m, v, targets)  # noqa: E731
    m, v = normal_mixture(mean, variance)
    part = parts(key, len(targets), num_parts)
    others = part[None] != jnp.arange(num_parts)[:, None]
    ratio = ((targets - m) ** 2 / v)[None]
    factor = jnp.where(others, ratio, 0.0).sum(axis=1) / others.sum(axis=1)
    return Summary(
        _mean(jax.vmap(scores)(mean, variance)), scores(m, v), scores(m, factor[part] * v)
    )


@jax.jit
def _member_curve(log_p, labels):
    number = jnp.arange(1, len(log_p) + 1, dtype=log_p.dtype)[:, None, None]

    def from_start(start):
        sums = jax.lax.cumlogsumexp(jnp.roll(log_p, -start, axis=0), axis=0)
        return jax.vmap(lambda log_p: _class_scores(log_p, labels))(sums - jnp.log(number))

    return _mean(jax.lax.map(from_start, jnp.arange(len(log_p))))


@jax.jit
def _regression_curve(mean, variance, targets):
    number = jnp.arange(1, len(mean) + 1, dtype=mean.dtype)[:, None]
    centre = mean.mean(axis=0)[None]  # squares of what is left lose few digits

    def from_start(start):
        d, v = (jnp.roll(x, -start, axis=0) for x in (mean - centre, variance))
        d, d2, v = (jnp.cumsum(x, axis=0) / number for x in (d, d**2, v))
        epistemic = jnp.maximum(d2 - d**2, 0)
        scores = lambda m, v: _normal_scores(m, v, targets)  # noqa: E731
        return jax.vmap(scores)(centre + d, v + epistemic)

    return _mean(jax.lax.map(from_start, jnp.arange(len(mean))))


def _normal_scores(m: jax.Array, v: jax.Array, targets: jax.Array) -> Metrics:
    likelihood = log_likelihood(m[None], v[None], targets)
    ranked = crps(m[None], v[None], targets)
    return {"rmse": rmse(m, targets), "nll": -likelihood.mean(), "crps": ranked.mean()}


def _class_scores(log_p: jax.Array, labels: jax.Array) -> Metrics:
    measures = {"accuracy": accuracy, "nll": nll, "brier": brier}
    return {name: measure(log_p, labels).mean() for name, measure in measures.items()}


def _mean(scores: Metrics) -> Metrics:
    return jax.tree.map(lambda x: x.mean(axis=0), scores)
