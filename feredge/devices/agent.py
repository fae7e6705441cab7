"""The agent on a device: describes the machine, starts a measurement, follows its progress, and removes its files.

`Device.run_agent` passes this program to the device's Python on standard input, so that nothing needs to be installed
first; the result is JSON on standard output. Standard library only, and nothing newer than Python 3.6, so that a Python
that is too old for feredge can still report its version.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Optional  # noqa: UP035

POLL_SECONDS = 0.2
"""Between two reads of a progress file."""
ABANDONED_SECONDS = 86400.0
"""Age of a measurement's folder from which on it is removed."""
HEARTBEAT_SECONDS = 5.0
"""Longest time without a line of output: writing one ends the follower of a dead connection."""


def describe(folder: Path) -> Dict[str, Any]:  # noqa: UP006
    """Return this machine's Python and architecture, missing packages, and the state of a measurement in `folder`."""
    missing = [name for name in ("numpy", "onnxruntime") if importlib.util.find_spec(name) is None]
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "missing": missing,
        "state": measurement_state(folder),
    }


def measurement_state(folder: Path) -> str:
    """Return `absent`, `running`, `done`, or `dead`: started, and neither running nor done."""
    if not (folder / "pid").exists():
        return "absent"
    if is_running(folder):
        return "running"
    return "done" if (folder / "results.json").exists() else "dead"


def is_running(folder: Path) -> bool:
    """Return whether a measurement's process holds its lock, which the system releases when the process ends."""
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def prepare(folder: Path, digest: str) -> Dict[str, Any]:  # noqa: UP006
    """Make the folder; return whether the complete bundle is in it already.

    Abandoned measurements, which do not run and were not fetched within a day, are removed.
    """
    for other in folder.parent.glob(folder.name.rpartition("-")[0] + "-*"):
        if other != folder and time.time() - other.stat().st_mtime > ABANDONED_SECONDS and not is_running(other):
            shutil.rmtree(str(other), ignore_errors=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    bundle = folder / "bench.zip"
    return {"complete": bundle.exists() and hashlib.sha256(bundle.read_bytes()).hexdigest() == digest}


def start(folder: Path, digest: str) -> Dict[str, Any]:  # noqa: UP006
    """Start the measurement in a new session, which outlives the connection."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a connection that breaks now must not interrupt this
    if not prepare(folder, digest)["complete"]:
        return {"state": "damaged"}
    if measurement_state(folder) in ("running", "done"):
        return {"state": measurement_state(folder)}
    for name in ("progress", "log", "results.json", "results.npz"):
        if (folder / name).exists():
            (folder / name).unlink()
    with (folder / "lock").open("a") as lock, (folder / "log").open("ab") as log:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process = subprocess.Popen(
            [sys.executable, "bench.zip", "--out", "results.json", "--progress", "progress"],
            cwd=str(folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
    (folder / "pid").write_text(str(process.pid))
    return {"state": "running"}


def follow(folder: Path, offset: int) -> Dict[str, Any]:  # noqa: UP006
    """Write the lines of the progress file from byte `offset` on, until the measurement ends."""
    last_write = time.monotonic()
    while True:
        running = is_running(folder)  # before reading, so that what a process writes before it ends is read
        lines = b""
        if (folder / "progress").exists():
            with (folder / "progress").open("rb") as file:
                file.seek(offset)
                lines = file.read()
        lines = lines[: lines.rfind(b"\n") + 1]
        offset += len(lines)
        if lines or time.monotonic() - last_write > HEARTBEAT_SECONDS:
            sys.stdout.buffer.write(lines or b"\n")
            sys.stdout.buffer.flush()
            last_write = time.monotonic()
        if not running:
            log = (folder / "log").read_text(errors="replace").strip().splitlines()
            return {"state": measurement_state(folder), "last": log[-1] if log else "no output"}
        time.sleep(POLL_SECONDS)


def remove(folder: Path) -> Dict[str, Any]:  # noqa: UP006
    """End the measurement, if it runs, and remove its folder."""
    if (folder / "pid").exists() and is_running(folder):
        group = int((folder / "pid").read_text())
        os.killpg(group, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while is_running(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        if is_running(folder):
            os.killpg(group, signal.SIGKILL)
    shutil.rmtree(str(folder), ignore_errors=True)
    return {"removed": not folder.exists()}


def main(command: str, folder_name: str, argument: Optional[str] = None) -> None:  # noqa: UP045
    """Run one command, and write its result as the last line, marked by a `=`."""
    folder = Path.home() / folder_name
    if command == "describe":
        result = describe(folder)
    elif command == "remove":
        result = remove(folder)
    elif command == "follow":
        result = follow(folder, int(argument or 0))
    else:
        result = {"prepare": prepare, "start": start}[command](folder, argument or "")
    print("=" + json.dumps(result), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
