"""Golden vectors: drawn images, the same in every bundle, and the reference runtime's answers to them."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np

from feredge.bundles.options import Arithmetic
from feredge.bundles.source import Source
from feredge.errors import ArtifactError, one_line
from feredge.inference.contract import Images, InputContract
from feredge.inference.runtimes import Probabilities, open_artifact
from feredge.inference.tflite import TFLiteGraph, import_litert
from feredge.inspection.probes import probe_images

GOLDEN_IMAGES = 32
Reference = Literal["xnnpack", "tflm", "onnxruntime"]
"""Whose kernels compute the answers: an Arithmetic of int8 files, or onnxruntime's."""
RESOLVERS: dict[Arithmetic, str] = {"xnnpack": "AUTO", "tflm": "BUILTIN_REF"}
"""LiteRT's kernels by arithmetic: with the XNNPACK delegate, or the reference kernels, nearest to TensorFlow Lite
Micro's."""


@dataclass(frozen=True)
class GoldenRecord:
    """Golden vectors as a bundle's manifest states them: the images by their digest, because they can be drawn again.

    Attributes:
        images_sha256: SHA-256 of the pixels.
        arithmetic: whose kernels computed the probabilities.
        runtime: package and version that did.
        probabilities: a row for each image.
    """

    images_sha256: str
    arithmetic: Reference
    runtime: str
    probabilities: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False)
class Golden:
    """Golden vectors.

    Attributes:
        images: `uint8 (32, H, W, C)`.
        probabilities: `float32 (32, classes)`, of the images one at a time.
        arithmetic, runtime: as in GoldenRecord.
    """

    images: Images
    probabilities: Probabilities
    arithmetic: Reference
    runtime: str

    @property
    def record(self) -> GoldenRecord:
        """The vectors as a manifest states them."""
        digest = hashlib.sha256(self.images.tobytes()).hexdigest()
        rows = tuple(map(tuple, self.probabilities.tolist()))
        return GoldenRecord(digest, self.arithmetic, self.runtime, rows)

    def to_bytes(self) -> bytes:
        """Return the pixels of all images, then their probabilities as little-endian float32."""
        return self.images.tobytes() + self.probabilities.astype("<f4").tobytes()

    @classmethod
    def restore(cls, record: GoldenRecord, contract: InputContract, classes: int) -> Golden:
        """Draw the images of a record again.

        Raises:
            ArtifactError: answers of another shape, or images that this version does not draw.
        """
        if len(record.probabilities) != GOLDEN_IMAGES or {len(row) for row in record.probabilities} != {classes}:
            raise ArtifactError(f"expected {classes} probabilities for each of {GOLDEN_IMAGES} images, found others")
        probabilities = np.array(record.probabilities, np.float32)
        golden = cls(golden_images(contract), probabilities, record.arithmetic, record.runtime)
        if golden.record != record:
            raise ArtifactError("expected float32 answers to the golden images of this version, found others")
        return golden


def golden_images(contract: InputContract) -> Images:
    """Return the images of a network's golden vectors, `uint8 (32, H, W, C)`: drawn faces, the same everywhere."""
    return probe_images(contract)[:GOLDEN_IMAGES]


def golden_vectors(source: Source, arithmetic: Arithmetic = "xnnpack") -> Golden:
    """Compute the golden vectors of a file: of an ONNX file in onnxruntime; of a TFLite file in LiteRT, or for `tflm`
    with the C library on this machine.

    LiteRT's reference kernels do not stand for TensorFlow Lite Micro: they round a fully connected layer with a scale
    per channel once, TensorFlow Lite Micro and the C library twice. tools/c-library compares these two.

    Raises:
        ArtifactError: LiteRT or a C compiler is not installed, or cannot run the file.
    """
    images = golden_images(source.card.contract)
    if source.format == "onnx":
        rows = _onnxruntime_outputs(source, images)
        return Golden(images, rows, "onnxruntime", f"onnxruntime {metadata.version('onnxruntime')}")
    if arithmetic == "tflm":
        return Golden(images, _c_library_outputs(source, images), arithmetic, "the C library on another machine")
    try:
        graph = litert_graph(source, arithmetic)
        outputs = [graph.run(image[None]) for image in images]
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(f"{source.name}: LiteRT cannot run it ({one_line(error)})") from error
    runtime = f"ai-edge-litert {metadata.version('ai-edge-litert')}"
    return Golden(images, np.concatenate(outputs), arithmetic, runtime)


def _onnxruntime_outputs(source: Source, images: Images) -> Probabilities:
    with tempfile.TemporaryDirectory(prefix="feredge-") as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(source.data)
        runner = open_artifact(path)
        return np.concatenate([runner.predict(image[None]) for image in images])


def _c_library_outputs(source: Source, images: Images) -> Probabilities:
    from feredge.export.c.artifact_file import c_artifact

    with tempfile.TemporaryDirectory(prefix="feredge-") as folder:
        path = Path(folder, "library.c")
        path.write_text(c_artifact(source.flatbuffer, source.card, "tflm")[0], encoding="utf-8")
        return open_artifact(path).predict(images)


def litert_graph(source: Source, arithmetic: Arithmetic) -> TFLiteGraph:
    """Open a file in LiteRT, on one thread, with the kernels of an arithmetic.

    Raises:
        ArtifactError: LiteRT is not installed.
        ValueError, RuntimeError: it cannot load the model.
    """
    module = import_litert(source.name)
    resolver = getattr(module.OpResolverType, RESOLVERS[arithmetic])
    return TFLiteGraph(
        module.Interpreter(model_content=source.data, num_threads=1, experimental_op_resolver_type=resolver)
    )
