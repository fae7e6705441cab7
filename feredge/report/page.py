"""The report page: one HTML file that carries its style, its script, its figures and its pictures inside."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from feredge import files
from feredge.bench.results import Results, Row
from feredge.report import sections
from feredge.report.choice import Choice, choose, comparable, pareto
from feredge.report.conversion import layers, runtimes
from feredge.report.damage import damage, robustness
from feredge.report.faces import shown
from feredge.report.markup import document, resource, section

PICTURES = (
    ("curves.png", "Training curves: loss and accuracy over the epochs"),
    ("confusion.png", "Confusion matrix of the float model on the test images"),
)


def write_html(
    results: Results, path: Path, *, pictures: Path | None = None, faces: Mapping[int, str] | None = None
) -> None:
    """Write the report to `path`, whole or not at all.

    Args:
        faces: base64 PNGs by row in the data, of images whose answer changed; none are shown if not given.
        pictures: the run, from which curves.png, confusion.png and what stands beside its artifacts are taken where
            they are there; `path`'s own folder if not given.
    """
    files.write_text(path, to_html(results, pictures=pictures or path.parent, faces=faces))


def to_html(results: Results, *, pictures: Path | None = None, faces: Mapping[int, str] | None = None) -> str:
    """Return the report page."""
    choice = choose(results)
    front = pareto(row for row in results.rows if row.kind == "artifact")
    parts = {
        "script": resource("page.js"),
        "data": _embedded(_payload(results, choice, front, faces or {})),
        "masthead": sections.masthead(results),
        "verdict": sections.verdict(results, choice),
        "table": sections.figures(results, choice, front),
        "damage": damage(results, choice),
        "robustness": robustness(results),
        "conversion": layers(pictures / "artifacts") + runtimes(pictures / "artifacts") if pictures else "",
        "steadiness": sections.steadiness(results),
        "training": _training(pictures) if pictures else "",
        "evidence": sections.evidence(results),
    }
    page = resource("page.html")
    # One pass, so that a value that looks like a placeholder stays as it is.
    pieces = page.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        key, _, rest = piece.partition("}}")
        filled.append(parts[key] + rest)
    return document(f"{sections.title(results)} on {results.data.source}", "".join(filled))


def _payload(results: Results, choice: Choice, front: set[str], faces: Mapping[int, str]) -> dict[str, Any]:
    """Return what the script needs: plain rows for the plot, its hover and the flips."""
    return {
        "classes": list(results.data.classes),
        "threads": list(results.effort.threads),
        "margin": results.effort.margin,
        "ships": choice.row.name if choice.row else None,
        "faces": dict(faces),
        "rows": [_point(results, row, front) for row in results.rows],
    }


def _point(results: Results, row: Row, front: set[str]) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "format": row.format,
        "variant": row.variant,
        "precision": row.precision,
        "bytes": row.bytes,
        "failure": row.failure,
        "front": row.name in front,
        "accuracy": [row.accuracy.accuracy, row.accuracy.low, row.accuracy.high] if row.accuracy else None,
        "drop": [row.drop.pp, row.drop.low, row.drop.high] if row.drop else None,
        "verdict": row.drop.verdict if row.drop else None,
        "agreement": row.drop.agreement if row.drop else None,
        "classes": results.classes(row),
        "beside": row.beside,
        "flips": row.drop.flips if row.drop else None,
        "flipped": shown(row.drop) if row.drop and row.kind == "artifact" else [],
        "macs": row.macs.floating + row.macs.integer if row.macs else None,
        "roofline": row.roofline,
        "runtime": row.runtime,
        "eligible": comparable(row) and not row.runtime,
        "judged": f"{sum(row.images):,} images of {len(results.classes(row))} classes" if row.images else None,
        "latency": {
            str(found.threads): {
                "median": found.inference.median,
                "p90": found.inference.p90,
                "p95": found.inference.p95,
                "p99": found.inference.p99,
                "whole": found.whole.median if found.whole else None,
                "spread": found.inference.spread,
                "noisy": found.inference.noisy,
            }
            for found in row.latency
        },
        "peak": row.memory.peak if row.memory else None,
        "load": row.cold.load if row.cold else None,
        "first": row.cold.first_call if row.cold else None,
        "corrupted": [[found.kind, found.strength, found.accuracy] for found in row.corrupted],
    }


def _embedded(value: Any) -> str:
    """Return JSON that may stand inside a script element: no text in it can end the element or open a comment."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _training(folder: Path) -> str:
    figures = []
    for name, words in PICTURES:
        path = folder / name
        if path.is_file():
            source = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
            picture = f'<img src="{source}" alt="{escape(words)}">'
            figures.append(f"<figure>{picture}<figcaption>{escape(words)}</figcaption></figure>")
    if not figures:
        return ""
    return section("training", "How it was trained", f'<div class="pictures">{"".join(figures)}</div>')
