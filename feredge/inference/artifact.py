"""Artifacts: the card (metadata) inside a model file, and the manifest of a folder of model files.

Where a file has its `Card` is in `inference/embedded_card.py`. `manifest.json` repeats the cards with sizes, digests
and the results of verification. It is written last: a folder with a manifest is complete.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from feredge import files
from feredge.errors import ArtifactError, VerificationError, describe_schema
from feredge.inference.contract import InputContract

MODEL_FORMATS = ("tflite", "onnx", "ort", "c")
PRECISIONS = ("float32", "float16", "dynamic-int8", "int8", "int16x8")
FORMAT_PRECISIONS = {
    "tflite": PRECISIONS,
    "onnx": PRECISIONS[:4],  # onnxruntime has no int16x8 kernels
    "ort": ("float32", "int8"),  # no constant folding at load time: dequantizing weights would cost time at each image
    "c": ("int8",),
}
"""The precisions that each format supports."""
ARTIFACT_KINDS = tuple(
    f"{precision}.{kind}" for kind, precisions in FORMAT_PRECISIONS.items() for precision in precisions
)
MIRROR_VARIANT = "dense-mirror"
"""The dense network, which classifies each image and its mirror image and averages the probabilities."""
CARD_KEY = "feredge"
MANIFEST_FILE = "manifest.json"
RUNTIMES_FILE = "runtimes.json"  # parity of every runtime on every file
LAYERS_FILE = "layers.json"  # int8 error of each layer; optional
PROBES_FILE = "probes.npz"  # every file's outputs on fixed pictures
OPERATORS_FILE = "operators.config"  # operators that a reduced onnxruntime build needs for the `.ort` files
UNFINISHED_SUFFIX = ".new"  # suffix of a folder that is still being written
PREVIOUS_SUFFIX = ".previous"  # suffix of an earlier export's folder
SCHEMA_VERSION = 2
MANIFEST_LIMIT = 1 << 20  # bytes; a manifest has about 4,000 a file
REASON_LENGTH = 400  # characters


@dataclass(frozen=True)
class Card:
    """The metadata inside a model file.

    Attributes:
        variant: the compression of the weights: `dense`, `pruned-80`, `qat`.
        precision: numeric format, one of PRECISIONS.
        classes: class names in the order of the output's last axis.
        contract: the input contract.
        recipe: the resolved training recipe, as plain values.
        source: SHA-256 of the `weights` and `data` that the file was made from, in hexadecimal.
        versions: versions of the exporting tools, by package name.
        licence: terms of use.
        float_layers: of an int8 file, the layers kept in float32.
        faces: whether the network classifies faces, not whole pictures.
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
    faces: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the card as stored in a file. Fields added after schema 1 are omitted at their defaults."""
        value = {
            "schema": SCHEMA_VERSION,
            **asdict(self),
            "classes": list(self.classes),
            "contract": self.contract.to_json(),
            "float_layers": list(self.float_layers),
        }
        defaults = {"licence": "", "float_layers": [], "faces": True}
        return {key: item for key, item in value.items() if key not in defaults or item != defaults[key]}

    @classmethod
    def from_json(cls, value: Any, *, where: str) -> Card:
        """Parse the result of `to_json`; ArtifactError, which names the file `where`, for anything else."""
        if not isinstance(value, dict) or value.get("schema") != SCHEMA_VERSION:
            raise ArtifactError(f"{where}: expected a card of schema {SCHEMA_VERSION}, found {describe_schema(value)}")
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
                faces=bool(value.get("faces", True)),
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
        verification: results of the verification at export.
        facts: the file's requirements: see inspection/requirements.py. Empty if the manifest has none.
    """

    file: str
    sha256: str
    bytes: int
    card: Card
    verification: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def format(self) -> str:
        """One of MODEL_FORMATS, by the file's suffix."""
        return Path(self.file).suffix[1:]


@dataclass(frozen=True)
class Failure:
    """A requested file that the export could not write: its name, and the reason in one line."""

    file: str
    reason: str

    @property
    def variant(self) -> str:
        """The file's variant, as `Card.variant`: `dense`."""
        return self.file.split(".")[0]

    @property
    def precision(self) -> str:
        """The file's precision, one of PRECISIONS."""
        return self.file.split(".")[1]


