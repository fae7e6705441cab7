"""`feredge run`: the whole way from pictures to a page, and what a second start makes of what stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from feredge.benchmark import Results
from feredge.cli import main

pytest.importorskip("tensorflow")

RECIPE = """
[network]
stem = 8
stem_stride = 2
channels = [8]
blocks = [1]

[training]
epochs = 1
batch_size = 64
warmup_epochs = 0.0

[compression]
variants = ["dense"]

[export]
files = ["float32.onnx", "int8.onnx"]
calibration_images = 128
"""


def test_the_main_job(tmp_path: Path) -> None:
    """Guards the chain of train, export and benchmark, and that a second start does nothing twice."""
    (tmp_path / "tiny.toml").write_text(RECIPE)
    folder = tmp_path / "run"
    words = ["run", str(tmp_path / "tiny.toml"), "--data", "drawn:350", "--out", str(folder), "--quick", "--no-faces"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    results = Results.read(folder / "results.json")
    assert [row.name for row in results.rows][:3] == ["float", "dense.float32.onnx", "dense.int8.onnx"]
    assert [row.kind for row in results.rows][3:] == ["baseline", "baseline"]
    assert [row.failure for row in results.rows] == [None] * 5
    assert all(row.accuracy and row.main_latency for row in results.rows)
    trained = json.loads((folder / "training.json").read_text())["test"]["accuracy"]
    assert results.rows[0].accuracy and results.rows[0].accuracy.accuracy == pytest.approx(trained)
    assert (folder / "report.html").stat().st_size > 100_000, "it carries its style, script and pictures inside"
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 0 and again.output.splitlines()[-1] == done.output.splitlines()[-1]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == kept
