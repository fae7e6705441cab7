"""Import of exported files: exporting them again gives the same bytes; clear errors if they cannot be imported."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper
from tiny_export import SMALL, one_thread
from tiny_training import stripes

from feredge.cli import main
from feredge.errors import ArtifactError, RecipeError, RunError
from feredge.export import export, exporter
from feredge.importing.from_onnx import SOURCE_FILE, import_exported, load_trained, read_recipe
from feredge.inference import artifact
from feredge.inference.artifact import Manifest
from feredge.inference.contract import CLASSES
from feredge.recipes.schema import Compression, Export
from feredge.run import RunFolder
from feredge.train import train

EXPORTED_FILES = ("float32.onnx", "int8.onnx", "int8.tflite")
SHIPPED_RECIPE = dataclasses.replace(
    SMALL,
    network=dataclasses.replace(SMALL.network, pool="weighted"),  # has a layer of each kind that is read back
    compression=Compression(variants=("dense",)),
    export=Export(EXPORTED_FILES, calibration_images=128),
)


@pytest.fixture(scope="module")
def exported_once(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Give a run with three files of one variant."""
    run = train(SHIPPED_RECIPE, stripes(), tmp_path_factory.mktemp("reopening") / "trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "process_pool", one_thread)
        export(run, stripes())
    return run


@pytest.fixture
def shipped(exported_once: RunFolder, tmp_path: Path, here: None) -> Path:
    """A folder of exported files, to do with as a test likes."""
    return Path(shutil.copytree(exported_once.path, tmp_path / "trained")) / "artifacts"


def _with_card(folder: Path, path: Path, **changes: object) -> Path:
    """Copy a folder of exported files, and change the card in its source file."""
    shutil.copytree(folder, path)
    card = dataclasses.replace(Manifest.read(path, check=False).entries[0].card, **changes)  # type: ignore[arg-type]  # values of several types
    Manifest((artifact.manifest_entry(path / SOURCE_FILE, card, {}),)).write(path)
    return path


def test_files_come_out_the_same(shipped: Path, tmp_path: Path) -> None:
    """Guards the check of shipped models: weights, scales and cards survive the way through the float32 file."""
    once = import_exported(shipped, stripes(), tmp_path / "once")
    first = export(once, stripes())
    figures = once.training_record()
    assert figures["test"] == pytest.approx(
        json.loads((shipped.parent / "training.json").read_text())["test"], abs=1e-4
    )
    twice = import_exported(once.artifacts, stripes(), tmp_path / "again")
    second = export(twice, stripes())
    assert [entry.file for entry in first.entries] == [f"dense.{name}" for name in EXPORTED_FILES]
    assert first == second
    card = first.entries[0].card
    assert card.recipe == SHIPPED_RECIPE.to_json() and card.source["data"] == stripes().digest
    assert import_exported(shipped, stripes(), tmp_path / "once") == once  # left as it is


def test_files_and_their_run_start_a_training_alike(
    shipped: Path, exported_once: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards `--start-from`: a folder of files, its name and the run it came from hold one network."""
    from_run, from_files = load_trained(exported_once.path), load_trained(shipped)
    assert from_run.classes == from_files.classes and from_run.weights.keys() == from_files.weights.keys()
    for name, weights in from_run.weights.items():
        for run_weights, file_weights in zip(weights, from_files.weights[name], strict=True):
            # The converter folds in float32, fold_batchnorms in float64.
            np.testing.assert_allclose(run_weights, file_weights, rtol=1e-5, atol=1e-6)
    monkeypatch.setenv("FEREDGE_MODELS", str(shipped.parent))
    assert load_trained(Path(shipped.name)).digest == from_files.digest


def test_variants_are_not_mended_at_the_training_rate(shipped: Path, tmp_path: Path) -> None:
    """Guards networks whose normalizations are folded in: at such a rate the loss is soon infinite."""
    recipe = read_recipe(shipped)
    recipe = dataclasses.replace(
        recipe,
        training=dataclasses.replace(recipe.training, learning_rate=1e4),
        compression=Compression(("pruned-50",), epochs=1, learning_rate=0.01),
        export=Export(("float32.onnx",), calibration_images=64),
    )
    (entry,) = export(import_exported(shipped, stripes(), tmp_path / "run", recipe=recipe), stripes()).entries
    assert entry.file == "pruned-50.float32.onnx"


def test_other_images_calibrate_and_are_named(shipped: Path, tmp_path: Path) -> None:
    """Guards a card that says a network was trained on what it was only calibrated on."""
    other = stripes(seed=4)
    settings = Export(("int8.onnx",), calibration_images=64)
    (entry,) = export(import_exported(shipped, other, tmp_path / "run"), other, settings=settings).entries
    assert entry.card.source["data"] == stripes().digest and entry.card.source["calibration"] == other.digest


def test_what_cannot_be_read_back_is_said(shipped: Path, tmp_path: Path) -> None:
    """Guards a network of half its weights, or of guessed layers; nothing is left of the attempt."""
    card = Manifest.read(shipped).entries[0].card
    foreign = _with_card(shipped, tmp_path / "foreign", recipe={**card.recipe, "foreign": {"file": "net.h5"}})
    with pytest.raises(ArtifactError, match=r"foreign: expected a network trained by feredge, .* from net\.h5"):
        read_recipe(foreign)
    wrong = _with_card(shipped, tmp_path / "wrong", recipe={**card.recipe, "depth": 3})
    with pytest.raises(ArtifactError, match=r"depth.*in its card"):
        read_recipe(wrong)
    wider = {**card.recipe, "network": {**card.recipe["network"], "channels": [8, 24]}}
    with pytest.raises(ArtifactError, match=r"expected stage2_block1_1_conv/kernel:0 in dense\.float32\.onnx"):
        import_exported(_with_card(shipped, tmp_path / "wider", recipe=wider), stripes(), tmp_path / "run")
    only = dataclasses.replace(stripes(), classes=tuple(reversed(CLASSES)))
    with pytest.raises(RecipeError, match=r"expected data of angry, .*, found neutral, "):
        import_exported(shipped, only, tmp_path / "run")
    (entry,) = [entry for entry in Manifest.read(shipped).entries if entry.file == "dense.int8.onnx"]
    lone = tmp_path / "lone"
    lone.mkdir()
    shutil.copy(shipped / entry.file, lone)
    Manifest((entry,)).write(lone)
    with pytest.raises(ArtifactError, match=f"lone: expected {SOURCE_FILE} among its files, found none"):
        read_recipe(lone)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_network_is_left_alone(shipped: Path, tmp_path: Path) -> None:
    """Guards a run folder whose weights would be replaced."""
    run = import_exported(shipped, stripes(), tmp_path / "run")
    before = run.training.read_bytes()
    model = onnx.load(shipped / SOURCE_FILE)
    (kernel,) = [tensor for tensor in model.graph.initializer if tensor.name == "logits/MatMul/1"]
    kernel.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(kernel), kernel.name))
    onnx.save(model, shipped / SOURCE_FILE)
    with pytest.raises(RunError, match="holds another network of the same name"):
        import_exported(_with_card(shipped, tmp_path / "other"), stripes(), run.path)
    assert run.training.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a folder of exported files requires --data"),
        (
            ["--input-size", "16x16"],
            "--input-size, --input-range, --classes and --output are for a network trained elsewhere",
        ),
        (
            ["--classes", "a,b"],
            "--input-size, --input-range, --classes and --output are for a network trained elsewhere",
        ),
    ],
)
def test_the_command_says_what_it_needs(shipped: Path, arguments: list[str], message: str) -> None:
    """Guards guessed data, and options that would have no effect."""
    done = CliRunner().invoke(main, ["export", str(shipped), *arguments])
    assert done.exit_code == 2 and message in done.stderr and done.stderr.count("\n") == 1
