"""A PostgreSQL server that tests start and stop."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from pathlib import Path

POSTGRES_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))


class PostgresServer:
    """A PostgreSQL server with an empty database, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._program = folder, POSTGRES_PROGRAMS[-1]
        self._user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._run(self._program.with_name("initdb"), "-D", folder / "data", "-A", "trust", "-U", "feredge", "-N")
        self.start()
        psql = self._program.with_name("psql")
        self._run(psql, "-h", "127.0.0.1", "-p", self.port, "-U", "feredge", "-c", "create database s", "postgres")

    @property
    def url(self) -> str:
        """The URL of the database, with a password that must not be shown."""
        return f"postgresql+psycopg://feredge:verysecret@127.0.0.1:{self.port}/s"

    def start(self) -> None:
        """Start the server, and wait until it responds."""
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        waiting = "-w", "-t", 300, "-l", self._folder / "log"
        self._run(self._program, "-D", self._folder / "data", *waiting, "-o", options, "start")

    def stop(self) -> None:
        """Stop the server at once: connections break."""
        self._run(self._program, "-D", self._folder / "data", "-m", "immediate", "-w", "-t", 300, "stop")

    def _run(self, *command: object) -> None:
        subprocess.run([*map(str, command)], check=True, capture_output=True, user=self._user, cwd="/")
