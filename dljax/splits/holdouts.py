"""Parts held out once, for selection and for the final test."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dljax.errors import require
from dljax.splits.classes import by_class, require_labels
from dljax.splits.rows import Rows, Split, pick, shuffled


def holdout(key: jax.Array, rows: int | Rows, *, valid: float = 0.2, test: float = 0.0) -> Split:
    """Holds out random fractions of the rows for selection and for the final test.

    Args:
      key: Shuffles the rows.
      rows: Number of rows N, or the rows to divide.
      valid: Fraction for `Split.valid`, in [0, 1): floor(valid N) rows; `None` instead of 0 rows.
      test: Fraction for `Split.test`, likewise; valid + test < 1.

    Returns:
      A `Split` whose parts share no row; `train` holds the rest.

    Raises:
      ValueError: If a fraction is out of its range, or so small that its part would be empty.
    """
    return _held_out(shuffled(key, rows), valid, test)


def stratified_holdout(
    key: jax.Array,
    rows: int | Rows,
    labels: ArrayLike,
    num_classes: int,
    *,
    valid: float = 0.2,
    test: float = 0.0,
) -> Split:
    """Holds out the same fractions of every class, up to whole rows.

    The parts are as large as those of `holdout`. Of n rows of a class `valid` gets n / N of its
    rows, rounded down or up, and `test` is less than 2 rows off its share; scikit-learn's
    `StratifiedShuffleSplit` rounds likewise, and may choose other classes to round up.

    Args:
      key: Shuffles the rows within their class.
      rows: Number of rows N, or the rows to divide.
      labels: Class of each row of the data, int[N], in [0, C); may be traced.
      num_classes: Number of classes C, >= 2.
      valid: Fraction for `Split.valid`, in [0, 1): floor(valid N) rows; `None` instead of 0 rows.
      test: Fraction for `Split.test`, likewise; valid + test < 1.

    Returns:
      A `Split` whose parts share no row, each in the order of the classes.

    Raises:
      ValueError: As `holdout`, or if concrete labels are no classes.
    """
    require_labels(rows, labels, num_classes)
    return _held_out(by_class(key, rows, labels, num_classes), valid, test)


def _held_out(rows: Rows, valid: float, test: float) -> Split:
    """Holds out evenly spaced places.

    In a random order they are a random part, in one by class a stratified one; and they take their
    share of a table that is only partly filled.
    """
    size = rows.index.shape[0]
    require("valid", valid, "[0, 1)")
    require("test", test, "[0, 1)")
    require("valid + test", valid + test, "[0, 1)")
    # 0.29 * 100 is 28.999999999999996
    num_valid, num_test = int(valid * size + 1e-9), int(test * size + 1e-9)
    for name, fraction, number in (("valid", valid, num_valid), ("test", test, num_test)):
        if fraction > 0 and number == 0:
            raise ValueError(
                f"{name} must hold at least one of the {size} rows, got the fraction {fraction}."
            )
    places = np.arange(size)
    valid_places = _spread(places, num_valid)
    test_places = _spread(np.setdiff1d(places, valid_places), num_test)
    is_valid = jnp.asarray(np.isin(places, valid_places)) & (places < rows.count)
    is_test = jnp.asarray(np.isin(places, test_places)) & (places < rows.count)
    is_train = (places < rows.count) & ~is_valid & ~is_test
    return Split(
        train=pick(rows, is_train, size - num_valid - num_test),
        valid=pick(rows, is_valid, num_valid) if num_valid else None,
        test=pick(rows, is_test, num_test) if num_test else None,
    )


def _spread(places: np.ndarray, number: int) -> np.ndarray:
    return places[(np.arange(number) * len(places)) // max(number, 1)]
