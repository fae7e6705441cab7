"""Artifacts: what a model file says of itself, and the manifest that stands beside it.

A `Card` is inside the file: under the key `feredge` in an ONNX file's `metadata_props`, and as
`feredge.json` in the zip archive that TensorFlow Lite's own metadata convention appends to a `.tflite`
file (so the standard library reads it, and Android's readers find `labels.txt` beside it).
`manifest.json` repeats the cards with sizes, digests and what verification measured. It is written last:
a folder with a manifest is complete.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from feredge import files
from feredge.errors import ArtifactError, NoCardError, VerificationError
from feredge.inference.contract import InputContract

FORMATS = ("tflite", "onnx", "ort")
PRECISIONS = ("float32", "float16", "dynamic-int8", "int8", "int16x8")
WRITTEN = {
    "tflite": PRECISIONS,
    "onnx": PRECISIONS[:4],  # onnxruntime has no int16x8 kernels
    "ort": ("float32", "int8"),  # nothing is folded when it is loaded, so small kernels would cost time at each image
}
"""What can be written in each format."""
EVERY_FILE = tuple(f"{precision}.{kind}" for kind, precisions in WRITTEN.items() for precision in precisions)
CARD_KEY = "feredge"
CARD_FILE = "feredge.json"
LABELS_FILE = "labels.txt"
DIGEST_FILE = "sha256.txt"
MANIFEST_FILE = "manifest.json"
RUNTIMES_FILE = "runtimes.json"  # what every runtime made of every file
LAYERS_FILE = "layers.json"  # what int8 costs in each layer, where somebody asked
PROBES_FILE = "probes.npz"  # every file's reference outputs on the probe images
OPERATORS_FILE = "operators.config"  # what `.ort` files need of a reduced build
NEW = ".new"  # suffix of a folder that is still being written
PREVIOUS = ".previous"  # suffix of an earlier export's folder
SCHEMA = 1
CARD_LIMIT = MANIFEST_LIMIT = 1 << 20
"""Bytes, unpacked. A card has about 2,000; a manifest about 4,000 a file."""
REASON_LENGTH = 400  # characters


@dataclass(frozen=True)
class Card:
    """What a file says of itself.

    Attributes:
        variant: what was done to the weights: `dense`, `pruned-80`, `qat`.
        precision: how numbers are stored, one of PRECISIONS.
        classes: class names in the order of the output's last axis.
        contract: what goes in.
        recipe: the resolved training recipe, as plain values.
        source: digests of what the file was made from: `weights` and `data`, SHA-256 in hexadecimal.
        versions: the tools that made it, by package name.
        licence: what its maker has to say on its use.
        float_layers: of an int8 file, the layers that were left in float32.
    """

    variant: str
    precision: str
    classes: tuple[str, ...]
    contract: InputContract
    recipe: dict[str, Any] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    float_layers: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the card as it stands inside a file. What came after schema 1 is left out where it is empty."""
        value = {
            "schema": SCHEMA,
            **asdict(self),
            "classes": list(self.classes),
            "contract": self.contract.to_json(),
            "float_layers": list(self.float_layers),
        }
        return {key: item for key, item in value.items() if item or key not in ("licence", "float_layers")}

    @classmethod
    def from_json(cls, value: Any, *, where: str) -> Card:
        """Read what `to_json` wrote. `where` names the file in the ArtifactError for anything else."""
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise ArtifactError(f"{where}: expected a feredge card of schema {SCHEMA}, found {str(value)[:60]!r}")
        try:
            card = cls(
                variant=str(value["variant"]),
                precision=str(value["precision"]),
                classes=tuple(map(str, value["classes"])),
                contract=InputContract.from_json(value["contract"]),
                recipe=dict(value["recipe"]),
                source=dict(value["source"]),
                versions=dict(value["versions"]),
                licence=str(value.get("licence", "")),
                float_layers=tuple(map(str, value.get("float_layers", ()))),
            )
        except ArtifactError as error:
            raise ArtifactError(f"{where}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{where}: expected a whole feredge card, found one without {error}") from error
        if len(card.classes) < 2 or card.precision not in PRECISIONS:
            raise ArtifactError(f"{where}: expected classes and a known precision, found {value!r:.80}")
        return card


