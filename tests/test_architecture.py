"""ARCHITECTURE.md and the other documents: every path that they name exists, and every room is in the tree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_imports import ORDER

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "SECURITY.md")
MAX_LINES = 250
TREE_LINE = re.compile(r"^ {4}(?P<indent> *)(?P<name>[\w.]+(?:\.py|/))(?:\s|$)")


def tree_paths(text: str) -> list[Path]:
    """Return the paths of the annotated tree, from the names and their indentation."""
    paths, parents = [], {0: Path()}
    for line in text.partition("## The tree")[2].partition("\n## ")[0].splitlines():
        if match := TREE_LINE.match(line):
            depth = len(match["indent"]) // 2
            paths.append(parents[depth] / match["name"])
            parents[depth + 1] = paths[-1]
    return paths


def test_the_tree_is_that_of_the_repository() -> None:
    """Guards the annotated tree: every entry exists, and every room of the package is an entry."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    paths = tree_paths(text)
    assert len(paths) > 80 and len(text.splitlines()) <= MAX_LINES
    assert [str(path) for path in paths if not (ROOT / path).exists()] == []
    rooms = {path.name for path in (ROOT / "feredge").iterdir() if (path / "__init__.py").is_file()}
    assert rooms <= {path.name for path in paths if path.parent == Path("feredge")}


def test_the_order_of_imports_is_that_of_the_test() -> None:
    """Guards the list of rooms in ARCHITECTURE.md against another order than the enforced one."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.partition("## Imports")[2].partition("\n* ")[0]
    names = re.findall(r"\w+", "".join(line for line in section.splitlines() if line.startswith("    ")))
    assert tuple(names) == ORDER


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_in_documents_exist(document: str) -> None:
    """Guards paths in text and links against files that were renamed."""
    text = (ROOT / document).read_text(encoding="utf-8")
    names = set(re.findall(r"\b(?:feredge|tests|tools|benchmarks|docs|models)/[\w./-]*\w/?", text))
    names |= set(re.findall(r"\]\(([^)#:]+)\)", text))
    assert names and sorted(name for name in names if not (ROOT / name).exists()) == []
