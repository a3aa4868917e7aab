"""Whether rows that select or test were seen in training: identical rows, found by their digest."""

import hashlib
from collections import defaultdict
from itertools import combinations
from typing import NamedTuple

import numpy as np

from dljax.errors import unknown
from dljax.splits import Rows, Split
from dljax.types import Data


class Leak(NamedTuple):
    """A row of one part whose features stand in an earlier part, too."""

    part: str
    row: int
    other_part: str
    other_rows: tuple[int, ...]  # all rows of the other part with these features
    same_label: bool  # whether one of them has the row's label as well


class Leaks(NamedTuple):
    """What was found, and the same in a sentence."""

    leaks: tuple[Leak, ...]
    sentence: str


def leaks(data: Data, split: Split, labels: str | None = None) -> Leaks:
    """Finds rows of a split's later parts that are identical to rows of an earlier one.

    Two rows are identical if all their features are, bit by bit (0 and -0 are one number). One
    row in two parts is such a pair as well. Nothing is raised: duplicates are common in real data,
    and whether they matter depends on the question.

    Args:
      data: Named concrete arrays [N, ...].
      split: Concrete parts; one entry of `vmap(kfold)` or what a split returns outside of `jit`.
      labels: Name of the array that is no feature, if there is one.

    Returns:
      All leaks, by part and row, and a sentence that names the first five.

    Raises:
      ValueError: If `labels` names no array, or no feature is left.
    """
    if labels is not None and labels not in data:
        raise unknown("array", labels, data)
    features = [_plain(x) for name, x in data.items() if name != labels]
    if not features:
        raise ValueError(f"data must hold a feature besides {labels}, got none.")
    answers = None if labels is None else _plain(data[labels])
    parts = {part: _real(rows) for part, rows in split._asdict().items() if rows is not None}
    digests = {row: _digest(features, row) for row in np.unique(np.concatenate([*parts.values()]))}
    found = []
    for other_part, part in combinations(parts, 2):
        rows_of = defaultdict(list)
        for row in parts[other_part]:
            rows_of[digests[row]].append(int(row))
        for row in parts[part]:
            others = tuple(rows_of.get(digests[row], ()))
            if others:
                same = answers is None or any(_same(answers, row, other) for other in others)
                found.append(Leak(part, int(row), other_part, others, same))
    return Leaks(tuple(found), _sentence(found, labels))


def _real(rows: Rows) -> np.ndarray:
    return np.unique(np.asarray(rows.index)[: int(rows.count)])


def _plain(x: np.ndarray) -> np.ndarray:
    x = np.ascontiguousarray(x)
    return x + x.dtype.type(0) if np.issubdtype(x.dtype, np.inexact) else x  # -0 + 0 is 0


def _digest(features: list[np.ndarray], row: int) -> bytes:
    """Returns 128 bits of what a row holds, which differ for different rows but by a wonder."""
    digest = hashlib.blake2b(digest_size=16)
    for x in features:
        digest.update(x[row].tobytes())
    return digest.digest()


def _same(answers: np.ndarray, row: int, other: int) -> bool:
    return answers[row].tobytes() == answers[other].tobytes()


def _sentence(found: list[Leak], labels: str | None) -> str:
    if not found:
        return "No row occurs in two parts."
    pairs = ", ".join(
        f"{leak.part} {leak.row} = {leak.other_part} {leak.other_rows[0]}" for leak in found[:5]
    )
    answers = (
        "" if labels is None else f" ({sum(x.same_label for x in found)} with the same {labels})"
    )
    number = "1 row repeats" if len(found) == 1 else f"{len(found)} rows repeat"
    more = f", and {len(found) - 5} more" if len(found) > 5 else ""
    return f"{number} a row of an earlier part{answers}: {pairs}{more}."
