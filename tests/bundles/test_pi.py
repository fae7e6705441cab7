"""The bundle for Arm Linux: two libraries that need nothing but memcpy and memset, each with its manifest."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from feredge.bundles.targets import bundle, check_bundle
from feredge.errors import ArtifactError
from feredge.inference.artifact import Manifest
from feredge.inference.embedded_card import read_card

NANO = Path(__file__).parents[2] / "models/nano"
pytestmark = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="Zig is not installed")
MACHINES = {"armhf": "ARM", "aarch64": "AArch64"}


@pytest.fixture(scope="module")
def pi_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `models/nano`; do not change it."""
    return bundle("pi", NANO, tmp_path_factory.mktemp("pi") / "nano")


@pytest.mark.parametrize("architecture", MACHINES)
def test_each_library_has_its_manifest(pi_bundle: Path, architecture: str) -> None:
    """Guards what the Predictor checks before it loads a library."""
    entry = Manifest.read(pi_bundle / architecture).entries[0]
    assert (entry.file, entry.card) == ("dense.int8.so", read_card(NANO / "dense.int8.tflite"))
    assert entry.facts["arena_bytes"] == 46_800


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf is not installed")
@pytest.mark.parametrize("architecture", MACHINES)
def test_a_library_needs_no_other(pi_bundle: Path, architecture: str) -> None:
    """Guards loading on any distribution, whatever its C library's version is."""
    command = ["readelf", "--wide", "-h", "-d", "--dyn-syms", str(pi_bundle / architecture / "dense.int8.so")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"Machine:                           {MACHINES[architecture]}" in text and "NEEDED" not in text
    assert "feredge_nano_dense_predict_in" in text
    undefined = set(re.findall(r"UND (\w+)", text))
    assert {name.removeprefix("__aeabi_").rstrip("48") for name in undefined} <= {"memcpy", "memset", "memclr"}


def test_verify_compiles_it_again(pi_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards that the same source gives the same machine code, and the bits of the kernels for both CPUs."""
    checks, tests = check_bundle(pi_bundle)
    assert not [check.failure for check in checks if check.failure]
    assert not [test.failure for test in tests if test.failure] and len(tests) == 3


def test_no_zig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards one clear line where the compiler is missing."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ArtifactError, match=r"expected Zig .* found none; pip install 'feredge\[c\]'"):
        bundle("pi", NANO, tmp_path / "out")
    assert not list(tmp_path.iterdir())
