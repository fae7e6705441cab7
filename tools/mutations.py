"""Damage to valid files, each kind of file in its own structure, so that parsers get past magic, lengths and digests.

Every function takes a whole file and a `random.Random`, and returns a changed one. Any of them may fall back to
`damage_bytes`, which knows of no structure.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import hashlib
import io
import json
import random
import struct
import tomllib
import zipfile
from collections.abc import Callable
from typing import Any

from feredge.inference.artifact import CARD_FILE, DIGEST_FILE

Mutation = Callable[[bytes, random.Random], bytes]

NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
VALUES = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.0, 1e308, -1e-300),
    *(
        float("nan"),
        float("inf"),
        "",
        " ",
        "\0",
        "\x1b[2J",
        "\ud800",
        "nan",
        "../../etc/passwd",
        "<script>",
        "x" * 5000,
    ),
    *([], [[]], {}, {"": None}, [0] * 1000),
)
"""What a value in JSON is replaced by: every type, and the ends of their ranges."""
CELLS = (b"", b" ", b"-1", b"256", b"1e9", b"\xff", b"\0", b'"', b'""', b"Training", b"nan", b"9" * 400, b"0 " * 3000)
SEPARATORS = (b",", b" ", b"\n", b"\r", b'"', b";", b"\t")


def damage_bytes(data: bytes, chance: random.Random) -> bytes:
    """Return `data` with one to six mutations: bits, bytes, lengths, cuts, copies, noise."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        if not out:
            break
        # Headers and lengths stand at both ends; half of all mutations go there.
        span = len(out) if chance.random() < 0.5 else min(len(out), 256)
        at = chance.randrange(span) if chance.random() < 0.75 else len(out) - 1 - chance.randrange(span)
        kind = chance.randrange(7)
        if kind == 0:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            out[at] = chance.choice((0, 1, 127, 128, 254, 255, chance.randrange(256)))
        elif kind == 2:
            number = chance.choice((*NUMBERS, chance.getrandbits(32)))
            size = chance.choice((2, 4))
            out[at : at + size] = (number & (1 << 8 * size) - 1).to_bytes(size, chance.choice(("little", "big")))
        elif kind == 3 and len(out) > 8:
            del out[chance.randrange(1, len(out)) :]
        elif kind == 4:
            out[at:at] = out[at : at + chance.randrange(1, 64)]
        elif kind == 5:
            del out[at : at + chance.randrange(1, 32)]
        else:
            out[at : at + 16] = chance.randbytes(16)
    return bytes(out)


