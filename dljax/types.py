"""Aliases of types, and the one table of the letters that docstrings use for dimensions.

| letter | what it counts           | letter | what it counts                         |
|--------|--------------------------|--------|----------------------------------------|
| N      | examples of a data set   | K      | folds                                  |
| M      | slots of an index table  | P      | members of a population                |
| B      | rows of a batch          | S      | slots of an epoch                      |
| D      | features                 | E      | evaluations of a run, step 0 included  |
| C      | classes                  | W      | width: members of a tile on one device |
"""

from collections.abc import Mapping
from typing import Any

import jax

PyTree = Any  # nested containers of arrays
Data = Mapping[str, Any]  # arrays whose leading axis is the example, [N, ...]
Batch = Mapping[str, Any]  # rows of `Data`, [B, ...]
Variables = dict[str, PyTree]  # "params" is trained, other collections are moved by the model
Metrics = dict[str, jax.Array]  # a name and a value each
