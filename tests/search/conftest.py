"""A study whose trials train nothing, and a PostgreSQL server."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trial_process
from postgres_server import POSTGRES_PROGRAMS, PostgresServer
from tiny_space import TINY_SPACE
from trial_process import StartProcess

from feredge.search.study import STUDY_SCHEMA, StudyFolder, StudySettings


@pytest.fixture
def untrained_study(tmp_path: Path) -> StudyFolder:
    """A study of the tiny space, of no data."""
    settings = StudySettings(STUDY_SCHEMA, TINY_SPACE, "none", "0" * 64)
    return StudyFolder.claim(tmp_path / "study", settings)


@pytest.fixture
def start_process() -> Iterator[StartProcess]:
    """Start a process of trial_process.py; those that still run at the end are killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(folder: StudyFolder, count: int, *url: str) -> subprocess.Popen[str]:
        command = [sys.executable, trial_process.__file__, str(folder.path), str(count), *url]
        path = os.pathsep.join([str(Path(trial_process.__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        processes.append(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A running server of Debian's package `postgresql`; not in pytest's folder, which no other user may enter."""
    if not POSTGRES_PROGRAMS:
        pytest.skip("no PostgreSQL server (Debian: postgresql)")
    with tempfile.TemporaryDirectory(prefix="feredge-postgres-") as folder:
        server = PostgresServer(Path(folder))
        yield server
        server.stop()
