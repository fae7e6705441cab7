"""Wheel and sdist: reproducible builds, checks, and trials in bare environments."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

CHECKERS_LOCK = Path(__file__).with_name("checkers.lock")
MAX_WHEEL_BYTES = 1_000_000
LEAST_PYROMA_RATING = 10
SKIPPED_PYROMA_TESTS = "AuthorEmail,Url"
"""The project has no address yet, neither for mail nor on the web."""
PREDICTOR_BLOCK = re.compile(r"```python\n(from feredge import Predictor\n.*?)```", re.DOTALL)
PICTURES_CODE = """
import cv2, numpy as np
for name in ("face.jpg", "group.jpg"):
    cv2.imwrite(name, np.full((96, 96, 3), 128, np.uint8))
"""


def build(root: Path, folder: Path, source_date_epoch: str) -> list[Path]:
    """Build wheel and sdist twice; return those in `folder`.

    Raises:
        SystemExit: the two builds differ, or the wheel is too large.
    """
    from feredge import files

    with tempfile.TemporaryDirectory() as other:
        for target in (folder, Path(other)):
            command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(target)]
            environment = {**os.environ, "SOURCE_DATE_EPOCH": source_date_epoch}
            subprocess.run(command, cwd=root, env=environment, stdout=subprocess.DEVNULL, check=True)
        built = sorted([*folder.glob("feredge-*.whl"), *folder.glob("feredge-*.tar.gz")])
        for path in built:
            digests = files.sha256(path), files.sha256(Path(other) / path.name)
            if len(set(digests)) > 1:
                raise SystemExit(f"{path.name}: expected the same bytes twice, found SHA-256 {' and '.join(digests)}")
    size = built[0].stat().st_size
    if len(built) != 2 or size >= MAX_WHEEL_BYTES:
        raise SystemExit(f"{built[0].name}: expected a wheel under {MAX_WHEEL_BYTES:,} bytes, found {size:,}")
    return built


def check(built: list[Path], environment: Path) -> None:
    """Check what an index and its users see, by twine, check-wheel-contents and pyroma."""
    programs = _checkers(environment)
    wheel, sdist = built
    _run(programs / "twine", "check", "--strict", *built)
    # W004: PyInstaller looks for a hook by a file name that is no module's.
    _run(programs / "check-wheel-contents", "--ignore", "W004", wheel)
    _run(programs / "pyroma", "--min", LEAST_PYROMA_RATING, "--skip-tests", SKIPPED_PYROMA_TESTS, sdist)


def try_out(distribution: Path, readme: Path) -> None:
    """Install a distribution into a bare environment, and run README's lines on the Predictor and `feredge doctor`."""
    block = PREDICTOR_BLOCK.search(readme.read_text(encoding="utf-8"))
    if block is None:
        raise SystemExit(f"{readme}: expected a block of Python that begins with the Predictor's import, found none")
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        programs = _programs(Path(folder))
        _run(programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", distribution)
        _run(programs / "python", "-c", PICTURES_CODE + block[1], cwd=folder)
        _run(programs / "feredge", "--version", cwd=folder)
        _run(programs / "feredge", "doctor", cwd=folder)


def _checkers(environment: Path) -> Path:
    """Return the programs of the checkers' environment, which is made anew when their lock file changes."""
    from feredge import files

    stamp = environment / "checkers.sha256"
    digest = files.sha256(CHECKERS_LOCK)
    programs = _programs(environment)
    if not stamp.is_file() or stamp.read_text() != digest:
        shutil.rmtree(environment, ignore_errors=True)
        venv.create(environment, with_pip=True)
        pip = (programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run(*pip, "--require-hashes", "-r", CHECKERS_LOCK)
        stamp.write_text(digest)
    return programs


def _programs(environment: Path) -> Path:
    return environment / ("Scripts" if os.name == "nt" else "bin")


def _run(*command: object, cwd: str | None = None) -> None:
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    subprocess.run(list(map(str, command)), cwd=cwd, env=variables, check=True)
