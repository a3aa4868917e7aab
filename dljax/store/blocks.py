"""Trees of arrays as one file that numpy opens: an uncompressed npz, one array a leaf."""

import io
import zipfile
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dljax.placement import HostKeys
from dljax.types import PyTree

SEPARATOR = "/"


class Leaf(NamedTuple):
    """Where a leaf stands in its tree, and what it is, ready for JSON.

    Attributes:
      path: Keys of dicts, names of fields and positions in sequences, from the root.
      dtype: Name of its type in jax; of random keys "key" and their kind.
      shape: Of one member.
    """

    path: list[str | int]
    dtype: str
    shape: list[int]

    @property
    def name(self) -> str:
        """Its name in the file; keys that hold a slash or a number may share it with others."""
        return SEPARATOR.join(map(str, self.path)) or "value"


def on_host(shapes: PyTree) -> PyTree:
    """Returns what `dljax.placement.to_host` would make of arrays of these shapes."""

    def one(x):
        if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return x
        kinds = []  # a key tells its kind only when it is traced
        data = jax.eval_shape(
            lambda key: kinds.append(str(jax.random.key_impl(key))) or jax.random.key_data(key), x
        )
        return HostKeys(data, kinds[0])

    return jax.tree.map(one, shapes)


def leaves_of(tree: PyTree) -> list[Leaf]:
    """Describes the leaves [n, ...] of a tree on the host, in jax's order."""
    return [
        Leaf([_step(key) for key in path], *_kind(x))
        for path, x in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_keys)[0]
    ]


def packed(trees: dict[str, PyTree]) -> bytes:
    """Writes trees on the host, each under its own name."""
    arrays = {}
    for root, tree in trees.items():
        for leaf, x in zip(leaves_of(tree), jax.tree.leaves(tree, is_leaf=is_keys)):
            name = SEPARATOR.join((root, leaf.name))
            while name in arrays:
                name += "_"
            arrays[name] = plain(x)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpacked(content: bytes) -> dict[str, list[np.ndarray]]:
    """Reads what `packed` wrote: the arrays of each tree, in the order of its leaves.

    Raises:
      ValueError: If it is no such file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("an array is compressed")
        trees: dict[str, list[np.ndarray]] = {}
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            for entry in entries:
                name = entry.filename.removesuffix(".npy")
                if not isinstance(found[name], np.ndarray):
                    raise ValueError(f"{name!r} is no array")
                trees.setdefault(name.split(SEPARATOR)[0], []).append(found[name])
    except (Exception, MemoryError) as error:  # numpy and zipfile have many for a file of others
        raise ValueError(f"it is no npz file of ours ({str(error).splitlines()[0]})") from None
    return trees


def restored(arrays: Iterable[np.ndarray], leaves: Iterable[Leaf]) -> list[Any]:
    """Returns the leaves as they were, from plain arrays; raises a `ValueError` if they differ."""
    arrays, leaves = list(arrays), list(leaves)
    if len(arrays) != len(leaves):
        raise ValueError(f"it holds {len(arrays)} arrays of {len(leaves)}")
    found = [_restored(x, leaf) for x, leaf in zip(arrays, leaves)]
    if len({len(x) for x in jax.tree.leaves(found)}) > 1:
        raise ValueError("its arrays are of different numbers of members")
    return found


def plain_tree(values: Iterable[Any], leaves: Iterable[Leaf]) -> PyTree:
    """Builds nested dicts and lists from leaves and their paths."""
    root: dict = {}
    for x, leaf in zip(values, leaves, strict=True):
        node, path = root, ["", *leaf.path]
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = x
    return _with_lists(root.get("", {}))


def _with_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    values = {key: _with_lists(value) for key, value in node.items()}
    is_list = values and all(isinstance(key, int) for key in values)
    return [values[key] for key in sorted(values)] if is_list else values


def _step(key: Any) -> str | int:
    """Returns one step of a path: a position in a sequence, else a name."""
    if isinstance(key, jax.tree_util.SequenceKey):
        return key.idx
    if isinstance(key, jax.tree_util.DictKey | jax.tree_util.FlattenedIndexKey):
        return str(key.key)
    return str(getattr(key, "name", key))


def is_keys(x: Any) -> bool:
    return isinstance(x, HostKeys)


def _kind(x: Any) -> tuple[str, list[int]]:
    if is_keys(x):
        return f"key {x.impl}", list(x.data.shape[1:])
    return x.dtype.name, list(x.shape[1:])


def plain(x: Any) -> np.ndarray:
    """Returns an array that numpy reads without us; what numpy has no type for goes as bits."""
    if is_keys(x):
        return x.data
    return x if x.dtype.isbuiltin == 1 else x.view(f"u{x.dtype.itemsize}")


def _restored(x: np.ndarray, leaf: Leaf) -> Any:
    kind, _, impl = leaf.dtype.partition(" ")
    dtype = np.dtype(np.uint32 if kind == "key" else jnp.dtype(leaf.dtype))
    stored = dtype if dtype.isbuiltin == 1 else np.dtype(f"u{dtype.itemsize}")
    if x.dtype != stored or list(x.shape[1:]) != list(leaf.shape) or x.ndim == 0:
        raise ValueError(
            f"{leaf.name!r} is {x.dtype}{list(x.shape)}, not {stored} of {list(leaf.shape)} each"
        )
    return HostKeys(x, impl) if kind == "key" else x.view(dtype)


def joined(parts: Iterable[Any]) -> Any:
    """Returns arrays [n, ...], or keys on the host, one after the other."""
    return jax.tree.map(lambda *x: np.concatenate(x), *parts)


def identities(cells: dict[str, Any]) -> list[bytes]:
    """Returns who each member is: the bytes of its coordinates."""
    return rows_of(jax.tree.leaves(cells, is_leaf=is_keys))


def rows_of(arrays: list[Any]) -> list[bytes]:
    """Returns the bytes of each row of arrays [n, ...]."""
    columns = [np.ascontiguousarray(x.data if is_keys(x) else x) for x in arrays]
    columns = [x.reshape(len(x), -1).view(np.uint8) for x in columns]
    return [row.tobytes() for row in np.concatenate(columns, axis=1)]
