"""What tests of several rooms share: the smallest model, and one tiny run, trained and exported once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from device_models import card, write_onnx
from hypothesis import HealthCheck, settings
from tiny_export import SMALL, one_thread, with_recipe
from tiny_training import stripes

from feredge.inference.artifact import Manifest
from feredge.run import RunFolder

# On a busy machine an example takes any time, and that says nothing about the code.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")
os.environ.setdefault("FEREDGE_DEBUG_PASSES", "1")  # also of the worker processes


@pytest.fixture(scope="session")
def small_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest ONNX model with a card."""
    return write_onnx(tmp_path_factory.mktemp("model") / "small.onnx", with_card=card())


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Give a trained run of SMALL on `stripes()`; tests that write into it copy it first."""
    from feredge.train import train

    return train(SMALL, stripes(), tmp_path_factory.mktemp("export") / "trained")


@pytest.fixture(scope="session")
def exported(trained: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Manifest]:
    """Give the same run with every file of it written, by worker processes as in real use."""
    from feredge.export import export

    run = with_recipe(trained, tmp_path_factory.mktemp("export") / "exported", SMALL)
    return run, export(run, stripes())


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `export` convert in this process."""
    from feredge.export import exporter

    monkeypatch.setattr(exporter, "process_pool", one_thread)