@dataclass(frozen=True)
class Entry:
    """One artifact in a manifest.

    Attributes:
        file: its name in the folder.
        bytes: size on disk.
        verification: what was measured when it was written.
        facts: what can be read from the file: see inspection/requirements.py. Empty where a manifest has none.
    """

    file: str
    sha256: str
    bytes: int
    card: Card
    verification: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def format(self) -> str:
        """`tflite`, `onnx` or `ort`, by the file's suffix."""
        return Path(self.file).suffix[1:]


@dataclass(frozen=True)
class Failure:
    """A file that an export was asked for and did not write: its name, and why, in one line."""

    file: str
    reason: str

    @property
    def variant(self) -> str:
        """`dense`, as cards have it."""
        return self.file.split(".")[0]

    @property
    def precision(self) -> str:
        """One of PRECISIONS."""
        return self.file.split(".")[1]


@dataclass(frozen=True)
class Manifest:
    """Everything that one export wrote, in one folder.

    Attributes:
        failures: the files that failed, none of which is in the folder.
        probes: SHA-256 of the reference outputs, PROBES_FILE; empty where there are none.
    """

    entries: tuple[Entry, ...]
    probes: str = ""
    failures: tuple[Failure, ...] = ()

    def check_whole(self) -> Manifest:
        """Return the manifest; VerificationError where a file failed, for callers who need all of them."""
        for failure in self.failures:
            raise VerificationError(f"{failure.file}: {failure.reason}")
        return self

    def write(self, folder: Path) -> Path:
        """Write `manifest.json`, atomically and after every file it names. Return its path."""
        for entry in self.entries:
            check_bytes(folder / entry.file, entry.sha256)
        path = folder / MANIFEST_FILE
        rows = [{**asdict(entry), "card": entry.card.to_json()} for entry in self.entries]
        probes = {"probes": self.probes} if self.probes else {}
        failures = {"failures": [asdict(failure) for failure in self.failures]} if self.failures else {}
        files.write_json(path, {"schema": SCHEMA, **probes, "artifacts": rows, **failures})
        return path

    @classmethod
    def read(cls, folder: Path, *, check: bool = True) -> Manifest:
        """Read a folder's manifest; with `check`, hash every file it names.

        Raises:
            ArtifactError: no manifest, one of another schema or over MANIFEST_LIMIT, or a file that does not fit it.
        """
        path = folder / MANIFEST_FILE
        if path.exists() and not path.is_file():  # a pipe would be waited on for ever
            raise ArtifactError(f"{path}: expected a manifest, found something else than a file")
        try:
            with path.open("rb") as file:
                text = file.read(MANIFEST_LIMIT + 1)
            if len(text) > MANIFEST_LIMIT:
                raise ArtifactError(f"{path}: expected a manifest of at most {MANIFEST_LIMIT:,} bytes, found more")
            value = json.loads(text.decode())
        except OSError as error:
            raise ArtifactError(f"{path}: expected a manifest, cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{path}: expected a JSON manifest, found other text ({error})") from error
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise ArtifactError(f"{path}: expected a manifest of schema {SCHEMA}, found another")
        try:
            entries = tuple(
                Entry(
                    file=Path(row["file"]).name,
                    sha256=str(row["sha256"]),
                    bytes=int(row["bytes"]),
                    card=Card.from_json(row["card"], where=str(path)),
                    verification=dict(row["verification"]),
                    facts=dict(row.get("facts", {})),
                )
                for row in value["artifacts"]
            )
            failures = tuple(
                Failure(_failed_name(row["file"]), str(row["reason"])[:REASON_LENGTH])
                for row in value.get("failures", ())
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ArtifactError(f"{path}: expected a whole manifest, found one without {error}") from error
        if both := {entry.file for entry in entries} & {failure.file for failure in failures}:
            raise ArtifactError(f"{path}: expected files that are verified or failed, found both of {min(both)}")
        if check:
            for entry in entries:
                check_bytes(folder / entry.file, entry.sha256)
        return cls(entries, str(value.get("probes", "")), failures)


def _failed_name(name: str) -> str:
    variant, _, kind = name.partition(".")
    if kind not in EVERY_FILE or not variant.replace("-", "").isalnum():
        raise ValueError(f"a name of a failed file such as dense.int8.onnx: {name!r:.80}")
    return name


def unfinished(folder: Path) -> Path:
    """Return the folder in which the next export into `folder` is written."""
    return folder.with_name(folder.name + NEW)


def finish_swap(folder: Path) -> None:
    """Put a complete new export in its place, where an export was killed before it could: see export/replacement.py."""
    # os.path, because a Path raises where a name is too long for the system
    if not os.path.exists(folder) and os.path.isfile(unfinished(folder) / MANIFEST_FILE):  # noqa: PTH110, PTH113
        with suppress(OSError):  # another process was first, or nothing may be written here: then none is found
            unfinished(folder).rename(folder)


def entry(path: Path, card: Card, verification: dict[str, Any], facts: dict[str, Any] | None = None) -> Entry:
    """Describe a finished file for a manifest."""
    return Entry(path.name, files.sha256(path), path.stat().st_size, card, verification, facts or {})


def check_bytes(path: Path, sha256: str) -> None:
    """Raise ArtifactError unless a file stands at `path` and has this digest."""
    if not path.is_file():
        raise ArtifactError(f"{path}: expected the file that the manifest names, found none")
    found = files.sha256(path)
    if found != sha256:
        raise ArtifactError(f"{path}: expected SHA-256 {sha256[:12]}, found {found[:12]}")


def parse_card(text: str, where: str) -> Card:
    """Read a card from the JSON text found inside a file."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: expected a feredge card in JSON, found {text[:40]!r}") from error
    return Card.from_json(value, where=where)


def read_card(path: Path) -> Card:
    """Read the card inside a model file, after checking what the file would make its runtime do: no native code runs.

    A `.tflite` file's model must be the one that the card was written for, and a flatbuffer of known operators whose
    offsets stay inside of it (see `inference.tflite_check`); `.onnx` and `.ort` files must compute with onnxruntime's
    own operators, without loops or branches, and hold all their weights (`inference.onnx_check`).

    Raises:
        NoCardError: a file without a card.
        ArtifactError: one that cannot be read, is damaged, or holds what an artifact must not.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: expected a model file, cannot be read ({error.strerror})") from error
    try:
        text = {".tflite": _tflite_card, ".ort": _ort_card}.get(path.suffix, _onnx_card)(data)
    except ArtifactError as error:
        raise type(error)(f"{path}: {error}") from error
    return parse_card(text, str(path))


def _onnx_card(data: bytes) -> str:
    from feredge.inference.onnx_check import check_onnx, read_onnx

    contents = read_onnx(data)
    text = _found_card(contents.metadata.get(CARD_KEY))
    check_onnx(contents)
    return text


def _ort_card(data: bytes) -> str:
    from feredge.inference.ort_check import check_ort

    return _found_card(check_ort(data).get(CARD_KEY))


def _tflite_card(data: bytes) -> str:
    import hashlib
    import io
    import zipfile
    import zlib

    from feredge.inference.tflite_check import check_tflite

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            text, digest = _member(archive, CARD_FILE), _member(archive, DIGEST_FILE)
            model = data[: min(info.header_offset for info in archive.infolist())]
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        # all that zipfile raises for damaged archives: RuntimeError where a bit says encrypted or a later version
        raise NoCardError("expected a feredge card inside the file, found none") from error
    found = hashlib.sha256(model).hexdigest()
    if found != digest:
        raise ArtifactError(f"expected a model of SHA-256 {digest[:12]!r}, found a damaged one")
    check_tflite(model)
    return text


def _member(archive: Any, name: str) -> str:
    """Return a text in a zip archive, of at most CARD_LIMIT bytes whatever the archive says of it."""
    info = archive.getinfo(name)
    if info.file_size > CARD_LIMIT or info.compress_type not in (0, 8):  # stored or deflated: zlib needs no memory
        raise ArtifactError(f"expected {name} of at most {CARD_LIMIT:,} bytes, found {info.file_size:,}")
    with archive.open(info) as file:
        return str(file.read(CARD_LIMIT + 1).decode())


def _found_card(text: str | None) -> str:
    if text is None:
        raise NoCardError("expected a feredge card inside the file, found none")
    return text


def append_tflite_card(model: bytes, card: Card) -> bytes:
    """Return a TensorFlow Lite flatbuffer with `card`, the labels and its digest appended as a zip archive.

    The same model and card give the same bytes: entries are stored with a fixed date.
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
