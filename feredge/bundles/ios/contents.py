"""`feredge bundle --for ios`: a Swift package with the network as a Core ML package, and the preprocessing in C."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from feredge.bundles.folder import Contents
from feredge.bundles.golden import Golden
from feredge.bundles.ios.package import SPECIFICATION_FILE, WEIGHTS_FILE, package_files
from feredge.bundles.native.module_source import PREPROCESSING_FILE
from feredge.bundles.notices import NOTICES_FILE, code_notice, notices_text, weights_notice
from feredge.bundles.options import BundleOptions
from feredge.bundles.source import Source
from feredge.bundles.targets import SelfTest
from feredge.bundles.templates import fill_dollars, plain_text
from feredge.errors import ArtifactError
from feredge.inference.c_source import library_name
from feredge.inspection.probes import compare_outputs, probability_tolerance

TEMPLATE_FOLDER = Path(__file__).with_name("templates")
SWIFT_FOLDER, C_FOLDER = "Sources/Feredge", "Sources/FeredgeInput"
TEMPLATE_PLACES = {
    "Package.swift": "Package.swift",
    "README.md": "README.md",
    "Net.swift": f"{SWIFT_FOLDER}/Net.swift",
    "input.c": f"{C_FOLDER}/input.c",
    "feredge_input.h": f"{C_FOLDER}/include/feredge_input.h",
}
"""Where a filled template belongs."""
PACKAGE_FOLDER = f"{SWIFT_FOLDER}/Resources/Net.mlpackage"
GOLDEN_FILE = f"{SWIFT_FOLDER}/Resources/golden.bin"
COREML_PRECISION = "float16"
SELF_TEST_NAME = f"the Core ML program in {COREML_PRECISION}, interpreted by numpy"


def build(source: Source, golden: Golden, options: BundleOptions) -> Contents:
    """Return the bundle's files.

    Raises:
        ArtifactError: coremltools is not installed, or cannot translate the network.
    """
    del options
    contents = {f"{PACKAGE_FOLDER}/{name}": data for name, data in package_files(source).items()}
    contents |= {name: text.encode() for name, text in source_texts(source, golden).items()}
    notices = [code_notice("The Swift and C sources"), weights_notice(source.card)]
    return {
        **contents,
        "labels.txt": "".join(f"{name}\n" for name in source.card.classes).encode(),
        GOLDEN_FILE: golden.to_bytes(),
        source.name: source.data,
        NOTICES_FILE: notices_text(notices),
    }


def self_tests(folder: Path, source: Source, golden: Golden) -> list[SelfTest]:
    """Read the Core ML package back, run its program in numpy, and compare its answers with onnxruntime's."""
    from feredge.bundles.ios.interpreter import Program

    del source
    package = folder / PACKAGE_FOLDER
    try:
        program = Program((package / SPECIFICATION_FILE).read_bytes(), (package / WEIGHTS_FILE).read_bytes())
        outputs = program.predict(golden.images)
    except ArtifactError as error:
        return [SelfTest(SELF_TEST_NAME, str(error))]
    tolerance = probability_tolerance("mlpackage", COREML_PRECISION)
    comparison = compare_outputs(outputs, golden.probabilities, tolerance)
    difference = f"probabilities within {comparison.max_difference:.2g} of {golden.runtime}'s"
    if not comparison.max_difference <= tolerance or comparison.out_of_tolerance or not np.isfinite(outputs).all():
        return [SelfTest(SELF_TEST_NAME, f"expected {tolerance:g}, found {difference}")]
    return [SelfTest(f"{SELF_TEST_NAME}: {difference}")]


def source_texts(source: Source, golden: Golden) -> dict[str, str]:
    """Return the Swift and C sources, and the README, by their paths in the bundle."""
    height, width, channels = source.card.contract.shape
    values = {
        "NAME": plain_text(library_name(source.card)),
        "MODEL": source.name,
        "CLASSES": ", ".join(map(swift_literal, source.card.classes)),
        "HEIGHT": str(height),
        "WIDTH": str(width),
        "CHANNELS": str(channels),
        "IMAGES": str(len(golden.images)),
        "TOLERANCE": str(probability_tolerance("mlpackage", COREML_PRECISION)),
        "PREPROCESSING": PREPROCESSING_FILE.read_text(encoding="utf-8"),
    }
    return {
        place: fill_dollars((TEMPLATE_FOLDER / name).read_text(encoding="utf-8"), values)
        for name, place in TEMPLATE_PLACES.items()
    }


def swift_literal(text: str) -> str:
    """Return a string of Swift, in which every character beyond plain ASCII is an escape."""
    safe = "".join(letter if letter.isalnum() and letter.isascii() else f"\\u{{{ord(letter):x}}}" for letter in text)
    return f'"{safe}"'
