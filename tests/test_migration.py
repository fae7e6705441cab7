"""Rewriting files of the first format: every old key finds its new one, and what a model computes stays."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import json
import shutil
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import tomli_w

from feredge import dataclass_io, files
from feredge.benchmark.results import Results, Row
from feredge.errors import ArtifactError, RecipeError
from feredge.inference import artifact
from feredge.inference.artifact import Manifest
from feredge.recipes import load
from feredge.recipes.schema import Recipe
from feredge.run import RunFolder

TOOLS = Path(__file__).parents[1] / "tools"
OLD = """\
name = "mine"

[training]
rate = 0.05  # after the warm-up
averaging = 0.0

[schedule]
watch = "validation_loss"
stop_after = 3

[export]
precisions = [
    "float32",
    "int8",
]
formats = ["onnx"]
also = ["float16.tflite"]
full_range = true
method = "entropy"
"""


@pytest.fixture
def migration(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the module of tools/migrate's tables."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("migration")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give tools/migrate, imported; it runs in this environment."""
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.setattr(importlib.import_module("environment"), "enter", lambda: None)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("migrate", str(TOOLS / "migrate"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("migrate", loader))  # type: ignore[arg-type]  # a spec with a loader
    loader.exec_module(module)
    return module


def backwards(migration: ModuleType, recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe with the keys of the first format."""
    sections = {
        section: migration.renamed(value, {new: old for old, new in migration.RECIPE_KEYS[section].items()})
        if section in migration.RECIPE_KEYS
        else value
        for section, value in recipe.items()
    }
    written = sections["export"].pop("files")
    return {**sections, "export": {"precisions": [], "formats": [], "also": written, **sections["export"]}}


def test_every_new_key_is_one_of_a_recipe(migration: ModuleType) -> None:
    """Guards the tables against a name that the package does not know, and against one that it still knows."""
    whole = load("nano").to_json()
    known = {section: vars(getattr(load("nano"), section)) for section in migration.RECIPE_KEYS}
    for section, keys in migration.RECIPE_KEYS.items():
        assert set(keys.values()) <= set(known[section]) and not set(keys) & set(known[section])
    assert migration.migrate_recipe(whole) == whole
    assert migration.migrate_recipe(backwards(migration, whole)) == whole
    rows = set(Row.__dataclass_fields__)
    assert set(migration.ROW_KEYS.values()) <= rows and not set(migration.ROW_KEYS) & rows
    tables = set(Results.__dataclass_fields__)
    assert set(migration.RESULTS_KEYS.values()) <= tables and not set(migration.RESULTS_KEYS) & tables


def test_a_recipe_keeps_its_comments(migration: ModuleType, tmp_path: Path) -> None:
    """Guards a user's own recipe; and what three lists said of files is one list."""
    migrated = migration.migrate_toml(OLD)
    assert "learning_rate = 0.05  # after the warm-up\n" in migrated and 'monitor = "validation_loss"' in migrated
    assert tomllib.loads(migrated)["export"] == {
        "files": ["float32.onnx", "int8.onnx", "float16.tflite"],
        "reduce_range": False,
        "calibration_method": "entropy",
    }
    assert migration.migrate_toml(migrated) == migrated
    path = tmp_path / "mine.toml"
    path.write_text(OLD)
    with pytest.raises(RecipeError, match=r"unknown key '\w+'.*tools/migrate"):
        load(path)
    path.write_text(migrated)
    assert isinstance(load(path), Recipe)
    with pytest.raises(ValueError, match="one key a line"):
        migration.migrate_toml('training = {rate = 0.1}\nname = "x"\n')


def test_a_run_of_the_first_format(
    exported: tuple[RunFolder, Manifest], migration: ModuleType, program: ModuleType, tmp_path: Path
) -> None:
    """Guards files that users have: cards, manifest, recipe are new, graphs are not; a second time changes nothing."""
    run, folder = exported[0], tmp_path / "run"
    shutil.copytree(run.path, folder)
    new = json.loads((folder / "artifacts" / artifact.MANIFEST_FILE).read_text())
    for entry in sorted(new["artifacts"], key=lambda entry: not entry["file"].endswith(".ort")):
        path = folder / "artifacts" / entry["file"]
        old = {**entry["card"], "schema": 1, "recipe": backwards(migration, entry["card"]["recipe"])}
        card = SimpleNamespace(classes=old["classes"], versions=old["versions"], to_json=lambda old=old: old)
        path.write_bytes(program.with_card(path, path.read_bytes(), card))
        entry["card"], entry["sha256"] = old, files.sha256(path)
    (folder / "artifacts" / artifact.MANIFEST_FILE).write_text(json.dumps({**new, "schema": 1}))
    recipe = backwards(migration, tomllib.loads((folder / "recipe.toml").read_text()))
    (folder / "recipe.toml").write_text(tomli_w.dumps(recipe))
    with pytest.raises(ArtifactError, match=r"schema 2, found 1.*tools/migrate"):
        Manifest.read(folder / "artifacts")
    program.migrate(folder)
    after = Manifest.read(folder / "artifacts")
    assert after == exported[1]
    assert RunFolder.open(folder).recipe() == run.recipe()
    before = {path: files.sha256(path) for path in folder.rglob("*") if path.is_file()}
    program.migrate(folder)
    assert before == {path: files.sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_settings_name_the_program_that_rewrites_them() -> None:
    """Guards whoever has an old recipe against guessing."""
    with pytest.raises(RecipeError, match=r"unknown key 'rate'; did you mean 'learning_rate'\?; tools/migrate"):
        dataclass_io.read(Recipe, {"name": "x", "training": {"rate": 0.1}}, "x")
