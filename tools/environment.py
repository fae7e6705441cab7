"""Creates the project's virtual environment, .venv, and continues the calling program inside it.

Needs Python 3.11 to 3.13 and nothing else; the packages come from requirements.lock, by exact version and hash.
A complete environment is kept until the lock file or pyproject.toml changes.
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
LOCK_FILE = ROOT / "requirements.lock"
STAMP_FILE = VENV / "feredge-stamp"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)


def enter() -> None:
    """Return inside the environment: create it if needed, then restart the calling program in it."""
    if Path(sys.prefix) != VENV or not _is_ready():
        if not _is_ready():
            _install()
        run_instead([str(VENV_PYTHON), *sys.argv])
    os.chdir(ROOT)
    os.environ["PATH"] = f"{VENV_PYTHON.parent}{os.pathsep}{os.environ.get('PATH', '')}"


def run_instead(command: list[str]) -> NoReturn:
    """Continue as another program, with its exit code, which Windows' exec does not pass on."""
    if os.name == "nt":
        raise SystemExit(subprocess.run(command, check=False).returncode)
    os.execv(command[0], command)


def _digest() -> str:
    parts = LOCK_FILE.read_bytes(), (ROOT / "pyproject.toml").read_bytes()
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _is_ready() -> bool:
    return STAMP_FILE.is_file() and VENV_PYTHON.exists() and STAMP_FILE.read_text() == _digest()


def _install() -> None:
    # venv writes Python before pip: an environment that was interrupted between them is created anew.
    if (
        not VENV_PYTHON.exists()
        or subprocess.run([VENV_PYTHON, "-c", "import pip"], capture_output=True, check=False).returncode
    ):
        print("Setting up .venv (once)...", flush=True)
        shutil.rmtree(VENV, ignore_errors=True)
        _run([_interpreter(), "-m", "venv", str(VENV)], "a Python with its venv module (Debian: python3-venv)")
    STAMP_FILE.unlink(missing_ok=True)
    print("Installing packages from requirements.lock...", flush=True)
    pip = [str(VENV_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    _run([*pip, "--require-hashes", "-r", str(LOCK_FILE)], "every package of requirements.lock")
    # pip would compile on one core, for longer than the rest of its work takes. Some packages have templates that are
    # no Python: the exit code says nothing.
    subprocess.run([VENV_PYTHON, "-m", "compileall", "-qq", "-j", "0", VENV], check=False)
    _run([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)], "feredge itself")
    libraries = "OpenCV's system libraries (Debian: apt-get install libgl1 libglib2.0-0 libxcb1)"
    _run([str(VENV_PYTHON), "-c", "import cv2"], libraries)
    STAMP_FILE.write_text(_digest())


def _interpreter() -> str:
    if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return sys.executable
    for minor in range(NEWEST_PYTHON[1], OLDEST_PYTHON[1] - 1, -1):
        interpreter = shutil.which(f"python3.{minor}")
        if interpreter and subprocess.run([interpreter, "-c", ""], capture_output=True, check=False).returncode == 0:
            return interpreter
    _fail(f"expected Python 3.{OLDEST_PYTHON[1]} to 3.{NEWEST_PYTHON[1]}, found {sys.version.split()[0]}")


def _run(command: list[str], expected: str) -> None:
    if subprocess.run(command, check=False).returncode != 0:
        _fail(f"expected {expected}; `{' '.join(command[:4])} ...` failed")


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)
