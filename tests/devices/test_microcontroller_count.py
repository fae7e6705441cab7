"""Instructions of C libraries on emulated Cortex-M cores."""

from __future__ import annotations

from pathlib import Path

import pytest

from feredge.benchmark.candidates import Candidate, artifact_candidates
from feredge.bundles.mcu.cortex_m import missing_tool
from feredge.bundles.source import open_source
from feredge.devices.microcontroller_count import count_on_microcontroller
from feredge.errors import DeviceError
from feredge.export.c.artifact_file import c_artifact
from feredge.inference.artifact import Manifest, manifest_entry
from feredge.inference.embedded_card import read_card

NANO = Path(__file__).parents[2] / "models/nano"


@pytest.fixture
def library(tmp_path: Path) -> Candidate:
    """The C library of `models/nano`."""
    card = read_card(NANO / "dense.int8.tflite")
    path = tmp_path / "dense.int8.c"
    path.write_text(c_artifact(open_source(NANO).flatbuffer, card, "xnnpack")[0])
    Manifest((manifest_entry(path, card, {}),)).write(tmp_path)
    return artifact_candidates(tmp_path)[0]


@pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())
def test_a_c_library_is_counted_and_its_answers_compared(library: Candidate) -> None:
    """Guards `bench --arm cortex-m4`."""
    counted = count_on_microcontroller([library], "cortex-m4")["dense.int8.c"]
    assert counted.failure is None and counted.count is not None and 12e6 < counted.count < 20e6


@pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())
def test_foreign_code_is_not_compiled(library: Candidate) -> None:
    """Guards against a changed C file, which becomes a note."""
    library.path.write_text(library.path.read_text().replace("int best = 0;", "int best = 1;"))
    counted = count_on_microcontroller([library], "cortex-m4")["dense.int8.c"]
    assert counted.failure is not None and "found other code" in counted.failure


def test_other_files_are_not_counted() -> None:
    """Guards one clear note where no file is a C library."""
    with pytest.raises(DeviceError, match="expected a C library"):
        count_on_microcontroller(artifact_candidates(NANO), "cortex-m4")
