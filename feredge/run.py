"""The run folder: one recipe on one data set, every step's result under a fixed name.

A step is complete when its last file stands: `training.json`, `artifacts/manifest.json`, `results.json`.
Each is written atomically, after everything it speaks of.
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
from feredge.inference.artifact import MANIFEST_FILE, finish_swap
from feredge.recipes.schema import Recipe


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run, and what they hold."""

    path: Path

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe; `feredge train RUN/recipe.toml` trains it again."""
        return self.path / "recipe.toml"

    @property
    def data_file(self) -> Path:
        """Where the data came from: path, digest, counts, dropped duplicates."""
        return self.path / "data.json"

    @property
    def checkpoint(self) -> Path:
        """The state of an unfinished training."""
        return self.path / "checkpoint.npz"

    @property
    def history(self) -> Path:
        """One csv row an epoch."""
        return self.path / "history.csv"

    @property
    def model(self) -> Path:
        """The float model in the input contract, as a legacy Keras file."""
        return self.path / "float.keras"

    @property
    def training(self) -> Path:
        """Final figures and the digest of the weights; training is complete when it stands."""
        return self.path / "training.json"

    @property
    def predictions(self) -> Path:
        """The float model's probabilities for every test image, with labels and rows."""
        return self.path / "predictions.npz"

    @property
    def curves(self) -> Path:
        """Loss and accuracy over the epochs, as a picture."""
        return self.path / "curves.png"

    @property
    def confusion(self) -> Path:
        """The float model's confusion matrix on the test images, as a picture."""
        return self.path / "confusion.png"

    @property
    def pictures(self) -> Path:
        """Every other picture, drawn when it is asked for."""
        return self.path / "pictures"

    @property
    def repeats(self) -> Path:
        """Run folders of the same recipe with other seeds, by name `seed-N`, where the recipe asks for them."""
        return self.path / "repeats"

    @property
    def spread(self) -> Path:
        """Mean and standard deviation over the seeds."""
        return self.path / "repeats.json"

    @property
    def variants(self) -> Path:
        """Fine-tuned weights, one file a variant."""
        return self.path / "variants"

    @property
    def artifacts(self) -> Path:
        """The exported files and their manifest."""
        return self.path / "artifacts"

    @property
    def manifest(self) -> Path:
        """What the exported files are; the export is complete when it stands."""
        return self.artifacts / MANIFEST_FILE

    @property
    def results(self) -> Path:
        """What the benchmark measured."""
        return self.path / "results.json"

    @property
    def report(self) -> Path:
        """The same as a page."""
        return self.path / "report.html"

    @classmethod
    def claim(cls, path: Path, recipe: Recipe, dataset: Dataset) -> RunFolder:
        """Make the folder for `recipe` on `dataset`, or open it if it is theirs already.

        A recipe that exports in another way, and trains in the same, takes the place of the folder's.

        Raises:
            RunError: the folder holds something else: another recipe, other data, or files of no run.
        """
        run = cls(path)
        if run.recipe_file.exists():
            known = run.data()
            if known["digest"] != dataset.digest:
                other = known.get("source", known["digest"][:12])
                raise RunError(f"{path}: was started on other data ({other}); choose another folder")
            if known.get("held_back", []) != _held_back(dataset):
                found = len(_held_back(dataset))
                raise RunError(f"{path}: was started with other rows left out, found {found}; choose another folder")
            if run.recipe() != recipe:
                with run.alone():
                    run.adopt(recipe)
            return run
        about = {
            "source": str(Path(dataset.source).absolute()) if Path(dataset.source).exists() else dataset.source,
            "digest": dataset.digest,
            "images": len(dataset),
            "classes": list(recipe.data.groups or dataset.classes),
            "skipped_rows": dataset.skipped,
            "held_back": _held_back(dataset),
        }
        if path.exists() and not (path.is_dir() and run._is_free(about)):
            raise RunError(f"{path}: expected a run or an empty folder, found other files")
        files.write_json(run.data_file, about)
        files.write_text(run.recipe_file, recipes.dump(recipe))
        return run

    def _is_free(self, about: dict[str, Any]) -> bool:
        """Say whether nothing stands in the folder but what a claim that was killed half-way left."""
        names = [path.name for path in self.path.iterdir() if not path.name.startswith(".")]
        try:
            return not names or (names == [self.data_file.name] and self.data() == about)
        except RunError:  # somebody's own data.json
            return False

    def adopt(self, recipe: Recipe) -> None:
        """Let `recipe` take the place of the folder's: one that trains in the same way, and may export in another.

        The caller is `alone` there: another process may be making files by the recipe that stands.

        Raises:
            RunError: it trains in another way.
        """
        known, new = self.recipe().to_json(), recipe.to_json()
        differs = [key for key in {**known, **new} if known.get(key) != new.get(key)]
        if other := [key for key in differs if key not in ("compression", "export")]:
            raise RunError(
                f"{self.path}: belongs to another recipe or other settings ({known['name']}), "
                f"found others in {', '.join(other)}; choose another folder"
            )
        if differs:
            files.write_text(self.recipe_file, recipes.dump(recipe))

    @classmethod
    def open(cls, path: Path, *, trained: bool = False, exported: bool = False) -> RunFolder:
        """Open a run that must exist, and be trained or exported if so asked.

        Raises:
            RunError: it is not, and what to run first.
        """
        run = cls(path)
        if not run.recipe_file.is_file() or not run.data_file.is_file():
            raise RunError(f"{path}: expected a run folder, found no recipe.toml and data.json")
        if trained and not run.training.is_file():
            raise RunError(f"{path}: expected a trained run; run `feredge train` first")
        finish_swap(run.artifacts)
        if exported and not run.manifest.is_file():
            raise RunError(f"{path}: expected exported artifacts; run `feredge export {path}` first")
        return run

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from working in the folder meanwhile. A process that is killed leaves it free.

        Raises:
            RunError: another is at work there.
        """
        try:
            import fcntl
        except ImportError:  # Windows has no locks on folders: there nothing is kept away
            yield
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunError(f"{self.path}: another process is at work there; wait for it, or stop it") from error
            yield
        finally:
            os.close(handle)

    def recipe(self) -> Recipe:
        """Return the resolved recipe."""
        return recipes.load(self.recipe_file)

    def layers(self) -> dict[str, str]:
        """Return the trained network's layers and their kinds, as the float model's file lists them.

        Raises:
            RunError: a file that cannot be read.
        """
        try:
            with zipfile.ZipFile(self.model) as archive:
                told = json.loads(archive.read("config.json"))
            (core,) = [layer for layer in told["config"]["layers"] if layer["config"]["name"] == "core"]
            return {layer["config"]["name"]: layer["class_name"] for layer in core["config"]["layers"]}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise RunError(f"{self.model}: cannot be read ({one_line(error, 120)})") from error

    def load_data(self, source: str | None = None, *, votes: Path | None = None) -> Dataset:
        """Read the data this run was started on, from `source` where they have moved, with people's `votes` if given.

        Raises:
            RunError: no longer the same data.
            DataError: not there, or damaged.
        """
        from feredge.data import load

        skip = self.data()["skipped_rows"] > 0
        dataset = load(source or self.source(), size=self.recipe().data.size, votes=votes, skip_bad_rows=skip)
        self.check_data(dataset)
        return self.hold_back(dataset)

    def hold_back(self, dataset: Dataset) -> Dataset:
        """Return `dataset` with those rows held back that the run was started without."""
        from feredge.data import hold_back

        rows = self.data().get("held_back")
        return hold_back(dataset, rows) if rows else dataset

    def check_data(self, dataset: Dataset) -> None:
        """Raise RunError unless `dataset` is what the run was started on."""
        digest = self.data()["digest"]
        if dataset.digest != digest:
            raise RunError(
                f"{self.path}: expected the data it was trained on (SHA-256 {digest[:12]}), "
                f"found others ({dataset.source}, {dataset.digest[:12]})"
            )

    def source(self) -> str:
        """Return where the data were when the run was started; RunError where that is not told: runs are passed on."""
        source = self.data().get("source")
        if not isinstance(source, str):
            raise RunError(f"{self.data_file}: expected where the data are, found nothing; say it by --data")
        return source

    def data(self) -> dict[str, Any]:
        """Return what data.json says, or raise RunError."""
        return _told(self.data_file, digest=str, classes=list, skipped_rows=int)

    def figures(self) -> dict[str, Any]:
        """Return what training.json says, or raise RunError."""
        return _told(self.training, weights=str)


def _told(path: Path, **needed: type) -> dict[str, Any]:
    """Return what a file of the run says, which holds at least what every step after it reads there."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or one_line(error)
        raise RunError(f"{path}: expected what a run writes there, cannot be read ({reason})") from error
    for key, kind in needed.items():
        if not isinstance(value, dict) or not isinstance(value.get(key), kind):
            raise RunError(f"{path}: expected what a run writes there, found no {key}")
    found: dict[str, Any] = value
    return found


def _held_back(dataset: Dataset) -> list[int]:
    return [] if dataset.held_back is None else dataset.held_back.tolist()


make_callable(__name__, "feredge.api.pipeline:run")
