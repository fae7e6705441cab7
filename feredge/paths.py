"""What a path or name is: a run, export, model file, named model, foreign network, results file, study or bundle.

Every command asks `require`, so that a path means the same to all of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from feredge.errors import ArtifactError, RunError
from feredge.inference.artifact import MODEL_FORMATS
from feredge.inference.model_paths import exported_folder, locate
from feredge.run import RunFolder

MODEL_SUFFIXES = tuple(f".{kind}" for kind in MODEL_FORMATS)
KERAS_SUFFIXES = (".h5", ".hdf5", ".keras")
SAVED_MODEL_FILE = "saved_model.pb"
RESULTS_SUFFIX = ".json"
STUDY_FILE = "study.json"
BUNDLE_FILE = "bundle.json"


@dataclass(frozen=True)
class KnownPath:
    """A path of a known kind; `description` is the kind in error messages."""

    path: Path
    description: ClassVar[str]


@dataclass(frozen=True)
class RunPath(KnownPath):
    """A run folder: it holds `recipe.toml` and `data.json`, and its exported files in `artifacts`."""

    description: ClassVar[str] = "a run folder"

    @property
    def run(self) -> RunFolder:
        """The run folder's files."""
        return RunFolder(self.path)


@dataclass(frozen=True)
class ExportPath(KnownPath):
    """A folder of exported files: it holds `manifest.json`."""

    description: ClassVar[str] = "a folder of exported files"


@dataclass(frozen=True)
class ModelFile(KnownPath):
    """An `.onnx`, `.ort`, `.tflite` or `.c` file, of feredge or of anyone else."""

    description: ClassVar[str] = "a model file (.onnx, .ort, .tflite, .c)"


@dataclass(frozen=True)
class ForeignNetwork(KnownPath):
    """A Keras file (`.h5`, `.hdf5`, `.keras`), or the folder of a SavedModel."""

    description: ClassVar[str] = "a Keras file or SavedModel"


@dataclass(frozen=True)
class ResultsFile(KnownPath):
    """The results of a benchmark: a `.json` file; of a folder that holds nothing else known, its `results.json`."""

    description: ClassVar[str] = "a results file"


@dataclass(frozen=True)
class StudyPath(KnownPath):
    """A study folder of `feredge search`: it holds `study.json`."""

    description: ClassVar[str] = "a study folder"


@dataclass(frozen=True)
class BundlePath(KnownPath):
    """A folder of `feredge bundle --for`: it holds `bundle.json`."""

    description: ClassVar[str] = "a bundle"


@dataclass(frozen=True)
class NamedModel(KnownPath):
    """A reference model by its name; `path` is its folder of exported files, or its file in the package."""

    name: str

    description: ClassVar[str] = "a name of `feredge models`"

    @property
    def location(self) -> ExportPath | ModelFile:
        """The same as a path."""
        return ExportPath(self.path) if self.path.is_dir() else ModelFile(self.path)


AnyPath = RunPath | ExportPath | ModelFile | NamedModel | ForeignNetwork | ResultsFile | StudyPath | BundlePath
Kind = TypeVar("Kind", bound=KnownPath)


def resolve(target: str | os.PathLike[str]) -> AnyPath | None:
    """Return what a path or a reference model's name is; None for anything else.

    A path that exists goes before a name. A folder with a manifest is an export, also where a recipe and the data's
    description stand beside the files. An export that was killed between its two renames is completed first.
    """
    path = locate(target)
    if path is None:
        return None
    if path != Path(target):
        return NamedModel(path, str(target))
    return _resolve_folder(path) if path.is_dir() else _resolve_file(path)


def _resolve_folder(path: Path) -> AnyPath | None:
    if (path / BUNDLE_FILE).is_file():
        return BundlePath(path)
    run = RunFolder(path)
    exported = exported_folder(path)
    if exported != path and run.recipe_file.is_file() and run.data_file.is_file():
        return RunPath(path)
    if exported is not None:
        return ExportPath(exported)
    if (path / STUDY_FILE).is_file():
        return StudyPath(path)
    if (path / SAVED_MODEL_FILE).is_file():
        return ForeignNetwork(path)
    return ResultsFile(run.results) if run.results.is_file() else None


def _resolve_file(path: Path) -> AnyPath | None:
    if path.suffix in MODEL_SUFFIXES:
        return ModelFile(path)
    if path.suffix in KERAS_SUFFIXES:
        return ForeignNetwork(path)
    return ResultsFile(path) if path.suffix == RESULTS_SUFFIX else None


def require(target: str | os.PathLike[str], *kinds: type[Kind]) -> Kind:
    """Return what `target` is, which must be one of `kinds`.

    A reference model's name counts as its folder or file.

    Raises:
        RunError: something else, where a run or a study is among `kinds`.
        ArtifactError: something else.
    """
    resolved = resolve(target)
    located = resolved.location if isinstance(resolved, NamedModel) and NamedModel not in kinds else resolved
    if isinstance(located, kinds):
        return located
    *first, last = [kind.description for kind in kinds]
    expected = f"{', '.join(first)} or {last}" if first else last
    error = RunError if {RunPath, StudyPath} & {*kinds} else ArtifactError
    raise error(f"{Path(target)}: expected {expected}, found {_describe(Path(target), resolved)}")


def _describe(path: Path, resolved: AnyPath | None) -> str:
    if resolved is not None:
        return resolved.description
    if not os.path.exists(path):  # noqa: PTH110
        return "none"
    if path.is_dir():
        return "another folder" if any(path.iterdir()) else "an empty folder"
    return f"another file ({path.suffix})" if path.suffix else "another file"
