"""The program that the host feeds to a device's Python: look around, start a measurement, follow it, clean up.

It comes on standard input, so that nothing needs to be installed or written first, and answers in JSON on standard
output. Standard library only, and nothing newer than Python 3.6, so that an older Python than feredge takes can be
told by its number.
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

PAUSE = 0.2
"""Seconds between looks at a progress file."""
FORGOTTEN = 86400.0
"""Seconds after which nobody comes for a measurement any more."""
HEARTBEAT = 5.0
"""Seconds after which a line is written in any case: a dead connection ends the follower by it."""


def look(folder: Path) -> Dict[str, Any]:  # noqa: UP006
    """Say what this machine is, and how far a measurement in `folder` has come."""
    missing = [name for name in ("numpy", "onnxruntime") if importlib.util.find_spec(name) is None]
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "missing": missing,
        "state": state(folder),
    }


def state(folder: Path) -> str:
    """Return `absent`, `running`, `done`, or `dead`: begun, and neither running nor done."""
    if not (folder / "pid").exists():
        return "absent"
    if running(folder):
        return "running"
    return "done" if (folder / "results.json").exists() else "dead"


def running(folder: Path) -> bool:
    """Say whether the measurement holds its lock, which it loses with its life."""
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def prepare(folder: Path, digest: str) -> Dict[str, Any]:  # noqa: UP006
    """Make the folder; say whether the whole bundle stands there already.

    What was begun longer than a day ago, and is neither going on nor was ever fetched, is removed.
    """
    for old in folder.parent.glob(folder.name.rpartition("-")[0] + "-*"):
        if old != folder and time.time() - old.stat().st_mtime > FORGOTTEN and not running(old):
            shutil.rmtree(str(old), ignore_errors=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    bundle = folder / "bench.zip"
    return {"whole": bundle.exists() and hashlib.sha256(bundle.read_bytes()).hexdigest() == digest}


def start(folder: Path, digest: str) -> Dict[str, Any]:  # noqa: UP006
    """Start the measurement in a session of its own, which outlives the connection."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a connection that breaks now must not leave half of this
    if not prepare(folder, digest)["whole"]:
        return {"state": "damaged"}
    if state(folder) in ("running", "done"):
        return {"state": state(folder)}
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
    """Write the lines of the progress file from byte `offset` on, until the measurement is over."""
    spoken = time.monotonic()
    while True:
        alive = running(folder)  # asked before reading: what a process writes before it ends is read
        lines = b""
        if (folder / "progress").exists():
            with (folder / "progress").open("rb") as file:
                file.seek(offset)
                lines = file.read()
        lines = lines[: lines.rfind(b"\n") + 1]
        offset += len(lines)
        if lines or time.monotonic() - spoken > HEARTBEAT:
            sys.stdout.buffer.write(lines or b"\n")
            sys.stdout.buffer.flush()
            spoken = time.monotonic()
        if not alive:
            log = (folder / "log").read_text(errors="replace").strip().splitlines()
            return {"state": state(folder), "last": log[-1] if log else "it left no word"}
        time.sleep(PAUSE)


def remove(folder: Path) -> Dict[str, Any]:  # noqa: UP006
    """End the measurement, if it is still going on, and remove all that was brought or written."""
    if (folder / "pid").exists() and running(folder):
        group = int((folder / "pid").read_text())
        os.killpg(group, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while running(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        if running(folder):
            os.killpg(group, signal.SIGKILL)
    shutil.rmtree(str(folder), ignore_errors=True)
    return {"removed": not folder.exists()}


def main(do: str, name: str, argument: Optional[str] = None) -> None:  # noqa: UP045
    """Do one thing, and write its answer as the last line, marked by a `=`."""
    folder = Path.home() / name
    if do == "look":
        answer = look(folder)
    elif do == "remove":
        answer = remove(folder)
    elif do == "follow":
        answer = follow(folder, int(argument or 0))
    else:
        answer = {"prepare": prepare, "start": start}[do](folder, argument or "")
    print("=" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
