"""What each file lost, as HTML: against the margin, class by class, answer by answer, and on corrupted images."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from feredge.bench.figures import Drop
from feredge.bench.results import Results, Row
from feredge.bench.words import VERDICTS, interval, signed
from feredge.report.choice import Choice
from feredge.report.markup import line, pill, scroll, section, table

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
    body = _forest(drops, results.effort.margin) + _classes(results, drops) + _flips(drops, choice)
    return section("damage", "What each file lost", body, lead=lead)


def robustness(results: Results) -> str:
    """Return the place for the curves over corrupted copies, which the script draws, and their table."""
    rows = [row for row in results.rows if row.accuracy and row.corrupted]
    if not rows:
        return ""
    kinds = list(dict.fromkeys(found.kind for found in rows[0].corrupted if found.strength))
    lines = (line(row.name, *(_worst(row, kind) for kind in kinds)) for row in rows)
    same = "The same" if len({row.network for row in rows}) == 1 else "Of each network"
    lead = (
        f"{same} {min(results.effort.corrupted, results.data.total):,} test images, spoiled in seven ways and five "
        "strengths. Compression that costs nothing on clean images can cost something here."
    )
    body = (
        '<div id="curves"></div><h3>At the strongest</h3><p>Accuracy in percent at strength 5, and the drop in pp.</p>'
        + scroll("At the strongest", table(("file", *kinds), lines, style="heat"))
    )
    return section("robustness", "On spoiled images", body, lead=lead)


def _worst(row: Row, kind: str) -> str:
    found = max((found for found in row.corrupted if found.kind == kind), key=lambda found: found.strength)
    return f"{100 * found.accuracy:.1f}" + ("" if found.drop is None else f" <small>{signed(found.drop, 1)}</small>")


def _forest(drops: Sequence[tuple[Row, Drop]], margin: float) -> str:
    low = max(min(-1.5 * margin, *(drop.low for _, drop in drops)), -WIDEST * margin)
    high = min(max(1.5 * margin, *(drop.high for _, drop in drops)), WIDEST * margin)
    room = 0.05 * (high - low)

    def place(value: float) -> float:
        share = 100 * (value - low + room) / (high - low + 2 * room)
        return min(max(share, 0.0), 100.0)

    band = (
        f'<i class="band" style="left:{place(-margin):.2f}%;width:{place(margin) - place(-margin):.2f}%"></i>'
        f'<i class="zero" style="left:{place(0):.2f}%"></i>'
    )

    def lane(drop: Drop) -> str:
        left, right = place(drop.low), place(drop.high)
        marks = f'<i class="whisker" style="left:{left:.2f}%;width:{right - left:.2f}%"></i>'
        if low - room <= drop.pp <= high + room:
            marks += f'<i class="dot" style="left:{place(drop.pp):.2f}%"></i>'
        else:
            marks += f'<i class="beyond {"right" if drop.pp > 0 else "left"}">{"▶" if drop.pp > 0 else "◀"}</i>'
        return f'<td class="lane {VERDICTS[drop.verdict][0]}" aria-hidden="true">{band}{marks}</td>'

    headings = ("file", "← better than float · worse →", "drop pp, 95%", "verdict", "McNemar p", "agreement")
    rows = (
        line(row.name, lane(drop), interval(drop), pill(row), _p(drop.p), f"{drop.agreement:.2%}")
        for row, drop in drops
    )
    return scroll("Drops", table(headings, rows, style="lanes"))


def _p(value: float) -> str:
    return "&lt; 0.0001" if value < 1e-4 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def _classes(results: Results, drops: Sequence[tuple[Row, Drop]]) -> str:
    """Return the change of each class's recall: a table for each network."""
    networks = dict.fromkeys(row.network for row, _ in drops)
    tables = (_recall(results, [pair for pair in drops if pair[0].network == name], name) for name in networks)
    return (
        "<h3>Class by class</h3><p>Change of recall in pp: of all images of a class, how many more or fewer are named "
        "rightly. Rare classes swing widely.</p>" + "".join(tables)
    )


def _recall(results: Results, drops: Sequence[tuple[Row, Drop]], network: str) -> str:
    first = drops[0][0]
    counted = zip(results.classes(first), results.images(first), strict=True)
    head = "".join(f'<th scope="col">{escape(name)}<small>{count:,}</small></th>' for name, count in counted)
    top, reference = "", results.beside(first)
    if reference and reference.accuracy:
        shares = ("" if share is None else f"{100 * share:.1f}%" for share in reference.accuracy.recall)
        cells = "".join(f"<td>{share}</td>" for share in shares)
        whose = "float model" if reference.kind == "float" else reference.name
        top = f'<tr class="float"><th scope="row">{escape(whose)}’s recall</th>{cells}</tr>'
    body = "".join(line(row.name, *map(_heat, drop.recall)) for row, drop in drops)
    grid = (
        f'<table class="heat"><thead><tr><th scope="col">file</th>{head}</tr></thead><tbody>{top}{body}</tbody></table>'
    )
    return scroll(f"Class by class {network}".strip(), grid)


def _heat(change: float | None) -> str:
    """Return a cell whose colour says which way (orange: lost, blue: won) and how strongly."""
    if change is None:
        return "<td></td>"
    strength = 70 * min(abs(change) / FULL, 1)
    text = signed(change, 1) if abs(change) >= 0.05 else "0.0"
    return f'<td class="{"lost" if change < 0 else "won"}" style="--strength:{strength:.0f}%">{text}</td>'


def _flips(drops: Sequence[tuple[Row, Drop]], choice: Choice) -> str:
    """Return the place for the changed answers, which the script fills for the file that is chosen."""
    names = [row.name for row, _ in drops]
    start = choice.row.name if choice.row and choice.row.name in names else names[0]
    options = "".join(
        f'<option value="{escape(name)}"{" selected" if name == start else ""}>{escape(name)}</option>'
        for name in names  # without a value the browser takes the text, several spaces as one
    )
    return (
        '<h3>Which answers changed</h3><p class="flips"><label>File '
        f'<select id="flips-file">{options}</select></label> <span id="flips-words"></span></p>'
        + scroll("Which answers changed", '<table id="flips" class="heat"></table>')
        + '<p id="flipped-words"></p><ul id="flipped" aria-label="Images whose answer changed"></ul>'
    )
