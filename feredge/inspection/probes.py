"""Reference outputs: each file's probabilities on fixed probe images, by which a changed file is recognized later.

A digest shows that a file is the one its manifest names, but not that both were changed together. The reference
outputs do: other weights give other outputs.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge import files
from feredge.data.drawn import drawn
from feredge.data.drawn_face import FACE_SIZE
from feredge.errors import ArtifactError, one_line
from feredge.inference.artifact import PROBES_FILE, Manifest, check_digest
from feredge.inference.contract import Images, InputContract
from feredge.inference.runtimes import Probabilities, Runner, open_artifact

PROBE_IMAGES = 64
PROBE_SEED = 20_131
MIN_DRAWN_FACES = 70  # a smaller dataset is not drawn
OUTPUTS_LIMIT_BYTES = 1 << 20
"""Of one file: 64 images of 4,000 classes."""
IMAGES_DIGEST_MEMBER = "pictures"
"""Member of the archive with the SHA-256 of the probe images; the others hold the files' outputs."""

PROBABILITY_TOLERANCES = {
    "float32": 1e-4,  # order of summation: 1e-5 observed
    "float16": 0.02,  # where the CPU has float16 arithmetic, onnxruntime computes in it: 11 bits in every layer
    "dynamic-int8": 0.05,  # as int8, and each layer's scale depends on the layers before it
    # Kernels round an activation between two of its 256 steps differently, and later layers propagate that: 0.01
    # observed, between x86 with VNNI and arm64 as between x86 with and without.
    "int8": 0.03,
    "int16x8": 2 / 256,  # reference kernels, integers only; the output has steps of 1/32768
}
"""Largest difference of one probability between CPUs, by precision, of one file's outputs on the same images in the
same runtime. The class is the same wherever the two most likely differ by more than twice the tolerance, because each
of them changes by one tolerance at most."""
TFLITE_INT8_TOLERANCE = 2 / 256
"""The same for int8 TFLite: its output has steps of 1/256, and XNNPACK's arm64 kernels round once more than those for
x86: one step observed."""


@dataclass(frozen=True)
class OutputComparison:
    """Difference of two CPUs' outputs.

    Attributes:
        max_difference: of one probability.
        changed: number of images whose class differs.
        out_of_tolerance: those among them whose class cannot differ within the tolerance.
    """

    max_difference: float
    changed: int
    out_of_tolerance: int


def probe_images(contract: InputContract) -> Images:
    """Return the probe images, `uint8 (64, H, W, C)`: drawn faces, the same on every machine.

    They are resized by the nearest pixel, in which no CPU rounds differently. Each channel of an RGB image is another
    face, so that exchanged channels change the outputs.
    """
    height, width, channels = contract.shape
    faces = _drawn_faces()
    images = np.stack([np.roll(faces, channel, axis=0) for channel in range(channels)], axis=3)
    size = images.shape[1]
    rows, columns = np.arange(height) * size // height, np.arange(width) * size // width
    return np.ascontiguousarray(images[:, rows][:, :, columns])


def probability_tolerance(file_format: str, precision: str) -> float:
    """Return the largest difference of one probability of a file between CPUs."""
    if file_format == "c":
        return 0.0  # the same integers, and float32 operations in the same order, on every CPU
    if (file_format, precision) == ("tflite", "int8"):
        return TFLITE_INT8_TOLERANCE
    return PROBABILITY_TOLERANCES[precision]


def compare_outputs(outputs: Probabilities, reference: Probabilities, tolerance: float) -> OutputComparison:
    """Compare two CPUs' outputs on the same images, each `float32 (N, classes)`."""
    changed = outputs.argmax(axis=1) != reference.argmax(axis=1)
    margin = np.maximum(*(np.diff(np.sort(rows, axis=1)[:, -2:], axis=1)[:, 0] for rows in (outputs, reference)))
    return OutputComparison(
        float(np.abs(outputs - reference).max()), int(changed.sum()), int((changed & (margin > 2 * tolerance)).sum())
    )


def probe_outputs(runner: Runner) -> Probabilities:
    """Run a file on the probe images, one at a time: `float32 (64, classes)`."""
    images = probe_images(runner.card.contract)
    return np.concatenate([runner.predict(images[index : index + 1]) for index in range(len(images))])


def write_probes(path: Path, outputs: Mapping[str, Probabilities]) -> None:
    """Write the outputs of files, by name, as an npz archive; the same outputs give the same bytes."""
    with path.open("wb") as file:
        np.savez(file, **{IMAGES_DIGEST_MEMBER: _images_digest()}, **outputs)  # type: ignore[arg-type]


def read_probes(path: Path, classes: Mapping[str, int]) -> dict[str, Probabilities]:
    """Read the reference outputs of the files that `classes` names, each with its number of classes.

    Nothing is unpickled, and no member is read beyond what its classes need.

    Raises:
        ArtifactError: no such archive, a file without outputs in it, outputs of another shape, or on other images.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            digest = _member(archive, IMAGES_DIGEST_MEMBER, (32,), np.dtype(np.uint8))
            outputs = {
                name: _member(archive, name, (PROBE_IMAGES, count), np.dtype(np.float32))
                for name, count in classes.items()
            }
    except Exception as error:  # zipfile, zlib and numpy's parser of headers raise a dozen kinds
        raise ArtifactError(
            f"{path}: expected reference outputs of every file, found none ({one_line(error)})"
        ) from error
    if not np.array_equal(digest, _images_digest()):
        raise ArtifactError(f"{path}: expected reference outputs on this version's probe images, found others")
    return outputs


@functools.cache
def _drawn_faces() -> NDArray[np.uint8]:
    """Return `uint8 (64, 48, 48)`."""
    dataset = drawn(MIN_DRAWN_FACES, PROBE_SEED)
    return dataset.images[:PROBE_IMAGES].reshape(PROBE_IMAGES, FACE_SIZE, FACE_SIZE)


def _images_digest() -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.sha256(_drawn_faces().tobytes()).digest(), np.uint8)


def _member(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return one array; its header is checked before any memory is allocated for it."""
    size_bytes = int(np.prod(shape)) * dtype.itemsize
    if size_bytes > OUTPUTS_LIMIT_BYTES:
        raise ValueError(f"{name} has more than {OUTPUTS_LIMIT_BYTES} bytes of outputs")
    with archive.open(f"{name}.npy") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{name} is of another version")
        stored_shape, fortran_order, stored_dtype = np.lib.format.read_array_header_1_0(file)
        if stored_shape != shape or fortran_order or stored_dtype != dtype:
            raise ValueError(f"{name} is {stored_dtype} {stored_shape}, expected {dtype} {shape}")
        data = file.read(size_bytes + 1)
    if len(data) != size_bytes:
        raise ValueError(f"{name} has not {size_bytes} bytes")
    return np.frombuffer(data, dtype).reshape(shape)


def add_probes(folder: Path, manifest: Manifest) -> Manifest:
    """Run every file of a manifest, write their reference outputs beside it, then the manifest, and return that.

    Raises:
        ArtifactError: a file that does not fit the manifest, or cannot be run.
    """
    outputs = {}
    for entry in manifest.entries:
        check_digest(folder / entry.file, entry.sha256)
        outputs[entry.file] = probe_outputs(open_artifact(folder / entry.file))
    path = folder / PROBES_FILE
    with files.replacing(path) as temporary:
        write_probes(temporary, outputs)
    manifest = dataclasses.replace(manifest, probes=files.sha256(path))
    manifest.write(folder)
    return manifest
