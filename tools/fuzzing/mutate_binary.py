"""Mutations of binary data without a structure, of flatbuffers and of protobuf messages."""

from __future__ import annotations

import random
import struct

BOUNDARY_INTEGERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with one to six mutations: bits, bytes, lengths, cuts, copies, noise."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        if not out:
            break
        # Headers and lengths stand at both ends; half of all mutations go there.
        span = len(out) if rng.random() < 0.5 else min(len(out), 256)
        at = rng.randrange(span) if rng.random() < 0.75 else len(out) - 1 - rng.randrange(span)
        kind = rng.randrange(7)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at] = rng.choice((0, 1, 127, 128, 254, 255, rng.randrange(256)))
        elif kind == 2:
            number = rng.choice((*BOUNDARY_INTEGERS, rng.getrandbits(32)))
            size = rng.choice((2, 4))
            out[at : at + size] = (number & (1 << 8 * size) - 1).to_bytes(size, rng.choice(("little", "big")))
        elif kind == 3 and len(out) > 8:
            del out[rng.randrange(1, len(out)) :]
        elif kind == 4:
            out[at:at] = out[at : at + rng.randrange(1, 64)]
        elif kind == 5:
            del out[at : at + rng.randrange(1, 32)]
        else:
            out[at : at + 16] = rng.randbytes(16)
    return bytes(out)


def flip_in_place(data: bytes, rng: random.Random) -> bytes:
    """Return `data` of the same length with one to four changed bits, bytes or aligned words."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out))
        kind = rng.randrange(4)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        else:
            mutate_word(out, at & ~3, rng)
    return bytes(out)


def mutate_flatbuffer(data: bytes, rng: random.Random) -> bytes:
    """Return a flatbuffer with changed fields: words that look like offsets or small numbers are preferred.

    Tables lie at one end and weights are most of the file, so half of the changes go to words whose value is an offset
    within the file.
    """
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.3:
            out = bytearray(flip_in_place(bytes(out), rng))
            continue
        for _ in range(200):
            at = 4 * rng.randrange(len(out) // 4)
            if 0 < struct.unpack_from("<I", out, at)[0] < len(out):
                break
        mutate_word(out, at, rng)
    return bytes(out)


def mutate_word(out: bytearray, at: int, rng: random.Random) -> None:
    """Change the little-endian word at `at`: to the end of a range, or by a little."""
    if at + 4 > len(out):
        return
    old = struct.unpack_from("<I", out, at)[0]
    new = rng.choice((*BOUNDARY_INTEGERS, old + 1, old - 1, old + 4, old - 4, old * 2, old ^ 1 << rng.randrange(32)))
    struct.pack_into("<I", out, at, new & 0xFFFFFFFF)


def mutate_protobuf(data: bytes, rng: random.Random, depth: int = 0) -> bytes:
    """Return a protobuf message with one changed field somewhere inside; lengths around it fit."""
    fields = _protobuf_fields(data)
    if not fields:
        return mutate_bytes(data, rng) if data else rng.randbytes(rng.randrange(1, 9))
    at = rng.randrange(len(fields))
    key, wire, value = fields[at]
    draw = rng.random()
    if draw < 0.1:
        del fields[at]
    elif draw < 0.2:
        fields.insert(rng.randrange(len(fields) + 1), fields[at])
    elif isinstance(value, int):
        new = rng.choice((*BOUNDARY_INTEGERS, 2**63, 2**64 - 1, value + 1, max(value - 1, 0), rng.getrandbits(64)))
        fields[at] = key, wire, new & (1 << {0: 64, 1: 64, 5: 32}[wire]) - 1
    else:
        nested = depth < 8 and rng.random() < 0.85 and _protobuf_fields(value)
        fields[at] = key, wire, mutate_protobuf(value, rng, depth + 1) if nested else mutate_bytes(value, rng)
    return b"".join(_protobuf_field(*field) for field in fields)


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
