"""Stored answers: each file's probabilities on fixed drawn pictures, by which a changed file is recognized later.

A digest shows that a file is the one its manifest names; it says nothing where both were changed together. The
stored answers do: other weights answer otherwise.
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

PROBE_PICTURES = 64
PROBE_SEED = 20_131
DRAWN_FACES = 70  # the fewest that are drawn at once
MEMBER_BYTES = 1 << 20
"""Most bytes of one file's answers: 64 pictures of 4,000 classes."""
PICTURES_MEMBER = "pictures"
"""SHA-256 of the drawn pictures, one member beside the files'."""

ANSWER_BOUNDS = {
    "float32": 1e-4,  # sums in another order: 1e-5 seen
    "float16": 0.02,  # where the CPU has float16 arithmetic, onnxruntime computes in it: 11 bits in every layer
    "dynamic-int8": 0.05,  # as int8, and each layer's scale follows from the layers before it
    # Where an activation lies between two of its 256 steps, another kernel takes the other one, and the layers behind
    # carry that on: .01 seen, between x86 with VNNI and arm64 as between x86 with and without.
    "int8": 0.03,
    "int16x8": 2 / 256,  # reference kernels, integers only; the output moves in steps of 1/32768
}
"""Largest difference of one probability between CPUs, by precision: what feredge promises of one file's answers to
the same pictures in the same runtime. It follows that the class is the same wherever the two most likely lie more
than twice as far apart, because each of them moves by one bound at most."""
TFLITE_INT8_BOUND = 2 / 256
"""The same for int8 TFLite: its output moves in steps of 1/256, and XNNPACK's arm64 kernels round once more than those
for x86: one step seen."""


@dataclass(frozen=True)
class AnswerComparison:
    """How far two CPUs' answers lie apart.

    Attributes:
        largest: difference of one probability.
        changed: pictures of another class.
        unexpected: those among them on which the bound rules it out.
    """

    largest: float
    changed: int
    unexpected: int


def probe_pictures(contract: InputContract) -> Images:
    """Return the fixed pictures, `uint8 (64, H, W, C)`: drawn faces, the same on every machine.

    Other sizes take the nearest pixel, which no processor rounds otherwise; colour repeats the gray.
    """
    height, width, channels = contract.shape
    images = _drawn_pictures()
    size = images.shape[1]
    rows, columns = np.arange(height) * size // height, np.arange(width) * size // width
    resized = images[:, rows][:, :, columns, None]
    return np.ascontiguousarray(np.repeat(resized, channels, axis=3))


def answer_bound(file_format: str, precision: str) -> float:
    """Return how far one probability of a file may differ between CPUs."""
    if (file_format, precision) == ("tflite", "int8"):
        return TFLITE_INT8_BOUND
    return ANSWER_BOUNDS[precision]


def compare_answers(answers: Probabilities, others: Probabilities, bound: float) -> AnswerComparison:
    """Compare two CPUs' answers to the same pictures, each `float32 (N, classes)`."""
    changed = answers.argmax(axis=1) != others.argmax(axis=1)
    lead = np.maximum(*(np.diff(np.sort(rows, axis=1)[:, -2:], axis=1)[:, 0] for rows in (answers, others)))
    return AnswerComparison(
        float(np.abs(answers - others).max()), int(changed.sum()), int((changed & (lead > 2 * bound)).sum())
    )


def probe_answers(runner: Runner) -> Probabilities:
    """Run a file on the probe pictures, one at a time: `float32 (64, classes)`."""
    pictures = probe_pictures(runner.card.contract)
    return np.concatenate([runner.predict(pictures[at : at + 1]) for at in range(len(pictures))])


def write_probes(path: Path, answers: Mapping[str, Probabilities]) -> None:
    """Write the answers of files, by name, as an npz archive; the same answers give the same bytes."""
    with path.open("wb") as file:
        np.savez(file, **{PICTURES_MEMBER: _pictures_digest()}, **answers)  # type: ignore[arg-type]


def read_probes(path: Path, classes: Mapping[str, int]) -> dict[str, Probabilities]:
    """Read the answers of the files that `classes` names, each with its number of classes.

    Nothing is unpickled, and no member is read beyond what its classes need.

    Raises:
        ArtifactError: no such archive, a file without answers in it, answers of another shape, or on other pictures.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            pictures = _member(archive, PICTURES_MEMBER, (32,), np.dtype(np.uint8))
            answers = {
                name: _member(archive, name, (PROBE_PICTURES, count), np.dtype(np.float32))
                for name, count in classes.items()
            }
    except Exception as error:  # zipfile, zlib and numpy's parser of headers raise a dozen kinds
        raise ArtifactError(f"{path}: expected stored answers of every file, found none ({one_line(error)})") from error
    if not np.array_equal(pictures, _pictures_digest()):
        raise ArtifactError(f"{path}: expected answers on this version's probe pictures, found others")
    return answers


@functools.cache
def _drawn_pictures() -> NDArray[np.uint8]:
    """Return `uint8 (64, 48, 48)`."""
    dataset = drawn(DRAWN_FACES, PROBE_SEED)
    return dataset.images[:PROBE_PICTURES].reshape(PROBE_PICTURES, FACE_SIZE, FACE_SIZE)


def _pictures_digest() -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.sha256(_drawn_pictures().tobytes()).digest(), np.uint8)


def _member(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return one array; its header is held against what is expected before any memory is taken for it."""
    size = int(np.prod(shape)) * dtype.itemsize
    if size > MEMBER_BYTES:
        raise ValueError(f"{name} has more than {MEMBER_BYTES} bytes of answers")
    with archive.open(f"{name}.npy") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{name} is of another version")
        found, by_columns, kind = np.lib.format.read_array_header_1_0(file)
        if found != shape or by_columns or kind != dtype:
            raise ValueError(f"{name} is {kind} {found}, expected {dtype} {shape}")
        data = file.read(size + 1)
    if len(data) != size:
        raise ValueError(f"{name} has not {size} bytes")
    return np.frombuffer(data, dtype).reshape(shape)


def add_probes(folder: Path, manifest: Manifest) -> Manifest:
    """Run every file of a manifest, write its answers beside it, then the manifest, and return that.

    Raises:
        ArtifactError: a file that does not fit the manifest, or cannot be run.
    """
    answers = {}
    for entry in manifest.entries:
        check_digest(folder / entry.file, entry.sha256)
        answers[entry.file] = probe_answers(open_artifact(folder / entry.file))
    path = folder / PROBES_FILE
    with files.replacing(path) as temporary:
        write_probes(temporary, answers)
    manifest = dataclasses.replace(manifest, probes=files.sha256(path))
    manifest.write(folder)
    return manifest
