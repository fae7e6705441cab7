"""A page in headless Chromium as a user sees and operates it, and what the browser complains about."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from feredge.bundles.web.chromium import ChromiumPage, find_chromium


class Page(ChromiumPage):
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
        super().__init__(program, flags=flags)
        for domain in ("Log", "Network"):
            self.send(f"{domain}.enable")
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.open(self.address)

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

    def on_event(self, event: dict[str, Any]) -> None:
        """Record what the browser complains about."""
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


def open_page(page: Path | str, **options: Any) -> Page:
    """Open a page by its path or address; skip the test without an installed Chromium."""
    program = find_chromium()
    if program is None:
        pytest.skip("no chromium is installed here")
    return Page(program, page, **options)
