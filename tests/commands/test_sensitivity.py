"""`feredge sensitivity`: what it does before it works."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import feredge.recipes as recipes
from feredge import files
from feredge.cli import main
from feredge.data.drawn import drawn
from feredge.run import RunFolder


@pytest.mark.parametrize("text", ["", "[]"])
def test_other_text_in_the_place_of_its_tables_is_said_at_once(tmp_path: Path, text: str) -> None:
    """Guards minutes of work whose outcome could not be kept, and what somebody else has put there."""
    run = RunFolder.claim(tmp_path / "run", recipes.load("demo"), drawn(70))
    files.write_text(run.training, "{}")
    files.write_text(run.artifacts / "layers.json", text)
    found = CliRunner().invoke(main, ["sensitivity", str(run.path)])
    assert found.exit_code == 2 and run.artifacts.joinpath("layers.json").read_text() == text
    expected = "expected tables of layers, found something else; remove it"
    assert found.stderr == f"error: {run.artifacts / 'layers.json'}: {expected}\n"
