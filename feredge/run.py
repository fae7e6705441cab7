"""The run folder: the results of one recipe on one data set, in files with fixed names.

A step is complete when its last file exists: `training.json`, `artifacts/manifest.json`, `results.json`. It is written
atomically, after all files that it describes.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import feredge.recipes as recipes
from feredge import files
from feredge.callable_module import make_callable
from feredge.data.dataset import Dataset
from feredge.errors import RunError, one_line
from feredge.inference.artifact import MANIFEST_FILE, complete_interrupted_replacement
from feredge.inference.model_paths import ARTIFACTS_FOLDER
from feredge.recipes.schema import Recipe


@dataclass(frozen=True)
class RunFolder:
    """Paths and contents of one run."""

    path: Path

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe; `feredge train RUN/recipe.toml` trains it again."""
        return self.path / "recipe.toml"

    @property
    def data_file(self) -> Path:
        """Source, digest and counts of the data, excluded rows and dropped duplicates."""
        return self.path / "data.json"

    @property
    def checkpoint(self) -> Path:
        """The training state of an unfinished run."""
        return self.path / "checkpoint.npz"

    @property
    def history(self) -> Path:
        """Metrics of the epochs, one csv row each."""
        return self.path / "history.csv"

    @property
    def model(self) -> Path:
        """The float model with the input contract, as a legacy Keras file."""
        return self.path / "float.keras"

    @property
    def training(self) -> Path:
        """Final metrics and the digest of the weights; training is complete when it exists."""
        return self.path / "training.json"

    @property
    def predictions(self) -> Path:
        """The float model's probabilities of the test images, with labels and rows."""
        return self.path / "predictions.npz"

    @property
    def curves(self) -> Path:
        """Plot of loss and accuracy over the epochs."""
        return self.path / "curves.png"

    @property
    def confusion(self) -> Path:
        """Plot of the float model's confusion matrix on the test images."""
        return self.path / "confusion.png"

    @property
    def pictures(self) -> Path:
        """Folder of the plots of `feredge plots`."""
        return self.path / "pictures"

    @property
    def repeats(self) -> Path:
        """Run folders `seed-N` of the same recipe with other seeds, if the recipe repeats the training."""
        return self.path / "repeats"

    @property
    def spread(self) -> Path:
        """Mean and standard deviation of the metrics over the seeds."""
        return self.path / "repeats.json"

    @property
    def variants(self) -> Path:
        """Fine-tuned weights, one file for each variant."""
        return self.path / "variants"

    @property
    def artifacts(self) -> Path:
        """The exported files and their manifest."""
        return self.path / ARTIFACTS_FOLDER

    @property
    def manifest(self) -> Path:
        """Manifest of the exported files; the export is complete when it exists."""
        return self.artifacts / MANIFEST_FILE

    @property
    def results(self) -> Path:
        """Results of the benchmark."""
        return self.path / "results.json"

    @property
    def report(self) -> Path:
        """Benchmark report as an HTML page."""
        return self.path / "report.html"

    @classmethod
    def claim(cls, path: Path, recipe: Recipe, dataset: Dataset) -> RunFolder:
        """Create the run folder of `recipe` on `dataset`, or open the existing one.

        If `recipe` differs from the folder's in compression and export only, it replaces it.

        Raises:
            RunError: the folder has another recipe, other data, or files that are not of a run.
        """
        run = cls(path)
        if run.recipe_file.exists():
            existing = run.data()
            if existing["digest"] != dataset.digest:
                source = existing.get("source", existing["digest"][:12])
                raise RunError(f"{path}: was started on other data ({source}); choose another folder")
            if existing.get("held_back", []) != _excluded_rows(dataset):
                raise RunError(
                    f"{path}: was started with other excluded rows, found {len(_excluded_rows(dataset))}; "
                    f"choose another folder"
                )
            if run.recipe() != recipe:
                with run.lock():
                    run.replace_recipe(recipe)
            return run
        metadata = {
            "source": str(Path(dataset.source).absolute()) if Path(dataset.source).exists() else dataset.source,
            "digest": dataset.digest,
            "images": len(dataset),
            "classes": list(recipe.data.groups or dataset.classes),
            "skipped_rows": dataset.skipped,
            "held_back": _excluded_rows(dataset),
        }
        if path.exists() and not (path.is_dir() and run._is_claimable(metadata)):
            raise RunError(f"{path}: expected a run or an empty folder, found other files")
        files.write_json(run.data_file, metadata)
        files.write_text(run.recipe_file, recipes.dump(recipe))
        return run

    def _is_claimable(self, metadata: dict[str, Any]) -> bool:
        """Return whether the folder is empty but for the data.json of a claim that was interrupted."""
        names = [path.name for path in self.path.iterdir() if not path.name.startswith(".")]
        try:
            return not names or (names == [self.data_file.name] and self.data() == metadata)
        except RunError:  # a data.json of something else
            return False

    def replace_recipe(self, recipe: Recipe) -> None:
        """Replace the folder's recipe by one that may differ in compression and export only.

        The caller holds the `lock`, because another process may be exporting by the current recipe.

        Raises:
            RunError: the recipes differ in more.
        """
        current, new = self.recipe().to_json(), recipe.to_json()
        different = [key for key in {**current, **new} if current.get(key) != new.get(key)]
        if fixed := [key for key in different if key not in ("compression", "export")]:
            raise RunError(
                f"{self.path}: belongs to another recipe or other settings ({current['name']}), "
                f"found differences in {', '.join(fixed)}; choose another folder"
            )
        if different:
            files.write_text(self.recipe_file, recipes.dump(recipe))

    @classmethod
    def open(cls, path: Path, *, trained: bool = False, exported: bool = False) -> RunFolder:
        """Open an existing run, and check that it is trained or exported.

        Raises:
            RunError: it is not; the message names the command to run first.
        """
        run = cls(path)
        if not run.recipe_file.is_file() or not run.data_file.is_file():
            raise RunError(f"{path}: expected a run folder, found no recipe.toml and data.json")
        if trained and not run.training.is_file():
            raise RunError(f"{path}: expected a trained run; run `feredge train` first")
        complete_interrupted_replacement(run.artifacts)
        if exported and not run.manifest.is_file():
            raise RunError(f"{path}: expected exported artifacts; run `feredge export {path}` first")
        return run

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder against other processes; the lock of a killed process is released.

        Raises:
            RunError: another process holds the lock.
        """
        try:
            import fcntl
        except ImportError:  # Windows has no locks on folders
            yield
            return
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunError(f"{self.path}: another process is at work there; wait for it, or stop it") from error
            yield
        finally:
            os.close(descriptor)

    def recipe(self) -> Recipe:
        """Return the resolved recipe."""
        return recipes.load(self.recipe_file)

    def layers(self) -> dict[str, str]:
        """Return the class of each layer of the trained network by name, from the float model's file.

        Raises:
            RunError: the file cannot be read.
        """
        try:
            with zipfile.ZipFile(self.model) as archive:
                config = json.loads(archive.read("config.json"))
            (core,) = [layer for layer in config["config"]["layers"] if layer["config"]["name"] == "core"]
            return {layer["config"]["name"]: layer["class_name"] for layer in core["config"]["layers"]}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise RunError(f"{self.model}: cannot be read ({one_line(error, 120)})") from error

    def load_data(self, source: str | None = None, *, votes: Path | None = None) -> Dataset:
        """Read the run's data set, from `source` if it has moved, with FER+ `votes` if they are passed.

        Raises:
            RunError: other data.
            DataError: missing or malformed data.
        """
        from feredge.data import load

        skip = self.data()["skipped_rows"] > 0
        view = self.recipe().data
        dataset = load(source or self.source(), size=view.size, channels=view.channels, votes=votes, skip_bad_rows=skip)
        self.check_data(dataset)
        return self.exclude_rows(dataset)

    def exclude_rows(self, dataset: Dataset) -> Dataset:
        """Return `dataset` without the rows that the run excludes from training and validation."""
        from feredge.data import exclude_rows

        rows = self.data().get("held_back")
        return exclude_rows(dataset, rows) if rows else dataset

    def check_data(self, dataset: Dataset) -> None:
        """Raise RunError unless `dataset` has the digest of the run's data set."""
        digest = self.data()["digest"]
        if dataset.digest != digest:
            raise RunError(
                f"{self.path}: expected the data it was trained on (SHA-256 {digest[:12]}), "
                f"found others ({dataset.source}, {dataset.digest[:12]})"
            )

    def source(self) -> str:
        """Return the source of the run's data set; RunError if none is recorded, as in a published run."""
        source = self.data().get("source")
        if not isinstance(source, str):
            raise RunError(f"{self.data_file}: expected the source of the data, found none; pass it with --data")
        return source

    def data(self) -> dict[str, Any]:
        """Return the content of data.json, or raise RunError."""
        return _read_json(self.data_file, digest=str, classes=list, skipped_rows=int)

    def training_record(self) -> dict[str, Any]:
        """Return the content of training.json, or raise RunError."""
        return _read_json(self.training, weights=str)


def _read_json(path: Path, **required_types: type) -> dict[str, Any]:
    """Read a JSON object of the run, and check that it has the required keys with values of these types."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or one_line(error)
        raise RunError(f"{path}: expected a JSON file of a run, cannot be read ({reason})") from error
    for key, required_type in required_types.items():
        if not isinstance(value, dict) or not isinstance(value.get(key), required_type):
            raise RunError(f"{path}: expected a JSON file of a run, found no {key}")
    content: dict[str, Any] = value
    return content


def _excluded_rows(dataset: Dataset) -> list[int]:
    return [] if dataset.excluded_rows is None else dataset.excluded_rows.tolist()


make_callable(__name__, "feredge.api.pipeline:run")
