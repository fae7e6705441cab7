"""The report page: one self-contained HTML file with its styles, script, data and images."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feredge import files
from feredge.benchmark.results import Results, Row
from feredge.console import escape_control
from feredge.report import sections
from feredge.report.accuracy_loss import abstention, accuracy_loss, robustness
from feredge.report.changed_predictions import displayed_changes
from feredge.report.export_checks import layer_error, runtime_parity, temperature_scaling
from feredge.report.load import idle_latency, sustained_load
from feredge.report.recommendation import Recommendation, on_common_test_set, pareto_front, recommend
from feredge.report.rendering import asset, render, trusted_html

if TYPE_CHECKING:
    from markupsafe import Markup

TRAINING_PLOTS = (
    ("curves.png", "Training curves: loss and accuracy over the epochs"),
    ("confusion.png", "Confusion matrix of the float model on the test images"),
)


def write_html(
    results: Results, path: Path, *, run_folder: Path | None = None, thumbnails: Mapping[int, str] | None = None
) -> None:
    """Write the report page to `path` atomically.

    Args:
        results: of a benchmark.
        path: of the page.
        run_folder: the folder whose training plots, temperatures, layer errors and runtime parity are included where
            they exist; the folder of `path` if not given.
        thumbnails: base64 PNGs of test images by their row in the data, see `changed_prediction_thumbnails`; none if
            not given.
    """
    files.write_text(path, to_html(results, run_folder=run_folder or path.parent, thumbnails=thumbnails))


def to_html(results: Results, *, run_folder: Path | None = None, thumbnails: Mapping[int, str] | None = None) -> str:
    """Return the report page."""
    recommendation = recommend(results)
    front = pareto_front(row for row in results.rows if row.kind == "artifact")
    return render(
        "report.html",
        title=f"{sections.title(results)} on {results.data.source}",
        style=trusted_html(asset("page.css")),
        script=trusted_html(asset("page.js")),
        data=_embedded_json(_script_data(results, recommendation, front, thumbnails or {})),
        header=sections.page_header(results),
        recommendation=sections.recommended_file(results, recommendation),
        table=sections.metrics_table(results, recommendation, front),
        sections=(
            accuracy_loss(results, recommendation),
            abstention(results),
            robustness(results),
            temperature_scaling(run_folder / "artifacts") if run_folder else "",
            layer_error(run_folder / "artifacts") if run_folder else "",
            runtime_parity(run_folder / "artifacts") if run_folder else "",
            sections.latency_stability(results),
            sustained_load(results),
            idle_latency(results),
            _training_plots(run_folder) if run_folder else "",
            sections.provenance(results),
        ),
    )


def _script_data(
    results: Results, recommendation: Recommendation, front: set[str], thumbnails: Mapping[int, str]
) -> dict[str, Any]:
    """Return the data of the page's script: one entry per row for the plot, its tooltip and the flips."""
    return {
        "classes": list(results.data.classes),
        "threads": list(results.config.threads),
        "margin": results.config.margin,
        "recommended": recommendation.row.name if recommendation.row else None,
        "thumbnails": dict(thumbnails),
        "rows": [_script_row(results, row, front) for row in results.rows],
    }


def _script_row(results: Results, row: Row, front: set[str]) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "format": row.format,
        "variant": row.variant,
        "precision": row.precision,
        "bytes": row.bytes,
        "failure": row.failure,
        "onParetoFront": row.name in front,
        "accuracy": [row.accuracy.accuracy, row.accuracy.low, row.accuracy.high] if row.accuracy else None,
        "drop": [row.drop.pp, row.drop.low, row.drop.high] if row.drop else None,
        "verdict": row.drop.verdict if row.drop else None,
        "agreement": row.drop.agreement if row.drop else None,
        "classes": results.class_names(row),
        "reference": row.reference_row,
        "flipCounts": row.drop.flips if row.drop else None,
        "flipped": displayed_changes(row.drop) if row.drop and row.kind == "artifact" else [],
        "macs": row.macs.floating + row.macs.integer if row.macs else None,
        "roofline": row.roofline,
        "runtime": row.runtime,
        "paretoCandidate": on_common_test_set(row) and not row.runtime,
        "testSet": f"{sum(row.images):,} images of {len(results.class_names(row))} classes" if row.images else None,
        "latency": {
            str(latency.threads): {
                "median": latency.inference.median,
                "p90": latency.inference.p90,
                "p95": latency.inference.p95,
                "p99": latency.inference.p99,
                "endToEnd": latency.whole.median if latency.whole else None,
                "spread": latency.inference.spread,
                "noisy": latency.inference.noisy,
            }
            for latency in row.latency
        },
        "peakMemory": row.memory.peak if row.memory else None,
        "loadTime": row.cold_start.load if row.cold_start else None,
        "firstCall": row.cold_start.first_call if row.cold_start else None,
        "corrupted": [[item.kind, item.strength, item.accuracy] for item in row.corrupted],
    }


def _embedded_json(value: Any) -> Markup:
    """Return JSON for a script element: no text in it can end the element or open a comment."""
    return trusted_html(json.dumps(_visible(value), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def _visible(value: Any) -> Any:
    """Escape control characters in all texts as the page's HTML does, so that the script finds rows by their names."""
    if isinstance(value, str):
        return escape_control(value, lines=True)
    if isinstance(value, dict):
        return {_visible(key): _visible(item) for key, item in value.items()}
    return [_visible(item) for item in value] if isinstance(value, list | tuple) else value


def _training_plots(folder: Path) -> str:
    plots = [
        (caption, base64.b64encode((folder / name).read_bytes()).decode("ascii"))
        for name, caption in TRAINING_PLOTS
        if (folder / name).is_file()
    ]
    return render("training_plots.html", plots=plots) if plots else ""
