"""The C text of a compiled bundle: the library, the contract's preprocessing, and an interface for a language."""

from __future__ import annotations

from pathlib import Path

from feredge.bundles.source import Source
from feredge.export.c.source import generate

PREPROCESSING_FILE = Path(__file__).with_name("preprocessing.c")
MEMORY_FILE = Path(__file__).with_name("memory.c")
LIBRARY_NAME = "net"
SIZE_NAMES = ("ARENA_BYTES", "HEIGHT", "WIDTH", "CHANNELS", "CLASSES")


def module_source(source: Source, interface: Path) -> str:
    """Return one C file: the functions of `interface` over the network, whose names it finds without the library's.

    Args:
        source: the model.
        interface: a C file that uses FEREDGE_PREDICT_IN, FEREDGE_ and one of SIZE_NAMES, and the preprocessing.

    Raises:
        ArtifactError: a model that the C library does not take.
    """
    library = generate(source.flatbuffer, name=LIBRARY_NAME, classes=source.card.classes)
    names = [f"#define FEREDGE_{size} FEREDGE_{LIBRARY_NAME.upper()}_{size}" for size in SIZE_NAMES]
    parts = (
        "#define FEREDGE_NO_STATIC_ARENA",
        library.source,
        MEMORY_FILE.read_text(encoding="utf-8"),
        PREPROCESSING_FILE.read_text(encoding="utf-8"),
        *names,
        f"#define FEREDGE_PREDICT_IN feredge_{LIBRARY_NAME}_predict_in",
        interface.read_text(encoding="utf-8"),
    )
    return "\n".join(parts)
