"""A schema-driven flatbuffer reader that checks every offset: damaged or hostile data is an error, never a crash.

A schema is `table -> (name and kind of each field, by field number)`. Kinds: a `struct` code for a
scalar (`I` is a uint32); `string`; another table's name; `[KIND]` for a vector of any of these; `union`, of which only
the position is read; `refused` for a field that must be absent. The rules follow flatbuffers' C++ verifier
(https://flatbuffers.dev/flatbuffers_internals/), with one addition: fields missing from the schema are refused,
because the runtime may know them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from feredge.errors import ArtifactError

Schema = Mapping[str, tuple[tuple[str, str], ...]]
Table = dict[str, Any]

TABLE_LIMIT = 500_000
"""Tables and strings read from one file. Offsets may share them, so a small file can refer to any number."""
STRING_LIMIT = 1 << 20
"""Maximum bytes of a string."""
_LE_UINT32, _LE_INT32, _LE_UINT16 = struct.Struct("<I"), struct.Struct("<i"), struct.Struct("<H")
_SCALAR_STRUCTS = {code: struct.Struct(f"<{code}") for code in "?bBhHiIqQfd"}
_VECTOR_DTYPES = {code: np.dtype(f"<{code}") for code in "bBhHiIfd"} | {
    "?": np.dtype("u1"),  # untrusted bytes may be neither 0 nor 1
    "q": np.dtype("<i8"),
    "Q": np.dtype("<u8"),
}


class FlatbufferReader:
    """A flatbuffer with a schema. All errors are ArtifactError; their text does not name the file."""

    def __init__(self, data: bytes, schema: Schema) -> None:
        self._data = data
        self._schema = schema
        self._objects = 0

    def root(self, table: str, identifier: bytes) -> Table:
        """Return the root table of a buffer with this four-byte identifier."""
        if len(self._data) < 12 or self._data[4:8] != identifier:
            raise ArtifactError(f"expected a flatbuffer {identifier.decode()!r}, found another file")
        return self.table(table, self._resolve_offset(0))

    def table(self, name: str, position: int) -> Table:
        """Return the fields that are present in the table at `position`, by name."""
        self._count_object()
        vtable = position - self._scalar(_LE_INT32, position)
        size = self._scalar(_LE_UINT16, vtable)
        fields = self._schema[name]
        if size < 4 or size % 2 or vtable + size > len(self._data):
            raise ArtifactError(f"expected a table {name}, found a damaged vtable")
        values: Table = {}
        for number, (offset,) in enumerate(_LE_UINT16.iter_unpack(self._data[vtable + 4 : vtable + size])):
            if not offset:
                continue
            if number >= len(fields) or fields[number][1] == "refused":
                unexpected = fields[number][0] if number < len(fields) else f"field {number}"
                raise ArtifactError(f"expected a table {name} of known fields, found {unexpected}")
            field, kind = fields[number]
            values[field] = self._value(kind, position + offset)
        return values

    def _value(self, kind: str, at: int) -> Any:
        if kind in _SCALAR_STRUCTS:
            return self._scalar(_SCALAR_STRUCTS[kind], at)
        position = self._resolve_offset(at)
        if kind == "string":
            return self._string(position)
        if kind == "union":
            return position
        return self._vector(kind[1:-1], position) if kind[0] == "[" else self.table(kind, position)

    def _vector(self, kind: str, position: int) -> Any:
        count, start = self._scalar(_LE_UINT32, position), position + 4
        size = _VECTOR_DTYPES[kind].itemsize if kind in _VECTOR_DTYPES else 4
        if start + count * size > len(self._data) or (count and start % size):
            raise ArtifactError(f"expected a vector inside the file, found {count} items at byte {position}")
        if kind in _VECTOR_DTYPES:
            return np.frombuffer(self._data, _VECTOR_DTYPES[kind], count, start)
        return [self._value(kind, start + 4 * index) for index in range(count)]

    def _string(self, position: int) -> str:
        self._count_object()
        length, start = self._scalar(_LE_UINT32, position), position + 4
        if length > STRING_LIMIT or self._data[start + length : start + length + 1] != b"\0":
            raise ArtifactError(f"expected a text inside the file, found {length} bytes at byte {position}")
        try:
            return self._data[start : start + length].decode()
        except UnicodeDecodeError as error:
            raise ArtifactError(f"expected a text in UTF-8 at byte {position}, found other bytes") from error

    def _resolve_offset(self, at: int) -> int:
        """Return the position that the offset at `at` refers to."""
        offset: int = self._scalar(_LE_UINT32, at)
        if not offset:
            raise ArtifactError(f"expected an offset at byte {at}, found 0")
        return at + offset

    def _scalar(self, kind: struct.Struct, at: int) -> Any:
        if at < 0 or at % kind.size or at + kind.size > len(self._data):
            raise ArtifactError(f"expected {kind.size} aligned bytes inside the file, found position {at}")
        return kind.unpack_from(self._data, at)[0]

    def _count_object(self) -> None:
        self._objects += 1
        if self._objects > TABLE_LIMIT:
            raise ArtifactError(f"expected at most {TABLE_LIMIT:,} tables and texts, found more")
