"""All printing of the package: control characters in text from files, cards and names are escaped.

A picture's name or a model's card may contain escape sequences that clear a screen, set its title or hide text, and
characters that the terminal cannot encode. Standard library only, because a device's bundle uses it too; rich and
click are imported where they are used.
"""

from __future__ import annotations

import codecs
import io
import json
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TextIO

_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories of invisible characters: controls, formats, surrogates, line and paragraph separators."""
_JOINER_CHARACTERS = "\u200c\u200d"
"""Format characters that names in Persian, Hindi and emoji need."""
_ASCII_SUBSTITUTES = str.maketrans("−–—’‘“”×·…←→↑↓≤≥─━│┃╺╸", "---''\"\"x..<>^v<>--||--")
"""ASCII substitutes, of the same width, for non-ASCII characters in feredge's own output."""
_UNLIMITED_WIDTH = 10_000
"""Width of a table in a file or pipe: its lines are not folded."""
_MIN_FOLDED_WIDTH = 20
_ANSI_STYLE = re.compile(r"(\x1b\[[0-9;]*m)")
"""ANSI escape sequences of colours and weights only."""


def escape_control(text: str, *, lines: bool = False) -> str:
    r"""Return `text` with control characters, direction marks and lone surrogates escaped, as `\x1b`.

    Args:
        text: any text.
        lines: keep newlines.
    """
    if text.isprintable():
        return text
    return "".join(
        character if _is_visible(character) or (lines and character == "\n") else _escaped(character)
        for character in text
    )


def echo(text: str, err: bool = False, *, stream: TextIO | None = None) -> None:
    """Print one line; newlines in it are escaped, so that no data can look like another line."""
    _write(escape_control(text) + "\n", err, stream)


def echo_lines(text: str, err: bool = False) -> None:
    """Print several lines, which must not contain newlines from untrusted data."""
    _write(escape_control(text, lines=True) + "\n", err)


def echo_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as ASCII JSON, in which control characters are escaped."""
    _write(json.dumps(value, indent=indent).replace("\x7f", "\\u007f") + "\n", False)


def echo_styled(text: str) -> None:
    """Print lines with ANSI colours; without them if the output is not a terminal.

    Untrusted parts must have passed through `escape_control` before they were coloured. Everything but colours is
    escaped here again.
    """
    import click  # translates colours on Windows

    parts = _ANSI_STYLE.split(text)
    safe = "".join(part if index % 2 else escape_control(part, lines=True) for index, part in enumerate(parts))
    click.echo(_encodable(safe, sys.stdout))


def echo_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Collection[str] = (), header: bool = True
) -> None:
    """Print a table no wider than the terminal: cells that are too long are folded.

    Rich draws it where it is installed, as with feredge[workshop]; else columns are aligned with spaces.

    Args:
        columns: names of the columns.
        rows: cells, printed by `str`; control characters in them are escaped.
        right: names of the columns that are aligned to the right, such as numbers.
        header: print the names of the columns.
    """
    width = shutil.get_terminal_size((_UNLIMITED_WIDTH, 24)).columns
    cells = [[escape_control(str(cell)) for cell in row] for row in rows]
    try:
        echo_styled(_rich_table(columns, cells, right, header, width))
    except ModuleNotFoundError:
        echo_lines(_aligned_table([list(columns), *cells] if header else cells, width))


def _rich_table(
    columns: Sequence[str], cells: list[list[str]], right: Collection[str], header: bool, width: int
) -> str:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, show_header=header)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    return "\n".join(line.rstrip() for line in rendered(table, width=width).splitlines())


def _aligned_table(rows: list[list[str]], width: int) -> str:
    """Return rows with aligned columns; the last one is folded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    indent = " " * (sum(widths) + 2 * len(widths))
    lines: list[str] = []
    for row in rows:
        start = "".join(f"{cell:{column_width}}  " for cell, column_width in zip(row, widths, strict=False))
        folded = textwrap.wrap(row[-1], max(width - len(indent), _MIN_FOLDED_WIDTH)) or [""]
        lines += [f"{start}{folded[0]}".rstrip(), *(indent + line for line in folded[1:])]
    return "\n".join(lines)


def rendered(*parts: Any, width: int | None = None) -> str:
    """Render rich's tables and texts to lines with ANSI colours; `width` defaults to the terminal's."""
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=True, highlight=False, legacy_windows=False)
    for part in parts:
        console.print(part)
    return text.getvalue().rstrip("\n")


def write_data(data: bytes) -> None:
    """Write machine-readable UTF-8 data, such as csv: unchanged to a file or pipe, escaped on a terminal.

    File names need not be UTF-8; their bytes stay unchanged.
    """
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None or sys.stdout.isatty():
        _write(escape_control(data.decode("utf-8", "surrogateescape"), lines=True), False)
        return
    sys.stdout.flush()
    buffer.write(data)
    buffer.flush()


def progress_line(task: str, done: float, total: float, note: str = "") -> None:
    """Show progress on standard error: one overwritten line on a terminal; otherwise a line per finished task."""
    if sys.stderr.isatty():
        line = _encodable(escape_control(f"{task}: {done:.0f} of {total:.0f} {note}"), sys.stderr)
        sys.stderr.write(f"\r\033[K{line}" + ("\n" if done == total else ""))
        sys.stderr.flush()
    elif done == total:
        echo(f"{task}: done", err=True)


def progress_bar(task: str, length: int | None) -> Any:
    """Return click's progress bar on standard error, hidden if that is not a terminal."""
    import click

    hidden = not sys.stderr.isatty()
    return click.progressbar(length=length, label=escape_control(task), file=sys.stderr, show_pos=True, hidden=hidden)


def progress_display(*columns: Any) -> Any:
    """Return rich's display of several bars on standard error. Texts in columns must have passed through `visible`."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True))


def _is_visible(character: str) -> bool:
    return character in _JOINER_CHARACTERS or unicodedata.category(character) not in _HIDDEN_CATEGORIES


def _escaped(character: str) -> str:
    return character.encode("unicode-escape", "backslashreplace").decode("ascii")


def _write(text: str, err: bool, stream: TextIO | None = None) -> None:
    stream = stream or (sys.stderr if err else sys.stdout)
    stream.write(_encodable(text, stream))
    stream.flush()


def _encodable(text: str, stream: TextIO) -> str:
    """Return `text` with a substitute for each character that the stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "feredge-ascii").decode(encoding)


def _substitute(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end].translate(_ASCII_SUBSTITUTES)
    return "".join(character if character.isascii() else "?" for character in lacking), error.end


codecs.register_error("feredge-ascii", _substitute)
