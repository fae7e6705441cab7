"""Commands that are killed by SIGKILL, and what must hold right after: no process left, nothing half-written. Linux."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ORPHAN_SECONDS = 30.0
"""How long a killed command's processes may take to see that it is gone."""


@dataclass
class Tally:
    """Counts of one command under fire, and what went wrong."""

    command: str
    counts: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, name: str, number: int = 1) -> None:
        """Add to a count."""
        self.counts[name] = self.counts.get(name, 0) + number

    def expect(self, holds: bool, fault: str) -> None:
        """Note and print a fault unless `holds`."""
        if not holds:
            self.faults.append(fault)
            print(f"{self.command}: FAULT: {fault}", flush=True)

    def __str__(self) -> str:
        counts = ", ".join(f"{number} {name}" for name, number in self.counts.items())
        return f"{self.command}: {counts or 'nothing done'}; {len(self.faults) or 'no'} faults"


def start(*arguments: Any, log: Path) -> subprocess.Popen[bytes]:
    """Start a feredge command, which prints to `log`, in a session of its own, by which `left` knows its processes."""
    command = [sys.executable, "-m", "feredge", *map(str, arguments)]
    with log.open("ab") as file:
        return subprocess.Popen(command, start_new_session=True, stdout=file, stderr=file)


def complete(*arguments: Any, log: Path) -> float:
    """Run a command to its end and return its seconds; SystemExit where it fails."""
    began = time.monotonic()
    with start(*arguments, log=log) as process:
        process.wait()
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments[:2]))} ended with {process.returncode}, see {log}")
    return time.monotonic() - began


def kill_when(process: subprocess.Popen[bytes], due: Callable[[], bool]) -> bool:
    """Kill a command once `due`; return whether it was killed, False where it ended by itself first."""
    while process.poll() is None and not due():
        time.sleep(0.01)
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def left(session: int) -> list[int]:
    """Return the processes of a session that still run once ORPHAN_SECONDS have passed; none as soon as all ended."""
    until = time.monotonic() + ORPHAN_SECONDS
    while (found := _running(session)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def _running(session: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the program's name, in brackets: state, parent, group, session. See proc(5).
            state, _, _, its_session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it ended meanwhile
            continue
        if int(its_session) == session and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def damaged(folder: Path) -> list[str]:
    """Return the files below a folder that are not whole. Hidden names are unfinished."""
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            try:
                _read(path)
            except Exception as error:  # each reader has kinds of its own
                found.append(f"{path.relative_to(folder)} ({' '.join(str(error).split())[:150]})")
    return found


def _read(path: Path) -> None:
    import cv2

    from feredge.inference.artifact import Manifest, read_card

    if path.suffix == ".json":
        json.loads(path.read_text())
        if path.name == "manifest.json":
            Manifest.read(path.parent)  # with the digest of every file
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                archive[name]
    elif path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            if bad := archive.testzip():
                raise ValueError(f"{bad} is damaged")
    elif path.suffix in (".onnx", ".tflite", ".ort"):
        read_card(path)
    elif path.suffix == ".csv":
        if len({line.count(",") for line in path.read_text().splitlines()}) != 1:
            raise ValueError("lines of different lengths")
    elif path.suffix == ".png":
        if cv2.imread(str(path)) is None:
            raise ValueError("no picture")
    elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
        raise ValueError("no whole page")


def children(process: int) -> list[int]:
    """Return the processes that a service serves by: those that multiprocessing started."""
    listed: list[str] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # it ended meanwhile
            listed += task.read_text().split()
    return [child for child in map(int, listed) if b"spawn_main" in _command_line(child)]


def _command_line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def kill(processes: Iterable[int]) -> None:
    """Kill what a fault left, so that it disturbs nothing that follows."""
    for process in processes:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
