"""HTML sections on accuracy loss: drop, recall by class, changed predictions, robustness to corruptions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from feredge.benchmark.metrics import CorruptedAccuracy, Drop
from feredge.benchmark.results import Results, Row
from feredge.report.recommendation import Recommendation
from feredge.report.rendering import render

COVERAGE_PRECISIONS = (0.8, 0.9, 0.95)
"""Precisions whose coverage is listed."""
AXIS_MARGINS = 4.0
"""Largest extent of the drop axis, in multiples of the margin; values beyond it are drawn as arrows at its end."""
FULL_COLOR_PP = 10.0
"""Change of recall, in pp, that is drawn in the full colour."""


def accuracy_loss(results: Results, recommendation: Recommendation) -> str:
    """Return the section on drop, recall and changed predictions; empty where no row has a drop."""
    drops = [(row, row.drop) for row in results.rows if row.drop and row.kind == "artifact"]
    if not drops:
        return ""
    several_networks = len({row.network for row, _ in drops}) > 1
    images = "on the test set of its own network" if several_networks else f"on the same {results.data.total:,} images"
    lead = (
        f"Drop is the float model's accuracy minus the file's, {images}. "
        f"The shaded band is the margin of {results.config.margin:g} pp: an interval that lies wholly inside it means "
        "equivalent."
    )
    margin = results.config.margin
    low = max(min(-1.5 * margin, *(drop.low for _, drop in drops)), -AXIS_MARGINS * margin)
    high = min(max(1.5 * margin, *(drop.high for _, drop in drops)), AXIS_MARGINS * margin)
    padding = 0.05 * (high - low)

    def position(value: float) -> float:
        percent = 100 * (value - low + padding) / (high - low + 2 * padding)
        return min(max(percent, 0.0), 100.0)

    names = [row.name for row, _ in drops]
    recommended = recommendation.row
    return render(
        "accuracy_loss.html",
        lead=lead,
        drops=drops,
        margin=margin,
        position=position,
        low=low - padding,
        high=high + padding,
        format_p=_format_p,
        recalls=_recall_tables(results, drops),
        intensity=lambda change: 70 * min(abs(change) / FULL_COLOR_PP, 1),
        selected=recommended.name if recommended and recommended.name in names else names[0],
    )


def abstention(results: Results) -> str:
    """Return the section on answering only where the file is confident; empty for older results."""
    curves = [(row, row.accuracy.risk_coverage) for row in results.rows if row.accuracy and row.accuracy.risk_coverage]
    if not curves:
        return ""

    def change(row: Row, precision: float) -> float | None:
        """Return the change of the coverage against the row's reference, in percentage points."""
        reference = results.reference_of(row)
        if reference is None or reference is row or not reference.accuracy or not reference.accuracy.risk_coverage:
            return None
        assert row.accuracy and row.accuracy.risk_coverage
        curves = row.accuracy.risk_coverage, reference.accuracy.risk_coverage
        return 100 * (curves[0].coverage_at(precision) - curves[1].coverage_at(precision))

    lead = (
        "If a file answers only for the images that it is most confident of, more of its answers are right. Coverage: "
        "the percentage of the test images answered at a precision, and its change against the float model in pp; "
        "curve: precision over coverage; AURC: area under the risk-coverage curve, the lower the better. "
        "feredge calibrate chooses thresholds on validation images; these figures are of the test images."
    )
    lowest = min(min(curve.precision) for _, curve in curves)
    return render(
        "abstention.html", lead=lead, curves=curves, lowest=lowest, precisions=COVERAGE_PRECISIONS, change=change
    )


def robustness(results: Results) -> str:
    """Return the section on corrupted images: a placeholder for the plots that the script draws, and a table."""
    rows = [row for row in results.rows if row.accuracy and row.corrupted]
    if not rows:
        return ""
    kinds = list(dict.fromkeys(corrupted.kind for corrupted in rows[0].corrupted if corrupted.strength))
    severest = [(row, [_severest(row, kind) for kind in kinds]) for row in rows]
    same = "The same" if len({row.network for row in rows}) == 1 else "Of each network"
    lead = (
        f"{same} {min(results.config.corrupted, results.data.total):,} test images with seven kinds of corruption at "
        "five severities. Compression that loses nothing on clean images can lose accuracy here."
    )
    return render("robustness.html", lead=lead, kinds=kinds, rows=severest)


def _severest(row: Row, kind: str) -> CorruptedAccuracy | None:
    """Return the measurement at the highest severity of a kind of corruption; None where there is none."""
    return max((item for item in row.corrupted if item.kind == kind), key=lambda item: item.strength, default=None)


def _format_p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def _recall_tables(results: Results, drops: Sequence[tuple[Row, Drop]]) -> list[dict[str, Any]]:
    """Return for each network a table of the change of each class's recall."""
    tables = []
    for network in dict.fromkeys(row.network for row, _ in drops):
        pairs = [pair for pair in drops if pair[0].network == network]
        first = pairs[0][0]
        reference = results.reference_of(first)
        tables.append(
            {
                "label": f"Recall by class {network}".strip(),
                "classes": list(zip(results.class_names(first), results.images_per_class(first), strict=True)),
                "reference": reference.accuracy.recall if reference and reference.accuracy else None,
                "reference_name": "float model" if reference is None or reference.kind == "float" else reference.name,
                "drops": pairs,
            }
        )
    return tables
