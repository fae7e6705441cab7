"""What each file lost, as HTML: against the margin, class by class, answer by answer, and on corrupted images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from feredge.benchmark.metrics import CorruptedAccuracy, Drop
from feredge.benchmark.results import Results, Row
from feredge.report.recommend import Choice
from feredge.report.templates import render

WIDEST = 4.0
"""Margins that the axis of drops reaches at most; what lies beyond is shown at its end."""
FULL = 10.0
"""Change of recall, in pp, that has the full colour."""


def damage(results: Results, choice: Choice) -> str:
    """Return the whole section; empty when nothing was compared with a float model."""
    drops = [(row, row.drop) for row in results.rows if row.drop and row.kind == "artifact"]
    if not drops:
        return ""
    several = len({row.network for row, _ in drops}) > 1
    same = "on the test images of its own network" if several else f"on the same {results.data.total:,} images"
    lead = (
        f"Drop is the float model's accuracy minus the file's, {same}. "
        f"The band is the margin of {results.effort.margin:g} pp: an interval wholly inside it means equivalent."
    )
    margin = results.effort.margin
    low = max(min(-1.5 * margin, *(drop.low for _, drop in drops)), -WIDEST * margin)
    high = min(max(1.5 * margin, *(drop.high for _, drop in drops)), WIDEST * margin)
    room = 0.05 * (high - low)

    def place(value: float) -> float:
        share = 100 * (value - low + room) / (high - low + 2 * room)
        return min(max(share, 0.0), 100.0)

    names = [row.name for row, _ in drops]
    return render(
        "damage.html",
        lead=lead,
        drops=drops,
        margin=margin,
        place=place,
        low=low - room,
        high=high + room,
        p_text=_p,
        recalls=_recalls(results, drops),
        strength=lambda change: 70 * min(abs(change) / FULL, 1),
        start=choice.row.name if choice.row and choice.row.name in names else names[0],
    )


def robustness(results: Results) -> str:
    """Return the place for the curves over corrupted copies, which the script draws, and their table."""
    rows = [row for row in results.rows if row.accuracy and row.corrupted]
    if not rows:
        return ""
    kinds = list(dict.fromkeys(found.kind for found in rows[0].corrupted if found.strength))
    worst = [(row, [_worst(row, kind) for kind in kinds]) for row in rows]
    same = "The same" if len({row.network for row in rows}) == 1 else "Of each network"
    lead = (
        f"{same} {min(results.effort.corrupted, results.data.total):,} test images, spoiled in seven ways and five "
        "strengths. Compression that costs nothing on clean images can cost something here."
    )
    return render("robustness.html", lead=lead, kinds=kinds, rows=worst)


def _worst(row: Row, kind: str) -> CorruptedAccuracy | None:
    """Return what was found at the strongest corruption of a kind; None where that was not looked at."""
    return max((found for found in row.corrupted if found.kind == kind), key=lambda found: found.strength, default=None)


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def _recalls(results: Results, drops: Sequence[tuple[Row, Drop]]) -> list[dict[str, Any]]:
    """Return the change of each class's recall: a table for each network."""
    tables = []
    for network in dict.fromkeys(row.network for row, _ in drops):
        own = [pair for pair in drops if pair[0].network == network]
        first = own[0][0]
        reference = results.reference_of(first)
        tables.append(
            {
                "label": f"Class by class {network}".strip(),
                "classes": list(zip(results.class_names(first), results.images_per_class(first), strict=True)),
                "reference": reference.accuracy.recall if reference and reference.accuracy else None,
                "whose": "float model" if reference is None or reference.kind == "float" else reference.name,
                "drops": own,
            }
        )
    return tables
