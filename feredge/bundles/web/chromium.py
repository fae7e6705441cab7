"""A page in headless Chromium, driven over its debugging pipe: two file descriptors and JSON, without a driver."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from types import TracebackType
from typing import Any, Self

from feredge.errors import ArtifactError
from feredge.programs import wait_or_kill

CHROMIUM_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM_FLAGS = (
    *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update"),  # no service of Chromium's own on the network
)
CLOSE_TIMEOUT_SECONDS = 10


def find_chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome.

    None without one, and on Windows, where a program cannot inherit the pipe that ChromiumPage speaks over.
    """
    if os.name == "nt":
        return None
    return next((path for name in CHROMIUM_PROGRAMS if (path := shutil.which(name))), None)


def chromium_command(program: str, profile: str, *flags: str) -> list[str]:
    """Return the command line of a headless Chromium with its profile in a folder."""
    as_root = ("--no-sandbox",) if os.name == "posix" and os.geteuid() == 0 else ()  # Chromium has none as root
    return [program, *CHROMIUM_FLAGS, *as_root, *flags, f"--user-data-dir={profile}"]


class ChromiumPage:
    """A blank page in a Chromium of its own, which ends with this process however that ends. A context manager.

    Args:
        program: path of Chromium.
        flags: more of its options.
        timeout_seconds: from now on; answers after it are an error. None waits for ever.

    Raises:
        ArtifactError: Chromium does not start.
    """

    def __init__(self, program: str, *, flags: tuple[str, ...] = (), timeout_seconds: float | None = None) -> None:
        self._timeout_seconds = timeout_seconds
        self._deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        self._number, self._pending, self._session = 0, b"", ""
        command_input, self._commands = os.pipe()
        self._messages, message_output = os.pipe()

        def set_descriptors() -> None:  # Chromium reads from descriptor 3 and writes to 4
            input_copy, output_copy = os.dup(command_input), os.dup(message_output)
            os.dup2(input_copy, 3)
            os.dup2(output_copy, 4)

        try:
            self._process = subprocess.Popen(
                chromium_command(program, self._profile, "--remote-debugging-pipe", *flags),
                preexec_fn=set_descriptors,
                close_fds=False,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            os.close(command_input)
            os.close(message_output)
        try:
            target = self.send("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime"):
                self.send(f"{domain}.enable")
        except ArtifactError:
            self.close()
            raise

    def open(self, address: str) -> None:
        """Go to an address, and wait until it is loaded, with its modules."""
        self.send("Page.navigate", url=address)
        self.run("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command of the DevTools protocol, and return its result.

        Raises:
            ArtifactError: Chromium refuses it, has ended, or does not answer in time.
        """
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        try:
            os.write(self._commands, json.dumps(command).encode() + b"\0")
        except OSError as error:
            raise ArtifactError(f"Chromium ended with code {self._process.wait()}") from error
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                if "error" in message:
                    raise ArtifactError(f"{method}: {message['error']['message']}")
                result: dict[str, Any] = message["result"]
                return result
            self.on_event(message)

    def run(self, expression: str) -> Any:
        """Evaluate JavaScript, wait for a promise, and return its plain value.

        Raises:
            ArtifactError: it throws.
        """
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            description = str(details.get("exception", {}).get("description", details["text"]))  # then the stack
            raise ArtifactError(description.splitlines()[0].removeprefix("Error: "))
        return result["result"].get("value")

    def on_event(self, event: dict[str, Any]) -> None:
        """Take an event that came while a result was awaited; does nothing."""

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            remaining = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
            if not select.select([self._messages], [], [], remaining)[0]:
                raise ArtifactError(f"Chromium: no answer in {self._timeout_seconds:g} s")
            data = os.read(self._messages, 1 << 20)
            if not data:
                raise ArtifactError(f"Chromium ended with code {self._process.wait()}")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\0")
        value: dict[str, Any] = json.loads(line)
        return value

    def close(self) -> None:
        """End Chromium, and remove its profile."""
        with contextlib.suppress(ArtifactError, OSError):
            self._session = ""
            self.send("Browser.close")
        wait_or_kill(self._process, timeout_seconds=CLOSE_TIMEOUT_SECONDS)
        os.close(self._commands)
        os.close(self._messages)
        shutil.rmtree(self._profile, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
