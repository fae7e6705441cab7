"""Functions in a child process: whatever happens to it is one error here, and the next call works."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from feredge.errors import ArtifactError, VerificationError
from feredge.inspection import child as child_module
from feredge.inspection.child import ChildProcess, run_in_child
from feredge.inspection.limits import Limits, run_queue_seconds


def echo(value: Any) -> Any:
    print("a library that chatters")
    return value


def crash(number: int) -> None:
    os.write(2, b"assertion failed\n")
    os.kill(os.getpid(), number)


def hang() -> None:
    time.sleep(600)


def pause(seconds: float) -> None:
    time.sleep(seconds)


def spin() -> None:
    while True:
        pass


def fill() -> int:
    return len(bytearray(8 << 30))


def write(paths: list[str]) -> list[bool]:
    written = []
    for path in paths:
        try:
            Path(path).write_text("x")
        except OSError:
            written.append(False)
        else:
            written.append(True)
    return written


def fail(kind: str) -> None:
    raise {"check": VerificationError("a: expected b, found c"), "other": ValueError("two\nlines")}[kind]


def test_a_result_comes_back_and_prints_do_not_mix_with_it() -> None:
    """Guards the way there and back, of names that are no UTF-8 too."""
    assert run_in_child(echo, "x", value={"a": [1, None, "\udcff"]}) == {"a": [1, None, "\udcff"]}


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_crash_is_one_line_and_the_next_call_works() -> None:
    """Guards a long check against one file that ends its runtime."""
    with ChildProcess() as child:
        with pytest.raises(ArtifactError, match=r"^m\.onnx: .* was killed by SIGSEGV \(assertion failed\)$"):
            child.call(crash, "m.onnx", number=int(signal.SIGSEGV))
        assert child.call(echo, "n.onnx", value=1) == 1


def test_a_hanging_call_ends_at_its_limit() -> None:
    """Guards against a file that stops everything for ever."""
    begin = time.monotonic()
    with pytest.raises(ArtifactError, match="found no end"):
        run_in_child(hang, Path("m.onnx"), limits=Limits(wall_seconds=2))
    assert time.monotonic() - begin < 30


def test_waiting_for_a_core_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards slow calls on a machine whose cores others have, and that even there a hanging call ends."""
    monkeypatch.setattr(child_module, "run_queue_seconds", lambda pid: time.monotonic())
    assert run_in_child(pause, "m.onnx", limits=Limits(wall_seconds=2), seconds=3) is None
    monkeypatch.setattr(child_module, "MAX_QUEUED", 0.5)
    with pytest.raises(ArtifactError, match="within 2 s, found no end"):
        run_in_child(hang, "m.onnx", limits=Limits(wall_seconds=2))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_time_in_the_run_queue_is_read() -> None:
    """Guards the format of /proc, and a process that has ended."""
    assert run_queue_seconds(os.getpid()) >= 0 and run_queue_seconds(2**22 + 1) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="macOS keeps no limit on address space, Windows none at all")
def test_memory_and_cpu_time_are_limited() -> None:
    """Guards the machine against a file that asks for all of it."""
    with pytest.raises(ArtifactError, match="needs more than 1 GB of memory"):
        run_in_child(fill, "m.onnx", limits=Limits(memory_bytes=1 << 30))
    with pytest.raises(ArtifactError, match="at most 1 s of CPU time"):
        run_in_child(spin, "m.onnx", limits=Limits(cpu_seconds=1))


def test_errors_keep_their_class_and_others_become_one_line() -> None:
    """Guards exit codes: a failed check is 1, bad input 2, and nothing is a traceback."""
    with pytest.raises(VerificationError, match=r"^a: expected b, found c$"):
        run_in_child(fail, "x", kind="check")
    with pytest.raises(ArtifactError, match=r"^x: expected a file that can be read \(ValueError: two lines\)$"):
        run_in_child(fail, "x", kind="other")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Landlock")
def test_writes_are_confined_to_a_folder(tmp_path: Path) -> None:
    """Guards files of the user against a network that runs in its own framework; the null device stays open."""
    folder = tmp_path / "empty"
    folder.mkdir()
    (tmp_path / "kept").write_text("kept")
    paths = [folder / "a", "relative", tmp_path / "b", tmp_path / "kept", os.devnull]
    with ChildProcess(writable=folder) as child:
        assert child.call(write, "m.onnx", paths=paths) == [True, True, False, False, True]
    assert {path.name for path in folder.iterdir()} == {"a", "relative"}
    assert (tmp_path / "kept").read_text() == "kept"
