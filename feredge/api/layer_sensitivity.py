"""The int8 quantization error of each layer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from feredge import files
from feredge.api.dataframe import to_dataframe
from feredge.api.datasets import run_dataset
from feredge.errors import RunError
from feredge.inference.artifact import LAYERS_FILE
from feredge.paths import RunPath, require
from feredge.run import RunFolder

if TYPE_CHECKING:
    import pandas

    from feredge.api.datasets import DataSource


@dataclass(frozen=True)
class SensitivityResult:
    """One row per layer, the largest error first.

    Attributes:
        rows: `layer`; `mse` and `sqnr_db` of its output in the int8 file; `alone_mse` and `alone_sqnr_db` of the
            probabilities when it alone is in int8. Decibels are None if there is no error.
    """

    rows: tuple[Mapping[str, Any], ...]

    def to_dataframe(self) -> pandas.DataFrame:
        """Return the rows."""
        return to_dataframe(self.rows)


def sensitivity(
    run: str | PathLike[str],
    *,
    data: DataSource | None = None,
    variant: str = "dense",
    format: Literal["onnx", "tflite"] = "onnx",
) -> SensitivityResult:
    """Measure the int8 quantization error of each layer on validation images, never on test images.

    The table is also written to `layers.json` in the run's `artifacts`. `keep_float` of `feredge.export` takes the
    names of its layers.

    Args:
        run: a trained run.
        data: the run's data, if moved since training.
        variant: variant to analyze.
        format: format of the int8 file.

    Raises:
        RunError: not a trained run, a variant that was not exported, or another file at the table's path.
        RecipeError: no such variant, or one without float layers.
    """
    folder = RunFolder.open(require(run, RunPath).path, trained=True)
    path = folder.artifacts / LAYERS_FILE
    tables = _stored_tables(path)
    from feredge.export.layer_error import layer_error_table

    rows = layer_error_table(folder, run_dataset(folder, data), variant=variant, kind=format)
    files.write_json(path, {**tables, f"{variant}.int8.{format}": rows})
    return SensitivityResult(tuple(rows))


def _stored_tables(path: Path) -> dict[str, Any]:
    """Return the stored tables. Raises RunError for anything else, before the slow measurement."""
    try:
        value = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RunError(f"{path}: expected tables of layers, found something else; remove it")
    return value
