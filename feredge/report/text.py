"""Results as text: a table for the terminal, and Markdown."""

from __future__ import annotations

import re
import shutil

from feredge.benchmark.formatting import format_median
from feredge.benchmark.results import Results, Row
from feredge.console import rendered, visible
from feredge.report.recommend import choose
from feredge.report.table import Column, columns

SHOWN = ("file", "bytes", "accuracy", "judged_on", "drop_pp", "verdict", "median_ms", "p90_ms", "speed_up")
WIDEST = 116
LONG = 36
"""Letters from which a file's name may go on in a second line."""
NARROW = 112
"""Under this many columns the terminal's table leaves out intervals and p90; they stand in the report."""


def to_terminal(results: Results, *, width: int | None = None) -> str:
    """Return a table with colours, and which file to ship. `width` is the terminal's if not given.

    Needs rich, of feredge[workshop].
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    width = width or min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    narrow = width < NARROW
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0 if narrow else 1, 0, 0))
    shown = [column for column in _shown(results) if not (narrow and column.key == "p90_ms")]
    longest = max((len(visible(row.name)) for row in results.rows), default=0)
    for column in shown:
        words = column.key in ("file", "verdict")
        table.add_column(
            column.title.replace(" ", "\n"),
            justify="left" if words else "right",
            no_wrap=not words or (column.key == "file" and longest <= LONG),
            overflow="fold",  # two names that are cut off may look alike
            min_width=len("equivalent") if column.key == "verdict" else None,
        )
    choice = choose(results)
    for row in results.rows:
        ships = choice.row is not None and row.name == choice.row.name
        style = "red" if row.failure else "bold green" if ships else "dim" if row.kind == "baseline" else ""
        cells = [visible(_cell(row, column.key, column.text(row))) for column in shown]
        if narrow:
            cells = [cell.partition(" [")[0] for cell in cells]
        cells = [
            cell.replace(", ", "\n") if column.key == "judged_on" else cell
            for column, cell in zip(shown, cells, strict=True)
        ]
        table.add_row(*map(Text, cells), style=style)
    failed = [row for row in results.rows if row.failure]
    lines = [Text(visible(f"{row.name} failed: {row.failure}"), style="red") for row in failed]
    if choice.row:
        ship = Text(visible(f"Ship {choice.row.name}."), style="bold green")
        lines.append(Text.assemble(ship, " ", Text(visible(" ".join(choice.steps)))))
    lines += [Text(visible(line), style="dim") for line in (*choice.cautions, *_footnotes(results))]
    warning = [] if choice.row else [Text(visible(" ".join(choice.steps)), style="bold red")]
    return rendered(*warning, table, *lines, width=width)


def to_markdown(results: Results) -> str:
    """Return the table as Markdown, with what it was measured on below it."""
    shown = _shown(results)
    choice = choose(results)
    lines = [
        *([] if choice.row else [f"**{plain_text(' '.join(choice.steps))}**", ""]),
        "| " + " | ".join(column.title for column in shown) + " |",
        "| " + " | ".join("---" if column.key in ("file", "verdict") else "---:" for column in shown) + " |",
    ]
    for row in results.rows:
        ships = choice.row is not None and row.name == choice.row.name
        name, *cells = (_cell(row, column.key, column.text(row)) for column in shown)
        code = code_span(name).replace("|", "\\|")
        cells = [f"**{code}**" if ships else code, *(plain_table_cell(cell) for cell in cells)]
        lines.append("| " + " | ".join(cells) + " |")
    if choice.row:
        lines += ["", f"**Ship {code_span(choice.row.name)}.** " + plain_text(" ".join(choice.steps))]
    lines += ["", *(f"* {plain_text(line)}" for line in (*choice.cautions, *_footnotes(results)))]
    return "\n".join(lines) + "\n"


def plain_text(text: str) -> str:
    """Return text that Markdown shows as it is: no HTML, links, pictures, code, emphasis or lines of its own."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", visible(text))


def plain_table_cell(text: str) -> str:
    """Return what a table's cell shows as it is. Intervals keep their brackets, which nothing here makes a link."""
    return re.sub(r"([\\`*<>|])", r"\\\1", visible(text))


def code_span(text: str) -> str:
    """Return text as code in Markdown, between more backticks than stand in it."""
    text = visible(text)
    longest = max(map(len, re.findall("`+", text)), default=0)
    space = " " * (longest > 0)
    return f"{'`' * (longest + 1)}{space}{text}{space}{'`' * (longest + 1)}"


def _shown(results: Results) -> list[Column]:
    return [column for column in columns(results) if column.key in SHOWN or column.key.startswith("instructions_")]


def _cell(row: Row, key: str, text: str) -> str:
    if row.failure and key == "verdict":
        return "failed"
    timed = row.latency_at(1)
    if key != "median_ms" or timed is None:
        return text
    return f"{'!' if timed.invalid_rounds else ''}{format_median(timed.inference)}"


def _footnotes(results: Results) -> list[str]:
    machine, data, effort = results.machine, results.data, results.effort
    noisy = any(row.headline is not None and row.headline.noisy for row in results.rows)
    slowed = any(row.throttled_by for row in results.rows)
    whole = "float accuracy" if results.reference else "accuracy of the same network in float32"
    images = "test images" if any(row.images for row in results.rows) else f"{data.total:,} test images"
    counted = {found.core for row in results.rows for found in row.instructions}
    cores = "Instructions: millions an inference, counted on emulated cores by qemu; no time follows from them."
    return [
        *results.notes,
        *([cores] if counted else []),
        f"Drop: {whole} minus the file's over the same {images}, percentage points, with a 95% interval by paired "
        f"bootstrap; equivalent: the whole interval lies within {effort.margin:g} pp.",
        f"Latency: one face, one thread, {effort.rounds} interleaved rounds, no outlier removed"
        + ("; ~ rounds differ by more than 10%" if noisy else "")
        + ("; ! the clock was held down in a round, which is invalid." if slowed else "."),
        f"{machine.cpu}, {machine.cores} cores, governor {machine.governor}, {machine.system}; data {data.source}, "
        f"SHA-256 {data.digest[:12]}; measured {results.measured[:10]}.",
    ]
