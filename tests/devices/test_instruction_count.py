"""Counting instructions on emulated cores: what is written by the plugin, and what happens where something is missing.

The emulation itself takes a root that is fetched and many seconds a file; `tools/arm64-counts` runs it.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import feredge.report as report
from feredge.benchmark import Results
from feredge.benchmark.candidates import artifact_candidates
from feredge.benchmark.metrics import Instructions
from feredge.cli import main
from feredge.devices import instruction_count
from feredge.devices.arm64 import EMULATED_CORES, root_with_cpuinfo
from feredge.devices.instruction_count import add_counts, build_plugin, parse_markers, plugin_api
from feredge.errors import DeviceError
from feredge.run import RunFolder


@given(st.lists(st.integers(0, 2**63), max_size=8))
def test_markers_are_read_in_order(counts: list[int]) -> None:
    """Guards the plugin's text: every count, and only if none is missing or goes back."""
    counts.sort()
    text = "".join(f"{number} {count}\n" for number, count in enumerate(counts))
    assert parse_markers(text) == counts
    if len(counts) > 1:
        with pytest.raises(DeviceError, match="expected markers in order"):
            parse_markers(text.partition("\n")[2])


@given(st.text())
def test_other_text_is_no_count(text: str) -> None:
    """Guards against taking a guest's own output for counts."""
    try:
        counts = parse_markers(text)
    except DeviceError:
        return
    assert len(counts) == len(text.splitlines())


@pytest.mark.parametrize(
    ("version", "api"),
    [
        ("qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright", 1),
        ("qemu-aarch64 version 8.2.2", 1),
        ("qemu-aarch64 version 10.0.3 (Debian 1:10.0.3+ds-1)", 2),
    ],
)
def test_the_plugin_is_built_for_the_qemu_that_is_there(version: str, api: int) -> None:
    """Guards the interface's number, which qemu refuses a plugin by, and a qemu that takes none, as Debian 13's."""
    assert plugin_api(version, "-cpu model\n-plugin [file=]<file>[,<argname>=<argvalue>]\n") == api
    with pytest.raises(DeviceError, match=r"expected a qemu-aarch64 that takes plugins, .* found qemu-aarch64 version"):
        plugin_api(version, "-cpu model\n")


def test_a_root_shows_the_core_that_is_emulated(tmp_path: Path) -> None:
    """Guards the choice of kernels: runtimes read /proc/cpuinfo, and the two cores differ in the dot product there."""
    root = tmp_path / "root"
    (root / "usr").mkdir(parents=True)
    (root / "proc").mkdir()
    shown = {}
    for core in EMULATED_CORES:
        (tmp_path / core).mkdir()
        core_root = root_with_cpuinfo(root, core, tmp_path / core)
        assert (core_root / "usr").is_dir()
        shown[core] = (core_root / "proc" / "cpuinfo").read_text()
        assert shown[core].count("processor\t: ") == 2 and shown[core].count("CPU implementer\t: 0x41") == 2
    assert "asimddp" in shown["cortex-a76"] and "asimddp" not in shown["cortex-a72"]


def test_the_plugin_compiles(tmp_path: Path) -> None:
    """Guards the C source against what gcc refuses, for both interfaces."""
    if shutil.which("gcc") is None or shutil.which("qemu-aarch64") is None:
        pytest.skip("no gcc or no qemu-aarch64 here (Debian: apt-get install gcc qemu-user)")
    assert build_plugin(tmp_path).is_file()


@pytest.mark.parametrize("missing", ["qemu-aarch64", "gcc"])
def test_without_qemu_the_results_say_so(
    toy_run: RunFolder, sample_results: Results, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Guards the benchmark on a machine that cannot emulate: it goes on, and says what was left out and why."""
    monkeypatch.setattr(shutil, "which", lambda name: None if name == missing else f"/usr/bin/{name}")
    images = np.zeros((4, 48, 48, 1), np.uint8)
    results = add_counts(sample_results, artifact_candidates(toy_run.artifacts), images, ["cortex-a72"])
    assert results.rows == sample_results.rows
    assert results.notes[-1].startswith(f"Instructions on cortex-a72 were not counted: expected {missing}, found none")


def test_a_guest_that_ends_early_is_this_files_failure(tmp_path: Path) -> None:
    """Guards the other files' counts, and the reason."""
    crash = [sys.executable, "-c", "import sys; sys.exit('kernel of an unknown kind')"]
    counted = instruction_count._run_guest("cortex-a72", crash, tmp_path / "markers")
    assert counted == Instructions("cortex-a72", None, None, "ended with 1: kernel of an unknown kind")
    markers = "".join(f"{number} {1000 + 400 * number}\n" for number in range(instruction_count.COUNTED_INTERVALS + 1))
    write = [sys.executable, "-c", f"open({str(tmp_path / 'markers')!r}, 'w').write({markers!r})"]
    assert instruction_count._run_guest("cortex-a72", write, tmp_path / "markers") == Instructions(
        "cortex-a72", 100.0, 0.0
    )


def test_counts_are_shown_and_never_as_time(sample_results: Results) -> None:
    """Guards the table: a column a core, in millions, with what it does not say."""
    counted = (Instructions("cortex-a72", 5_153_916.5, 0.0002), Instructions("cortex-a76", None, None, "it crashed"))
    rows = [replace(row, instructions=counted) for row in sample_results.rows]
    results = replace(sample_results, rows=tuple(rows))
    assert Results.from_json(results.to_json()) == results
    text = report.to_markdown(results)
    assert "M instr. a72" in text and "| 5.15 |" in text and "not a measure of time" in text
    assert "instructions_cortex-a72" in report.to_csv(results).splitlines()[0]


def test_unknown_cores_are_refused() -> None:
    """Guards the option, before anything is measured."""
    done = CliRunner().invoke(main, ["bench", os.devnull, "--arm", "cortex-m1"])
    assert done.exit_code == 2 and "expected some of cortex-a72, cortex-a76, cortex-m3" in done.output
    assert "found 'cortex-m1'" in done.output
