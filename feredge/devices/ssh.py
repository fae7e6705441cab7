"""A device over ssh: OpenSSH's own programs, without a password, and only where the host's key is known.

What a host answers is turned into one line: what was expected, and what was found.
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

STRICT = ("BatchMode=yes", "StrictHostKeyChecking=yes")
"""Before the user's options, so that none of them undoes it: nothing is asked, and no unknown host is trusted."""
PATIENT = ("ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")
SILENCE = 60.0
"""Seconds that a command on the device may take, where it is not followed."""


class ConnectionLost(Exception):
    """A connection that broke, or a host that does not answer now. It may come back."""


@dataclass(frozen=True)
class Address:
    """Where a device is: `ssh://user@host:port`, of which only the host must be there."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address; DeviceError for anything else, and for names that ssh could take for options."""
        try:
            parts = urlsplit(text)
            address = cls(parts.hostname or "", parts.username, parts.port)
            extra = parts.path.strip("/") or parts.query or parts.fragment or parts.password
        except ValueError as error:
            raise DeviceError(f"{text}: expected ssh://user@host:port, found {error}") from error
        names = [address.host, *([address.user] if address.user is not None else [])]
        known = all(re.fullmatch(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*", name) for name in names)
        if parts.scheme != "ssh" or extra or not known:
            raise DeviceError(f"{text}: expected ssh://user@host:port, found another kind of address")
        return address

    def __str__(self) -> str:
        """Return the address as it is given."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{f'{self.user}@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"

    @property
    def name(self) -> str:
        """The host and port, fit for a file's name."""
        return re.sub(r"[^A-Za-z0-9.-]", "-", f"{self.host}{f'-{self.port}' if self.port else ''}")


@dataclass(frozen=True)
class Device:
    """A device that commands are sent to.

    Attributes:
        python: the interpreter there, as its shell finds it.
        options: for ssh and scp, as after their `-o`.
    """

    address: Address
    python: str = "python3"
    options: tuple[str, ...] = ()

    def ask(self, do: str, *arguments: str, heard: Callable[[bytes], None] | None = None) -> dict[str, Any]:
        """Run `agent.py` on the device and return its answer; `heard` gets each whole line that comes before it.

        Raises:
            ConnectionLost: ssh lost or did not get the connection, for a reason that may pass.
            DeviceError: the host refuses, its key is not the known one, or it has no such Python.
        """
        # The other end's shell reads this text, whatever shell that is: every word is quoted.
        command = shlex.join([self.python, "-", do, *arguments])
        program = (Path(__file__).parent / "agent.py").read_bytes()
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as errors:
            source.write(program)
            source.seek(0)
            call = [_program("ssh"), "-T", *self._options("-p"), *self._login(), "--", self.address.host, command]
            answer = None
            with _running(call, source, errors) as process:
                for line in _lines(process, None if heard else SILENCE):
                    if line.startswith(b"="):
                        answer = line
                    elif heard and line.endswith(b"\n") and line[:1] in b"[\n":  # not what a login shell may say
                        heard(line)
                code = process.wait()
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        if code or answer is None:
            raise self._refusal(code, said)
        result: dict[str, Any] = json.loads(answer[1:])
        return result

    def send(self, path: Path, there: str) -> None:
        """Copy a file to `there`, relative to the login's folder. Raises as `ask` does."""
        self._copy(str(path), self._place(there))

    def fetch(self, there: str, path: Path) -> None:
        """Copy a file from `there`, relative to the login's folder. Raises as `ask` does."""
        self._copy(self._place(there), str(path))

    def _copy(self, source: str, target: str) -> None:
        call = [_program("scp"), "-q", *self._options("-P"), "--", source, target]
        done = subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            said = done.stderr.decode(errors="replace")
            lost = re.search(r"lost connection|connection closed|broken pipe|connection reset", said, re.IGNORECASE)
            raise self._refusal(255 if lost else done.returncode, said)

    def _options(self, port: str) -> list[str]:
        options = [item for option in (*STRICT, *self.options, *PATIENT) for item in ("-o", option)]
        return [*options, *([port, str(self.address.port)] if self.address.port else [])]

    def _login(self) -> list[str]:
        return ["-l", self.address.user] if self.address.user else []

    def _place(self, there: str) -> str:
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        return f"{f'{self.address.user}@' if self.address.user else ''}{host}:{there}"

    def _refusal(self, code: int, said: str) -> Exception:
        """Return what an exit code and standard error mean, as an exception."""
        lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
        last = lines[-1][:200] if lines else f"it ended with code {code}"
        for pattern, expected in REFUSALS.items():
            if re.search(pattern, said):
                return DeviceError(f"{self.address}: expected {expected} ({last})")
        if code == 255:
            return ConnectionLost(last)
        if code in (126, 127):
            return DeviceError(
                f"{self.address}: expected Python 3.11 or newer as {self.python}, found none ({last}); "
                "name another with --python"
            )
        return DeviceError(f"{self.address}: expected an answer from {self.python}, found {last}")


REFUSALS = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "the host key that is known for it, found another",
    "No .* host key is known|Host key verification failed": "a host whose key is known, found an unknown key",
    r"Permission denied \(": "to be let in by a key or an agent, found a refusal",
    "Bad configuration option|keyword .* extra arguments|no argument after keyword|unsupported option|Bad number": (
        "options that ssh knows, found another"
    ),
    "No space left|write remote .*Failure|Disk quota exceeded": "room on the device, found none",
}
"""What ssh and scp say, as regular expressions, and what was expected and found instead."""


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
        process.kill()  # nothing to one that has ended
        process.wait()
        if process.stdout:
            process.stdout.close()


def _lines(process: subprocess.Popen[bytes], limit: float | None) -> Iterator[bytes]:
    """Yield the lines of a process's output; ConnectionLost when it goes on for longer than `limit` seconds."""
    if limit is not None:
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired as error:
            raise ConnectionLost(f"no answer within {limit:.0f} s") from error
        yield from output.splitlines(keepends=True)
    elif process.stdout:
        yield from process.stdout
