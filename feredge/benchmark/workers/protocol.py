"""Messages between the harness and its workers: a JSON header and raw arrays, over any pair of byte streams.

Without pickle, and with nothing but bytes in and bytes out, it works over an ssh connection as well.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_LENGTH_PREFIX = struct.Struct("<I")
_MAX_HEADER_BYTES = 64 << 20  # thousands of arrays have descriptions of this size


def send(stream: BinaryIO, message: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
    """Write one message and flush."""
    arrays = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    descriptions = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    header = json.dumps({"message": dict(message), "arrays": descriptions}).encode()
    stream.write(_LENGTH_PREFIX.pack(len(header)) + header)
    for array in arrays.values():
        stream.write(array.data.cast("B") if array.size else b"")
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read one message.

    Raises:
        EOFError: the stream ends.
        ValueError: the header is longer than any that `send` writes.
    """
    (length,) = _LENGTH_PREFIX.unpack(_read(stream, _LENGTH_PREFIX.size))
    if length > _MAX_HEADER_BYTES:
        raise ValueError(f"expected a header of at most {_MAX_HEADER_BYTES} bytes, found {length}")
    header = json.loads(_read(stream, length))
    arrays = {}
    for name, type_code, shape in header["arrays"]:
        dtype = np.dtype(type_code)
        data = _read(stream, dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
        arrays[name] = np.frombuffer(data, dtype).reshape(shape)
    return header["message"], arrays


def _read(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if data is None or len(data) < count:
        raise EOFError
    return data