@dataclass(frozen=True)
class Manifest:
    """The files of one export, all in one folder.

    Attributes:
        failures: requested files that are missing because their export failed.
        probes: SHA-256 of PROBES_FILE; empty if there is none.
        thresholds: SHA-256 of the thresholds of `inference.abstention`; empty if there are none.
    """

    entries: tuple[Entry, ...]
    probes: str = ""
    failures: tuple[Failure, ...] = ()
    thresholds: str = ""

    def require_complete(self) -> Manifest:
        """Return the manifest; VerificationError if any file failed."""
        for failure in self.failures:
            raise VerificationError(f"{failure.file}: {failure.reason}")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the contents of `manifest.json`."""
        rows = [{**asdict(entry), "card": entry.card.to_json()} for entry in self.entries]
        probes = {"probes": self.probes} if self.probes else {}
        thresholds = {"thresholds": self.thresholds} if self.thresholds else {}
        failures = {"failures": [asdict(failure) for failure in self.failures]} if self.failures else {}
        return {"schema": SCHEMA_VERSION, **probes, **thresholds, "artifacts": rows, **failures}

    def write(self, folder: Path) -> Path:
        """Write `manifest.json` atomically, after checking the digest of every file in it. Return its path."""
        for entry in self.entries:
            check_digest(folder / entry.file, entry.sha256)
        path = folder / MANIFEST_FILE
        files.write_json(path, self.to_json())
        return path

    @classmethod
    def read(cls, folder: Path, *, check: bool = True) -> Manifest:
        """Read a folder's manifest; with `check`, also check the digest of every file in it.

        Raises:
            ArtifactError: no manifest, another schema, over MANIFEST_LIMIT, or a missing or changed file.
        """
        path = folder / MANIFEST_FILE
        if path.exists() and not path.is_file():  # reading a pipe would block
            raise ArtifactError(f"{path}: expected a manifest, found no regular file")
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
        if not isinstance(value, dict) or value.get("schema") != SCHEMA_VERSION:
            raise ArtifactError(
                f"{path}: expected a manifest of schema {SCHEMA_VERSION}, found {describe_schema(value)}"
            )
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
                Failure(_check_failed_name(row["file"]), str(row["reason"])[:REASON_LENGTH])
                for row in value.get("failures", ())
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ArtifactError(f"{path}: expected a whole manifest, found one without {error}") from error
        if duplicates := {entry.file for entry in entries} & {failure.file for failure in failures}:
            raise ArtifactError(f"{path}: expected files that are verified or failed, found both of {min(duplicates)}")
        if check:
            for entry in entries:
                check_digest(folder / entry.file, entry.sha256)
        return cls(entries, str(value.get("probes", "")), failures, str(value.get("thresholds", "")))


def _check_failed_name(name: str) -> str:
    variant, _, kind = name.partition(".")
    if kind not in ARTIFACT_KINDS or not variant.replace("-", "").isalnum():
        raise ValueError(f"a name of a failed file such as dense.int8.onnx: {name!r:.80}")
    return name


def unfinished_folder(folder: Path) -> Path:
    """Return the temporary folder of an export into `folder`."""
    return folder.with_name(folder.name + UNFINISHED_SUFFIX)


def complete_interrupted_replacement(folder: Path) -> None:
    """Complete the replacement of `folder` by a finished export that was killed: see export/replacement.py."""
    # os.path: Path.exists raises for a name that is too long
    if not os.path.exists(folder) and os.path.isfile(unfinished_folder(folder) / MANIFEST_FILE):  # noqa: PTH110, PTH113
        with suppress(OSError):  # another process was faster, or the folder is read-only
            unfinished_folder(folder).rename(folder)


def manifest_entry(path: Path, card: Card, verification: dict[str, Any], facts: dict[str, Any] | None = None) -> Entry:
    """Return the manifest entry of a finished file."""
    return Entry(path.name, files.sha256(path), path.stat().st_size, card, verification, facts or {})


def check_digest(path: Path, sha256: str) -> None:
    """Raise ArtifactError unless `path` is a file with this SHA-256."""
    if not path.is_file():
        raise ArtifactError(f"{path}: expected the file that the manifest names, found none")
    actual = files.sha256(path)
    if actual != sha256:
        raise ArtifactError(f"{path}: expected SHA-256 {sha256[:12]}, found {actual[:12]}")
