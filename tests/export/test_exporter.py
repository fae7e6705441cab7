"""The export as a whole: what is skipped, what a kill or a full disk leaves, what is refused."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner
from tiny_export import SMALL, one_thread, with_recipe
from tiny_training import stripes

from feredge import files
from feredge.benchmark.candidates import run_candidates
from feredge.cli import main
from feredge.errors import DataError, RecipeError, RunError, VerificationError
from feredge.export import export, exporter
from feredge.export.layer_error import layer_error_table
from feredge.inference.artifact import Manifest
from feredge.recipes.schema import Compression, DataView, Export
from feredge.run import RunFolder

ONE = dataclasses.replace(
    SMALL,
    compression=Compression(variants=("dense",)),
    export=Export(("float32.onnx", "int8.onnx"), calibration_images=128),
)
# The child dies by SIGKILL when both variants are made and a worker has finished its first file.
CHILD = """
import multiprocessing, os, signal, sys
from pathlib import Path
from tiny_training import stripes
from feredge.export import export
from feredge.run import RunFolder

def progress(task, done, total, note=""):
    if task == "export" and done > 0:
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    export(RunFolder(Path(sys.argv[1])), stripes(), progress=progress)
"""


def _killed(run: RunFolder, tmp_path: Path) -> list[int]:
    """Export in a child that dies on the way. Return the ids of the workers it left."""
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    paths = [str(Path(__file__).parents[1] / "shared"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, str(script), str(run.path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return [int(text) for text in done.stdout.split()]


def _names(run: RunFolder) -> list[str]:
    return sorted(path.name for path in run.artifacts.glob("*")) if run.artifacts.exists() else []


def test_a_killed_export_goes_on(trained: RunFolder, tmp_path: Path, here: None) -> None:
    """Guards `kill -9`: no manifest, no half file, no worker left behind, no finished variant made again."""
    recipe = dataclasses.replace(
        SMALL,
        compression=dataclasses.replace(SMALL.compression, variants=("pruned-60", "pruned-30"), epochs=1),
        export=Export(("float32.onnx",)),
    )
    run = with_recipe(trained, tmp_path / "run", recipe)
    old = export(run, stripes(), settings=Export(("float32.onnx",), opset=16), variants=("dense",))
    workers = _killed(run, tmp_path)
    assert len(workers) == 2
    limit = time.monotonic() + 60  # a worker ends as soon as it is scheduled
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert Manifest.read(run.artifacts) == old
    paths = sorted(run.variants.iterdir())
    assert [path.name for path in paths] == ["pruned-30.npz", "pruned-60.npz"]
    before = [path.stat().st_mtime_ns for path in paths]

    manifest = export(run, stripes())
    assert [entry.file for entry in manifest.entries] == ["pruned-60.float32.onnx", "pruned-30.float32.onnx"]
    written = ["manifest.json", "probes.npz", "pruned-30.float32.onnx", "pruned-60.float32.onnx", "runtimes.json"]
    assert _names(run) == written
    assert [path.stat().st_mtime_ns for path in paths] == before


def _without_card(path: Path) -> bytes:
    """Return all of a file but what it says of itself."""
    if path.suffix == ".tflite":
        with zipfile.ZipFile(path) as archive:
            return path.read_bytes()[: min(item.header_offset for item in archive.infolist())]
    model = onnx.load(path)
    del model.metadata_props[:]
    return bytes(model.SerializeToString(deterministic=True))


def test_the_same_run_gives_the_same_bytes(
    exported: tuple[RunFolder, Manifest], trained: RunFolder, tmp_path: Path, here: None
) -> None:
    """Guards reproducible files: from another process, after other conversions. Only the recipe in the card differs."""
    recipe = dataclasses.replace(SMALL, compression=dataclasses.replace(SMALL.compression, variants=("dense",)))
    run = with_recipe(trained, tmp_path / "run", recipe)
    for entry in export(run, stripes()).entries:
        assert _without_card(run.artifacts / entry.file) == _without_card(exported[0].artifacts / entry.file)


def test_a_finished_export_is_left_alone(trained: RunFolder, tmp_path: Path, here: None) -> None:
    """Guards the skip, and that another recipe or a changed file makes the export run again."""
    run = with_recipe(trained, tmp_path / "run", ONE)
    first = export(run, stripes())
    steps = []
    assert export(run, stripes(), progress=lambda *step: steps.append(step)) == first and not steps
    (run.artifacts / "dense.int8.onnx").write_bytes(b"not a model")
    assert export(run, stripes()) == first
    files.write_text(run.recipe_file, run.recipe_file.read_text().replace("opset = 17", "opset = 16"))
    assert export(run, stripes()).entries[0].sha256 != first.entries[0].sha256


def test_a_failed_file_stops_no_other_and_loses_none(
    trained: RunFolder, tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a gate that a file leaves beside an export that stands: the others are written anew, the old one remains.

    Every command names the file with its reason, and none offers it.
    """
    from feredge.export import verification

    run = with_recipe(trained, tmp_path / "run", ONE)
    monkeypatch.setattr(RunFolder, "load_data", lambda self, source, **options: stripes())
    old = export(run, stripes())
    before = (run.artifacts / "dense.int8.onnx").read_bytes()
    files.write_text(run.recipe_file, run.recipe_file.read_text().replace("opset = 17", "opset = 16"))
    monkeypatch.setitem(
        verification.PRECISION_TOLERANCES,
        "int8",
        verification.Tolerance(max_difference=1.0, mean_difference=1e-9, agreement=0.0),
    )
    done = CliRunner().invoke(main, ["export", str(run.path)])
    assert done.exit_code == 1, done.output
    assert "error: dense.int8.onnx: expected probabilities on average within 1e-09" in done.stderr
    assert "exported: 1 verified files" in done.stdout and "artifacts.previous" in done.stdout
    manifest = Manifest.read(run.artifacts)
    assert [entry.file for entry in manifest.entries] == ["dense.float32.onnx"]
    assert manifest.entries[0].sha256 != old.entries[0].sha256
    assert _names(run) == ["dense.float32.onnx", "manifest.json", "probes.npz", "runtimes.json"]
    assert (run.path / "artifacts.previous" / "dense.int8.onnx").read_bytes() == before
    assert Manifest.read(run.path / "artifacts.previous") == old

    checked = CliRunner().invoke(main, ["verify", str(run.path)])
    assert checked.exit_code == 0 and "not exported: dense.int8.onnx: expected probabilities" in checked.stderr
    assert "dense.int8.onnx: expected prob" in CliRunner().invoke(main, ["inspect", str(run.path)]).stdout
    (failed,) = [one for one in run_candidates(run) if one.failure]
    assert failed.name == "dense.int8.onnx" and failed.failure.startswith("its export failed: expected probabilities")

    monkeypatch.undo()
    monkeypatch.setattr(exporter, "process_pool", one_thread)
    assert not export(run, stripes()).failures
    assert not (run.path / "artifacts.previous").exists()


