"""Results as a terminal table and as Markdown."""

from __future__ import annotations

import re
import shutil

from feredge.benchmark.formatting import format_median
from feredge.benchmark.results import Results, Row
from feredge.console import escape_control, rendered
from feredge.report.load import load_lines
from feredge.report.recommendation import recommend
from feredge.report.table import SPEED_UP_EXPLANATION, SPEED_UP_HEADING, Column, columns, runtimes_by_format

TABLE_COLUMNS = ("file", "bytes", "accuracy", "test_images", "drop_pp", "verdict", "median_ms", "p90_ms", "speed_up")
MAX_TABLE_WIDTH = 116
MAX_NAME_WIDTH = 36
"""Characters from which a file's name may wrap."""
FULL_TABLE_WIDTH = 112
"""Below this width the terminal's table leaves out intervals and p90, which are in the report."""


def to_terminal(results: Results, *, width: int | None = None) -> str:
    """Return a coloured table and the recommended file. `width` is the terminal's if not given.

    Needs rich, of feredge[workshop].
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    width = width or min(shutil.get_terminal_size((MAX_TABLE_WIDTH, 24)).columns, MAX_TABLE_WIDTH)
    narrow = width < FULL_TABLE_WIDTH
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0 if narrow else 1, 0, 0))
    table_columns = [column for column in _table_columns(results) if not (narrow and column.key == "p90_ms")]
    longest = max((len(escape_control(row.name)) for row in results.rows), default=0)
    for column in table_columns:
        is_text = column.key in ("file", "verdict")
        table.add_column(
            column.title.replace(" ", "\n"),
            justify="left" if is_text else "right",
            no_wrap=not is_text or (column.key == "file" and longest <= MAX_NAME_WIDTH),
            overflow="fold",  # truncated names could look alike
            min_width=len("equivalent") if column.key == "verdict" else None,
        )
    recommendation = recommend(results)
    recommended = recommendation.row.name if recommendation.row else None
    for row in results.rows:
        row_style = "bold green" if row.name == recommended else "dim" if row.kind == "baseline" else ""
        cells = [escape_control(_cell(row, column.key, column.text(row))) for column in table_columns]
        if narrow:
            cells = [cell.partition(" [")[0] for cell in cells]
        cells = [
            cell.replace(", ", "\n") if column.key == "test_images" else cell
            for column, cell in zip(table_columns, cells, strict=True)
        ]
        table.add_row(*map(Text, cells), style="red" if row.failure else row_style)
    failed = [row for row in results.rows if row.failure]
    lines = [Text(escape_control(f"{row.name} failed: {row.failure}"), style="red") for row in failed]
    reasons = escape_control(" ".join(recommendation.reasons))
    lines += [Text(escape_control(line), style="yellow") for line in recommendation.warnings]
    if recommended is not None:
        ship = Text(escape_control(f"Ship {recommended}."), style="bold green")
        lines.append(Text.assemble(ship, " ", Text(reasons)))
    lines += [Text(escape_control(line), style="dim") for line in _footnotes(results)]
    error = [Text(reasons, style="bold red")] if recommended is None else []
    return rendered(*error, table, *lines, width=width)


def to_markdown(results: Results) -> str:
    """Return the table as Markdown, with the recommended file, machine and data below it."""
    table_columns = _table_columns(results)
    recommendation = recommend(results)
    recommended = recommendation.row.name if recommendation.row else None
    reasons = plain_text(" ".join(recommendation.reasons))
    lines = [
        *([f"**{reasons}**", ""] if recommended is None else []),
        "| " + " | ".join(column.title for column in table_columns) + " |",
        "| " + " | ".join("---" if column.key in ("file", "verdict") else "---:" for column in table_columns) + " |",
    ]
    for row in results.rows:
        name, *cells = (_cell(row, column.key, column.text(row)) for column in table_columns)
        code = code_span(name).replace("|", "\\|")
        cells = [f"**{code}**" if row.name == recommended else code, *(plain_table_cell(cell) for cell in cells)]
        lines.append("| " + " | ".join(cells) + " |")
    for warning in recommendation.warnings:
        lines += ["", plain_text(warning)]
    if recommended is not None:
        lines += ["", f"**Ship {code_span(recommended)}.** {reasons}"]
    lines += ["", *(f"* {plain_text(line)}" for line in _footnotes(results))]
    return "\n".join(lines) + "\n"


def plain_text(text: str) -> str:
    """Escape text for Markdown, so that it makes no HTML, links, images, code, emphasis or new lines."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", escape_control(text))


def plain_table_cell(text: str) -> str:
    """Escape text for a Markdown table cell. Intervals keep their square brackets, which make no link here."""
    return re.sub(r"([\\`*<>|])", r"\\\1", escape_control(text))


def code_span(text: str) -> str:
    """Return a Markdown code span, delimited by more backticks than the text has in a row."""
    text = escape_control(text)
    longest = max(map(len, re.findall("`+", text)), default=0)
    space = " " * (longest > 0)
    return f"{'`' * (longest + 1)}{space}{text}{space}{'`' * (longest + 1)}"


def _table_columns(results: Results) -> list[Column]:
    return [
        column for column in columns(results) if column.key in TABLE_COLUMNS or column.key.startswith("instructions_")
    ]


def _cell(row: Row, key: str, text: str) -> str:
    if row.failure and key == "verdict":
        return "failed"
    latency = row.latency_at(1)
    if key != "median_ms" or latency is None:
        return text
    return f"{'!' if latency.invalid_rounds else ''}{format_median(latency.inference)}"


def _footnotes(results: Results) -> list[str]:
    machine, data, effort = results.machine, results.data, results.config
    noisy = any(row.main_latency is not None and row.main_latency.noisy for row in results.rows)
    throttled = any(row.throttled_by for row in results.rows)
    reference = "the float model's accuracy" if results.reference else "the accuracy of the same network in float32"
    images = "test images" if any(row.images for row in results.rows) else f"{data.total:,} test images"
    has_instructions = any(row.instructions for row in results.rows)
    instructions = "Instructions: millions per inference, counted by qemu on emulated cores; not a measure of time."
    return [
        *([instructions] if has_instructions else []),
        f"Accuracy: computed by {runtimes_by_format(results)}, on this machine.",
        f"Drop: {reference} minus the file's on the same {images}, in percentage points, with a 95% interval by "
        f"paired bootstrap; equivalent: the whole interval lies within {effort.margin:g} pp.",
        f"Latency: one image, one thread, {effort.rounds} interleaved rounds, no outliers removed"
        + ("; ~: the rounds differ by more than 10%" if noisy else "")
        + ("; !: some rounds had CPU throttling and are excluded from the verdicts." if throttled else ".")
        + f" {SPEED_UP_HEADING}: {SPEED_UP_EXPLANATION}.",
        *load_lines(results),
        f"{machine.cpu}, {machine.cores} cores, governor {machine.governor}, {machine.system}; data {data.source}, "
        f"SHA-256 {data.digest[:12]}; measured {results.measured[:10]}.",
    ]
