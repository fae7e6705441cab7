"""Runtimes in a page of headless Chromium: answers, times by the page's clock, and what is missing."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from fake_packages import write_fake_onnxruntime

from feredge.benchmark.alternative_runtimes import ALTERNATIVE_RUNTIMES
from feredge.benchmark.candidates import artifact_candidates, in_alternative_runtimes
from feredge.benchmark.web import packages, runner
from feredge.benchmark.web.packages import NPM_PACKAGES
from feredge.benchmark.workers.server import Server
from feredge.bundles.web import chromium
from feredge.commands.measuring import RUNTIME_NAMES
from feredge.errors import ArtifactError
from feredge.export.c.compiler import has_zig
from feredge.inference.contract import InputContract
from feredge.inference.runtimes import open_artifact
from feredge.inspection.probes import probe_images

NANO = Path(__file__).parents[3] / "models/nano"
IMAGES = probe_images(InputContract())[:5]
needs_chromium = pytest.mark.skipif(chromium.find_chromium() is None, reason="no chromium is installed here")


def open_in_server(name: str, path: Path) -> tuple[Server, dict[str, object]]:
    """Open a file in a runtime as a worker does; return the worker's server and its response."""
    server = Server()
    contract = dataclasses.asdict(InputContract())
    opener = ALTERNATIVE_RUNTIMES[name].opener
    response, _ = server.open(opener, str(path), threads=1, options={}, contract=contract, classes=7)
    return server, response


@needs_chromium
@pytest.mark.skipif(not has_zig(), reason="ziglang is not installed")
def test_a_file_in_webassembly() -> None:
    """Guards a row of `--runtimes web`: LiteRT's answers, the page's clock, and no figure of this process."""
    path = NANO / "dense.int8.tflite"
    server, response = open_in_server("web", path)
    assert 1e6 < float(str(response["nanoseconds"])) < 60e9
    assert 60_000 < int(str(response["transfer_bytes"])) < 110_000
    answer, arrays = server.predict(IMAGES)
    np.testing.assert_array_equal(arrays["probabilities"], open_artifact(path).predict(IMAGES))
    assert answer["nanoseconds"] > 0 and set(server.memory()[0].values()) == {0}
    assert server.set_inputs(IMAGES, IMAGES) == ({"can_preprocess": False}, {})
    single, three = (
        server.time("inference", batch, warm_runs=20, warm_seconds=0, seconds=0.05, runs=30)[1]["samples"]
        for batch in (1, 3)
    )
    assert len(single) >= 30 and 0 < np.median(single) < np.median(three)
    assert len(server.time_load(seconds=0.05, interval_seconds=0)[1]["samples"]) > 1
    with pytest.raises(ArtifactError, match="expected a runtime in the worker's own process for --every"):
        server.time_after_idle(0.1, 0.0)


@needs_chromium
def test_a_file_in_onnxruntime_web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the page that loads a package of the cache folder, and the line where the package is damaged."""
    write_fake_onnxruntime(tmp_path)
    monkeypatch.setattr(runner, "packages_folder", lambda: tmp_path)
    server, _ = open_in_server("onnxruntime-web", NANO / "dense.int8.onnx")
    _, arrays = server.predict(IMAGES)
    expected = IMAGES.reshape(5, -1)[:, :7].astype(np.float32) / 256
    np.testing.assert_array_equal(arrays["probabilities"], expected)
    (tmp_path / "node_modules/onnxruntime-web/dist/ort.wasm.min.mjs").unlink()
    with pytest.raises(ArtifactError, match=r"ort\.wasm\.min\.mjs: expected the package beside this page, found none"):
        open_in_server("onnxruntime-web", NANO / "dense.int8.onnx")


@needs_chromium
@pytest.mark.parametrize(("name", "file"), [("litert-js", "dense.int8.tflite"), ("onnxruntime-web", "dense.int8.onnx")])
def test_packages_that_are_installed(name: str, file: str) -> None:
    """Guards the real packages, where `feredge bench` has installed them before: tests use no network."""
    package = ALTERNATIVE_RUNTIMES[name].npm_package
    if packages._installed_version(packages.packages_folder(), package) != NPM_PACKAGES[package]:
        pytest.skip(f"{package} is not in the cache folder")
    server, response = open_in_server(name, NANO / file)
    _, arrays = server.predict(IMAGES)
    # int8: LiteRT.js has other kernels than XNNPACK for x86, which may round by one step of 1/256
    np.testing.assert_allclose(arrays["probabilities"], open_artifact(NANO / file).predict(IMAGES), atol=2 / 256)
    assert int(str(response["transfer_bytes"])) > 1_000_000


def test_what_is_missing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a machine without Chromium, without npm, and without a network."""
    candidates, notes = artifact_candidates(NANO), list[str]()
    monkeypatch.setattr(packages, "make_cache_folder", lambda: tmp_path)
    monkeypatch.setattr(chromium, "find_chromium", lambda: None)
    assert list(in_alternative_runtimes(candidates, ["litert-js"], notes)) == []
    monkeypatch.setattr(chromium, "find_chromium", lambda: "chromium")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert list(in_alternative_runtimes(candidates, ["litert-js"], notes)) == []
    failed = subprocess.CompletedProcess("npm", 1, "", "npm error network\nnpm error code EAI_AGAIN")
    monkeypatch.setattr(shutil, "which", lambda _: "npm")
    monkeypatch.setattr(packages, "run_program", lambda *_, **__: failed)
    assert list(in_alternative_runtimes(candidates, ["litert-js"], notes)) == []
    version = NPM_PACKAGES["@litertjs/core"]
    assert notes == [
        "LiteRT.js was left out: Chromium is not installed here.",
        f"LiteRT.js was left out: expected npm, which installs @litertjs/core@{version}, found none.",
        f"LiteRT.js was left out: expected npm to install @litertjs/core@{version}, found a failure "
        "(npm error network).",
    ]


def test_a_chromium_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards one line, and no profile left behind, where a library of Chromium's is missing."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ArtifactError, match="Chromium ended with code 1"):
        chromium.ChromiumPage("false")
    assert not list(tmp_path.iterdir())


def test_a_chromium_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards one line after the given time, and that the program is ended, where Chromium hangs."""
    monkeypatch.setattr(chromium, "CLOSE_TIMEOUT_SECONDS", 0.1)
    program = tmp_path / "hangs"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    with pytest.raises(ArtifactError, match=r"Chromium: no answer in 0\.2 s"):
        chromium.ChromiumPage(str(program), timeout_seconds=0.2)


def test_every_runtime_is_an_option() -> None:
    """Guards the names of `--runtimes`, which the command has without importing the benchmark."""
    assert tuple(ALTERNATIVE_RUNTIMES) == RUNTIME_NAMES


def test_an_installed_package_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards work without a network once the packages are there."""
    folder = tmp_path / "npm/node_modules/onnxruntime-web"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"version": NPM_PACKAGES["onnxruntime-web"]}))
    monkeypatch.setattr(packages, "make_cache_folder", lambda: tmp_path)
    monkeypatch.setattr(packages, "run_program", lambda *_, **__: pytest.fail("npm ran"))
    packages.install_package("onnxruntime-web")
