"""Pages of the documentation that are written from the code: mkdocs calls the hooks below."""

from __future__ import annotations

import inspect

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

FUNCTIONS_PAGE = "reference/api.md"


def commands_page() -> str:
    """Return the help of every command as Markdown."""
    from feredge.cli import main

    context = click.Context(main, info_name="feredge")
    lines = ["# Commands", "", inspect.cleandoc(main.help or ""), ""]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        lines += _command_section(command, click.Context(command, info_name=name, parent=context))
    return "\n".join(lines)


def _command_section(command: click.Command, context: click.Context) -> list[str]:
    lines = [f"## {context.command_path}", "", "```text", command.get_help(context), "```", ""]
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            lines += _command_section(child, click.Context(child, info_name=name, parent=context))
    return lines


def function_names() -> list[str]:
    """Return the full names of the public functions and classes, where they are defined."""
    import feredge
    from feredge.callable_module import CallableModule

    def full_name(name: str) -> str:
        value = getattr(feredge, name)
        return value.target.replace(":", ".") if isinstance(value, CallableModule) else f"{value.__module__}.{name}"

    return [full_name(name) for name in feredge.__all__ if callable(getattr(feredge, name))]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of the commands."""
    files.append(File.generated(config, "reference/commands.md", content=commands_page()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Add the public names to the page of the functions."""
    if page.file.src_uri != FUNCTIONS_PAGE:
        return markdown
    return markdown + "\n".join(f"::: {name}\n" for name in function_names())
