"""Error rate = bias and variance that adds to it, less variance that takes away from it."""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from dljax.errors import require


class ZeroOneParts(NamedTuple):
    """error = bias + unbiased - biased of each row, [N].

    Attributes:
      error: Share of the training sets whose prediction is wrong, float64.
      main: Main prediction, the class of most training sets, the smallest of several, int64.
      bias: 1 where the main prediction is wrong, else 0, float64.
      variance: Share of the training sets that predict another class than the main one, float64.
      unbiased: The variance where the main prediction is right, else 0: it adds errors, float64.
      biased: Share that predicts the label where the main prediction is wrong, else 0: it takes
        errors away, float64.
    """

    error: np.ndarray
    main: np.ndarray
    bias: np.ndarray
    variance: np.ndarray
    unbiased: np.ndarray
    biased: np.ndarray


def zero_one_parts(predictions: ArrayLike, labels: ArrayLike) -> ZeroOneParts:
    """Splits the error rate over training sets; Domingos 2000, A unified bias-variance
    decomposition, ICML, without noise: labels are taken for the truth.

        error = bias + c variance,   c = 1 where the main prediction m is right,
                                     c = -P(p = y | p != m) where it is wrong

    exactly. With two classes c = -1 where m is wrong, as all that deviates is right; with more,
    part of what deviates is wrong, too. `unbiased - biased` = c variance is the net variance: a
    fit that varies more may err less. Their mean over rows is the mean error less the mean bias,
    while mean bias and mean variance, which mlxtend reports, need not add up to it.

    Args:
      predictions: Classes that R fits to training sets drawn anew predict, int[R, N], >= 0; R >= 2.
      labels: Classes y, int[N], >= 0.

    Raises:
      ValueError: If these are no classes, shapes do not fit or there is one training set only.
    """
    p, y = np.asarray(predictions), np.asarray(labels)
    if p.ndim != 2 or y.shape != p.shape[1:] or 0 in p.shape:
        rule = "predictions must be [R, N] and labels [N]"
        raise ValueError(f"{rule}, got the shapes {p.shape} and {y.shape}.")
    for name, x in (("predictions", p), ("labels", y)):
        if x.dtype.kind not in "iu":
            raise ValueError(f"{name} must be whole numbers, got {x.dtype}.")
        require(name, x, "[0, inf)")
    require("the number of training sets", len(p), "[2, inf)")
    num_classes = p.max() + 1
    votes = np.stack([np.bincount(row, minlength=num_classes) for row in p.T])
    main = votes.argmax(axis=1)
    wrong = main != y
    error, variance = (p != y[None]).mean(axis=0), (p != main[None]).mean(axis=0)
    bias = wrong.astype(np.float64)
    return ZeroOneParts(error, main, bias, variance, (1 - bias) * variance, bias * (1 - error))
