"""Templates of generated files: text with placeholders, `@NAME@` or `$NAME`."""

from __future__ import annotations

import re

PLACEHOLDER = re.compile(r"@([A-Z_]+)@")
DOLLAR_PLACEHOLDER = re.compile(r"\$([A-Z_]+)\b")
TEXT_LENGTH = 400


def fill(text: str, values: dict[str, str]) -> str:
    """Return a template with its placeholders replaced; a placeholder inside a value stays."""
    return PLACEHOLDER.sub(lambda match: values[match[1]], text)


def fill_dollars(text: str, values: dict[str, str]) -> str:
    """Likewise for `$NAME`; `${...}` and `$(...)` stay, which are JavaScript's."""
    return DOLLAR_PLACEHOLDER.sub(lambda match: values[match[1]], text)


def plain_text(text: str) -> str:
    """Return a card's text for comments and documents: printable ASCII that ends no comment, table cell or line."""
    return re.sub(r"[^\w ,.+-]", "_", text, flags=re.ASCII)[:TEXT_LENGTH]
