"""README and docs/: every command parses, every Python block compiles with public names, every internal link exists."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from pathlib import Path
from typing import TypeGuard

import click
import pytest
import yaml
from code_blocks import code_blocks

import feredge
from feredge.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
GENERATED_PAGES = {"reference/commands.md"}
MAX_README_WORDS = 900


def blocks(language: str) -> list[tuple[str, str]]:
    """Return page and text of every block in a language."""
    return [
        (str(page.relative_to(ROOT)), text) for page in PAGES for name, text in code_blocks(page) if name == language
    ]


def commands() -> list[tuple[str, str]]:
    """Return page and line of every command of feredge in a shell block, continued lines joined."""
    lines = [
        (page, line.strip())
        for page, text in [*blocks(""), *blocks("yaml")]
        for line in text.replace("\\\n", " ").splitlines()
    ]
    return [
        (page, line.removeprefix("- run:").strip())
        for page, line in lines
        if line.removeprefix("- run:").strip().startswith("feredge ")
    ]


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_documented_command_parses(page: str, line: str) -> None:
    """Guards the documentation against commands and options that are not there."""
    arguments = shlex.split(line, comments=True)[1:]
    command: click.Command = main
    context = click.Context(main, info_name="feredge")
    while isinstance(command, click.Group):
        name = arguments.pop(0)
        child = command.get_command(context, name)
        assert child is not None, f"{page}: no command {name}"
        command, context = child, click.Context(child, info_name=name, parent=context)
    parser = command.make_parser(context)
    values, rest, _ = parser.parse_args(arguments)
    required = {parameter.name for parameter in command.params if parameter.required and parameter.nargs == 1}
    assert not rest, f"{page}: {line}: {rest}"
    assert all(values.get(name) for name in required if name), f"{page}: {line}: {required}"


def programs() -> list[tuple[str, str]]:
    """Return name and text of every Python block, and of every example."""
    examples = sorted((ROOT / "examples").glob("*.py"))
    return [*blocks("python"), *((path.name, path.read_text(encoding="utf-8")) for path in examples)]


def is_public_attribute(node: ast.AST) -> TypeGuard[ast.Attribute]:
    """Return whether a node is `feredge.NAME`."""
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "feredge"


@pytest.mark.parametrize(("name", "text"), programs())
def test_every_program_uses_public_names_and_their_keywords(name: str, text: str) -> None:
    """Guards the examples against names and keyword arguments that `feredge` does not offer."""
    for node in ast.walk(ast.parse(text, name)):
        if isinstance(node, ast.ImportFrom) and node.module == "feredge":
            assert {alias.name for alias in node.names} <= set(feredge.__all__), name
        if is_public_attribute(node):
            assert node.attr in feredge.__all__, f"{name}: feredge.{node.attr}"
        if isinstance(node, ast.Call) and is_public_attribute(node.func):
            signature = inspect.signature(getattr(feredge, node.func.attr))
            keywords = {argument.arg: None for argument in node.keywords if argument.arg}
            signature.bind(*node.args, **keywords)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_internal_link_exists(page: Path) -> None:
    """Guards against links to pages that moved."""
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target = page.parent / link
        generated = any(str(target.resolve()) == str((ROOT / "docs" / name).resolve()) for name in GENERATED_PAGES)
        assert "://" in link or target.exists() or generated, link


def test_every_page_is_in_the_navigation() -> None:
    """Guards against pages that no reader would come upon."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    in_navigation = set(re.findall(r"[\w/-]+\.md", str(yaml.safe_load(text)["nav"])))
    assert in_navigation == {str(page.relative_to(ROOT / "docs")) for page in PAGES[1:]} | GENERATED_PAGES


def test_readme_is_one_page() -> None:
    """Guards README against becoming the manual, which docs/ is."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= MAX_README_WORDS
