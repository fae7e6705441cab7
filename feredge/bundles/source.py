"""The exported file that a bundle is made from."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from feredge.errors import ArtifactError
from feredge.inference.artifact import Card, Entry, Manifest, check_digest
from feredge.inference.embedded_card import read_card, tflite_model_size
from feredge.paths import ExportPath, ModelFile, RunPath, require

SourceKind = Literal["int8.tflite", "int8.onnx", "float32.onnx"]
INT8_TFLITE: SourceKind = "int8.tflite"
INT8_ONNX: SourceKind = "int8.onnx"
FLOAT32_ONNX: SourceKind = "float32.onnx"
"""Precision and format of the file; each target takes one or more of them, of one format."""


@dataclass(frozen=True)
class Source:
    """A file with feredge's card.

    Attributes:
        name: of the file: `dense.int8.tflite`.
        data: its bytes.
        card: the card inside it.
    """

    name: str
    data: bytes = field(repr=False)
    card: Card

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def format(self) -> str:
        """The file's format: `tflite` or `onnx`."""
        return Path(self.name).suffix[1:]

    @property
    def flatbuffer(self) -> bytes:
        """The model of a `.tflite` file, without the card behind it."""
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            return self.data[: tflite_model_size(archive)]


def open_source(target: str | os.PathLike[str], kind: SourceKind = INT8_TFLITE, *alternatives: SourceKind) -> Source:
    """Read the file of a kind that a path or the name of a reference model stands for.

    Args:
        target: the file; or a run, a folder of exported files or a name of `feredge models`, of which it is
            `dense.KIND`, or the only file of that kind.
        kind: as `int8.tflite`.
        alternatives: other kinds of the same format: a file may be of them, and a folder without `kind` too.

    Raises:
        RunError: another path.
        ArtifactError: no such file in the folder or several, one that differs from its manifest, or a file of another
            format, of another precision or without a card.
    """
    kinds = (kind, *alternatives)
    place = require(target, RunPath, ExportPath, ModelFile)
    if isinstance(place, ModelFile):
        return _read(place.path, kinds)
    folder = place.run.artifacts if isinstance(place, RunPath) else place.path
    entry = _choose(folder, Manifest.read(folder, check=False), kinds)
    check_digest(folder / entry.file, entry.sha256)
    return _read(folder / entry.file, kinds)


def _choose(folder: Path, manifest: Manifest, kinds: tuple[SourceKind, ...]) -> Entry:
    for kind in kinds:
        entries = [entry for entry in manifest.entries if entry.file.endswith(f".{kind}")]
        default = [entry for entry in entries if entry.file == f"dense.{kind}"] or entries
        if len(default) == 1:
            return default[0]
        if entries:
            names = ", ".join(entry.file for entry in entries)
            raise ArtifactError(f"{folder}: expected the path of one of its {kind} files, found several ({names})")
    raise ArtifactError(
        f"{folder}: expected an exported {' or '.join(kinds)} file, found none; `feredge export --files {kinds[0]}`"
    )


def _read(path: Path, kinds: tuple[SourceKind, ...]) -> Source:
    precisions = [kind.partition(".")[0] for kind in kinds]
    suffix, expected = kinds[0].partition(".")[2], " or ".join(precisions)
    if path.suffix != f".{suffix}":
        article = "an" if precisions[0] == "int8" else "a"
        raise ArtifactError(f"{path}: expected {article} {expected} .{suffix} file, found a {path.suffix} file")
    card = read_card(path)
    if card.precision not in precisions or card.float_layers:
        found = "one with float layers" if card.float_layers else card.precision
        raise ArtifactError(f"{path}: expected a file that is {expected} throughout, found {found}")
    return Source(path.name, path.read_bytes(), card)
