"""The smallest model, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from device_models import card, write_onnx


@pytest.fixture(scope="session")
def small_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest ONNX model with a card."""
    return write_onnx(tmp_path_factory.mktemp("model") / "small.onnx", with_card=card())
