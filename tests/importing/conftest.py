"""What tests of importing share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class _ThisProcess:
    """In place of a child process, which takes seconds to import TensorFlow."""

    def __init__(self, *arguments: object, **options: object) -> None: ...

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None: ...

    def call(self, function: Callable[..., Any], subject: object, **arguments: Any) -> Any:
        """Call the function as a child does: paths arrive as text."""
        return function(**{key: str(item) if isinstance(item, Path) else item for key, item in arguments.items()})


@pytest.fixture
def childless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files be opened in this process."""
    monkeypatch.setattr("feredge.importing.onnx.network.ChildProcess", _ThisProcess)
