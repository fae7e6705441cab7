"""Writing a bundle for a target, and checking one."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from feredge import files
from feredge.bundles import targets
from feredge.bundles.folder import BundleManifest, write_bundle
from feredge.bundles.golden import Golden, golden_vectors
from feredge.bundles.options import BundleOptions
from feredge.bundles.source import open_source
from feredge.bundles.targets import bundle, check_bundle
from feredge.cli import main
from feredge.errors import ArtifactError
from feredge.export.c.compiler import has_compiler

NANO = Path(__file__).parents[2] / "models/nano"


def test_golden_vectors_are_litert_s_answers() -> None:
    """Guards the vectors in a manifest: exact after JSON, different for each image, and refused if damaged."""
    source = open_source(NANO)
    golden = golden_vectors(source)
    assert golden.images.shape == (32, 48, 48, 1) and len(np.unique(golden.probabilities, axis=0)) == 32
    again = Golden.restore(golden.record, source.card.contract, 7)
    np.testing.assert_array_equal(again.probabilities, golden.probabilities)
    for change in ({"probabilities": ((1.0,),)}, {"images_sha256": "00"}):
        with pytest.raises(ArtifactError, match="found others"):
            Golden.restore(replace(golden.record, **change), source.card.contract, 7)


def test_the_same_model_gives_the_same_bytes(nano_bundle: Path, tmp_path: Path) -> None:
    """Guards reproducible bundles, by which `verify` recognizes foreign code."""
    again = bundle("mcu", NANO / "dense.int8.tflite", tmp_path / "again")
    assert BundleManifest.read(again) == BundleManifest.read(nano_bundle)


@pytest.mark.skipif(not has_compiler(), reason="no C compiler")
def test_verify_runs_the_self_test(nano_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the answers of the C library on this machine, and that what cannot run is said."""
    monkeypatch.setattr(shutil, "which", lambda name: None if name.startswith("qemu") else f"/usr/bin/{name}")
    done = CliRunner().invoke(main, ["verify", str(nano_bundle)])
    assert done.exit_code == 0, done.output
    assert "self-test on this machine" in done.output
    assert "not run here: self-test on armhf (qemu-arm): expected qemu-arm, found none" in done.output
    assert json.loads(CliRunner().invoke(main, ["verify", "--json", str(nano_bundle)]).stdout)["skipped"]


def test_foreign_code_in_a_bundle_is_never_run(
    nano_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards `verify` against a bundle from elsewhere, whose manifest fits its files: nothing of it is compiled."""
    folder = tmp_path / "hostile"
    shutil.copytree(nano_bundle, folder)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a program ran"))
    main_c = folder / "self_test/main.c"
    main_c.write_text('#include <stdlib.h>\nint main(void) { return system("true"); }\n')
    checks, tests = check_bundle(folder)
    assert [check.failure[-30:] for check in checks] == ["was written with, found a changed one"[-30:]] and not tests
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["files"]["self_test/main.c"] = files.sha256(main_c)
    (folder / "bundle.json").write_text(json.dumps(manifest))
    checks, tests = check_bundle(folder)
    assert "expected the self_test/main.c that feredge" in checks[0].failure and not tests
    done = CliRunner().invoke(main, ["verify", str(folder)])
    assert done.exit_code == 1 and "self_test/main.c" in done.output


def test_wrong_answers_are_found(nano_bundle: Path, tmp_path: Path) -> None:
    """Guards against golden vectors of another model: LiteRT here disagrees, and so does the self-test."""
    folder = tmp_path / "wrong"
    source = open_source(NANO)
    golden = golden_vectors(source)
    wrong = Golden(golden.images, golden.probabilities[::-1].copy(), "xnnpack", golden.runtime)
    contents = targets.TARGETS["mcu"].load().build(source, wrong, BundleOptions())
    manifest = BundleManifest.of(contents, target="mcu", source=source, options=BundleOptions(), golden=wrong)
    write_bundle(folder, contents, manifest)
    _, tests = check_bundle(folder)
    assert "expected ai-edge-litert" in tests[0].failure
    assert "row 0 is not equal" in tests[1].failure or tests[1].skipped


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--for", "toaster", "--out", "o"], "'toaster' is not"),
        (["--for", "mcu", "--quick", "--out", "o"], "expected --data and options of the benchmark without --for"),
        (
            ["--for", "pi", "--arithmetic", "tflm", "--out", "o"],
            "expected options of --for pi, found --arithmetic tflm",
        ),
        (["--for", "mcu"], "Missing option '--out'"),
        (["--for", "mcu", "--out", "o", "--board", "nucleo-f103rb"], "lacking: RAM 32.0 KB"),
        (["--for", "mcu", "--out", "o", "--board", "raspbery-pi-pico"], "did you mean 'raspberry-pi-pico'?"),
        (["--for", "mcu", "--out", "bundle.json"], "expected a folder to write, or nothing there, found a file"),
    ],
)
def test_bad_options_are_refused(options: list[str], message: str, nano_bundle: Path, tmp_path: Path) -> None:
    """Guards one clear line and exit code 2, before any work."""
    with CliRunner().isolated_filesystem(tmp_path):
        shutil.copy(nano_bundle / "bundle.json", "bundle.json")
        done = CliRunner().invoke(main, ["bundle", str(NANO), *options])
    assert done.exit_code == 2 and message in done.output
