"""PyInstaller's hook for programs that use the Predictor or `feredge.track`."""

from __future__ import annotations

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """Return the folder with `hook-feredge.py`: the entry point `pyinstaller40`."""
    return [str(Path(__file__).parent)]
