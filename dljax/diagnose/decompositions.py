"""Error = bias + variance + noise over training sets, of squared error and of log loss."""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from scipy.special import logsumexp

from dljax.errors import require
from dljax.predict.checks import checked_classes, checked_log_p


class Parts(NamedTuple):
    """error = bias + variance + noise of each row, float64[N]; none of them is below 0.

    Attributes:
      error: Mean loss over the training sets, and over the draws of the target.
      bias: Loss of the centre of the predictions, of squared error the square of the bias.
      variance: Mean loss of the predictions, were their centre the target.
      noise: Mean loss of the best prediction that there is; 0 where that is not known, and
        then the bias holds it.
    """

    error: np.ndarray
    bias: np.ndarray
    variance: np.ndarray
    noise: np.ndarray


def squared_error_parts(
    predictions: ArrayLike, targets: ArrayLike, *, truth: ArrayLike | None = None
) -> Parts:
    """Splits the squared error over training sets; Geman, Bienenstock & Doursat 1992, section 2.

        error = mean_rd (p_r - y_d)^2,      variance = mean_r (p_r - P)^2,  P = mean_r p_r
        bias  = (P - Y)^2, Y = mean_d y_d,  noise    = mean_d (y_d - Y)^2

    error = bias + variance + noise holds exactly, since every prediction meets every draw. But
    the mean of D draws is no f(x): on average this noise is (1 - 1 / D) of the true one, and the
    bias holds the rest; with one draw all of it, error = (bias + noise) + variance. With the
    `truth` f the bias is (P - f)^2, and what the sum then lacks,

        error - (bias + variance + noise) = (Y - f)^2 + 2 (Y - f) (f - P)

    is noise / D on average over draws that know nothing of the training sets. Give f itself as
    the targets for the error without noise.

    Args:
      predictions: p of R fits to training sets drawn anew, float[R, N] or float[R, N, C], whose
        squares are added over C; R >= 2. NaN of a run that diverged is NaN of its rows.
      targets: y, one draw a row, float[N] or float[N, C], or D, float[N, D] or float[N, D, C].
      truth: f(x), what targets are on average, float[N] or float[N, C].

    Raises:
      ValueError: If shapes do not fit or there is one training set only.
    """
    p, y = _outputs("predictions", predictions, (2, 3)), np.asarray(targets, np.float64)
    require("the number of training sets", len(p), "[2, inf)")
    one = p.shape[1:]
    y = y[:, None] if y.shape == one else y
    if y.ndim != p.ndim or (y.shape[0], *y.shape[2:]) != one or not y.shape[1]:
        rule = f"targets must be {list(one)}, or that with an axis of draws after the first"
        raise ValueError(f"{rule}, got the shape {np.shape(targets)}.")
    f = y.mean(axis=1) if truth is None else np.asarray(truth, np.float64)
    if f.shape != one:
        raise ValueError(f"truth must be {list(one)}, got the shape {f.shape}.")
    square = lambda x: (x**2).reshape(*x.shape[:2], -1).sum(axis=-1)  # noqa: E731
    P, Y = p.mean(axis=0), y.mean(axis=1)
    variance, noise = square(p - P[None]).mean(axis=0), square(y - Y[:, None]).mean(axis=1)
    bias, met = (square(d[None])[0] for d in (P - f, P - Y))
    return Parts(met + variance + noise, bias, variance, noise)


def log_loss_parts(
    log_p: ArrayLike, labels: ArrayLike | None = None, *, log_q: ArrayLike | None = None
) -> Parts:
    """Splits the log loss over training sets; Heskes 1998, Neural Comput. 10(6), 1425-1433.

        error = mean_r -sum_c q_c log p_rc   =   KL(q, P)  +  mean_r KL(P, p_r)  +  H(q)
                                                   bias           variance         noise

    exactly, around the normalised geometric mean P_c = exp(mean_r log p_rc) / Z; the variance is
    -log Z and knows no labels. The average of the probabilities, `dj.predict.mixture`, is not
    the centre of this loss. A label is a q without noise: the bias then holds the noise.

    A class to which one fit gives 0 has P = 0: the bias is inf where that is the label. Where all
    classes have a fit that does, there is no centre: the variance is inf and the bias NaN.

    Args:
      log_p: Log-probabilities of R fits to training sets drawn anew, float[R, N, C], R >= 2.
      labels: Classes in [0, C), int[N]; or
      log_q: Log-probabilities of the truth, float[N, C].

    Returns:
      Nats.

    Raises:
      ValueError: If not one of `labels` and `log_q` is given, shapes do not fit, rows do not sum
        to 1 (NaN included) or there is one training set only.
    """
    if (labels is None) == (log_q is None):
        raise ValueError("one of labels and log_q must be given, got both or none.")
    if labels is None:
        checked_log_p(log_p, members=True)
        checked_log_p(log_q)
    else:
        checked_classes(log_p, labels, members=True)
        is_label = np.arange(np.shape(log_p)[-1])[None] == np.asarray(labels)[:, None]
        log_q = np.where(is_label, 0.0, -np.inf)
    log_p, log_q = np.asarray(log_p, np.float64), np.asarray(log_q, np.float64)
    require("the number of training sets", len(log_p), "[2, inf)")
    if log_q.shape != log_p.shape[1:]:
        raise ValueError(f"log_q must be {list(log_p.shape[1:])}, got the shape {log_q.shape}.")
    mean = log_p.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_Z = logsumexp(mean, axis=-1)
        bias = _under(log_q, log_q - (mean - log_Z[:, None]))
    noise = -_under(log_q, log_q)
    return Parts(-_under(log_q, mean), bias, -log_Z, noise)


def _under(log_q: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns sum_c q_c x_c, float[N]; a class of probability 0 counts for nothing."""
    with np.errstate(invalid="ignore"):  # 0 times infinity, which is not chosen
        return np.where(np.isneginf(log_q), 0.0, np.exp(log_q) * x).sum(axis=-1)


def _outputs(name: str, values: ArrayLike, num_axes: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim not in num_axes or 0 in values.shape:
        raise ValueError(f"{name} must be [R, N] or [R, N, C], got the shape {values.shape}.")
    return values
