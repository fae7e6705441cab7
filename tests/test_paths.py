"""What a path or name is, for every command."""

from __future__ import annotations

from pathlib import Path

import pytest

from feredge import paths
from feredge.errors import ArtifactError, FeredgeError, RunError
from feredge.inference.runtimes import DEFAULT_MODEL
from feredge.paths import ExportPath, ForeignNetwork, KnownPath, ModelFile, NamedModel, ResultsFile, RunPath

KINDS = {
    "run": ("recipe.toml", "data.json"),
    "export": ("manifest.json",),
    "model": ("manifest.json", "recipe.toml", "data.json", "results.json"),
    "saved": ("saved_model.pb",),
    "bench": ("results.json", "results.npz"),
    "copied": ("artifacts/manifest.json", "results.json"),
    "other": ("letter.txt",),
    "empty": (),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders and files of every kind, in the working folder; reference models of their own."""
    for name, files in KINDS.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).parent.mkdir(exist_ok=True)
            (tmp_path / name / file).touch()
    for file in ("a.onnx", "a.ort", "a.tflite", "a.h5", "a.hdf5", "a.keras", "a.json", "a.txt"):
        (tmp_path / file).touch()
    (tmp_path / "zoo" / "tiny").mkdir(parents=True)
    (tmp_path / "zoo" / "tiny" / "manifest.json").touch()
    monkeypatch.setenv("FEREDGE_MODELS", str(tmp_path / "zoo"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("run", RunPath),
        ("export", ExportPath),
        ("model", ExportPath),
        ("saved", ForeignNetwork),
        ("bench", ResultsFile),
        ("copied", ExportPath),
        ("a.onnx", ModelFile),
        ("a.ort", ModelFile),
        ("a.tflite", ModelFile),
        ("a.h5", ForeignNetwork),
        ("a.hdf5", ForeignNetwork),
        ("a.keras", ForeignNetwork),
        ("a.json", ResultsFile),
        ("tiny", NamedModel),
        ("other", type(None)),
        ("empty", type(None)),
        ("a.txt", type(None)),
        ("nothing", type(None)),
        ("n" * 300, type(None)),
    ],
)
def test_every_kind_is_told_apart(folder: Path, target: str, kind: type) -> None:
    """Guards one meaning of a path for all commands, as text and as a path."""
    assert type(paths.resolve(target)) is kind
    assert paths.resolve(Path(target)) == paths.resolve(target)


def test_what_exists_goes_before_a_name(folder: Path) -> None:
    """Guards a user's own folder against a reference model of the same name."""
    assert paths.resolve("tiny") == NamedModel(folder / "zoo" / "tiny", "tiny")
    Path("export").rename("tiny")
    assert paths.resolve("tiny") == ExportPath(Path("tiny"))


def test_a_name_counts_as_its_folder_or_file(folder: Path) -> None:
    """Guards commands that take exports against an extra rule for names."""
    assert paths.require("tiny", ExportPath) == ExportPath(folder / "zoo" / "tiny")
    assert isinstance(paths.require("tiny", NamedModel), NamedModel)
    assert NamedModel(DEFAULT_MODEL, "nano").location == ModelFile(DEFAULT_MODEL)


def test_an_export_that_was_killed_between_its_renames_is_completed(folder: Path) -> None:
    """Guards `artifacts.new` of a killed export, by the run's path and by its own."""
    for target in ("run", "run/artifacts"):
        (folder / "run" / "artifacts.new").mkdir()
        (folder / "run" / "artifacts.new" / "manifest.json").touch()
        assert paths.resolve(target) is not None
        Path("run/artifacts/manifest.json").unlink()
        Path("run/artifacts").rmdir()


@pytest.mark.parametrize(
    ("target", "kinds", "error", "message"),
    [
        ("nothing", (RunPath,), RunError, "nothing: expected a run folder, found none"),
        ("empty", (RunPath,), RunError, "empty: expected a run folder, found an empty folder"),
        ("other", (ExportPath,), ArtifactError, "other: expected a folder of exported files, found another folder"),
        (
            "a.txt",
            (RunPath, ResultsFile),
            RunError,
            "a.txt: expected a run folder or a results file, found another file (.txt)",
        ),
        (
            "a.h5",
            (RunPath, ExportPath, ModelFile),
            RunError,
            "a.h5: expected a run folder, a folder of exported files or a model file (.onnx, .ort, .tflite, .c), "
            "found a Keras file or SavedModel",
        ),
        (
            "run",
            (ModelFile,),
            ArtifactError,
            "run: expected a model file (.onnx, .ort, .tflite, .c), found a run folder",
        ),
        ("tiny", (RunPath,), RunError, "tiny: expected a run folder, found a name of `feredge models`"),
    ],
)
def test_another_kind_is_one_line(
    folder: Path, target: str, kinds: tuple[type[KnownPath], ...], error: type[FeredgeError], message: str
) -> None:
    """Guards the line that says what was expected and what was found."""
    with pytest.raises(error) as caught:
        paths.require(target, *kinds)
    assert str(caught.value) == message