def test_an_export_of_which_nothing_passes_changes_nothing(
    trained: RunFolder, tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards an export of one file that fails: the error names it, and what stood is still offered."""
    from feredge.export import verification

    run = with_recipe(trained, tmp_path / "run", ONE)
    old = export(run, stripes())
    monkeypatch.setitem(
        verification.PRECISION_TOLERANCES,
        "int8",
        verification.Tolerance(max_difference=1.0, mean_difference=1e-9, agreement=0.0),
    )
    with pytest.raises(
        VerificationError, match=r"^dense\.int8\.onnx: expected probabilities on average within 1e-09"
    ) as caught:
        export(run, stripes(), settings=Export(("int8.onnx",)))
    assert caught.value.exit_code == 1
    assert Manifest.read(run.artifacts) == old
    assert not list(run.path.glob("artifacts.*"))


def test_a_full_disk_leaves_no_half_file(
    trained: RunFolder, tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a disk that fills up in the middle of a file; the command line words the OSError."""
    run, write = with_recipe(trained, tmp_path / "run", ONE), Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.suffix == ".onnx":
            write(path, data[:1000])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        export(run, stripes())
    assert not _names(run)


def test_a_damaged_or_foreign_variant_is_made_again(exported: tuple[RunFolder, Manifest], tmp_path: Path) -> None:
    """Guards against weights of another training, or half of some, in files that say otherwise."""
    from feredge.compress import variants

    run = RunFolder(shutil.copytree(exported[0].path, tmp_path / "run"))
    weights = exported[1].entries[0].card.source["weights"]
    assert variants._read(run, "qat", weights) is not None
    assert variants._read(run, "qat", "0" * 64) is None
    kept = run.variants / "qat.npz"
    kept.write_bytes(kept.read_bytes()[:1000])
    assert variants._read(run, "qat", weights) is None


def test_few_calibration_images_are_said(trained: RunFolder, tmp_path: Path, here: None) -> None:
    """Guards the warning, and that the manifest says how many there were."""
    run = with_recipe(trained, tmp_path / "run", dataclasses.replace(ONE, export=Export(("int8.onnx",), 64)))
    notes: list[str] = []

    def progress(task: str, done: float, total: float, note: str = "") -> None:
        notes.append(note)

    manifest = export(run, stripes(), progress=progress)
    assert "calibrated on only 64 images" in notes[-1]
    assert manifest.entries[0].verification["calibration_images"] == 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": ()}, "expected at least one of export.files"),
        ({"files": ("int8.onnx", "int8.onnx")}, "expected each of export.files once"),
        ({"files": ("int16x8.onnx",)}, "export.files: unknown 'int16x8.onnx'; did you mean"),
        ({"max_drop": -1.0}, "max_drop from 0 to 100"),
        ({"keep_float": ("stem_con",)}, "unknown layer 'stem_con'; did you mean 'stem_conv'"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(
    trained: RunFolder, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """Guards the order: options are checked before slow work, and before what an earlier export left is touched."""
    files.write_text(trained.artifacts / "manifest.json", "stands")
    try:
        with pytest.raises(RecipeError, match=message):
            export(trained, stripes(), settings=dataclasses.replace(ONE.export, **change))
        with pytest.raises(DataError, match="not in the test split"):
            export(trained, stripes(), settings=ONE.export, calibrate_on=stripes())
        assert _names(trained) == ["manifest.json"]
    finally:
        shutil.rmtree(trained.artifacts)


def test_no_layer_is_chosen_on_test_images(trained: RunFolder, tmp_path: Path) -> None:
    """Guards the figures of a view whose validation images are the test's, in both commands that choose layers."""
    flattering = dataclasses.replace(ONE, data=DataView(size=16, validation_is_test=True))
    run = with_recipe(trained, tmp_path / "run", flattering)
    with pytest.raises(RecipeError, match="the test may not choose"):
        export(run, stripes(), settings=dataclasses.replace(ONE.export, max_drop=1.0))
    with pytest.raises(RecipeError, match="the test may not choose"):
        layer_error_table(run, stripes())
    assert not run.artifacts.exists()


def test_other_data_are_refused(trained: RunFolder, tmp_path: Path) -> None:
    """Guards calibration against images that the network was not trained on."""
    with pytest.raises(RunError, match="the data it was trained on"):
        export(with_recipe(trained, tmp_path / "run", ONE), stripes(seed=1))


def test_a_setting_is_changed_for_good_or_refused(
    trained: RunFolder, tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards `--set`: the folder's recipe says how its files were made, and never how it was not trained.

    What is refused changes nothing: neither for another process that works there, nor for the next export.
    """
    run = with_recipe(trained, tmp_path / "run", ONE)
    monkeypatch.setattr(RunFolder, "load_data", lambda self, source, **options: stripes())
    refused = CliRunner().invoke(main, ["export", str(run.path), "--set", "training.epochs=99"])
    assert refused.exit_code == 2 and "belongs to another recipe" in refused.stderr and run.recipe() == ONE
    arguments = ["--set", "compression.epochs=9", "--files", "float32.onnx", "--variant", "dense"]
    command = ["export", str(run.path), *arguments]
    with run.lock():
        refused = CliRunner().invoke(main, command)
    assert "another process is at work" in refused.stderr and run.recipe() == ONE
    for impossible in ("export.files=[]", "compression.variants=[]", 'export.keep_float=["stem_con"]'):
        refused = CliRunner().invoke(main, ["export", str(run.path), "--set", impossible])
        assert refused.exit_code == 2 and run.recipe() == ONE, refused.output
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.stderr
    assert run.recipe().compression.epochs == 9
    assert [entry.file for entry in Manifest.read(run.artifacts).entries] == ["dense.float32.onnx"]


def test_a_folder_in_which_another_works_is_left_alone(trained: RunFolder, tmp_path: Path) -> None:
    """Guards two exports into one folder, each of which would clear away the other's files."""
    run = with_recipe(trained, tmp_path / "run", SMALL)
    with run.lock(), pytest.raises(RunError, match="another process is at work"):
        export(run, stripes())
    assert not run.artifacts.exists()
