"""Flatbuffers read by a schema, with every offset checked: a damaged or hostile one is an error, never a crash.

A schema is `table -> (name and kind of each field, in the order of the fields' numbers)`. Kinds: a `struct` code for a
scalar (`I` is a uint32); `string`; another table's name; `[KIND]` for a vector of any of these; `union`, of which only
the position is read; `refused` for a field that must be absent. The rules are those of flatbuffers' own C++ verifier
(https://flatbuffers.dev/flatbuffers_internals/), and stricter in one: fields that the schema does not know are refused,
because the runtime behind may know them.
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
"""Tables and strings that are read of one file; files may share them, so that few bytes could hold any number."""
STRING_LIMIT = 1 << 20
"""Bytes of a name or a text."""
_UINT32, _INT32, _UINT16 = struct.Struct("<I"), struct.Struct("<i"), struct.Struct("<H")
_SCALARS = {code: struct.Struct(f"<{code}") for code in "?bBhHiIqQfd"}
_DTYPES = {code: np.dtype(f"<{code}") for code in "bBhHiIfd"} | {
    "?": np.dtype("u1"),  # a byte from anywhere is no bool
    "q": np.dtype("<i8"),
    "Q": np.dtype("<u8"),
}


class FlatbufferReader:
    """One flatbuffer. Everything it raises is an ArtifactError, whose text does not name the file."""

    def __init__(self, data: bytes, schema: Schema) -> None:
        self._data = data
        self._schema = schema
        self._tables = 0

    def root(self, table: str, identifier: bytes) -> Table:
        """Return the root table, of a buffer with this four-byte identifier."""
        if len(self._data) < 12 or self._data[4:8] != identifier:
            raise ArtifactError(f"expected a flatbuffer {identifier.decode()!r}, found another file")
        return self.table(table, self._follow(0))

    def table(self, name: str, position: int) -> Table:
        """Return the fields that are present in the table at `position`, by name."""
        self._count()
        vtable = position - self._scalar(_INT32, position)
        size = self._scalar(_UINT16, vtable)
        fields = self._schema[name]
        if size < 4 or size % 2 or vtable + size > len(self._data):
            raise ArtifactError(f"expected a table {name}, found one without a list of its fields")
        found: Table = {}
        for number, (offset,) in enumerate(_UINT16.iter_unpack(self._data[vtable + 4 : vtable + size])):
            if not offset:
                continue
            if number >= len(fields) or fields[number][1] == "refused":
                what = fields[number][0] if number < len(fields) else f"field {number}"
                raise ArtifactError(f"expected a table {name} of known fields, found {what}")
            field, kind = fields[number]
            found[field] = self._value(kind, position + offset)
        return found

    def _value(self, kind: str, at: int) -> Any:
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind], at)
        position = self._follow(at)
        if kind == "string":
            return self._string(position)
        if kind == "union":
            return position
        return self._vector(kind[1:-1], position) if kind[0] == "[" else self.table(kind, position)

    def _vector(self, kind: str, position: int) -> Any:
        count, start = self._scalar(_UINT32, position), position + 4
        size = _DTYPES[kind].itemsize if kind in _DTYPES else 4
        if start + count * size > len(self._data) or (count and start % size):
            raise ArtifactError(f"expected a vector inside the file, found {count} items at byte {position}")
        if kind in _DTYPES:
            return np.frombuffer(self._data, _DTYPES[kind], count, start)
        return [self._value(kind, start + 4 * index) for index in range(count)]

    def _string(self, position: int) -> str:
        self._count()
        length, start = self._scalar(_UINT32, position), position + 4
        if length > STRING_LIMIT or self._data[start + length : start + length + 1] != b"\0":
            raise ArtifactError(f"expected a text inside the file, found {length} bytes at byte {position}")
        try:
            return self._data[start : start + length].decode()
        except UnicodeDecodeError as error:
            raise ArtifactError(f"expected a text in UTF-8 at byte {position}, found other bytes") from error

    def _follow(self, at: int) -> int:
        """Return the position that the offset at `at` leads to."""
        offset: int = self._scalar(_UINT32, at)
        if not offset:
            raise ArtifactError(f"expected an offset at byte {at}, found 0")
        return at + offset

    def _scalar(self, kind: struct.Struct, at: int) -> Any:
        if at < 0 or at % kind.size or at + kind.size > len(self._data):
            raise ArtifactError(f"expected {kind.size} aligned bytes inside the file, found the position {at}")
        return kind.unpack_from(self._data, at)[0]

    def _count(self) -> None:
        self._tables += 1
        if self._tables > TABLE_LIMIT:
            raise ArtifactError(f"expected at most {TABLE_LIMIT:,} tables and texts, found more")
