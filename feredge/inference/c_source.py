"""What is read of a `.c` artifact without compiling it: its card, and the model that it was generated from."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from feredge.errors import ArtifactError, NoCardError
from feredge.inference.artifact import Card

CARD_PREFIX = "   card: "
ARITHMETIC_PREFIX = "   arithmetic: "
MODEL_PREFIX = "/* The TensorFlow Lite model that this library was generated from, in base64.\n"
SOURCE_LIMIT_BYTES = 256 << 20
SYMBOL_LENGTH = 40


class CSource(NamedTuple):
    """What a `.c` artifact holds beside its code.

    Attributes:
        card: JSON.
        arithmetic: `xnnpack` or `tflm`.
        model: the TensorFlow Lite flatbuffer.
    """

    card: str
    arithmetic: str
    model: bytes


def read_c_source(data: bytes) -> CSource:
    """Parse a `.c` artifact; no code in it is compiled or trusted.

    Raises:
        NoCardError: a C file that feredge did not write.
        ArtifactError: a damaged one.
    """
    if len(data) > SOURCE_LIMIT_BYTES:
        raise ArtifactError(f"expected a C library of at most {SOURCE_LIMIT_BYTES >> 20} MB, found more")
    text = data.decode("utf-8", "replace")
    head, _, _ = text.partition("*/")
    card, arithmetic = (_line(head, prefix) for prefix in (CARD_PREFIX, ARITHMETIC_PREFIX))
    if not card or not arithmetic:
        raise NoCardError("expected a feredge card inside the file, found none")
    _, found, encoded = text.rpartition(MODEL_PREFIX)
    try:
        model = base64.b64decode("".join(encoded.removesuffix("*/\n").split()), validate=True)
    except binascii.Error as error:
        raise ArtifactError("expected the model that the library was generated from, found a damaged one") from error
    if not found or not model:
        raise ArtifactError("expected the model that the library was generated from, found none")
    return CSource(card, arithmetic, model)


def _line(text: str, prefix: str) -> str:
    return next((line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix)), "")


def c_library_memory(data: bytes) -> dict[str, int]:
    """Return `arena_bytes`, the memory that a C library states to need, and `constant_bytes` of weights and tables.

    Raises:
        ArtifactError: a C file that does not state them.
    """
    sizes = {}
    for name in ("ARENA_BYTES", "CONSTANT_BYTES"):
        match = re.search(rb"^#define FEREDGE_\w{1,100}_%s (\d{1,12})$" % name.encode(), data, re.MULTILINE)
        if match is None:
            raise ArtifactError(f"expected a C library that states its {name}, found none")
        sizes[name.lower()] = int(match[1])
    return sizes


def library_name(card: Card) -> str:
    """Return the name in a library's functions: the recipe's and the variant's, `nano_dense`."""
    name = f"{card.recipe.get('name', '')!s:.{SYMBOL_LENGTH}}_{card.variant}"
    return re.sub(r"\W", "_", name, flags=re.ASCII).strip("_")
