"""Headless Chromium over its debugging pipe: two file descriptors and JSON, without driver or packages."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

PROGRAM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# No sandbox, because tests also run as root; no background services that use the network.
COMMAND_LINE_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-pipe"),
)


def find() -> str | None:
    """Return the path of an installed Chromium."""
    return next((path for name in PROGRAM_NAMES if (path := shutil.which(name))), None)


class Page:
    """One page in one browser. `browser_errors` has exceptions, console errors, and refused or external requests.

    A page with an address may request what is below that.
    """

    def __init__(
        self,
        program: str,
        page: Path | str,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        flags: tuple[str, ...] = (),
    ) -> None:
        self.address = page if isinstance(page, str) else page.absolute().as_uri()
        self.browser_errors: list[str] = []
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        self._number = 0
        self._pending = b""
        command_input, self._commands = os.pipe()
        self._messages, message_output = os.pipe()

        def set_descriptors() -> None:  # Chromium reads from descriptor 3 and writes to 4
            input_copy, output_copy = os.dup(command_input), os.dup(message_output)
            os.dup2(input_copy, 3)
            os.dup2(output_copy, 4)

        self._process = subprocess.Popen(
            [program, *COMMAND_LINE_FLAGS, *flags, f"--user-data-dir={self._profile}"],
            preexec_fn=set_descriptors,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_input)
        os.close(message_output)
        self._session = ""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url=self.address)
        self.run("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                result: dict[str, Any] = message["result"]
                return result
            self._record(message)

    def run(self, expression: str) -> Any:
        """Evaluate JavaScript, wait for a promise, and return its plain value."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"].get("exception", result["exceptionDetails"])))
        return result["result"].get("value")

    def resize(self, width: int, height: int) -> None:
        """Set the window's size."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Send a mouse event: `mouseMoved`, `mousePressed`, `mouseReleased`."""
        pressed = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)

    def click(self, x: float, y: float) -> None:
        """Press and release the left button."""
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def key(self, name: str) -> None:
        """Press and release a key."""
        codes = {"ArrowRight": 39, "ArrowLeft": 37, "Enter": 13, "Escape": 27, "Tab": 9}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=codes[name])

    def screenshot(self, path: Path, *, full_page: bool = True) -> None:
        """Write a screenshot as PNG, of the full page or of the viewport."""
        data = self.send("Page.captureScreenshot", captureBeyondViewport=full_page, format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            data = os.read(self._messages, 1 << 20)
            if not data:
                raise RuntimeError(f"Chromium ended with code {self._process.wait()}")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\0")
        value: dict[str, Any] = json.loads(line)
        return value

    def _record(self, event: dict[str, Any]) -> None:
        method, details = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.browser_errors.append(str(details["exceptionDetails"]))
        if method == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning", "assert"):
            self.browser_errors.append(f"console: {details['args']}")
        if method == "Log.entryAdded" and details["entry"]["level"] in ("error", "warning"):
            self.browser_errors.append(details["entry"]["text"])
        allowed = ("file:", "data:", *([self.address] if self.address.startswith("http") else []))
        if method == "Network.requestWillBeSent" and not details["request"]["url"].startswith(allowed):
            self.browser_errors.append(f"network request: {details['request']['url']}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(RuntimeError, OSError):
            self._session = ""
            self.send("Browser.close")
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._commands)
        os.close(self._messages)
        shutil.rmtree(self._profile, ignore_errors=True)


def open_page(page: Path | str, **options: Any) -> Page:
    """Open a page by its path or address; skip the test without an installed Chromium."""
    program = find()
    if program is None:
        pytest.skip("no chromium is installed here")
    return Page(program, page, **options)
