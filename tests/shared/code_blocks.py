"""The code blocks of README and docs/, for the test that reads them and the tool that executes them."""

from __future__ import annotations

import re
from pathlib import Path

BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def code_blocks(page: Path) -> list[tuple[str, str]]:
    """Return language and text of every code block of a Markdown page; the language is empty for shell commands."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))
