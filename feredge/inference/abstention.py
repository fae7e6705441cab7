"""Abstention: a face whose confidence is below the threshold of its file gets the label `unsure`.

`feredge calibrate` chooses thresholds and writes them to `thresholds.json` beside the model files. They stand there and
not in the card inside a file, because each is a property of one finished file: int8 changes confidences, and to write
into the file would change the very digest that the threshold belongs to. The manifest, where there is one, has the
digest of `thresholds.json`, which names each file by its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feredge import files
from feredge.errors import ArtifactError, describe_schema
from feredge.inference.artifact import MANIFEST_FILE, Manifest, check_digest

DEFAULT_PRECISION = 0.9
"""The precision of the answered faces that `unsure=True` asks for."""
THRESHOLDS_FILE = "thresholds.json"
THRESHOLDS_SCHEMA = 1
MAX_THRESHOLDS_BYTES = 1 << 20


@dataclass(frozen=True)
class PrecisionThreshold:
    """The confidence from which a file's predictions have at least a precision.

    Attributes:
        precision: the promised fraction of correct predictions among those with at least `threshold`.
        threshold: None if no threshold reaches the precision.
        coverage: fraction of the calibration images with at least `threshold`; 0 if there is none.
        lower_bound: lower bound of the precision at `threshold`; the highest of any tested threshold if there is none.
    """

    precision: float
    threshold: float | None
    coverage: float
    lower_bound: float


@dataclass(frozen=True)
class FileThresholds:
    """The thresholds of one model file.

    Attributes:
        file: its name when it was calibrated.
        images: number of calibration images.
        data: SHA-256 of the data that they are from.
        confidence_level: probability with which each threshold keeps its precision.
        levels: one for each precision.
    """

    file: str
    images: int
    data: str
    confidence_level: float
    levels: tuple[PrecisionThreshold, ...]


def read_thresholds(folder: Path) -> dict[str, FileThresholds]:
    """Return the thresholds of the files in a folder, by the files' SHA-256.

    Raises:
        ArtifactError: none, damaged ones, or others than those that the folder's manifest names.
    """
    path = folder / THRESHOLDS_FILE
    if not path.is_file():
        raise ArtifactError(f"{path}: expected the thresholds that `feredge calibrate` writes, found none")
    if (folder / MANIFEST_FILE).is_file():
        manifest = Manifest.read(folder, check=False)
        if not manifest.thresholds:
            raise ArtifactError(f"{path}: expected thresholds that the manifest names; run `feredge calibrate` again")
        check_digest(path, manifest.thresholds)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_THRESHOLDS_BYTES + 1)
        value = json.loads(text.decode()) if len(text) <= MAX_THRESHOLDS_BYTES else None
    except OSError as error:
        raise ArtifactError(f"{path}: expected thresholds, cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: expected thresholds in JSON, found other text ({error})") from error
    if not isinstance(value, dict) or value.get("schema") != THRESHOLDS_SCHEMA:
        found = describe_schema(value)
        raise ArtifactError(f"{path}: expected thresholds of schema {THRESHOLDS_SCHEMA}, found {found}")
    try:
        return {str(sha256): _parse(table) for sha256, table in value["files"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtifactError(f"{path}: expected whole thresholds, found {error}") from error


def write_thresholds(folder: Path, thresholds: Mapping[str, FileThresholds]) -> Path:
    """Write the thresholds of the files in a folder, and their digest into its manifest. Return their path."""
    from dataclasses import asdict, replace

    path = folder / THRESHOLDS_FILE
    manifest = Manifest.read(folder)
    tables = {sha256: asdict(table) for sha256, table in thresholds.items()}
    files.write_json(path, {"schema": THRESHOLDS_SCHEMA, "files": tables})
    replace(manifest, thresholds=files.sha256(path)).write(folder)
    return path


def read_threshold(model: str | os.PathLike[str], precision: float) -> float:
    """Return the confidence from which a model file's predictions have at least `precision`.

    Raises:
        ArtifactError: no thresholds beside the file, those of other files, or none for this precision.
    """
    model = Path(model)
    table = read_thresholds(model.parent).get(files.sha256(model))
    if table is None:
        raise ArtifactError(
            f"{model}: expected thresholds of this file in {THRESHOLDS_FILE}, found those of others; "
            "run `feredge calibrate`"
        )
    level = next((level for level in table.levels if level.precision == precision), None)
    if level is None:
        available = ", ".join(f"{level.precision:g}" for level in table.levels)
        raise ArtifactError(f"{model}: expected a precision that was calibrated ({available}), found {precision:g}")
    if level.threshold is None:
        raise ArtifactError(
            f"{model}: expected a threshold for precision {precision:g}, found none: on {table.images:,} images "
            f"no threshold was shown to reach more than {level.lower_bound:.3f}"
        )
    return level.threshold


def _parse(table: Any) -> FileThresholds:
    levels = []
    for level in table["levels"]:
        threshold = None if level["threshold"] is None else _fraction(level["threshold"])
        fractions = [_fraction(level[name]) for name in ("coverage", "lower_bound")]
        levels.append(PrecisionThreshold(_fraction(level["precision"]), threshold, *fractions))
    images, level = int(table["images"]), _fraction(table["confidence_level"])
    return FileThresholds(str(table["file"]), images, str(table["data"]), level, tuple(levels))


def _fraction(value: Any) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{value!r:.40} in place of a number from 0 to 1")
    return float(value)
