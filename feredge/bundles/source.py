"""The int8 `.tflite` file that a bundle is made from."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from feredge.errors import ArtifactError
from feredge.inference.artifact import Card, Entry, Manifest, check_digest
from feredge.inference.embedded_card import read_card, tflite_model_size
from feredge.paths import ExportPath, ModelFile, RunPath, require

KIND = "int8.tflite"
DEFAULT_FILE = f"dense.{KIND}"


@dataclass(frozen=True)
class Source:
    """An int8 TensorFlow Lite file with feredge's card.

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
    def flatbuffer(self) -> bytes:
        """The model without the card behind it."""
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            return self.data[: tflite_model_size(archive)]


def open_source(target: str | os.PathLike[str]) -> Source:
    """Read the int8 `.tflite` file that a path or the name of a reference model stands for.

    Args:
        target: the file; or a run, a folder of exported files or a name of `feredge models`, of which it is
            `dense.int8.tflite`, or the only int8 `.tflite` file.

    Raises:
        RunError: another path.
        ArtifactError: no such file in the folder or several, one that differs from its manifest, or a file of another
            format, of another precision or without a card.
    """
    place = require(target, RunPath, ExportPath, ModelFile)
    if isinstance(place, ModelFile):
        return _read(place.path)
    folder = place.run.artifacts if isinstance(place, RunPath) else place.path
    entry = _choose(folder, Manifest.read(folder, check=False))
    check_digest(folder / entry.file, entry.sha256)
    return _read(folder / entry.file)


def _choose(folder: Path, manifest: Manifest) -> Entry:
    entries = [entry for entry in manifest.entries if entry.file.endswith(f".{KIND}")]
    default = [entry for entry in entries if entry.file == DEFAULT_FILE] or entries
    if len(default) == 1:
        return default[0]
    if not entries:
        raise ArtifactError(f"{folder}: expected an exported {KIND} file, found none; `feredge export --files {KIND}`")
    names = ", ".join(entry.file for entry in entries)
    raise ArtifactError(f"{folder}: expected the path of one of its {KIND} files, found several ({names})")


def _read(path: Path) -> Source:
    if path.suffix != ".tflite":
        raise ArtifactError(f"{path}: expected an int8 .tflite file, found a {path.suffix} file")
    card = read_card(path)
    if card.precision != "int8" or card.float_layers:
        found = "one with float layers" if card.float_layers else card.precision
        raise ArtifactError(f"{path}: expected a file that is int8 throughout, found {found}")
    return Source(path.name, path.read_bytes(), card)
