"""What `feredge train` says at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import feredge.recipes as recipes
from feredge import files
from feredge.cli import main
from feredge.data.drawn import drawn
from feredge.run import RunFolder


@pytest.mark.parametrize(
    ("test", "words"),
    [({"accuracy": 0.5, "images": 10}, "50.00% of 10 test images"), (None, "no test images")],
)
def test_a_finished_run_says_how_good_it_is(tmp_path: Path, test: dict[str, Any] | None, words: str) -> None:
    """Guards the last line, also of a handful of images, of which none are left to test on."""
    run = RunFolder.claim(tmp_path / "run", recipes.load("demo"), drawn(70))
    files.write_json(run.training, {"weights": "ab" * 32, "test": test})
    found = CliRunner().invoke(main, ["train", "demo", "--data", "drawn:70", "--out", str(run.path)])
    assert (found.exit_code, found.stdout) == (0, f"trained: {words}, {run.path}\n")
