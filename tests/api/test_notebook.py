"""A notebook: the whole way from pictures to the file that fits, by functions alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


def test_train_export_benchmark_select(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards all that a notebook does against needing the command line, and what each function returns."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    trained, exported, table, chosen = (names[name] for name in ("trained", "exported", "table", "chosen"))
    assert trained.test_images == 35 and len(trained.to_dataframe()) == 1
    assert [path.name for path in exported.files] == ["dense.float32.onnx", "dense.int8.onnx"]
    assert list(exported.to_dataframe()["precision"]) == ["float32", "int8"] and not exported.failures
    assert names["checked"].failures == ()
    assert list(table.index) == ["float", "dense.float32.onnx", "dense.int8.onnx"]
    assert (table["median_ms"] > 0).all() and names["measured"].page.is_file()
    assert chosen.winner is not None and chosen.winner.name == "dense.int8.onnx"
    assert list(chosen.to_dataframe()["selected"]) == [True, False]
