"""HTML sections from the export in a run folder: int8 error of layers, agreement of runtimes, temperatures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from feredge.inference.artifact import LAYERS_FILE, MANIFEST_FILE, RUNTIMES_FILE
from feredge.report.rendering import render

_COLUMN_FORMATS = (("alone_mse", "{:.1e}"), ("alone_sqnr_db", "{:.0f}"), ("mse", "{:.1e}"), ("sqnr_db", "{:.0f}"))


def layer_error(folder: Path) -> str:
    """Return the section on each layer's int8 error; empty where `feredge sensitivity` has not written a valid file."""
    layers_by_file = {
        file: [layer for layer in layers if isinstance(layer, dict) and "layer" in layer]
        for file, layers in _read_table(folder / LAYERS_FILE).items()
        if isinstance(layers, list)
    }
    tables = [(file, _layer_rows(layers)) for file, layers in layers_by_file.items() if layers]
    if not tables:
        return ""
    lead = (
        "Quantization error of each layer, the largest first. The bar and “alone” are the error of the probabilities "
        "when only this layer is int8; “output” is the error of the layer's own output in the int8 file."
    )
    return render("layer_error.html", lead=lead, tables=tables)


def runtime_parity(folder: Path) -> str:
    """Return the section on each runtime's agreement with the float network; empty where it is not known."""
    value = _read_table(folder / RUNTIMES_FILE)
    artifacts = value.get("artifacts")
    if not isinstance(artifacts, dict) or not artifacts:
        return ""
    by_file = {file: runtimes for file, runtimes in artifacts.items() if isinstance(runtimes, dict)}
    names = list(dict.fromkeys(name for runtimes in by_file.values() for name in runtimes))
    rows = [(file, [_runtime_cell(runtimes.get(name)) for name in names]) for file, runtimes in by_file.items()]
    lead = (
        f"Every file in every runtime for its format, on {value.get('images', 'some')} validation images: the share "
        "classified as by the float network, and the largest difference of a probability."
    )
    return render("runtime_parity.html", lead=lead, names=names, rows=rows)


def temperature_scaling(folder: Path) -> str:
    """Return the section on the temperature of each variant; empty for an export without temperature scaling."""
    rows: dict[str, list[str]] = {}
    artifacts = _read_table(folder / MANIFEST_FILE).get("artifacts")
    for entry in artifacts if isinstance(artifacts, list) else ():
        try:
            variant, metrics = str(entry["card"]["variant"]), entry["verification"]
            figures = [float(metrics[key]) for key in ("temperature", "calibration_error", "scaled_calibration_error")]
            images = int(metrics["temperature_images"])
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        temperature, *errors = figures
        folded = "none" if temperature == 1 else f"{temperature:g}"
        rows.setdefault(variant, [folded, *(f"{100 * error:.2f}" for error in errors), f"{images:,}"])
    if not rows:
        return ""
    lead = (
        "The logits are divided by the temperature, so that confidences fit the accuracy; none where that does not "
        "lower the expected calibration error (ECE) of the float network on validation images. Each half of the images "
        "is scaled by the temperature of the other half."
    )
    return render("temperature_scaling.html", lead=lead, rows=rows)


def _layer_rows(layers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    errors = [error for layer in layers if (error := _number(layer.get("alone_mse"))) and error > 0]
    largest, smallest = (max(errors), min(errors)) if errors else (1.0, 1.0)

    def bar_width(value: Any) -> float:
        error = _number(value)
        if not error or error <= 0:
            return 0.0
        return 8 + 90 * (math.log(error / smallest) / math.log(largest / smallest) if largest > smallest else 1.0)

    return [
        {
            "layer": str(layer["layer"]),
            "width": bar_width(layer.get("alone_mse")),
            "cells": [_format(layer.get(key), pattern) for key, pattern in _COLUMN_FORMATS],
        }
        for layer in layers
    ]


def _runtime_cell(parity: Any) -> dict[str, str]:
    if not isinstance(parity, dict):
        return {}
    if "failed" in parity:
        return {"failed": str(parity["failed"])}
    agreement, difference = _number(parity.get("agreement")), _number(parity.get("max_difference"))
    if agreement is None or difference is None:
        return {}
    return {"agreement": f"{agreement:.1%}", "difference": f"{difference:.1g}"}


def _format(value: Any, pattern: str) -> str:
    number = _number(value)
    return "" if number is None else pattern.format(number)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _read_table(path: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one where the file is missing or invalid, as these sections are optional."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
