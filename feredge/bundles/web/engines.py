"""The self-test of a web bundle in Node and in headless Chromium."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feredge.bundles.targets import SelfTest
from feredge.bundles.web.chromium import ChromiumPage, find_chromium
from feredge.errors import ArtifactError
from feredge.programs import ProgramError, first_line, run_program

TIMEOUT_SECONDS = 60.0
PASSED_TEXT = "are answered as LiteRT answers them"
ANSWER = """new Promise((done) => {
  const text = (name) => document.getElementById(name)?.textContent;
  const look = () => {
    const answer = text("error") || text("result");
    answer ? done(answer) : setTimeout(look, 50);
  };
  look();
})"""
"""On the bundle's page: what its self-test says, or the page's error."""


def node_self_test(folder: Path) -> SelfTest:
    """Run `self_test.mjs` in Node."""
    program = shutil.which("node")
    if program is None:
        return SelfTest("Node", skipped="node is not installed")
    try:
        done = run_program([program, "self_test.mjs"], timeout_seconds=TIMEOUT_SECONDS, folder=folder)
    except ProgramError as error:
        return SelfTest("Node", str(error))
    if done.returncode == 0 and PASSED_TEXT in done.stdout:
        return SelfTest("Node")
    lines = [line for line in done.stdout.splitlines() if PASSED_TEXT not in line and "skipped" not in line]
    return SelfTest("Node", f"{folder / 'self_test.mjs'}: {lines[0] if lines else first_line(done, 'Error')}")


def chromium_self_test(folder: Path) -> SelfTest:
    """Open the page with its self-test in headless Chromium."""
    program = find_chromium()
    if program is None:
        return SelfTest("Chromium", skipped="chromium is not installed")
    try:
        with serving(folder) as address, ChromiumPage(program, timeout_seconds=TIMEOUT_SECONDS) as page:
            page.open(f"{address}?self-test")
            answer = page.run(ANSWER)
    except ArtifactError as error:
        return SelfTest("Chromium", f"{folder}: {error}")
    return SelfTest("Chromium", "" if PASSED_TEXT in answer else f"{folder}: {answer}")


@contextmanager
def serving(
    folder: Path, *, headers: Mapping[str, str] | None = None, requested: set[str] | None = None
) -> Iterator[str]:
    """Serve a folder on this machine while the context lasts; yield its address.

    Args:
        headers: of every response.
        requested: the paths that were asked for are added to it.
    """

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if requested is not None:
                requested.add(self.path)
            super().do_GET()

        def end_headers(self) -> None:
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:  # a browser that closes a connection is none
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
