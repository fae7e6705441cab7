"""PyInstaller's hook: where it is, and that it names what is there."""

from __future__ import annotations

import ast
import importlib
import tomllib
from pathlib import Path

from feredge import __pyinstaller

ROOT = Path(__file__).parents[1]


def test_hook() -> None:
    """Guards the entry point, and the names in the hook against modules that moved."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pyinstaller40"] == {"hook-dirs": "feredge.__pyinstaller:get_hook_dirs"}
    (folder,) = __pyinstaller.get_hook_dirs()
    tree = ast.parse((Path(folder) / "hook-feredge.py").read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    modules = sorted(text for text in texts if text.startswith("feredge."))
    assert "feredge.api.tracking" in modules and [importlib.import_module(name) for name in modules]
    assert list((ROOT / "feredge").glob("models/*.onnx"))