def damage_in_place(data: bytes, chance: random.Random) -> bytes:
    """Return `data` of the same length with one to four changed bits, bytes or aligned words."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(out))
        kind = chance.randrange(4)
        if kind == 0:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            out[at] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
        else:
            _shift_word(out, at & ~3, chance)
    return bytes(out)


def damage_flatbuffer(data: bytes, chance: random.Random) -> bytes:
    """Return a flatbuffer with changed fields: words that look like offsets or small numbers are preferred.

    Tables lie at one end and weights are most of the file, so half of the changes go to words whose value is an offset
    within the file.
    """
    out = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        if chance.random() < 0.3:
            out = bytearray(damage_in_place(bytes(out), chance))
            continue
        for _ in range(200):
            at = 4 * chance.randrange(len(out) // 4)
            if 0 < struct.unpack_from("<I", out, at)[0] < len(out):
                break
        _shift_word(out, at, chance)
    return bytes(out)


def damage_protobuf(data: bytes, chance: random.Random, depth: int = 0) -> bytes:
    """Return a protobuf message with one changed field somewhere inside; lengths around it fit."""
    fields = _protobuf_fields(data)
    if not fields:
        return damage_bytes(data, chance) if data else chance.randbytes(chance.randrange(1, 9))
    at = chance.randrange(len(fields))
    key, wire, value = fields[at]
    kind = chance.random()
    if kind < 0.1:
        del fields[at]
    elif kind < 0.2:
        fields.insert(chance.randrange(len(fields) + 1), fields[at])
    elif isinstance(value, int):
        new = chance.choice((*NUMBERS, 2**63, 2**64 - 1, value + 1, max(value - 1, 0), chance.getrandbits(64)))
        fields[at] = key, wire, new & (1 << {0: 64, 1: 64, 5: 32}[wire]) - 1
    else:
        nested = depth < 8 and chance.random() < 0.85 and _protobuf_fields(value)
        fields[at] = key, wire, damage_protobuf(value, chance, depth + 1) if nested else damage_bytes(value, chance)
    return b"".join(_protobuf_field(*field) for field in fields)


def damage_value(value: Any, chance: random.Random) -> Any:
    """Return plain values (tables, lists, texts, numbers) with one to three changes, anywhere inside."""
    root = [copy.deepcopy(value)]
    for _ in range(chance.choice((1, 1, 1, 2, 3))):  # most of one change are taken by typed readers
        holder: Any = root
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = chance.choice(keys)
            inner = holder[key]
            if isinstance(inner, dict | list) and inner and chance.random() < 0.85:
                holder = inner
                continue
            _change_item(holder, key, chance)
            break
    return root[0] if root else None


def damage_json(data: bytes, chance: random.Random) -> bytes:
    """Return JSON with changed keys or values, and now and then broken text."""
    try:
        value = json.loads(data)
    except ValueError:  # changed before
        value = None
    if value is None or chance.random() < 0.1:
        return damage_bytes(data, chance)
    text = json.dumps(damage_value(value, chance))
    if chance.random() < 0.03:
        text = text.replace("{", '{"deep": ' + "[" * 5000 + "]" * 5000 + ", ", 1)
    return text.encode()


def damage_toml(data: bytes, chance: random.Random) -> bytes:
    """Return TOML with changed keys or values; bytes where the changed values cannot be written."""
    import tomli_w

    if chance.random() < 0.8:
        try:
            return tomli_w.dumps(damage_value(tomllib.loads(data.decode()), chance)).encode()
        except (TypeError, ValueError, AttributeError):  # TOML has no null, and no half characters
            pass
    return damage_bytes(data, chance)


def damage_csv(data: bytes, chance: random.Random) -> bytes:
    """Return a csv with changed cells, pixels, rows, separators or ends of lines."""
    lines = data.split(b"\n")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        kind = chance.randrange(7)
        cells = lines[at].split(b",")
        place = chance.randrange(len(cells))
        if kind == 0:
            cells[place] = chance.choice(CELLS)
        elif kind == 1:
            pixels = cells[place].split(b" ")
            pixels[chance.randrange(len(pixels))] = chance.choice(CELLS)
            cells[place] = b" ".join(pixels)
        elif kind == 2:
            cells[place] = damage_bytes(cells[place], chance)
        elif kind == 3:
            chance.choice((cells.reverse, cells.pop, lambda cells=cells: cells.append(b"1")))()
        elif kind == 4:
            cells[place] = b'"' + cells[place] + b'"' * chance.randrange(2)
        elif kind == 5:
            spot = chance.randrange(len(lines[at]) + 1)
            cells = [lines[at][:spot] + chance.choice(SEPARATORS) + lines[at][spot + chance.randrange(2) :]]
        else:
            cells = chance.choice(([], cells * 2, [*cells, b"\r"], [b"\n".join(cells)]))
        lines[at] = b",".join(cells)
    return b"\n".join(lines)


def damage_zip(data: bytes, chance: random.Random, damage: Callable[[str, bytes, random.Random], bytes]) -> bytes:
    """Return an archive with one to two changed members, whose checksums fit; `damage` changes one by its name."""
    if chance.random() < 0.15:
        return damage_bytes(data, chance)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info), info.compress_type) for info in archive.infolist()]
    for _ in range(chance.randint(1, 2)):
        at = chance.randrange(len(members))
        name, content, method = members[at]
        kind = chance.random()
        if kind < 0.8 or len(members) == 1:
            members[at] = name, damage(name, content, chance), method
        elif kind < 0.85:
            del members[at]
        elif kind < 0.9:
            members[at] = chance.choice((name + "x", "../" + name, name.upper(), "")), content, method
        elif kind < 0.95:
            members[at] = name, members[chance.randrange(len(members))][1], zipfile.ZIP_DEFLATED
        else:
            members[at] = name, content, chance.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED))
    return write_zip(members)


def write_zip(members: list[tuple[str, bytes, int]], start: bytes = b"") -> bytes:
    """Return an archive of `(name, bytes, compression)`, behind `start`; the same members give the same bytes."""
    buffer = io.BytesIO(start)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, content, method in members:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            archive.writestr(info, content)
    return buffer.getvalue()


def damage_npz(data: bytes, chance: random.Random) -> bytes:
    """Return an npz archive with changed members."""
    return damage_zip(data, chance, _damage_npy)


def damage_tflite(data: bytes, chance: random.Random) -> bytes:
    """Return a TFLite file with a changed model, and the digest beside its card made to fit; now and then the card."""
    kind = chance.random()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = min(info.header_offset for info in archive.infolist())
        texts = {info.filename: archive.read(info) for info in archive.infolist()}
    model = data[:start]
    if kind < 0.1:
        return damage_bytes(data, chance)
    if kind < 0.2:
        texts[CARD_FILE] = damage_json(texts[CARD_FILE], chance)
    else:
        # Few changes of tables pass the check of the structure; changes of numbers inside of it do.
        model = (damage_in_place if kind < 0.7 else damage_flatbuffer)(model, chance)
    texts[DIGEST_FILE] = hashlib.sha256(model).hexdigest().encode()
    return write_zip([(name, text, zipfile.ZIP_STORED) for name, text in texts.items()], model)


def damage_onnx(data: bytes, chance: random.Random) -> bytes:
    """Return an ONNX file with changed fields, or changed bytes."""
    kind = chance.random()
    if kind < 0.65:
        return damage_protobuf(data, chance)
    return (damage_in_place if kind < 0.85 else damage_bytes)(data, chance)


def damage_ort(data: bytes, chance: random.Random) -> bytes:
    """Return a file in ORT format with changed fields, or changed bytes."""
    kind = chance.random()
    if kind < 0.4:
        return damage_in_place(data, chance)
    return (damage_flatbuffer if kind < 0.9 else damage_bytes)(data, chance)


def damage_hdf5(data: bytes, chance: random.Random) -> bytes:
    """Return an HDF5 file with changed attributes and datasets, or changed bytes."""
    import h5py
    import numpy as np

    kind = chance.random()
    if kind < 0.3:
        return damage_bytes(data, chance)
    if kind < 0.4:
        return damage_in_place(data, chance)
    buffer = io.BytesIO(data)
    with contextlib.suppress(OSError, ValueError, TypeError), h5py.File(buffer, "r+") as file:  # a value it cannot hold
        groups, datasets = [file], []
        file.visititems(lambda _, item: (datasets if isinstance(item, h5py.Dataset) else groups).append(item))
        for _ in range(chance.randint(1, 2)):
            described = [group for group in groups if len(group.attrs)]
            if datasets and (not described or chance.random() < 0.5):
                _change_dataset(datasets.pop(chance.randrange(len(datasets))), chance, np)
            elif described:
                _change_attribute(chance.choice(described).attrs, chance)
    return buffer.getvalue()


def damage_keras(data: bytes, chance: random.Random) -> bytes:
    """Return a `.keras` archive with a changed description, or changed weights."""
    return damage_zip(data, chance, _damage_keras_member)


def damage_http(data: bytes, chance: random.Random) -> bytes:
    """Return a request, one line of JSON with its headers before the body, changed in either."""
    head, _, body = data.partition(b"\n")
    headers = json.loads(head)
    kind, how = headers["type"], chance.random()
    if how < 0.1:
        headers = damage_value(headers, chance)
    elif "json" in kind and how < 0.9:
        body = (_damage_base64 if how < 0.6 else damage_json)(body, chance)
    elif "form" in kind and how < 0.9:
        body = _damage_form(body, chance)
    else:
        body = damage_bytes(body, chance)
    return json.dumps(headers).encode() + b"\n" + body


BY_SUFFIX: dict[str, Mutation] = {
    ".tflite": damage_tflite,
    ".onnx": damage_onnx,
    ".ort": damage_ort,
    ".h5": damage_hdf5,
    ".keras": damage_keras,
    ".npz": damage_npz,
    ".json": damage_json,
    ".toml": damage_toml,
    ".csv": damage_csv,
    ".http": damage_http,
}


def damage(suffix: str, data: bytes, chance: random.Random) -> bytes:
    """Return a file of this kind, changed; pictures, and what has no structure here, by their bytes."""
    return BY_SUFFIX.get(suffix, damage_bytes)(data, chance)


def _shift_word(out: bytearray, at: int, chance: random.Random) -> None:
    """Change the little-endian word at `at`: to the end of a range, or by a little."""
    if at + 4 > len(out):
        return
    old = struct.unpack_from("<I", out, at)[0]
    new = chance.choice((*NUMBERS, old + 1, old - 1, old + 4, old - 4, old * 2, old ^ 1 << chance.randrange(32)))
    struct.pack_into("<I", out, at, new & 0xFFFFFFFF)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError


def _protobuf_fields(data: bytes) -> list[tuple[int, int, int | bytes]]:
    """Return a message's fields as (number, wire type, value); none where it is no message."""
    fields: list[tuple[int, int, int | bytes]] = []
    at = 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            wire = tag & 7
            value: int | bytes
            if wire == 0:
                value, at = _varint(data, at)
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
                value, at = int.from_bytes(data[at : at + size], "little"), at + size
            elif wire == 2:
                size, at = _varint(data, at)
                value, at = data[at : at + size], at + size
            else:
                return []
            if at > len(data) or tag >> 3 == 0:
                return []
            fields.append((tag >> 3, wire, value))
    except (IndexError, ValueError):
        return []
    return fields


