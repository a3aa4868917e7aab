"""The idx format of the MNIST files: a magic number, the sizes of the axes, the bytes."""

import gzip
import math
import struct
import zlib

import numpy as np

from dljax.errors import DataError

UINT8 = 0x08  # the type code of unsigned bytes


def parse(name: str, content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Reads an array of bytes from a gzipped idx file; big-endian, one uint32 an axis.

        00 00 08 ndim | size of axis 0 | ... | size of axis ndim - 1 | bytes, last axis fastest

    Args:
      name: What messages call the file.
      content: The whole file, still compressed.
      shape: The shape that the array must have.

    Returns:
      The array, uint8[shape], read-only.

    Raises:
      DataError: If the file is not gzip, or its magic number, its shape or its size is another.
    """
    try:
        raw = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name} must be a whole gzip file, got: {error}.") from None
    magic = bytes((0, 0, UINT8, len(shape)))
    if raw[:4] != magic:
        raise DataError(f"{name} must start with the bytes {magic.hex()}, got {raw[:4].hex()!r}.")
    header = 4 + 4 * len(shape)
    size = header + math.prod(shape)
    if len(raw) < header:
        raise DataError(f"{name} must have {size} bytes, got {len(raw)}.")
    found = struct.unpack(f">{len(shape)}I", raw[4:header])
    if found != shape:
        raise DataError(f"{name} must hold an array of shape {shape}, got {found}.")
    if len(raw) != size:
        raise DataError(f"{name} must have {size} bytes, got {len(raw)}.")
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape)
