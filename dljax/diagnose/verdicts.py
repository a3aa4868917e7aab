"""Underfitting, overfitting or neither, read from the losses of a run by rules that are stated."""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from scipy import stats

from dljax.errors import require


class Verdict(NamedTuple):
    """What two curves say of a run.

    Attributes:
      word: "diverged", "overfitting", "underfitting", "good fit" or "undecided".
      why: The numbers that decided, in one sentence.
      gap: Generalization gap, validation less training loss, mean over seeds, float64[E].
      best: Evaluation of the lowest validation loss, mean over seeds.
      lost: By how much the validation loss at the end is above its lowest: what training on cost.
      lost_margin: `lost` is known to plus or minus this.
      fall: By how much the training loss fell of late.
      fall_margin: `fall` is known to plus or minus this.
    """

    word: str
    why: str
    gap: np.ndarray
    best: int
    lost: float
    lost_margin: float
    fall: float
    fall_margin: float


def verdict(
    train_loss: ArrayLike,
    valid_loss: ArrayLike,
    *,
    target: float | None = None,
    tolerance: float = 0.05,
) -> Verdict:
    """Says of a run whether it underfits, overfits or neither; the first rule that holds decides.

    With drop = t_0 - min t, what training lowered its loss by (t_0 - target, where that is given),
    in the means over seeds, v the validation loss and b its lowest evaluation:

        diverged      t or v of a seed is not finite somewhere, or t_end > t_0 + tolerance |t_0|
        overfitting   v_end - v_b > tolerance drop and above its margin, and t_end < t_b
        underfitting  drop <= tolerance |t_0|: nothing was learnt; or
                      t_end - target > tolerance drop: too small a model, too strong a penalty; or
                      t fell by more than tolerance drop, and its margin, from the mean of the third
                      quarter of the evaluations to that of the last: too few steps
        undecided     v_end - v_b or that fall is above tolerance drop within its margin, or v rose
                      and t did not fall
        good fit      otherwise: v is as low as it was, t has come to rest

    Without a target nothing tells a model too small from noise. A loss whose 0 is no limit, such
    as a log-density, needs one, too. All is the same in other units of the loss.

    Margins: of S seeds half the 95 % t interval of the differences within seeds, with b chosen by
    the other seeds, since a minimum that is chosen by what it is compared with looks too low. Of
    one seed, s is the standard deviation of independent noise on the evaluations,
    median |second difference| / (0.6745 sqrt 6): (2 + sqrt(2 log E)) s for the rise, above which
    noise alone comes in few curves in a hundred, and 2 s sqrt(2 / quarter) for the fall.

    Args:
      train_loss: t, float[E] or float[S, E], equally far apart, the first before any step, E >= 8:
        `history["train_loss"]` of `dj.run` with the part "train".
      valid_loss: v of rows held out, likewise.
      target: Training loss that a good fit reaches, such as the noise floor.
      tolerance: Share of the drop that counts, in (0, 1).

    Raises:
      ValueError: If shapes differ, there are fewer than 8 evaluations, or the target is not below
        the first training loss.
    """
    require("tolerance", tolerance, "(0, 1)")
    t, v = _curves(train_loss, valid_loss)
    gap, (t_mean, v_mean) = (v - t).mean(axis=0), (t.mean(axis=0), v.mean(axis=0))
    bad = int((~np.isfinite(t + v).all(axis=1)).sum())
    t_0, t_end = t_mean[[0, -1]]
    if bad or t_end > t_0 + tolerance * abs(t_0):
        lowest = np.where(np.isfinite(v_mean), v_mean, np.inf).argmin()
        why = f"{bad} of {len(t)} runs have losses that are not finite"
        why = why if bad else f"the training loss rose from {t_0:.4g} to {t_end:.4g}"
        return Verdict("diverged", why + ".", gap, int(lowest), *[np.nan] * 4)
    drop = t_0 - (t_mean.min() if target is None else target)
    if target is not None and drop <= 0:
        raise ValueError(f"target must be below the first training loss {t_0:g}, got {target:g}.")
    best = int(v_mean.argmin())
    lost, lost_margin = _rise(v)
    fall, fall_margin = _fall(t)
    word, why = "good fit", "the validation loss is as low as it was, the training loss at rest"
    far, on = tolerance * drop, t_mean[best] - t_end
    rose = f"the validation loss rose by {lost:.4g} +- {lost_margin:.2g} from evaluation {best}"
    fell = f"the training loss fell by {fall:.4g} +- {fall_margin:.2g} over the last quarters"
    if lost > max(far, lost_margin) and on > 0:
        word, why = "overfitting", f"{rose} to {len(t_mean) - 1}, training fell by {on:.4g}"
    elif target is None and drop <= tolerance * abs(t_0):
        word, why = "underfitting", f"training lowered its loss of {t_0:.4g} by {drop:.2g} only"
    elif target is not None and t_end - target > far:
        word, why = "underfitting", f"the training loss ends at {t_end:.4g}, above {target:.4g}"
    elif fall > max(far, fall_margin):
        word, why = "underfitting", fell
    elif lost > far:
        word, why = "undecided", rose + (", training, too" if on <= 0 else "")
    elif fall > far:
        word, why = "undecided", fell
    return Verdict(word, why + ".", gap, best, lost, lost_margin, fall, fall_margin)


def _curves(train_loss: ArrayLike, valid_loss: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    t, v = np.asarray(train_loss, np.float64), np.asarray(valid_loss, np.float64)
    if t.shape != v.shape or t.ndim not in (1, 2) or 0 in t.shape:
        rule = "losses must be [E] or [S, E], of one shape"
        raise ValueError(f"{rule}, got the shapes {t.shape} and {v.shape}.")
    require("the number of evaluations", t.shape[-1], "[8, inf)")
    return np.atleast_2d(t), np.atleast_2d(v)


def _rise(v: np.ndarray) -> tuple[float, float]:
    """How far the last of [S, E] is above the lowest, and its margin."""
    if len(v) == 1:
        margin = (2 + np.sqrt(2 * np.log(v.shape[1]))) * _noise(v[0])
        return float(v[0, -1] - v[0].min()), float(margin)
    others = (v.sum(axis=0, keepdims=True) - v) / (len(v) - 1)
    lowest = np.take_along_axis(v, others.argmin(axis=1)[:, None], axis=1)[:, 0]
    return _t_interval(v[:, -1] - lowest)


def _fall(t: np.ndarray) -> tuple[float, float]:
    """How far [S, E] fell from its third quarter to its last, and its margin."""
    quarter = t.shape[1] // 4
    fall = t[:, -2 * quarter : -quarter].mean(axis=1) - t[:, -quarter:].mean(axis=1)
    if len(t) == 1:
        return float(fall[0]), float(2 * _noise(t[0]) * np.sqrt(2 / quarter))
    return _t_interval(fall)


def _noise(curve: np.ndarray) -> float:
    return np.median(np.abs(np.diff(curve, n=2))) / (0.6745 * np.sqrt(6))


def _t_interval(d: np.ndarray) -> tuple[float, float]:
    margin = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return float(d.mean()), float(margin)
