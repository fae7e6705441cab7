"""A device over ssh, by OpenSSH's programs: without a password, and only where the host's key is known.

Failures become one line: what was expected, and what was found.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from feredge.errors import DeviceError

SECURITY_OPTIONS = ("BatchMode=yes", "StrictHostKeyChecking=yes")
"""No prompts, and no unknown hosts. They precede the user's options, because ssh takes the first value of each."""
TIMEOUT_OPTIONS = ("ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")
COMMAND_TIMEOUT_SECONDS = 60.0
"""Of a command on the device whose output is not followed."""


class ConnectionLost(Exception):
    """A connection that broke, or a host that is unreachable; trying again may succeed."""


@dataclass(frozen=True)
class Address:
    """Address of a device: `ssh://user@host:port`, of which user and port are optional."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse an address; DeviceError for anything else, and for names that ssh could take for options."""
        try:
            parts = urlsplit(text)
            address = cls(parts.hostname or "", parts.username, parts.port)
            extra = parts.path.strip("/") or parts.query or parts.fragment or parts.password
        except ValueError as error:
            raise DeviceError(f"{text}: expected ssh://user@host:port, found {error}") from error
        names = [address.host, *([address.user] if address.user is not None else [])]
        valid = all(re.fullmatch(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*", name) for name in names)
        if parts.scheme != "ssh" or extra or not valid:
            raise DeviceError(f"{text}: expected ssh://user@host:port, found another kind of address")
        return address

    def __str__(self) -> str:
        """Return the address as a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{f'{self.user}@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"

    @property
    def name(self) -> str:
        """Host and port, as a part of a file's name."""
        return re.sub(r"[^A-Za-z0-9.-]", "-", f"{self.host}{f'-{self.port}' if self.port else ''}")


@dataclass(frozen=True)
class Device:
    """A device on which commands are run.

    Attributes:
        python: the interpreter on the device, a name on its PATH or a path.
        options: of ssh and scp, as after their `-o`.
    """

    address: Address
    python: str = "python3"
    options: tuple[str, ...] = ()

    def run_agent(
        self, command: str, *arguments: str, on_line: Callable[[bytes], None] | None = None
    ) -> dict[str, Any]:
        """Run `agent.py` on the device and return its result; `on_line` is called with each line before it.

        Raises:
            ConnectionLost: ssh lost or did not get the connection, for a reason that may be temporary.
            DeviceError: the host refuses, its key is not the known one, or it has no such Python.
        """
        # A shell on the device parses this text: every word is quoted.
        remote_command = shlex.join([self.python, "-", command, *arguments])
        program = (Path(__file__).parent / "agent.py").read_bytes()
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as errors:
            source.write(program)
            source.seek(0)
            call = [
                _program("ssh"),
                "-T",
                *self._options("-p"),
                *self._login(),
                "--",
                self.address.host,
                remote_command,
            ]
            result = None
            with _running(call, source, errors) as process:
                for line in _lines(process, None if on_line else COMMAND_TIMEOUT_SECONDS):
                    if line.startswith(b"="):
                        result = line
                    elif on_line and line.endswith(b"\n") and line[:1] in b"[\n":  # not output of a login shell
                        on_line(line)
                code = process.wait()
            errors.seek(0)
            stderr = errors.read().decode(errors="replace")
        if code or result is None:
            raise self._to_error(code, stderr)
        value: dict[str, Any] = json.loads(result[1:])
        return value

    def send(self, path: Path, remote_path: str) -> None:
        """Copy a file to `remote_path`, relative to the user's home. Raises what `run_agent` raises."""
        self._copy(str(path), self._scp_path(remote_path))

    def fetch(self, remote_path: str, path: Path) -> None:
        """Copy a file from `remote_path`, relative to the user's home. Raises what `run_agent` raises."""
        self._copy(self._scp_path(remote_path), str(path))

    def _copy(self, source: str, target: str) -> None:
        call = [_program("scp"), "-q", *self._options("-P"), "--", source, target]
        completed = subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if completed.returncode:
            stderr = completed.stderr.decode(errors="replace")
            lost = re.search(r"lost connection|connection closed|broken pipe|connection reset", stderr, re.IGNORECASE)
            raise self._to_error(255 if lost else completed.returncode, stderr)

    def _options(self, port: str) -> list[str]:
        options = [item for option in (*SECURITY_OPTIONS, *self.options, *TIMEOUT_OPTIONS) for item in ("-o", option)]
        return [*options, *([port, str(self.address.port)] if self.address.port else [])]

    def _login(self) -> list[str]:
        return ["-l", self.address.user] if self.address.user else []

    def _scp_path(self, remote_path: str) -> str:
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        return f"{f'{self.address.user}@' if self.address.user else ''}{host}:{remote_path}"

    def _to_error(self, code: int, stderr: str) -> Exception:
        """Return the exception for an exit code and the standard error of ssh or scp."""
        lines = [" ".join(line.split()) for line in stderr.splitlines() if line.strip()]
        last = lines[-1][:200] if lines else f"it ended with code {code}"
        for pattern, expected in ERROR_PATTERNS.items():
            if re.search(pattern, stderr):
                return DeviceError(f"{self.address}: expected {expected} ({last})")
        if code == 255:
            return ConnectionLost(last)
        if code in (126, 127):
            return DeviceError(
                f"{self.address}: expected Python 3.11 or newer as {self.python}, found none ({last}); "
                "name another with --python"
            )
        return DeviceError(f"{self.address}: expected a result of {self.python}, found {last}")


ERROR_PATTERNS = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "the host key that is known for it, found another",
    "No .* host key is known|Host key verification failed": "a host whose key is known, found an unknown key",
    r"Permission denied \(": "to be let in by a key or an agent, found a refusal",
    "Bad configuration option|keyword .* extra arguments|no argument after keyword|unsupported option|Bad number": (
        "options that ssh knows, found another"
    ),
    "No space left|write remote .*Failure|Disk quota exceeded": "room on the device, found none",
}
"""Messages of ssh and scp, as regular expressions, and what was expected and found."""


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise DeviceError(f"expected OpenSSH's {name}, found none; Debian: apt-get install openssh-client")
    return path


@contextmanager
def _running(call: Sequence[str], source: Any, errors: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(call, stdin=source, stdout=subprocess.PIPE, stderr=errors)
    try:
        yield process
    finally:
        process.kill()  # no effect on one that has ended
        process.wait()
        if process.stdout:
            process.stdout.close()


def _lines(process: subprocess.Popen[bytes], timeout_seconds: float | None) -> Iterator[bytes]:
    """Yield the lines of a process's output; ConnectionLost where it runs for longer than `timeout_seconds`."""
    if timeout_seconds is not None:
        try:
            output, _ = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise ConnectionLost(f"no answer within {timeout_seconds:.0f} s") from error
        yield from output.splitlines(keepends=True)
    elif process.stdout:
        yield from process.stdout
