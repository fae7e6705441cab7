"""The command group: hints for what is mistyped, completion in shells, versions."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

import feredge
from feredge.cli import COMMAND_SUMMARIES, main


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["modles"], "expected a command, found 'modles'; did you mean 'models'?"),
        (["soft_labels"], "did you mean 'soft-labels'?"),
        (["data", "inf"], "expected a command, found 'inf'; did you mean 'info'?"),
        (["xyzzy\x1b[2J"], "found 'xyzzy\\x1b[2J'; known are baselines, bench, "),
        (["models", "--jsn"], "--json"),
        (["train", "nano", "--dta", "drawn"], "--data"),
    ],
)
def test_a_mistyped_name_gets_a_hint(arguments: list[str], hint: str) -> None:
    """Guards commands, those of a group, and options."""
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2 and hint in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("feredge tra", {"track", "train"}),
        ("feredge data ", {"check", "info"}),
        ("feredge models --j", {"--json"}),
        ("feredge train na", {"nano"}),
        ("feredge bogus ", set()),
    ],
)
def test_bash_is_offered_completions(typed: str, offered: set[str]) -> None:
    """Guards the completion that docs/guide/install.md describes, by the protocol of click's script for bash."""
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split(" ")) - 1), "_FEREDGE_COMPLETE": "bash_complete"}
    code = "from feredge.cli import main; main(prog_name='feredge')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **words}, capture_output=True, text=True, check=False
    )
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == offered or not offered
    assert done.stderr == ""


def test_versions_of_the_runtimes() -> None:
    """Guards the lines that a report of a bug needs, the first as other programs print it."""
    done = CliRunner().invoke(main, ["--version"])
    first, *others = done.stdout.splitlines()
    assert first == f"feredge, version {feredge.__version__}"
    assert {"python", "numpy", "onnxruntime"} <= {line.split()[0] for line in others}


def test_help_lists_every_command_within_the_width() -> None:
    """Guards help in a narrow terminal."""
    done = CliRunner().invoke(main, ["--help"], terminal_width=60)
    assert all(f"\n  {name} " in done.stdout for name in COMMAND_SUMMARIES)
    assert max(map(len, done.stdout.splitlines())) <= 60
