"""The `.c` artifact: the library with its card and the model that it was generated from, and its header."""

from __future__ import annotations

import base64
import json
import textwrap
from pathlib import Path

from feredge.errors import ArtifactError
from feredge.export.c.layers import ARITHMETICS, Arithmetic
from feredge.export.c.source import Library, generate
from feredge.inference.artifact import Card
from feredge.inference.c_source import ARITHMETIC_PREFIX, CARD_PREFIX, MODEL_PREFIX, library_name, read_c_source
from feredge.inference.embedded_card import parse_card
from feredge.recipes.variant import MIRROR_VARIANT

BASE64_COLUMNS = 116

HEAD = """\
/* An int8 network as a C library, written by feredge. It needs a C99 or C++11 compiler, memcpy and memset, and no heap.
   Declarations for your own code are in the header beside this file. Compile with -O2 -ffp-contract=off, and never with
   -ffast-math. Kernels for AVX2, AVX-VNNI, NEON, Arm DSP and WebAssembly SIMD are chosen by the target's macros.
{arithmetic}
{card}
*/
"""


def c_artifact(model: bytes, card: Card, arithmetic: Arithmetic) -> tuple[str, Library]:
    """Return the text of the `.c` artifact of a TensorFlow Lite flatbuffer, and the library in it.

    The same model, card and arithmetic give the same text.

    Raises:
        ArtifactError: see `generate`.
    """
    library = generate(
        model,
        name=library_name(card),
        classes=card.classes,
        arithmetic=arithmetic,
        mirrored=card.variant == MIRROR_VARIANT,
    )
    card_text = json.dumps(card.to_json(), sort_keys=True).replace("/", r"\/")  # JSON's own escape: no `*/`, no `/*`
    head = HEAD.format(arithmetic=f"{ARITHMETIC_PREFIX}{arithmetic}", card=f"{CARD_PREFIX}{card_text}")
    encoded = "\n".join(textwrap.wrap(base64.b64encode(model).decode(), BASE64_COLUMNS))
    return f"{head}\n{library.source}\n{MODEL_PREFIX}{encoded}\n*/\n", library


def check_c_artifact(path: Path) -> tuple[Card, Library]:
    """Return the card and the library of a `.c` artifact, if it is exactly what feredge generates from its model.

    A file from elsewhere is code. One that passes is the code of this package, with the numbers of a checked model.

    Raises:
        ArtifactError: a file that another version of feredge wrote, or that was changed.
    """
    data = path.read_bytes()
    try:
        source = read_c_source(data)
        arithmetic = next((name for name in ARITHMETICS if name == source.arithmetic), None)
        if arithmetic is None:
            raise ArtifactError(f"expected arithmetic {' or '.join(ARITHMETICS)}, found {source.arithmetic!r:.40}")
        card = parse_card(source.card, path.name)
        text, library = c_artifact(source.model, card, arithmetic)
    except ArtifactError as error:
        raise type(error)(f"{path}: {error}") from error
    if text.encode() != data:
        raise ArtifactError(
            f"{path}: expected the code that this version of feredge generates, found other code; export it again"
        )
    return card, library


def header_path(path: Path) -> Path:
    """Return the place of the header of the `.c` artifact at `path`."""
    return path.with_suffix(".h")
