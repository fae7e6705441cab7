"""The files of a bundle for microcontrollers."""

from __future__ import annotations

from pathlib import Path

import feredge
from feredge.bundles.folder import Contents
from feredge.bundles.golden import Golden
from feredge.bundles.mcu.boards import CODE_BYTES, STACK_BYTES, Need, fit_table, require_fit
from feredge.bundles.mcu.c_tables import c_rows
from feredge.bundles.mcu.self_test import run_self_tests
from feredge.bundles.mcu.tflite_micro import tflite_micro_values
from feredge.bundles.notices import NOTICES_FILE, code_notice, notices_text, weights_notice
from feredge.bundles.options import BundleOptions
from feredge.bundles.source import Source
from feredge.bundles.targets import SelfTest
from feredge.bundles.templates import fill, plain_text
from feredge.export.c.artifact_file import c_artifact
from feredge.export.c.xnnpack import float_literal
from feredge.inference.c_source import c_library_memory, library_name

TEMPLATE_FOLDER = Path(__file__).parent / "templates"
MEMORY_FILE = Path(__file__).with_name("memory.c")
TEMPLATES = {
    "README.md": "README.md",
    "CMakeLists.txt": "CMakeLists.txt",
    "cmake/arm-none-eabi.cmake": "arm-none-eabi.cmake",
    "library.properties": "library.properties",
    "examples/SelfTest/SelfTest.ino": "SelfTest.ino",
    "examples/Classify/Classify.ino": "Classify.ino",
    "self_test/main.c": "self_test.c",
    "self_test/cortex_m.c": "cortex_m.c",
    "self_test/cortex_m.ld": "cortex_m.ld",
    "tflite_micro/@SYMBOL@_tflite.h": "tflite_micro.h",
}
"""Files of TEMPLATE_FOLDER, by their places in a bundle."""
ARITHMETIC_TEXTS = {
    "xnnpack": "LiteRT with XNNPACK on x86",
    "tflm": "TensorFlow Lite Micro",
}


def build(source: Source, golden: Golden, options: BundleOptions) -> Contents:
    """Return the bundle's files. The same arguments give the same bytes.

    Raises:
        ArtifactError: a model that has no C library (see `feredge.export.c.source.generate`), or one that is too large
            for the board that `options` names.
    """
    library = library_files(source, golden, options)
    memory = c_library_memory(library[f"src/{library_symbol(source)}.c"])
    need = Need.of(memory["arena_bytes"], memory["constant_bytes"], golden.images[0].size)
    if options.board is not None:
        require_fit(options.board, need)
    values = {
        **model_values(source),
        **_golden_values(golden),
        **_memory_values(memory, need),
        **tflite_micro_values(source.flatbuffer),
        "MEMORY_FUNCTIONS": MEMORY_FILE.read_text(encoding="utf-8"),
    }
    return {
        **library,
        f"model/{source.name}": source.data,
        NOTICES_FILE: notices_text([code_notice("The C library, src/"), weights_notice(source.card)]),
        **{fill(place, values): fill(_template(name), values).encode() for place, name in TEMPLATES.items()},
    }


def library_files(source: Source, golden: Golden, options: BundleOptions) -> dict[str, bytes]:
    """Return the C library, its header, and the header with its golden vectors and self-test, in `src/`.

    Raises:
        ArtifactError: a model that has no C library.
    """
    text, library = c_artifact(source.flatbuffer, source.card, options.arithmetic)
    symbol = library_symbol(source)
    values = {**model_values(source), **_golden_values(golden)}
    return {
        f"src/{symbol}.c": text.encode(),
        f"src/{symbol}.h": library.header.encode(),
        f"src/{symbol}_golden.h": fill(_template("golden.h"), values).encode(),
    }


def library_symbol(source: Source) -> str:
    """Return the prefix of the names of a source's library."""
    return f"feredge_{library_name(source.card)}"


def model_values(source: Source) -> dict[str, str]:
    """Return what stands for a network's placeholders in templates."""
    contract, symbol = source.card.contract, library_symbol(source)
    return {
        "NAME": plain_text(source.name),
        "RECIPE": plain_text(str(source.card.recipe.get("name", ""))),
        "VERSION": feredge.__version__,
        "SYMBOL": symbol,
        "UPPER": symbol.upper(),
        "CLASS_NAMES": plain_text(", ".join(source.card.classes)),
        "HEIGHT": str(contract.height),
        "WIDTH": str(contract.width),
        "CHANNELS": str(contract.channels),
        "PIXELS": str(contract.height * contract.width * contract.channels),
    }


def _golden_values(golden: Golden) -> dict[str, str]:
    images = golden.images.reshape(len(golden.images), -1)
    return {
        "RUNTIME": plain_text(golden.runtime),
        "ARITHMETIC": golden.arithmetic,
        "ARITHMETIC_TEXT": ARITHMETIC_TEXTS[golden.arithmetic],
        "IMAGES": str(len(images)),
        "GOLDEN_KB": str(images.nbytes + golden.probabilities.nbytes >> 10),
        "PIXEL_ROWS": c_rows(images),
        "PROBABILITY_ROWS": c_rows(golden.probabilities, float_literal),
    }


def _memory_values(memory: dict[str, int], need: Need) -> dict[str, str]:
    return {
        "ARENA_BYTES": f"{memory['arena_bytes']:,}",
        "CONSTANT_BYTES": f"{memory['constant_bytes']:,}",
        "CODE_BYTES": f"{CODE_BYTES:,}",
        "STACK_BYTES": f"{STACK_BYTES:,}",
        "RAM_KB": f"{need.ram / 1024:.1f}",
        "FLASH_KB": f"{need.flash / 1024:.1f}",
        "FIT_TABLE": fit_table(need),
    }


def _template(name: str) -> str:
    return (TEMPLATE_FOLDER / name).read_text(encoding="utf-8")


def self_tests(folder: Path, source: Source, golden: Golden) -> list[SelfTest]:
    """Compile the self-test and run it, on this machine and on emulated ones."""
    del golden  # in the self-test
    return run_self_tests(folder, library_symbol(source))
