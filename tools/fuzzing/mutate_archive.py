"""Mutations of zip archives and their members, and of HDF5 files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from feredge.inference.embedded_card import CARD_FILE, DIGEST_FILE
from fuzzing.mutate_binary import flip_in_place, mutate_bytes, mutate_flatbuffer
from fuzzing.mutate_text import mutate_json


def mutate_zip(data: bytes, rng: random.Random, mutate_member: Callable[[str, bytes, random.Random], bytes]) -> bytes:
    """Return an archive with one to two changed members, whose checksums fit; `mutate_member` takes its name."""
    if rng.random() < 0.15:
        return mutate_bytes(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info), info.compress_type) for info in archive.infolist()]
    valid = {content for _, content, _ in members}
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(members))
        name, content, method = members[at]
        draw = rng.random()
        if draw < 0.8 or len(members) == 1:  # what is damaged has no structure to change
            changed = mutate_member(name, content, rng) if content in valid else mutate_bytes(content, rng)
            members[at] = name, changed, method
        elif draw < 0.85:
            del members[at]
        elif draw < 0.9:
            members[at] = rng.choice((name + "x", "../" + name, name.upper(), "")), content, method
        elif draw < 0.95:
            members[at] = name, members[rng.randrange(len(members))][1], zipfile.ZIP_DEFLATED
        else:
            members[at] = name, content, rng.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED))
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


def mutate_npz(data: bytes, rng: random.Random) -> bytes:
    """Return an npz archive with changed members."""
    return mutate_zip(data, rng, _mutate_npy)


def _mutate_npy(name: str, content: bytes, rng: random.Random) -> bytes:
    """Return an array's file with a changed header (type, shape) of fitting length, or changed numbers."""
    if rng.random() < 0.4 or content[:6] != b"\x93NUMPY":
        return mutate_bytes(content, rng)
    size = struct.unpack_from("<H", content, 8)[0]
    header = content[10 : 10 + size].decode("latin-1")
    swaps = (
        ("<f4", rng.choice(("<f8", ">f4", "|O", "<i4", "<f2", "|V4", "<U1"))),
        ("|u1", rng.choice(("|i1", "<u2", "|b1", "|O"))),
        ("(", rng.choice(("(0, ", "(-1, ", "(99999999999, ", "(1, ", "(4294967296, "))),
        ("False", "True"),
        (",)", ", 2)"),
    )
    old, new = rng.choice(swaps)
    header = header.replace(old, new, 1).rstrip()
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return content[:8] + struct.pack("<H", len(header)) + header.encode("latin-1") + content[10 + size :]


def mutate_tflite(data: bytes, rng: random.Random) -> bytes:
    """Return a TFLite file with a changed model, and the digest beside its card made to fit; now and then the card."""
    draw = rng.random()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = min(info.header_offset for info in archive.infolist())
        texts = {info.filename: archive.read(info) for info in archive.infolist()}
    model = data[:start]
    if draw < 0.1:
        return mutate_bytes(data, rng)
    if draw < 0.2:
        texts[CARD_FILE] = mutate_json(texts[CARD_FILE], rng)
    else:
        # Few changes of tables pass the check of the structure; changes of numbers inside of it do.
        model = (flip_in_place if draw < 0.7 else mutate_flatbuffer)(model, rng)
    texts[DIGEST_FILE] = hashlib.sha256(model).hexdigest().encode()
    return write_zip([(name, text, zipfile.ZIP_STORED) for name, text in texts.items()], model)


def mutate_keras(data: bytes, rng: random.Random) -> bytes:
    """Return a `.keras` archive with a changed description, or changed weights."""
    return mutate_zip(data, rng, _mutate_keras_member)


def _mutate_keras_member(name: str, content: bytes, rng: random.Random) -> bytes:
    if name.endswith(".json"):
        return mutate_json(content, rng)
    return mutate_hdf5(content, rng) if name.endswith(".h5") else mutate_bytes(content, rng)


def mutate_hdf5(data: bytes, rng: random.Random) -> bytes:
    """Return an HDF5 file with changed attributes and datasets, or changed bytes."""
    import h5py
    import numpy as np

    draw = rng.random()
    if draw < 0.3:
        return mutate_bytes(data, rng)
    if draw < 0.4:
        return flip_in_place(data, rng)
    buffer = io.BytesIO(data)
    with (
        contextlib.suppress(OSError, ValueError, TypeError),
        h5py.File(buffer, "r+") as file,
    ):  # a value of a type that HDF5 lacks
        groups: list[Any] = [file]
        datasets: list[Any] = []
        file.visititems(lambda _, item: (datasets if isinstance(item, h5py.Dataset) else groups).append(item))
        for _ in range(rng.randint(1, 2)):
            described = [group for group in groups if len(group.attrs)]
            if datasets and (not described or rng.random() < 0.5):
                _change_dataset(datasets.pop(rng.randrange(len(datasets))), rng, np)
            elif described:
                _change_attribute(rng.choice(described).attrs, rng)
    return buffer.getvalue()


def _change_dataset(dataset: Any, rng: random.Random, np: Any) -> None:
    """Change a dataset's numbers, or replace it by another: of another type or shape, or a group."""
    parent, name = dataset.parent, dataset.name.rpartition("/")[2]
    values = dataset[()]
    kind = rng.randrange(5)
    if kind == 0 and values.size:
        changed = np.frombuffer(flip_in_place(values.tobytes(), rng), values.dtype).reshape(values.shape)
        dataset[...] = changed
        return
    del parent[name]
    if kind == 1:
        parent[name] = values.astype(rng.choice(("f8", "i4", "f2", "S8", "c8")))
    elif kind == 2:
        parent[name] = values.reshape(-1)[: rng.randrange(values.size + 1)]
    elif kind == 3:
        parent.create_group(name)
    else:
        parent.create_dataset(
            name, shape=(2**20, 2**20), dtype="f4", chunks=(1024, 1024)
        )  # 4 TB, of which nothing is stored


def _change_attribute(attributes: Any, rng: random.Random) -> None:
    """Change one attribute: a text of JSON by its values, another text by its bytes, anything by another type."""
    name = "model_config" if "model_config" in attributes and rng.random() < 0.8 else rng.choice(list(attributes))
    value = attributes[name]
    draw = rng.random()
    if draw < 0.1:
        del attributes[name]
    elif isinstance(value, str | bytes) and draw < 0.9:
        text = value.encode() if isinstance(value, str) else value
        change = mutate_json if text[:1] == b"{" else mutate_bytes
        attributes[name] = change(text, rng).replace(b"\0", b"0")
    else:
        attributes[name] = rng.choice((0, 1.5, "x", [1, 2, 3], [b"a", b"b"], b"", 2**40))
