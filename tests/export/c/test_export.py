"""C libraries in an export: verified, in the manifest, with their header, and re-checked."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tiny_export import SMALL, one_thread, with_recipe
from tiny_training import stripes

from feredge import files
from feredge.errors import ArtifactError
from feredge.export import exporter
from feredge.export.c.runner import open_c_library
from feredge.inference.artifact import Manifest
from feredge.inference.runtimes import open_checked
from feredge.inspection import recheck
from feredge.recipes.schema import Export
from feredge.run import RunFolder


@pytest.fixture(scope="module")
def exported(trained: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Export a tiny run's int8 network to TFLite and to C."""
    run = with_recipe(trained, tmp_path_factory.mktemp("exported") / "run", SMALL)
    settings = Export(("int8.tflite", "int8.c"), calibration_images=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "process_pool", one_thread)
        exporter.export(run, stripes(), settings=settings, variants=("dense",))
    return run


def test_the_manifest_has_it(exported: RunFolder) -> None:
    """Guards the verification on every image, and the memory that `select` reads."""
    manifest = Manifest.read(exported.artifacts)
    tflite, library = manifest.entries
    assert library.file == "dense.int8.c" and not manifest.failures
    assert library.verification["agreement"] == tflite.verification["agreement"]
    assert library.verification["largest"] == tflite.verification["largest"]
    assert library.facts["arena_bytes"] > 1000 and library.facts["constant_bytes"] > 100
    assert (exported.artifacts / "dense.int8.h").read_text() in (exported.artifacts / "dense.int8.c").read_text()


def test_verify_checks_it(exported: RunFolder, tmp_path: Path) -> None:
    """Guards `feredge verify`: the library answers as at its export; a changed one is not run."""
    assert [check.failure for check in recheck.recheck(exported.artifacts)] == ["", ""]
    path = exported.artifacts / "dense.int8.c"
    changed = tmp_path / "dense.int8.c"
    files.write_text(changed, path.read_text().replace("int best = 0;", "int best = 1;"))
    with pytest.raises(ArtifactError, match="expected the code that this version of feredge generates"):
        open_checked(changed)


def test_another_arithmetic(exported: RunFolder, trained: RunFolder, tmp_path: Path) -> None:
    """Guards the recipe's key `export.c_arithmetic`."""
    run = with_recipe(trained, tmp_path / "run", SMALL)
    settings = dataclasses.replace(Export(("int8.c",), calibration_images=64), c_arithmetic="tflm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "process_pool", one_thread)
        exporter.export(run, stripes(), settings=settings, variants=("dense",))
    text = (run.artifacts / "dense.int8.c").read_text()
    assert "\n   arithmetic: tflm\n" in text and "float scale" not in text
    assert open_c_library(run.artifacts / "dense.int8.c").predict(stripes(70, seed=5).images).shape == (70, 7)
