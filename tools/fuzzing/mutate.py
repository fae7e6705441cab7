"""Mutations of valid files by format, in its structure, so that cases get past magic, lengths and digests.

Every function takes a valid file and a `random.Random`, and returns a mutated one. Any may fall back to `mutate_bytes`,
which knows no structure.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from fuzzing.mutate_archive import mutate_hdf5, mutate_keras, mutate_npz, mutate_tflite
from fuzzing.mutate_binary import flip_in_place, mutate_bytes, mutate_flatbuffer, mutate_protobuf
from fuzzing.mutate_text import mutate_csv, mutate_http, mutate_json, mutate_toml

Mutation = Callable[[bytes, random.Random], bytes]


def mutate_onnx(data: bytes, rng: random.Random) -> bytes:
    """Return an ONNX file with changed fields, or changed bytes."""
    draw = rng.random()
    if draw < 0.65:
        return mutate_protobuf(data, rng)
    return (flip_in_place if draw < 0.85 else mutate_bytes)(data, rng)


def mutate_ort(data: bytes, rng: random.Random) -> bytes:
    """Return a flatbuffer with changed fields, or changed bytes: a file in ORT format, a TFLite model without card."""
    draw = rng.random()
    if draw < 0.4:
        return flip_in_place(data, rng)
    return (mutate_flatbuffer if draw < 0.9 else mutate_bytes)(data, rng)


MUTATION_BY_SUFFIX: dict[str, Mutation] = {
    ".tflite": mutate_tflite,
    ".onnx": mutate_onnx,
    ".ort": mutate_ort,
    ".flatbuffer": mutate_ort,
    ".h5": mutate_hdf5,
    ".keras": mutate_keras,
    ".npz": mutate_npz,
    ".json": mutate_json,
    ".toml": mutate_toml,
    ".csv": mutate_csv,
    ".http": mutate_http,
}


def mutate(suffix: str, data: bytes, rng: random.Random) -> bytes:
    """Return a mutated file of this format; images, and formats without a structure here, change by bytes."""
    return MUTATION_BY_SUFFIX.get(suffix, mutate_bytes)(data, rng)
