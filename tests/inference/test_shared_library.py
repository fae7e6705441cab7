"""Compiled libraries in the Predictor: only by their own path, and only if a manifest names their digest."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import feredge
from feredge import Predictor, files
from feredge.errors import ArtifactError, FeredgeError
from feredge.export.c.artifact_file import c_artifact
from feredge.export.c.compiler import compile_library, has_compiler
from feredge.inference.artifact import Entry, Manifest
from feredge.inference.embedded_card import read_card
from feredge.inference.runtimes import open_artifact, open_model
from feredge.inspection.probes import probe_images
from feredge.inspection.recheck import recheck

NANO = Path(__file__).parents[2] / "models/nano/dense.int8.tflite"
pytestmark = pytest.mark.skipif(not has_compiler(), reason="no C compiler")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`models/nano` compiled for this machine, with its manifest; do not change it."""
    folder = tmp_path_factory.mktemp("library")
    card = read_card(NANO)
    text, code = c_artifact(NANO.read_bytes(), card, "xnnpack")
    (folder / "nano.c").write_text(text)
    path = folder / "dense.int8.so"
    compile_library(folder / "nano.c", path)
    (folder / "nano.c").unlink()
    facts = {"arena_bytes": code.arena.bytes}
    Manifest((Entry(path.name, files.sha256(path), path.stat().st_size, card, facts=facts),)).write(folder)
    return path


def test_the_predictor_answers_as_litert(library: Path) -> None:
    """Guards the answers, also of a batch, for which the Predictor opens the library several times at once."""
    images = probe_images(read_card(NANO).contract)
    expected = open_artifact(NANO).predict(images)
    with Predictor(library, threads=4) as predictor:
        assert [face.label for face in predictor.batch(images[:48])] == [
            predictor.classes[row.argmax()] for row in expected[:48]
        ]
    runners = [open_model(library) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for outputs in pool.map(lambda runner: runner.predict(images), runners):
            np.testing.assert_array_equal(outputs, expected)


def without_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def changed(folder: Path) -> None:
    with (folder / "dense.int8.so").open("ab") as file:
        file.write(b"x")


def renamed(folder: Path) -> None:
    (folder / "dense.int8.so").rename(folder / "other.so")


def without_size(folder: Path) -> None:
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"arena_bytes"', '"other"'))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_manifest, "expected manifest.json beside a compiled library, which is native code"),
        (changed, "expected SHA-256"),
        (renamed, "expected a file listed in manifest.json"),
        (without_size, "expected arena_bytes in manifest.json"),
    ],
)
def test_a_foreign_library_is_never_loaded(
    library: Path, tmp_path: Path, change: Callable[[Path], None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against native code that no manifest names."""
    for path in library.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    change(tmp_path)
    monkeypatch.setattr("ctypes.CDLL", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(ArtifactError, match=message):
        Predictor(next(tmp_path.glob("*.so")))


def test_folders_and_other_commands_load_no_library(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against native code in a folder from elsewhere, whose manifest names it."""
    monkeypatch.setattr("ctypes.CDLL", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(ArtifactError, match="expected artifacts, found none"):
        Predictor(library.parent)
    with pytest.raises(ArtifactError, match="found native code, which is not run"):
        feredge.inspect(library)
    with pytest.raises(FeredgeError, match="found another file"):
        feredge.benchmark(library)
    with pytest.raises(ArtifactError, match=r"expected \.onnx, \.ort, \.tflite or \.c"):
        open_artifact(library)
    failures = [check.failure for check in recheck(library.parent) if check.file == library.name]
    assert "found native code that is not run" in failures[0]