def _protobuf_field(number: int, wire: int, value: int | bytes) -> bytes:
    tag = _to_varint(number << 3 | wire)
    if isinstance(value, bytes):
        return tag + _to_varint(len(value)) + value
    return tag + (_to_varint(value) if wire == 0 else value.to_bytes(8 if wire == 1 else 4, "little"))


def _to_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _change_item(holder: Any, key: Any, chance: random.Random) -> None:
    """Replace, remove, repeat or rename one item of a table or list."""
    old = holder[key]
    kind = chance.random()
    if kind < 0.06:
        del holder[key]
    elif kind < 0.12 and isinstance(holder, dict):
        holder[chance.choice((str(key) + "x", "", "schema", "class_name", str(key).upper()))] = holder.pop(key)
    elif kind < 0.12:
        holder.insert(key, old)
    elif kind < 0.75 and isinstance(old, str):
        holder[key] = damage_bytes(old.encode(errors="replace"), chance).decode("latin-1")
    elif kind < 0.75 and isinstance(old, int | float) and not isinstance(old, bool):
        holder[key] = chance.choice((old + 1, old - 1, -old, old * 1000, float(old) / 3 if abs(old) < 2**60 else 0))
    else:
        holder[key] = chance.choice(VALUES)


def _damage_npy(name: str, content: bytes, chance: random.Random) -> bytes:
    """Return an array's file with a changed header (type, shape) of fitting length, or changed numbers."""
    if chance.random() < 0.4 or content[:6] != b"\x93NUMPY":
        return damage_bytes(content, chance)
    size = struct.unpack_from("<H", content, 8)[0]
    header = content[10 : 10 + size].decode("latin-1")
    swaps = (
        ("<f4", chance.choice(("<f8", ">f4", "|O", "<i4", "<f2", "|V4", "<U1"))),
        ("|u1", chance.choice(("|i1", "<u2", "|b1", "|O"))),
        ("(", chance.choice(("(0, ", "(-1, ", "(99999999999, ", "(1, ", "(4294967296, "))),
        ("False", "True"),
        (",)", ", 2)"),
    )
    old, new = chance.choice(swaps)
    header = header.replace(old, new, 1).rstrip()
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return content[:8] + struct.pack("<H", len(header)) + header.encode("latin-1") + content[10 + size :]


