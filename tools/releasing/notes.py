"""Release notes: a version's section of CHANGELOG.md, or a draft of it from the fragments in changes/."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DRAFT_DATE = "not released yet"
"""In the place of a date, in the heading of a section that was written before its release."""


def changelog_text(root: Path) -> str:
    """Return CHANGELOG.md."""
    return (root / "CHANGELOG.md").read_text(encoding="utf-8")


def fragments(root: Path) -> list[Path]:
    """Return the fragments that no released version has yet."""
    return sorted(path for path in (root / "changes").glob("*.*.md") if path.is_file())


def changelog_section(root: Path, version: str) -> str | None:
    """Return the section of a version, without its heading; None if CHANGELOG.md has none."""
    pattern = rf"^## {re.escape(version)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)"
    match = re.search(pattern, changelog_text(root), re.MULTILINE | re.DOTALL)
    return match[1].strip() if match else None


def release_notes(root: Path, version: str) -> str:
    """Return the notes of a version, or a draft of them while there are fragments."""
    section = changelog_section(root, version) or ""
    if not fragments(root):
        return section
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", version]
    draft = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return f"{draft.strip()}\n\n{section}".strip()
