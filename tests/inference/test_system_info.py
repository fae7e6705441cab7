"""What Linux says: files as a kernel writes them, and none at all."""

from __future__ import annotations

from pathlib import Path

from feredge.inference import system_info


def test_the_first_core_speaks_for_all(tmp_path: Path) -> None:
    """Guards figures' keys on machines whose cores differ, and sizes against fields that are no sizes."""
    path = tmp_path / "said"
    path.write_text("CPU part\t: 0xd08\nVmRSS:\t   12 kB\nThreads:\t1\n\nCPU part\t: 0xd0b\n")
    assert system_info.read_fields(path) == {"CPU part": "0xd08", "VmRSS": "12 kB", "Threads": "1"}
    assert system_info.read_sizes(path) == {"VmRSS": 12 << 10}


def test_a_system_that_says_nothing(tmp_path: Path) -> None:
    """Guards other systems, where a benchmark must go on without what is not told."""
    assert (
        system_info.read_text(tmp_path / "none"),
        system_info.read_sizes(tmp_path / "none"),
        system_info.frequency_governor(tmp_path),
    ) == ("", {}, "")