def _damage_keras_member(name: str, content: bytes, chance: random.Random) -> bytes:
    if name.endswith(".json"):
        return damage_json(content, chance)
    return damage_hdf5(content, chance) if name.endswith(".h5") else damage_bytes(content, chance)


def _change_dataset(dataset: Any, chance: random.Random, np: Any) -> None:
    """Change a dataset's numbers, or replace it by another: of another type or shape, or a group."""
    parent, name = dataset.parent, dataset.name.rpartition("/")[2]
    values = dataset[()]
    kind = chance.randrange(5)
    if kind == 0 and values.size:
        changed = np.frombuffer(damage_in_place(values.tobytes(), chance), values.dtype).reshape(values.shape)
        dataset[...] = changed
        return
    del parent[name]
    if kind == 1:
        parent[name] = values.astype(chance.choice(("f8", "i4", "f2", "S8", "c8")))
    elif kind == 2:
        parent[name] = values.reshape(-1)[: chance.randrange(values.size + 1)]
    elif kind == 3:
        parent.create_group(name)
    else:
        parent.create_dataset(name, shape=(2**20, 2**20), dtype="f4", chunks=(1024, 1024))  # 4 TB that take no room


def _change_attribute(attributes: Any, chance: random.Random) -> None:
    """Change one attribute: a text of JSON by its values, another text by its bytes, anything by another type."""
    name = "model_config" if "model_config" in attributes and chance.random() < 0.8 else chance.choice(list(attributes))
    value = attributes[name]
    kind = chance.random()
    if kind < 0.1:
        del attributes[name]
    elif isinstance(value, str | bytes) and kind < 0.9:
        text = value.encode() if isinstance(value, str) else value
        change = damage_json if text[:1] == b"{" else damage_bytes
        attributes[name] = change(text, chance).replace(b"\0", b"0")
    else:
        attributes[name] = chance.choice((0, 1.5, "x", [1, 2, 3], [b"a", b"b"], b"", 2**40))


