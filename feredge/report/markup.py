"""The pieces of HTML that the page's sections are put together from. Text is escaped here, and once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from importlib import resources

from feredge.bench.results import Row
from feredge.bench.words import VERDICTS


def document(title: str, body: str) -> str:
    """Return a page that carries its style inside. `title` is text, `body` is HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)} · feredge</title>\n<style>{resource('page.css')}</style>\n</head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )


def section(name: str, title: str, body: str, *, lead: str = "") -> str:
    """Return a section under a heading. `title` and `lead` are text, `body` is HTML."""
    words = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    heading = f'<h2 id="{name}-title">{escape(title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-title">{heading}{words}{body}</section>'


def scroll(label: str, table: str) -> str:
    """Return a table in a box that scrolls sideways, by keyboard too."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">{table}</div>'


def table(headings: Iterable[str], rows: Iterable[str], *, style: str) -> str:
    """Return a table. `headings` are text, `rows` are HTML."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    return f'<table class="{style}"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def line(name: str, *cells: str) -> str:
    """Return a table row: a file's name, then cells of HTML, each in its own td unless it brings one."""
    rest = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row">{breakable(name)}</th>{rest}</tr>'


def facts(*pairs: tuple[str, str]) -> str:
    """Return names and values, as text, in columns."""
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="facts">{items}</dl>'


def breakable(name: str) -> str:
    """Let a long name break after its dots, bars and slashes."""
    return re.sub(r"(?<=[._/])(?=.)", "<wbr>", escape(name, quote=False))


def pill(row: Row) -> str:
    """Return the verdict as a word with a mark of its own shape and colour."""
    if row.failure is not None:
        return f'<span class="pill failed" title="{escape(row.failure)}">failed</span>'
    if row.drop is None:
        return '<span class="pill">the yardstick</span>' if row.kind == "float" else ""
    kind, words = VERDICTS[row.drop.verdict]
    return f'<span class="pill {kind}">{words}</span>'


def resource(name: str) -> str:
    """Return the text of a file that stands beside this module."""
    return resources.files("feredge.report").joinpath(name).read_text(encoding="utf-8")
