"""Messages between the harness and its workers: a JSON header and raw arrays, over any pair of byte streams.

No pickle, and nothing but bytes in and bytes out, so that a worker can as well be at the other end of an ssh
connection.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_LENGTH = struct.Struct("<I")
_HEADER_LIMIT = 64 << 20  # bytes: the longest says where thousands of arrays begin


def send(stream: BinaryIO, message: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
    """Write one message and flush."""
    arrays = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    layout = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    header = json.dumps({"message": dict(message), "arrays": layout}).encode()
    stream.write(_LENGTH.pack(len(header)) + header)
    for array in arrays.values():
        stream.write(array.data.cast("B") if array.size else b"")
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read one message; EOFError when the other end is gone, ValueError for a header of no sensible length."""
    (length,) = _LENGTH.unpack(_read(stream, _LENGTH.size))
    if length > _HEADER_LIMIT:
        raise ValueError(f"expected a header of at most {_HEADER_LIMIT} bytes, found {length}")
    header = json.loads(_read(stream, length))
    arrays = {}
    for name, dtype, shape in header["arrays"]:
        kind = np.dtype(dtype)
        data = _read(stream, kind.itemsize * int(np.prod(shape, dtype=np.int64)))
        arrays[name] = np.frombuffer(data, kind).reshape(shape)
    return header["message"], arrays


def _read(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if data is None or len(data) < count:
        raise EOFError
    return data
