"""Tables and JSON of the commands: one look, no line wider than the terminal, and values for programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from feredge import console
from feredge.cli import COMMAND_SUMMARIES, main

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "nano.json"
TABLES = (
    ["models"],
    ["inspect", "nano"],
    ["data", "info", "drawn:70"],
    ["data", "check", "drawn:70"],
    ["select", str(RESULTS), "--max-kb", "95"],
    ["report", str(RESULTS)],
)
WITHOUT_TABLE = {"bundle", "export", "label", "plots", "search", "serve", "soft-labels", "submit", "track", "train"}
"""Commands that print lines of progress and results, but no table."""


def run(*arguments: str, columns: int = 70, **options: Any) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(main, list(arguments), **options)


@pytest.mark.parametrize("rich", [True, False], ids=["rich", "plain"])
@pytest.mark.parametrize("arguments", TABLES, ids=lambda arguments: " ".join(arguments[:2]))
def test_no_line_is_wider_than_the_terminal(arguments: list[str], rich: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards narrow terminals, with rich and, for what the device side prints, without it."""
    if not rich:
        if arguments[0] == "report":
            pytest.skip("the table of results needs rich")
        monkeypatch.setitem(sys.modules, "rich", None)
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    sentences = "SHA-256 ", "qat."  # a digest, and the file that `select` chose: whole lines, outside of tables
    lines = [line.rstrip() for line in done.stdout.splitlines() if not line.startswith(sentences)]
    assert len(lines) > 2 and max(map(len, lines)) <= 70


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["recipes"], None),
        (["models"], {"name", "file", "bytes"}),
        (["inspect", "nano"], {"file", "classes", "weights"}),
        (["select", str(RESULTS), "--max-kb", "95"], {"selected", "rejected", "all_throttled"}),
        (["report", str(RESULTS)], {"rows", "machine", "data"}),
        (["verify", "nano"], {"checks", "not_exported"}),
        (["doctor", "--no-export"], {"section", "name", "status", "detail", "remedy"}),
    ],
)
def test_json_is_all_that_is_printed(arguments: list[str], keys: set[str] | None) -> None:
    """Guards programs that parse standard output."""
    done = run(*arguments, "--json")
    value = json.loads(done.stdout)
    if keys is not None:
        assert keys <= set(value[0] if isinstance(value, list) else value)


def test_select_says_the_same_in_json() -> None:
    """Guards the exit code, and the reasons of a budget that nothing fits."""
    done = run("select", str(RESULTS), "--max-kb", "10", "--json")
    value = json.loads(done.stdout)
    assert done.exit_code == 1 and value["selected"] is None and "10" in value["rejected"][0]["reason"]


@pytest.mark.parametrize("name", sorted(set(COMMAND_SUMMARIES) - WITHOUT_TABLE))
def test_commands_with_a_table_have_json(name: str) -> None:
    """Guards new commands: each has --json, or is listed here as one without a table."""
    command = main.get_command(click.Context(main), name)
    assert command is not None
    commands = command.commands.values() if isinstance(command, click.Group) else [command]
    assert all(any("--json" in option.opts for option in one.params) for one in commands)


@pytest.mark.parametrize("rich", [True, False], ids=["rich", "plain"])
def test_cells_cannot_steer_the_terminal(
    rich: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards names from files in tables: escapes, rich's markup, and newlines."""
    if not rich:
        monkeypatch.setitem(sys.modules, "rich", None)
    console.echo_table(("name", "n"), [("\x1b[2Ja[red]b[/red]\nc", 1), ("d", 22)], right=("n",))
    out = capsys.readouterr().out
    assert "\x1b[2J" not in out and "\\x1b[2Ja[red]b[/red]\\nc" in out
