"""What the conversion found out, where it stands beside a run's files: the error in each layer, and every runtime's."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from feredge.inference.artifact import LAYERS_FILE, RUNTIMES_FILE
from feredge.report.templates import render


def layers(folder: Path) -> str:
    """Return the section of each layer's int8 error; empty where `feredge sensitivity` has not been run, or other text."""
    found = {
        file: [row for row in rows if isinstance(row, dict) and "layer" in row]
        for file, rows in _read(folder / LAYERS_FILE).items()
        if isinstance(rows, list)
    }
    tables = [(file, _layer_rows(rows)) for file, rows in found.items() if rows]
    if not tables:
        return ""
    lead = (
        "What int8 costs in each layer, worst first: the bar and “alone” are the error of the probabilities when only "
        "this layer is in int8; “output” is the error of the layer's own output in the int8 file."
    )
    return render("layers.html", lead=lead, tables=tables)


def runtimes(folder: Path) -> str:
    """Return the section of how each runtime answers beside the float network; empty where that is not known."""
    value = _read(folder / RUNTIMES_FILE)
    artifacts = value.get("artifacts")
    if not isinstance(artifacts, dict) or not artifacts:
        return ""
    names = list(dict.fromkeys(name for one in artifacts.values() if isinstance(one, dict) for name in one))
    rows = [
        (file, [_answer(one.get(name)) for name in names]) for file, one in artifacts.items() if isinstance(one, dict)
    ]
    lead = (
        f"Every file in every runtime for its format, on {value.get('images', 'some')} validation images: the share "
        "named as the float network names it, and the largest difference of a probability."
    )
    return render("runtimes.html", lead=lead, names=names, rows=rows)


def _layer_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    errors = [error for row in rows if (error := _number(row.get("alone_mse"))) and error > 0]
    most, least = (max(errors), min(errors)) if errors else (1.0, 1.0)

    def width(value: Any) -> float:
        error = _number(value)
        if not error or error <= 0:
            return 0.0
        return 8 + 90 * (math.log(error / least) / math.log(most / least) if most > least else 1.0)

    return [
        {
            "layer": str(row["layer"]),
            "width": width(row.get("alone_mse")),
            "cells": [_text(row.get(key), pattern) for key, pattern in _COLUMNS],
        }
        for row in rows
    ]


_COLUMNS = (("alone_mse", "{:.1e}"), ("alone_sqnr_db", "{:.0f}"), ("mse", "{:.1e}"), ("sqnr_db", "{:.0f}"))


def _answer(found: Any) -> dict[str, str]:
    if not isinstance(found, dict):
        return {}
    if "failed" in found:
        return {"failed": str(found["failed"])}
    agreement, gap = _number(found.get("agreement")), _number(found.get("max_difference"))
    return {} if agreement is None or gap is None else {"agreement": f"{agreement:.1%}", "gap": f"{gap:.1g}"}


def _text(value: Any, pattern: str) -> str:
    number = _number(value)
    return "" if number is None else pattern.format(number)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _read(path: Path) -> dict[str, Any]:
    """Return a table of JSON; an empty one for anything else, because a report does not fail by what it may lack."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
