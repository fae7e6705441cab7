"""Mutations of JSON, TOML and csv files, and of HTTP requests."""

from __future__ import annotations

import base64
import copy
import json
import random
import tomllib
from typing import Any

from fuzzing.mutate_binary import mutate_bytes

REPLACEMENT_VALUES: tuple[Any, ...] = (
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
"""Values that replace one in JSON: of every type, and the ends of their ranges."""
REPLACEMENT_CELLS = (
    b"",
    b" ",
    b"-1",
    b"256",
    b"1e9",
    b"\xff",
    b"\0",
    b'"',
    b'""',
    b"Training",
    b"nan",
    b"9" * 400,
    b"0 " * 3000,
)
CSV_SEPARATORS = (b",", b" ", b"\n", b"\r", b'"', b";", b"\t")


def mutate_value(value: Any, rng: random.Random) -> Any:
    """Return plain values (tables, lists, texts, numbers) with one to three changes, anywhere inside."""
    root = [copy.deepcopy(value)]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):  # typed readers accept most cases of one change
        holder: Any = root
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = rng.choice(keys)
            inner = holder[key]
            if isinstance(inner, dict | list) and inner and rng.random() < 0.85:
                holder = inner
                continue
            _change_item(holder, key, rng)
            break
    return root[0] if root else None


def _change_item(holder: Any, key: Any, rng: random.Random) -> None:
    """Replace, remove, repeat or rename one item of a table or list."""
    old = holder[key]
    draw = rng.random()
    if draw < 0.06:
        del holder[key]
    elif draw < 0.12 and isinstance(holder, dict):
        holder[rng.choice((str(key) + "x", "", "schema", "class_name", str(key).upper()))] = holder.pop(key)
    elif draw < 0.12:
        holder.insert(key, old)
    elif draw < 0.75 and isinstance(old, str):
        holder[key] = mutate_bytes(old.encode(errors="replace"), rng).decode("latin-1")
    elif draw < 0.75 and isinstance(old, int | float) and not isinstance(old, bool):
        holder[key] = rng.choice((old + 1, old - 1, -old, old * 1000, float(old) / 3 if abs(old) < 2**60 else 0))
    else:
        holder[key] = copy.deepcopy(rng.choice(REPLACEMENT_VALUES))  # a later change must not change the table


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Return JSON with changed keys or values, and now and then broken text."""
    try:
        value = json.loads(data)
    except ValueError:  # changed before
        value = None
    if value is None or rng.random() < 0.1:
        return mutate_bytes(data, rng)
    text = json.dumps(mutate_value(value, rng))
    if rng.random() < 0.03:
        text = text.replace("{", '{"deep": ' + "[" * 5000 + "]" * 5000 + ", ", 1)
    return text.encode()


def mutate_toml(data: bytes, rng: random.Random) -> bytes:
    """Return TOML with changed keys or values; bytes where the changed values cannot be written."""
    import tomli_w

    if rng.random() < 0.8:
        try:
            return tomli_w.dumps(mutate_value(tomllib.loads(data.decode()), rng)).encode()
        except (TypeError, ValueError, AttributeError):  # TOML has no null, and no half characters
            pass
    return mutate_bytes(data, rng)


def mutate_csv(data: bytes, rng: random.Random) -> bytes:
    """Return a csv with changed cells, pixels, rows, separators or ends of lines."""
    lines = data.split(b"\n")
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(lines))
        kind = rng.randrange(7)
        cells = lines[at].split(b",")
        place = rng.randrange(len(cells))
        if kind == 0:
            cells[place] = rng.choice(REPLACEMENT_CELLS)
        elif kind == 1:
            pixels = cells[place].split(b" ")
            pixels[rng.randrange(len(pixels))] = rng.choice(REPLACEMENT_CELLS)
            cells[place] = b" ".join(pixels)
        elif kind == 2:
            cells[place] = mutate_bytes(cells[place], rng)
        elif kind == 3:
            rng.choice((cells.reverse, cells.pop, lambda cells=cells: cells.append(b"1")))()
        elif kind == 4:
            cells[place] = b'"' + cells[place] + b'"' * rng.randrange(2)
        elif kind == 5:
            spot = rng.randrange(len(lines[at]) + 1)
            cells = [lines[at][:spot] + rng.choice(CSV_SEPARATORS) + lines[at][spot + rng.randrange(2) :]]
        else:
            cells = rng.choice(([], cells * 2, [*cells, b"\r"], [b"\n".join(cells)]))
        lines[at] = b",".join(cells)
    return b"\n".join(lines)


def mutate_http(data: bytes, rng: random.Random) -> bytes:
    """Return a request, one line of JSON with its headers before the body, changed in either."""
    head, _, body = data.partition(b"\n")
    headers = json.loads(head)
    content_type, draw = headers["type"], rng.random()
    if draw < 0.1:
        headers = mutate_value(headers, rng)
    elif "json" in content_type and draw < 0.9:
        body = (_mutate_base64 if draw < 0.6 else mutate_json)(body, rng)
    elif "form" in content_type and draw < 0.9:
        body = _mutate_form(body, rng)
    else:
        body = mutate_bytes(body, rng)
    return json.dumps(headers).encode() + b"\n" + body


def _mutate_base64(body: bytes, rng: random.Random) -> bytes:
    """Return JSON of base64 pictures with one of them changed, in sound base64."""
    value = json.loads(body)
    key = rng.choice(list(value))
    texts = value[key] if isinstance(value[key], list) else [value[key]]
    at = rng.randrange(len(texts))
    texts[at] = base64.b64encode(mutate_bytes(base64.b64decode(texts[at]), rng)).decode()
    return json.dumps({key: texts if isinstance(value[key], list) else texts[0]}).encode()


def _mutate_form(body: bytes, rng: random.Random) -> bytes:
    """Return a multipart body with a changed picture, or parts or their headers repeated, cut or renamed."""
    boundary = body.split(b"\r\n", 1)[0]
    parts = body.split(boundary)
    at = rng.randrange(len(parts))
    kind = rng.randrange(8)
    head, blank, picture = parts[at].partition(b"\r\n\r\n")
    if kind > 4 and blank:
        parts[at] = head + blank + mutate_bytes(picture[:-2], rng) + b"\r\n"
    elif kind == 0:
        parts.insert(at, parts[at])
    elif kind == 1:
        del parts[at]
    elif kind == 2:
        parts[at] = mutate_bytes(parts[at], rng) if parts[at] else b"--"
    elif kind == 3:
        old = rng.choice((b"filename", b"form-data", b"\r\n\r\n", b'"', b": "))
        new = rng.choice((b"", b"filename*", b"\r\n", b"x" * 5000, b"\0", b";;="))
        parts[at] = parts[at].replace(old, new, 1)
    else:
        parts = parts * rng.randrange(2, 60)
    return boundary.join(parts)
