"""Bundles: one file that benchmarks on a device with nothing but numpy and onnxruntime."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import feredge.report as report
from feredge.benchmark import Results
from feredge.cli import main
from feredge.data.dataset import Dataset
from feredge.data.drawn import drawn
from feredge.devices import bundle_main
from feredge.devices.bundle import BenchmarkPreset, bundle
from feredge.errors import RunError
from feredge.run import RunFolder

QUICK = BenchmarkPreset("quick")


def start(program: Path, packages: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a bundle with this Python's own interpreter, outside its environment, and only `packages`."""
    interpreter = getattr(sys, "_base_executable", sys.executable)
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    if (
        "ai_edge_litert"
        in subprocess.run(
            [interpreter, "-c", "import importlib.util as u; print(u.find_spec('ai_edge_litert'))"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    ):
        pytest.skip("this Python has LiteRT outside its environment")
    command = [interpreter, str(program), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_a_bare_device_measures_itself(
    toy_bundle: Path, toy_run: RunFolder, faces: Dataset, bare_packages: Path, tmp_path: Path
) -> None:
    """Guards the promise: no TensorFlow, OpenCV, LiteRT or click there; the same accuracy and drop as here."""
    out = tmp_path / "results.json"
    done = start(toy_bundle, bare_packages, "--out", str(out))
    assert done.returncode == 0, done.stderr
    results = Results.read(out)
    reference, same, rough, lite = results.rows
    assert (reference.kind, reference.latency) == ("float", ()) and reference.accuracy
    assert results.data.digest == faces.digest and results.data.total == int((faces.usage == "PrivateTest").sum())
    assert same.drop and (same.drop.pp, same.drop.agreement) == (0, 1)
    assert rough.drop and rough.drop.agreement < 0.9
    assert all((faces.usage[row], faces.labels[row]) == ("PrivateTest", label) for row, label, *_ in rough.drop.flipped)
    timed = rough.latency_at(1)
    assert timed and timed.inference.median > 0 and timed.whole is None, "no OpenCV, no preprocessing"
    assert len(timed.conditions) == results.config.rounds
    assert lite.failure and "needs `pip install ai-edge-litert`" in lite.failure
    with np.load(out.with_suffix(".npz")) as raw_data:
        assert "rough.int8.onnx/probabilities" in raw_data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "results.npz"], "it leaves nothing else"
    assert "rough.int8.onnx" in report.to_terminal(results) and "latency, 1 thread: done" in done.stderr
    report.write_html(results, tmp_path / "page.html")


def test_the_same_run_gives_the_same_bytes(
    toy_bundle: Path, toy_run: RunFolder, faces: Dataset, tmp_path: Path
) -> None:
    """Guards the key by which a device knows that a measurement is the one already begun."""
    second = bundle(toy_run, faces, tmp_path / "second.zip", preset=QUICK)
    assert second.read_bytes() == toy_bundle.read_bytes()
    with zipfile.ZipFile(toy_bundle) as archive:
        assert not [name for name in archive.namelist() if "train/" in name or "export/" in name]


def test_a_device_without_its_needs_says_so(toy_bundle: Path, tmp_path: Path) -> None:
    """Guards the one line on a device that was never set up."""
    (tmp_path / "numpy").mkdir()
    done = subprocess.run(
        [sys.executable, "-S", str(toy_bundle)],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = "error: expected numpy and onnxruntime, found no onnxruntime: pip install numpy onnxruntime\n"
    assert (done.returncode, done.stderr) == (2, expected)


def test_an_older_python_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Guards a device whose Python is older than feredge takes: its number, before anything is unpacked."""
    monkeypatch.setattr(bundle_main, "OLDEST_PYTHON", (9, 9))
    monkeypatch.setattr(sys, "argv", ["bench.zip"])
    assert bundle_main.main() == 2
    assert capsys.readouterr().err.startswith("error: expected Python 9.9 or newer, found 3.")


def test_a_damaged_bundle_says_so(toy_bundle: Path, bare_packages: Path, tmp_path: Path) -> None:
    """Guards against measuring files that were cut short or changed on their way."""
    whole = toy_bundle.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 3] ^= 0xFF
    (tmp_path / "changed.zip").write_bytes(changed)
    done = start(tmp_path / "changed.zip", bare_packages, "--out", str(tmp_path / "out" / "results.json"))
    assert done.returncode == 2 and "expected a folder that can be written" in done.stderr
    done = start(tmp_path / "changed.zip", bare_packages, "--out", str(tmp_path / "results.json"))
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["changed.zip"]


def test_rounds_with_the_clock_held_down_are_shown(sample_results: Results) -> None:
    """Guards the mark of an invalid round: its number, a sign at the figure, and the reason in words."""
    timed = sample_results.rows[0].latency_at(1)
    assert timed and timed.invalid_rounds == (2,)
    assert Results.from_json(sample_results.to_json()) == sample_results
    for text in (report.to_markdown(sample_results), report.to_terminal(sample_results)):
        plain = " ".join(re.sub(r"\x1b\[[\d;]*m", "", text).split())
        assert "!0.200" in plain and "some rounds had CPU throttling" in plain


def test_other_data_are_refused(toy_run: RunFolder, tmp_path: Path) -> None:
    """Guards the key of every figure; and the command, which reads the run's own data."""
    with pytest.raises(RunError, match="expected the data it was trained on"):
        bundle(toy_run, drawn(700), tmp_path / "bench.zip")
    done = CliRunner().invoke(main, ["bundle", str(tmp_path), "--out", str(tmp_path / "bench.zip")])
    assert done.exit_code == 2 and "expected a run folder" in done.output
    assert not (tmp_path / "bench.zip").exists()