def _damage_base64(body: bytes, chance: random.Random) -> bytes:
    """Return JSON of base64 pictures with one of them changed, in sound base64."""
    value = json.loads(body)
    key = chance.choice(list(value))
    texts = value[key] if isinstance(value[key], list) else [value[key]]
    at = chance.randrange(len(texts))
    texts[at] = base64.b64encode(damage_bytes(base64.b64decode(texts[at]), chance)).decode()
    return json.dumps({key: texts if isinstance(value[key], list) else texts[0]}).encode()


def _damage_form(body: bytes, chance: random.Random) -> bytes:
    """Return a multipart body with a changed picture, or parts or their headers repeated, cut or renamed."""
    boundary = body.split(b"\r\n", 1)[0]
    parts = body.split(boundary)
    at = chance.randrange(len(parts))
    kind = chance.randrange(8)
    head, blank, picture = parts[at].partition(b"\r\n\r\n")
    if kind > 4 and blank:
        parts[at] = head + blank + damage_bytes(picture[:-2], chance) + b"\r\n"
    elif kind == 0:
        parts.insert(at, parts[at])
    elif kind == 1:
        del parts[at]
    elif kind == 2:
        parts[at] = damage_bytes(parts[at], chance) if parts[at] else b"--"
    elif kind == 3:
        old = chance.choice((b"filename", b"form-data", b"\r\n\r\n", b'"', b": "))
        new = chance.choice((b"", b"filename*", b"\r\n", b"x" * 5000, b"\0", b";;="))
        parts[at] = parts[at].replace(old, new, 1)
    else:
        parts = parts * chance.randrange(2, 60)
    return boundary.join(parts)
