"""Intervals and sets that hold the truth as often as they say, whatever the model.

All that is asked is that rows are exchangeable; the promise is of the mean over data sets.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dljax.errors import require
from dljax.predict.checks import checked_log_p, checked_members, checked_rows
from dljax.splits import Rows


class Interval(NamedTuple):
    """From `lower` to `upper`, ends included, float[M] each, in units of the targets."""

    lower: jax.Array
    upper: jax.Array


def conformal_quantile(scores: jax.Array, alpha: float) -> jax.Array:
    """Finds what a further score exceeds with probability alpha at most.

    It is the ceil((1 - alpha) (n + 1))-th smallest of n scores, inf where n is smaller than that.

    Args:
      scores: float[n, ...]; the quantile is along the first axis.
      alpha: In (0, 1), not traced.

    Returns:
      float[...].
    """
    require("alpha", alpha, "(0, 1)")
    n = len(scores)
    k = math.ceil((1 - alpha) * (n + 1) - 1e-9)  # 0.9 * 110 is 99.00000000000001
    if k > n:
        return jnp.full(scores.shape[1:], jnp.inf, scores.dtype)
    return jnp.sort(scores, axis=0)[k - 1]


def split_conformal(residuals: jax.Array, predictions: jax.Array, alpha: float) -> Interval:
    """Puts a band of one width around predictions; Lei et al. 2018, arXiv:1604.04173, algorithm 2.

    It holds a target with probability >= 1 - alpha, and <= 1 - alpha + 1 / (n + 1) if no two
    residuals are equal.

    Args:
      residuals: |y - prediction| of n rows that had no part in the training, float[n].
      predictions: Of the rows to be covered, float[M].
      alpha: Share of targets outside, in (0, 1).
    """
    (residuals,) = checked_rows(residuals=residuals)
    (predictions,) = checked_rows(predictions=predictions)
    require("residuals", residuals, "[0, inf)")
    q = conformal_quantile(residuals, alpha)
    return Interval(predictions - q, predictions + q)


def cv_plus(
    residuals: jax.Array, fold: jax.Array, predictions: jax.Array, alpha: float
) -> Interval:
    """CV+ of K folds; Barber et al. 2021, Ann. Statist. 49, arXiv:1905.02928, section 3.

    With f_k of all rows but those of fold k and the residuals R_i = |y_i - f_k(i)(x_i)| of the n
    rows, the interval at x goes from the floor(alpha (n + 1))-th smallest f_k(i)(x) - R_i to the
    ceil((1 - alpha) (n + 1))-th smallest f_k(i)(x) + R_i. It holds the target with probability

        >= 1 - 2 alpha - min(2 (1 - 1/K) / (n/K + 1), (1 - K/n) / (K + 1))

    (theorem 4; about 1 - alpha unless the fit is unstable). Memory is n M.

    Args:
      residuals: R_i, float[n].
      fold: k(i), the fold in which row i was held out, in [0, K), int[n]; see `fold_of`.
      predictions: f_k of the rows to be covered, float[K, M].
      alpha: In (0, 1).
    """
    (predictions,) = checked_members(predictions=predictions)
    require("residuals", residuals, "[0, inf)")
    residuals, fold = checked_rows(residuals=residuals, fold=fold)
    require("fold", fold, f"[0, {len(predictions)})")
    f, R = predictions[fold], residuals[:, None]
    return Interval(-conformal_quantile(R - f, alpha), conformal_quantile(f + R, alpha))


def jackknife_plus(residuals: jax.Array, predictions: jax.Array, alpha: float) -> Interval:
    """`cv_plus` of as many folds as rows; Barber et al. 2021, theorem 1: P >= 1 - 2 alpha.

    Args:
      residuals: |y_i - f_-i(x_i)| of the fit without row i, float[n].
      predictions: f_-i of the rows to be covered, float[n, M].
      alpha: In (0, 1).
    """
    return cv_plus(residuals, jnp.arange(len(residuals)), predictions, alpha)


def fold_of(valid: Rows, num_rows: int) -> jax.Array:
    """Says in which fold each row was held out.

    Args:
      valid: `kfold(...).valid` of all folds 0, 1, ..., K - 1, leaves [K, ...].
      num_rows: Number of rows N, each in one fold.

    Returns:
      int32[N].
    """
    folds = jnp.arange(len(valid.index), dtype=jnp.int32)[:, None]
    real = jnp.arange(valid.index.shape[1])[None] < jnp.asarray(valid.count)[:, None]
    index = jnp.where(real, valid.index, num_rows)  # out of bounds: dropped
    return jnp.zeros(num_rows, jnp.int32).at[index].set(folds, mode="drop")


def lac_scores(log_p: jax.Array) -> jax.Array:
    """Scores 1 - p_c: the smallest sets; Sadinle et al. 2019, arXiv:1609.00451.

    Args:
      log_p: Log-probabilities, float[N, C].

    Returns:
      Of every class of every row, float[N, C], in [0, 1]. Sets of them may be empty.
    """
    log_p = checked_log_p(log_p)
    return 1 - jnp.exp(log_p)


def aps_scores(key: jax.Array, log_p: jax.Array) -> jax.Array:
    """Scores by the classes that are likelier; Romano et al. 2020, arXiv:2006.02544, section 2.

        sum of p_j over classes j likelier than c, + u p_c,  u uniform, one of each row

    Sets of them adapt to the row: larger where the model is less sure.

    Args:
      key: Draws u; another one for the rows to be covered than for those of the calibration.
      log_p: Log-probabilities, float[N, C].

    Returns:
      Of every class of every row, float[N, C], in [0, 1].
    """
    log_p = checked_log_p(log_p)
    u = jax.random.uniform(key, (len(log_p), 1), log_p.dtype)
    order = jnp.argsort(-log_p, axis=1)
    p = jnp.exp(jnp.take_along_axis(log_p, order, axis=1))
    scores = jnp.cumsum(p, axis=1) - p + u * p
    return jnp.take_along_axis(scores, jnp.argsort(order, axis=1), axis=1)


def prediction_sets(
    calibration: jax.Array, labels: jax.Array, scores: jax.Array, alpha: float
) -> jax.Array:
    """Holds every class whose score is no larger than most labels have.

    The label is in the set with probability >= 1 - alpha, as in `split_conformal`.

    Args:
      calibration: Scores of n rows that had no part in the training, float[n, C].
      labels: Their classes, int[n].
      scores: Of the rows to be covered, by the same rule, float[M, C].
      alpha: Share of labels outside, in (0, 1).

    Returns:
      bool[M, C].
    """
    (calibration,) = checked_members(calibration=calibration)
    (scores,) = checked_members(scores=scores)
    (labels,) = checked_rows(len(calibration), labels=labels)
    require("labels", labels, f"[0, {calibration.shape[1]})")
    of_labels = jnp.take_along_axis(calibration, labels[:, None], axis=1)[:, 0]
    return scores <= conformal_quantile(of_labels, alpha)
