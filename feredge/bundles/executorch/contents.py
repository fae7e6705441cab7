"""`feredge bundle --for executorch`: a `.pte` program, its labels and input, and how an app runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from feredge.bundles.executorch.program import package_versions, predict, program_file
from feredge.bundles.folder import Contents
from feredge.bundles.golden import Golden
from feredge.bundles.notices import NOTICES_FILE, Notice, notices_text, weights_notice
from feredge.bundles.options import BundleOptions
from feredge.bundles.source import Source
from feredge.bundles.targets import SelfTest
from feredge.bundles.templates import fill_dollars, plain_text
from feredge.errors import ArtifactError, MissingPackageError
from feredge.inference.c_source import library_name
from feredge.inspection.probes import compare_outputs, probability_tolerance

README_TEMPLATE = Path(__file__).with_name("templates") / "README.md"
PROGRAM_FILE = "net.pte"
GOLDEN_FILE = "golden.bin"
SELF_TEST_NAME = f"{PROGRAM_FILE} in ExecuTorch's Python runtime"
EQUAL_TOLERANCE = 1e-6
"""Rows that differ by less are counted as equal: the order of float32 sums in the softmax."""
RUNTIME_NOTICE = Notice(
    "ExecuTorch and XNNPACK, which an app links, are not in this folder",
    "Both under the BSD 3-Clause License: https://github.com/pytorch/executorch, https://github.com/google/XNNPACK",
)


def build(source: Source, golden: Golden, options: BundleOptions) -> Contents:
    """Return the bundle's files.

    Raises:
        MissingPackageError: torch, executorch or onnx is not installed.
        ArtifactError: a network that cannot be translated or lowered.
    """
    del options
    return {
        PROGRAM_FILE: program_file(source),
        "README.md": _readme(source, golden).encode(),
        "input.json": json.dumps(source.card.contract.to_json(), indent=2).encode() + b"\n",
        "labels.txt": "".join(f"{name}\n" for name in source.card.classes).encode(),
        GOLDEN_FILE: golden.to_bytes(),
        source.name: source.data,
        NOTICES_FILE: notices_text([weights_notice(source.card), RUNTIME_NOTICE]),
    }


def self_tests(folder: Path, source: Source, golden: Golden) -> list[SelfTest]:
    """Run the program in ExecuTorch, and compare its answers with onnxruntime's to the file it was made from."""
    try:
        outputs = predict(folder / PROGRAM_FILE, golden.images)
    except MissingPackageError as error:
        return [SelfTest(SELF_TEST_NAME, skipped=str(error))]
    except ArtifactError as error:
        return [SelfTest(SELF_TEST_NAME, str(error))]
    if outputs.shape != golden.probabilities.shape or not np.isfinite(outputs).all():
        return [SelfTest(SELF_TEST_NAME, f"expected finite {golden.probabilities.shape}, found {outputs.shape}")]
    tolerance = probability_tolerance(source.format, source.card.precision)
    comparison = compare_outputs(outputs, golden.probabilities, tolerance)
    equal = (np.abs(outputs - golden.probabilities).max(axis=1) <= EQUAL_TOLERANCE).sum()
    difference = (
        f"probabilities within {comparison.max_difference:.2g} of {golden.runtime}'s, "
        f"{equal} of {len(outputs)} rows within {EQUAL_TOLERANCE:g}"
    )
    if comparison.max_difference > tolerance or comparison.out_of_tolerance:
        return [SelfTest(SELF_TEST_NAME, f"expected {tolerance:g}, found {difference}")]
    return [SelfTest(f"{SELF_TEST_NAME}: {difference}")]


def _readme(source: Source, golden: Golden) -> str:
    height, width, channels = source.card.contract.shape
    values = {
        "NAME": plain_text(library_name(source.card)),
        "MODEL": source.name,
        "PRECISION": source.card.precision,
        "HEIGHT": str(height),
        "WIDTH": str(width),
        "CHANNELS": str(channels),
        "PIXELS": "gray" if channels == 1 else "RGB",
        "CLASSES": str(len(source.card.classes)),
        "IMAGES": str(len(golden.images)),
        "TOLERANCE": f"{probability_tolerance(source.format, source.card.precision):g}",
        "VERSIONS": package_versions(),
    }
    return fill_dollars(README_TEMPLATE.read_text(encoding="utf-8"), values)
