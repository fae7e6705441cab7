"""The `.mlpackage` of a float32 ONNX file: a Core ML program in float16, written by coremltools."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import uuid
from pathlib import Path
from typing import Any

from feredge.bundles.ios.translation import INPUT_NAME, OUTPUT_NAME, build_program
from feredge.bundles.source import Source
from feredge.errors import ArtifactError, MissingPackageError, one_line

SPECIFICATION_FILE = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS_FILE = "Data/com.apple.CoreML/weights/weight.bin"
IDENTIFIER_NAMESPACE = uuid.UUID("5a6c1b6e-6f0f-4a4f-9d0c-6d1f3c1f8a55")
PACKAGE_AUTHOR = "com.apple.CoreML"


def package_files(source: Source) -> dict[str, bytes]:
    """Return the files of a Core ML package by their paths in it. The same versions give the same bytes.

    Raises:
        MissingPackageError: coremltools or onnx is not installed.
        ArtifactError: coremltools cannot translate the network.
    """
    specification, weights = _convert(source)
    specification.description.metadata.ClearField("userDefined")  # the date of the conversion is among it
    metadata = specification.description.metadata
    metadata.shortDescription = f"{', '.join(source.card.classes)}"
    metadata.userDefined["source"] = f"{source.name} {source.sha256}"
    metadata.userDefined["classes"] = json.dumps(source.card.classes)
    for feature, text in (
        (specification.description.input[0], "pixels, 0 to 255: (1, height, width, channels)"),
        (specification.description.output[0], "probability of each class"),
    ):
        feature.shortDescription = text
    return {
        "Manifest.json": _manifest(source),
        SPECIFICATION_FILE: specification.SerializeToString(deterministic=True),
        WEIGHTS_FILE: weights,
    }


def _convert(source: Source) -> tuple[Any, bytes]:
    """Return the specification, a protocol buffer, and the file of the weights."""
    missing = [name for name in ("coremltools", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(f"expected {' and '.join(missing)}, found none; pip install 'feredge[ios]'")
    logging.getLogger("coremltools").setLevel(logging.ERROR)  # it warns of untested versions of other frameworks
    import coremltools
    import onnx

    target = coremltools.target.iOS16
    try:
        program = build_program(onnx.load_model_from_string(source.data), source.card.contract.shape, target)
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            model = coremltools.convert(
                program,
                source="milinternal",
                convert_to="mlprogram",
                minimum_deployment_target=target,
                compute_precision=coremltools.precision.FLOAT16,
                skip_model_load=True,
            )
        weights = Path(model.weights_dir, "weight.bin").read_bytes()
    except (ValueError, TypeError, RuntimeError, NotImplementedError, OSError) as error:
        raise ArtifactError(f"{source.name}: coremltools cannot convert it ({one_line(error)})") from error
    specification = model.get_spec()
    names = [feature.name for feature in (*specification.description.input, *specification.description.output)]
    if names != [INPUT_NAME, OUTPUT_NAME]:
        raise ArtifactError(f"{source.name}: expected {INPUT_NAME} and {OUTPUT_NAME} of coremltools, found {names}")
    return specification, weights


def _manifest(source: Source) -> bytes:
    """Return the index of the package, whose identifiers are random elsewhere."""
    items = {
        "model.mlmodel": "CoreML Model Specification",
        "weights": "CoreML Model Weights",
    }
    identifiers = {name: str(uuid.uuid5(IDENTIFIER_NAMESPACE, source.sha256 + name)).upper() for name in items}
    entries = {
        identifiers[name]: {
            "author": PACKAGE_AUTHOR,
            "description": text,
            "name": name,
            "path": f"{PACKAGE_AUTHOR}/{name}",
        }
        for name, text in items.items()
    }
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": identifiers["model.mlmodel"],
    }
    return json.dumps(manifest, indent=2).encode() + b"\n"
