"""The one place that prints: text from files, cards and names reaches a terminal only with control characters shown.

A picture's name or a model's card may hold escape sequences that clear a screen, set its title or hide text, and
characters that no encoding of the terminal has. Standard library only, since a device's bundle prints by it too; what
only a workshop shows imports rich, and what only commands show imports click, where it is used.
"""

from __future__ import annotations

import codecs
import io
import json
import re
import sys
import unicodedata
from typing import Any, TextIO

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of characters that are not seen, but change what is: controls, formats, half pairs, breaks."""
_JOINERS = "\u200c\u200d"
"""Formats that names in Persian, Hindi and emoji need."""
_PLAIN_SIGNS = str.maketrans("−–—’‘“”×·…←→↑↓≤≥─━│┃╺╸", "---''\"\"x..<>^v<>--||--")
"""A sign of ASCII, of the same width, for each of ours that a terminal's encoding may lack."""
_STYLE = re.compile(r"(\x1b\[[0-9;]*m)")
"""What sets a colour or a weight, and nothing else."""


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return `text` with every control character, direction mark and lone surrogate written out, as `\x1b`.

    Args:
        text: from anywhere.
        lines: newlines stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(letter if _is_seen(letter) or (lines and letter == "\n") else _escaped(letter) for letter in text)


def echo(text: str, err: bool = False, *, stream: TextIO | None = None) -> None:
    """Print one line; a newline in it is written out, so that no data can look like a line of its own."""
    _write(visible(text) + "\n", err, stream)


def echo_lines(text: str, err: bool = False) -> None:
    """Print text of several lines that were put together here, whose parts hold no newlines of others."""
    _write(visible(text, lines=True) + "\n", err)


def echo_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON, which is ASCII throughout: what is a control character is escaped in JSON's own way."""
    _write(json.dumps(value, indent=indent).replace("\x7f", "\\u007f") + "\n", False)


def echo_styled(text: str) -> None:
    """Print lines with colours that were put in here; where the output is no terminal, without them.

    The parts of the text must have gone through `visible` before they were coloured. All but colours is written out
    here again.
    """
    import click  # translates colours on Windows

    parts = _STYLE.split(text)
    safe = "".join(part if index % 2 else visible(part, lines=True) for index, part in enumerate(parts))
    click.echo(_encodable(safe, sys.stdout))


def rendered(*parts: Any, width: int | None = None) -> str:
    """Return tables and texts of rich as lines with colours; `width` is the terminal's if not given."""
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=True, highlight=False, legacy_windows=False)
    for part in parts:
        console.print(part)
    return text.getvalue().rstrip("\n")


def write_data(data: bytes) -> None:
    """Write what programs read, as csv in UTF-8: byte by byte into a file or a pipe, written out on a terminal.

    Names of files need not be text; their bytes go through unchanged.
    """
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None or sys.stdout.isatty():
        _write(visible(data.decode("utf-8", "surrogateescape"), lines=True), False)
        return
    sys.stdout.flush()
    buffer.write(data)
    buffer.flush()


def progress_line(task: str, done: float, total: float, note: str = "") -> None:
    """Show progress on standard error: in one line of a terminal, which is written over; else only what is done."""
    if sys.stderr.isatty():
        line = _encodable(visible(f"{task}: {done:.0f} of {total:.0f} {note}"), sys.stderr)
        sys.stderr.write(f"\r\033[K{line}" + ("\n" if done == total else ""))
        sys.stderr.flush()
    elif done == total:
        echo(f"{task}: done", err=True)


def progress_bar(task: str, length: int | None) -> Any:
    """Return click's progress bar on standard error, hidden where that is no terminal."""
    import click

    hidden = not sys.stderr.isatty()
    return click.progressbar(length=length, label=visible(task), file=sys.stderr, show_pos=True, hidden=hidden)


def progress_display(*columns: Any) -> Any:
    """Return rich's display of several bars on standard error. Columns show texts that went through `visible`."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True))


def _is_seen(letter: str) -> bool:
    return letter in _JOINERS or unicodedata.category(letter) not in _HIDDEN


def _escaped(letter: str) -> str:
    return letter.encode("unicode-escape", "backslashreplace").decode("ascii")


def _write(text: str, err: bool, stream: TextIO | None = None) -> None:
    stream = stream or (sys.stderr if err else sys.stdout)
    stream.write(_encodable(text, stream))
    stream.flush()


def _encodable(text: str, stream: TextIO) -> str:
    """Return `text` with another sign for each character that the stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "feredge-signs").decode(encoding)


def _with_signs(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end].translate(_PLAIN_SIGNS)
    return "".join(letter if letter.isascii() else "?" for letter in lacking), error.end


codecs.register_error("feredge-signs", _with_signs)
