"""Commands killed by SIGKILL, and the checks that follow: no surviving process, no partly written file. Linux."""

from __future__ import annotations

import csv
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

ORPHAN_SECONDS = 30.0
"""Longest time that processes of a killed command may survive it."""


@dataclass
class Tally:
    """Counts and faults of one command."""

    command: str
    counts: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, name: str, number: int = 1) -> None:
        """Add to a count."""
        self.counts[name] = self.counts.get(name, 0) + number

    def expect(self, holds: bool, fault: str) -> None:
        """Record and print a fault unless `holds`."""
        if not holds:
            self.faults.append(fault)
            print(f"{self.command}: FAULT: {fault}", flush=True)

    def __str__(self) -> str:
        counts = ", ".join(f"{number} {name}" for name, number in self.counts.items())
        return f"{self.command}: {counts or 'nothing done'}; {len(self.faults) or 'no'} faults"


def start_command(*arguments: Any, log: Path) -> subprocess.Popen[bytes]:
    """Start a feredge command, which prints to `log`, in a new session, by which `surviving_processes` finds it."""
    command = [sys.executable, "-m", "feredge", *map(str, arguments)]
    with log.open("ab") as file:
        return subprocess.Popen(command, start_new_session=True, stdout=file, stderr=file)


def run_to_end(*arguments: Any, log: Path) -> float:
    """Run a command to its end and return its seconds; SystemExit where it fails."""
    start = time.monotonic()
    with start_command(*arguments, log=log) as process:
        process.wait()
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments[:2]))} ended with {process.returncode}, see {log}")
    return time.monotonic() - start


def kill_when(process: subprocess.Popen[bytes], due: Callable[[], bool]) -> bool:
    """Kill a command once `due`; return whether it was killed, False where it ended by itself first."""
    while process.poll() is None and not due():
        time.sleep(0.01)
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def surviving_processes(session: int) -> list[int]:
    """Return the processes of a session that still run once ORPHAN_SECONDS have passed; none as soon as all ended."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while (processes := _running(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return processes


def _running(session: int) -> list[int]:
    processes = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            # After the program's name, in brackets: state, parent, group, session. See proc(5).
            state, _, _, process_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:  # the process has ended
            continue
        if int(process_session) == session and state not in "ZX":
            processes.append(int(folder.name))
    return processes


def damaged_files(folder: Path) -> list[str]:
    """Return the files below a folder that cannot be read whole. Hidden files are temporary ones."""
    damaged = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            try:
                _read(path)
            except Exception as error:  # readers raise different ones
                damaged.append(f"{path.relative_to(folder)} ({' '.join(str(error).split())[:150]})")
    return damaged


def _read(path: Path) -> None:
    import cv2

    from feredge.inference.artifact import Manifest
    from feredge.inference.embedded_card import read_card

    if path.suffix == ".json":
        json.loads(path.read_text())
        if path.name == "manifest.json":
            Manifest.read(path.parent)  # with the digest of every file
    elif path.suffix == ".npz":
        import numpy as np

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
        if len({len(row) for row in csv.reader(path.read_text().splitlines())}) != 1:
            raise ValueError("lines of different lengths")
    elif path.suffix == ".png":
        if cv2.imread(str(path)) is None:
            raise ValueError("no picture")
    elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
        raise ValueError("no whole page")


def worker_processes(process: int) -> list[int]:
    """Return the worker processes of a service: those that multiprocessing started."""
    process_ids: list[str] = []
    with suppress(OSError):  # the process has ended
        for task in Path(f"/proc/{process}/task").iterdir():
            process_ids += (task / "children").read_text().split()
    return [child for child in map(int, process_ids) if b"spawn_main" in _command_line(child)]


def _command_line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def kill(processes: Iterable[int]) -> None:
    """Kill processes that survived, so that later checks are not disturbed."""
    for process in processes:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
