"""A notebook: the whole way from pictures to the file that fits, by functions alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import feredge

pytest.importorskip("tensorflow")

TINY = """
[network]
stem = 8
stem_stride = 2
channels = [8]
blocks = [1]

[training]
warmup_epochs = 0.0

[compression]
variants = ["dense"]
"""


def test_train_export_benchmark_select(tmp_path: Path) -> None:
    """Guards all that a notebook does against needing the command line, and what each function returns."""
    (tmp_path / "tiny.toml").write_text(TINY)
    trained = feredge.train(
        tmp_path / "tiny.toml",
        "drawn:350",
        out=tmp_path / "run",
        overrides={"training.epochs": 1, "training.batch_size": 64},
    )
    assert trained.test_images == 35 and len(trained.to_dataframe()) == 1
    exported = feredge.export(trained.run.path, files=["float32.onnx", "int8.onnx"], calibration_images=128)
    assert [path.name for path in exported.files] == ["dense.float32.onnx", "dense.int8.onnx"]
    assert list(exported.to_dataframe()["precision"]) == ["float32", "int8"] and not exported.failures
    assert feredge.verify(trained.run.path).failures == ()
    measured = feredge.benchmark(trained.run.path, effort="quick", baselines=False, faces=False)
    table = measured.to_dataframe().set_index("name")
    assert list(table.index) == ["float", "dense.float32.onnx", "dense.int8.onnx"]
    assert (table["median_ms"] > 0).all() and measured.page.is_file()
    chosen = feredge.select(trained.run.path, max_kb=table.loc["dense.int8.onnx", "size_bytes"] / 1000)
    assert chosen.winner is not None and chosen.winner.name == "dense.int8.onnx"
    assert list(chosen.to_dataframe()["selected"]) == [True, False]
