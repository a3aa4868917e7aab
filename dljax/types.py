"""Aliases of types, and the one table of the letters that docstrings use for dimensions.

| letter | what it counts           | letter | what it counts                         |
|--------|--------------------------|--------|----------------------------------------|
| N      | examples of a data set   | K      | folds                                  |
| M      | slots of an index table  | P      | members of a population                |
| B      | rows of a batch          | S      | slots of an epoch                      |
| D      | features                 | E      | evaluations of a run, step 0 included  |
| C      | classes                  | W      | width: members of a tile on one device |
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

PyTree = Any  # nested containers of arrays
Data = Mapping[str, Any]  # arrays whose leading axis is the example, [N, ...]
Batch = Mapping[str, Any]  # rows of `Data`, [B, ...]
Variables = dict[str, PyTree]  # "params" is trained, other collections are moved by the model
Metrics = dict[str, jax.Array]  # a name and a value each


class Member(NamedTuple):
    """One run in rounds, for long runs and for runs that stop at different times.

    A member that is one function `member(*shared, **cell) -> results` is a run of one round.
    Between rounds the state lies on the host, members that have finished leave, and the others
    close ranks, so that nothing is computed for those that stopped.

    Attributes:
      init: `init(*shared, **cell) -> state`, a tree of arrays.
      advance: `advance(*shared, state, round, **cell) -> (state, report)`; `round`, int32[], counts
        from 0, the shapes of the state must stay, and `report` is a tree of arrays.
      result: `result(*shared, state, reports, **cell) -> results`; the leaves of `reports` are
        [num_rounds, ...], and rows after the member finished repeat its last one.
      num_rounds: Rounds at most, >= 1.
      finished: `finished(state) -> bool[]`, whether the member takes no further round; `None`
        where all take all.
    """

    init: Callable[..., PyTree]
    advance: Callable[..., tuple[PyTree, PyTree]]
    result: Callable[..., PyTree]
    num_rounds: int
    finished: Callable[[PyTree], jax.Array] | None = None
