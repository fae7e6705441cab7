"""Sets up the project's own virtual environment, .venv, and continues the calling program inside it.

Needs Python 3.11 to 3.13 and nothing else; the packages come from requirements.lock, by exact version and hash.
A finished environment is left as it is until the lock file or pyproject.toml changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / "feredge-stamp"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
OLDEST, NEWEST = (3, 11), (3, 13)


def enter() -> None:
    """Return inside the environment: make it if need be, then start the calling program again in it."""
    if Path(sys.prefix) != VENV or not _is_ready():
        if not _is_ready():
            _install()
        os.execv(PYTHON, [str(PYTHON), *sys.argv])
    os.chdir(ROOT)
    os.environ["PATH"] = f"{PYTHON.parent}{os.pathsep}{os.environ.get('PATH', '')}"


def _digest() -> str:
    parts = LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes()
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _is_ready() -> bool:
    return STAMP.is_file() and PYTHON.exists() and STAMP.read_text() == _digest()


def _install() -> None:
    # Python stands in it before pip does: one that was stopped between them is made anew.
    if not PYTHON.exists() or subprocess.run([PYTHON, "-c", "import pip"], capture_output=True, check=False).returncode:
        print("Setting up .venv (once)...", flush=True)
        shutil.rmtree(VENV, ignore_errors=True)
        _run([_interpreter(), "-m", "venv", str(VENV)], "a Python with its venv module (Debian: python3-venv)")
    STAMP.unlink(missing_ok=True)
    print("Installing packages from requirements.lock...", flush=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "-r", str(LOCK)], "every package of requirements.lock")
    _run([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)], "feredge itself")
    libraries = "OpenCV's system libraries (Debian: apt-get install libgl1 libglib2.0-0 libxcb1)"
    _run([str(PYTHON), "-c", "import cv2"], libraries)
    STAMP.write_text(_digest())


def _interpreter() -> str:
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return sys.executable
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    _fail(f"expected Python 3.{OLDEST[1]} to 3.{NEWEST[1]}, found {sys.version.split()[0]}")


def _run(command: list[str], expected: str) -> None:
    if subprocess.run(command, check=False).returncode != 0:
        _fail(f"expected {expected}; `{' '.join(command[:4])} ...` failed")


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)
