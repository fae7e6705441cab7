"""The report page: one HTML file that carries its style, its script, its figures and its pictures inside."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feredge import files
from feredge.benchmark.results import Results, Row
from feredge.console import visible
from feredge.report import sections
from feredge.report.accuracy_loss import damage, robustness
from feredge.report.conversion import layers, runtimes
from feredge.report.faces import shown
from feredge.report.recommend import Choice, choose, comparable, pareto
from feredge.report.templates import as_html, render, resource

if TYPE_CHECKING:
    from markupsafe import Markup

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
    return render(
        "report.html",
        title=f"{sections.title(results)} on {results.data.source}",
        style=as_html(resource("page.css")),
        script=as_html(resource("page.js")),
        data=_embedded(_payload(results, choice, front, faces or {})),
        masthead=sections.masthead(results),
        verdict=sections.verdict(results, choice),
        table=sections.figures(results, choice, front),
        parts=(
            damage(results, choice),
            robustness(results),
            layers(pictures / "artifacts") if pictures else "",
            runtimes(pictures / "artifacts") if pictures else "",
            sections.steadiness(results),
            _training(pictures) if pictures else "",
            sections.evidence(results),
        ),
    )


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
        "classes": results.class_names(row),
        "beside": row.beside,
        "flips": row.drop.flips if row.drop else None,
        "flipped": shown(row.drop) if row.drop and row.kind == "artifact" else [],
        "macs": row.macs.floating + row.macs.integer if row.macs else None,
        "roofline": row.roofline,
        "runtime": row.runtime,
        "eligible": comparable(row) and not row.runtime,
        "judged": f"{sum(row.images):,} images of {len(results.class_names(row))} classes" if row.images else None,
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


def _embedded(value: Any) -> Markup:
    """Return JSON that may stand inside a script element: no text in it can end the element or open a comment."""
    return as_html(json.dumps(_visible(value), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def _visible(value: Any) -> Any:
    """Write out control characters as the page's HTML does, by whose names the script looks rows up."""
    if isinstance(value, str):
        return visible(value, lines=True)
    if isinstance(value, dict):
        return {_visible(key): _visible(item) for key, item in value.items()}
    return [_visible(item) for item in value] if isinstance(value, list | tuple) else value


def _training(folder: Path) -> str:
    figures = [
        (words, base64.b64encode((folder / name).read_bytes()).decode("ascii"))
        for name, words in PICTURES
        if (folder / name).is_file()
    ]
    return render("training.html", figures=figures) if figures else ""
