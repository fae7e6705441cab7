"""What the conversion found out, where it stands beside a run's files: the error in each layer, and every runtime's."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from feredge.artifact import LAYERS_FILE, RUNTIMES_FILE
from feredge.report.markup import breakable, line, scroll, section, table


def layers(folder: Path) -> str:
    """Return the section of each layer's int8 error; empty where `feredge layers` has not been run, or other text."""
    found = {
        file: [row for row in rows if isinstance(row, dict) and "layer" in row]
        for file, rows in _read(folder / LAYERS_FILE).items()
        if isinstance(rows, list)
    }
    parts = "".join(f"<h3>{breakable(file)}</h3>{_layer_table(file, rows)}" for file, rows in found.items() if rows)
    if not parts:
        return ""
    lead = (
        "What int8 costs in each layer, worst first: the bar and “alone” are the error of the probabilities when only "
        "this layer is in int8; “output” is the error of the layer's own output in the int8 file."
    )
    return section("layers", "Where int8 loses", parts, lead=lead)


def runtimes(folder: Path) -> str:
    """Return the section of how each runtime answers beside the float network; empty where that is not known."""
    value = _read(folder / RUNTIMES_FILE)
    artifacts = value.get("artifacts")
    if not isinstance(artifacts, dict) or not artifacts:
        return ""
    names = list(dict.fromkeys(name for one in artifacts.values() if isinstance(one, dict) for name in one))
    rows = (
        line(file, *(_answer(one.get(name)) for name in names))
        for file, one in artifacts.items()
        if isinstance(one, dict)
    )
    lead = (
        f"Every file in every runtime for its format, on {value.get('images', 'some')} validation images: the share "
        "named as the float network names it, and the largest difference of a probability."
    )
    grid = table(("file", *names), rows, style="heat")
    return section("runtimes", "The same file elsewhere", scroll("Runtimes", grid), lead=lead)


def _layer_table(file: str, rows: Sequence[Mapping[str, Any]]) -> str:
    errors = [error for row in rows if (error := _number(row.get("alone_mse"))) and error > 0]
    most, least = (max(errors), min(errors)) if errors else (1.0, 1.0)

    def bar(value: Any) -> str:
        error = _number(value)
        width = 0.0
        if error and error > 0:
            width = 8 + 90 * (math.log(error / least) / math.log(most / least) if most > least else 1.0)
        mark = f'<i class="whisker bar" style="left:0;width:{width:.1f}%"></i>' if width else ""
        return f'<td class="lane" aria-hidden="true">{mark}</td>'

    headings = ("layer", "error alone (logarithmic)", "alone MSE", "alone dB", "output MSE", "output dB")
    lines = (
        line(
            str(row["layer"]),
            bar(row.get("alone_mse")),
            *(_text(row.get(key), pattern) for key, pattern in _COLUMNS),
        )
        for row in rows
    )
    return scroll(f"Layers of {file}", table(headings, lines, style="lanes"))


_COLUMNS = (("alone_mse", "{:.1e}"), ("alone_sqnr_db", "{:.0f}"), ("mse", "{:.1e}"), ("sqnr_db", "{:.0f}"))


def _answer(found: Any) -> str:
    if not isinstance(found, dict):
        return ""
    if "failed" in found:
        return f'<span class="pill failed" title="{escape(str(found["failed"]))}">failed</span>'
    agreement, gap = _number(found.get("agreement")), _number(found.get("max_difference"))
    if agreement is None or gap is None:
        return ""
    return f"{agreement:.1%} <small>{gap:.1g}</small>"


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
