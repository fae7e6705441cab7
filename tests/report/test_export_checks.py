"""The sections on layer error and runtime parity, from the JSON files of an export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from feredge.benchmark.results import Results
from feredge.inference.artifact import LAYERS_FILE, RUNTIMES_FILE
from feredge.report.export_checks import layer_error, runtime_parity
from feredge.report.page import to_html

LAYER_ERRORS = {
    "dense.int8.onnx": [
        {"layer": "stem_<conv>", "mse": 1e-3, "sqnr_db": 30.0, "alone_mse": 2e-5, "alone_sqnr_db": 40.0},
        {"layer": "logits", "mse": 1e-4, "sqnr_db": None, "alone_mse": 0.0, "alone_sqnr_db": None},
    ]
}
RUNTIME_PARITY = {
    "schema": 1,
    "images": 96,
    "artifacts": {
        "dense.int8.onnx": {
            "onnxruntime": {"agreement": 0.9896, "max_difference": 0.0625},
            "opencv-dnn": {"failed": 'no "kernel"'},
        }
    },
}


def test_layers_and_runtimes_are_sections(results: Results, tmp_path: Path) -> None:
    """Guards the sections: names escaped, the reason of a failed runtime, no bar for an exact layer."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    assert layer_error(folder) == runtime_parity(folder) == ""
    (folder / LAYERS_FILE).write_text(json.dumps(LAYER_ERRORS))
    (folder / RUNTIMES_FILE).write_text(json.dumps(RUNTIME_PARITY))
    page = to_html(results, run_folder=tmp_path)
    assert "stem_<wbr>&lt;conv&gt;" in page and "2.0e-05" in page and layer_error(folder).count("whisker bar") == 1
    assert "99.0% <small>0.06</small>" in page and 'title="no &#34;kernel&#34;"' in page


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 3}', '{"artifacts": [1]}', '{"a": [1, {"x": 2}]}'])
def test_invalid_files_give_no_section(tmp_path: Path, text: str) -> None:
    """Guards the page against invalid files: it is written without the section."""
    (tmp_path / LAYERS_FILE).write_text(text)
    (tmp_path / RUNTIMES_FILE).write_text(text)
    assert layer_error(tmp_path) == runtime_parity(tmp_path) == ""
