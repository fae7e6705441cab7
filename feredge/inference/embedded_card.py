"""The card inside a model file: read, with the file's structure checked, and appended.

In an ONNX file it is under the key `feredge` of `metadata_props`; in a `.tflite` file it is `feredge.json` in the zip
archive that TensorFlow Lite's own metadata convention appends (so the standard library reads it, and Android's readers
find `labels.txt` beside it).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from feredge import files
from feredge.errors import ArtifactError, NoCardError
from feredge.inference.artifact import CARD_KEY, Card

if TYPE_CHECKING:
    import zipfile

CARD_FILE = "feredge.json"
LABELS_FILE = "labels.txt"
DIGEST_FILE = "sha256.txt"
CARD_LIMIT = 1 << 20  # bytes, unpacked; a card has about 2,000


def parse_card(text: str, where: str) -> Card:
    """Parse a card from the JSON text inside a file."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: expected a feredge card in JSON, found {text[:40]!r}") from error
    return Card.from_json(value, where=where)


def read_card(path: Path) -> Card:
    """Read the card inside a model file, after checking the file's structure and operators; no native code runs.

    A `.tflite` file must have the model digest that is stored with the card, and pass `inference.tflite_check`; `.onnx`
    and `.ort` files must use operators that onnxruntime contains, without control flow, and hold all their weights
    (`inference.onnx_check`). Of a `.c` file the model that it was generated from is checked, not its code.

    Raises:
        NoCardError: a file without a card.
        ArtifactError: an unreadable or damaged file, or one with refused contents.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: expected a model file, cannot be read ({error.strerror})") from error
    if files.is_lfs_pointer(data):
        raise ArtifactError(f"{path}: expected a model, found {files.LFS_ADVICE}")
    try:
        text = {".tflite": _tflite_card, ".ort": _ort_card, ".c": _c_card}.get(path.suffix, _onnx_card)(data)
    except ArtifactError as error:
        raise type(error)(f"{path}: {error}") from error
    return parse_card(text, str(path))


def _onnx_card(data: bytes) -> str:
    from feredge.inference.onnx_check import check_onnx, read_onnx

    contents = read_onnx(data)
    text = _require_card(contents.metadata.get(CARD_KEY))
    check_onnx(contents)
    return text


def _ort_card(data: bytes) -> str:
    from feredge.inference.ort_check import check_ort

    return _require_card(check_ort(data).get(CARD_KEY))


def _tflite_card(data: bytes) -> str:
    import hashlib
    import io
    import zipfile
    import zlib

    from feredge.inference.tflite_check import check_tflite

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            text, digest = _read_member(archive, CARD_FILE), _read_member(archive, DIGEST_FILE)
            model = data[: tflite_model_size(archive)]
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        # all that zipfile raises for damaged archives; RuntimeError for encryption or a later version
        raise NoCardError("expected a feredge card inside the file, found none") from error
    if hashlib.sha256(model).hexdigest() != digest:
        raise ArtifactError(f"expected a model of SHA-256 {digest[:12]!r}, found a damaged one")
    check_tflite(model)
    return text


def _c_card(data: bytes) -> str:
    from feredge.inference.c_source import read_c_source
    from feredge.inference.tflite_check import check_tflite

    source = read_c_source(data)
    check_tflite(source.model)
    return source.card


def tflite_model_size(archive: zipfile.ZipFile) -> int:
    """Return the bytes of a `.tflite` file before its zip archive."""
    return min(info.header_offset for info in archive.infolist())


def _read_member(archive: zipfile.ZipFile, name: str) -> str:
    """Read a text member of a zip archive, at most CARD_LIMIT bytes whatever size the archive states."""
    info = archive.getinfo(name)
    if info.file_size > CARD_LIMIT or info.compress_type not in (0, 8):  # stored or deflated: both need little memory
        raise ArtifactError(f"expected {name} of at most {CARD_LIMIT:,} bytes, found {info.file_size:,}")
    with archive.open(info) as file:
        return str(file.read(CARD_LIMIT + 1).decode())


def _require_card(text: str | None) -> str:
    if text is None:
        raise NoCardError("expected a feredge card inside the file, found none")
    return text


def append_tflite_card(model: bytes, card: Card) -> bytes:
    """Return a TensorFlow Lite flatbuffer with the card, the labels and its digest appended as a zip archive.

    The output is deterministic: entries have a fixed date.
    """
    import hashlib
    import io
    import zipfile

    buffer = io.BytesIO()
    buffer.write(model)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name, text in (
            (LABELS_FILE, "\n".join(card.classes) + "\n"),
            (CARD_FILE, json.dumps(card.to_json(), sort_keys=True)),
            (DIGEST_FILE, hashlib.sha256(model).hexdigest()),
        ):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    return buffer.getvalue()
