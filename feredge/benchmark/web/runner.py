"""Runners of files in a page of headless Chromium: feredge's WebAssembly, LiteRT.js, onnxruntime-web."""

from __future__ import annotations

import atexit
import base64
import contextlib
import gzip
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark.web.packages import packages_folder
from feredge.bundles.targets import bundle
from feredge.bundles.templates import fill_dollars
from feredge.bundles.web.chromium import ChromiumPage, find_chromium
from feredge.bundles.web.contents import IMPORT_MAP, TEMPLATE_FOLDER
from feredge.bundles.web.engines import serving
from feredge.errors import ArtifactError
from feredge.inference.artifact import Card
from feredge.inference.contract import Images
from feredge.inference.embedded_card import read_card
from feredge.inference.runtimes import Probabilities

PAGE_FILE = Path(__file__).with_name("page.html")
RUNTIMES_SCRIPT = "runtimes.js"
ISOLATION_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
"""With them Chromium's clock has steps of 5 µs, without of 100 µs."""
OPEN_BUNDLE = """
  const net = await (await import("./bundle/feredge.js")).load();
  return async (pixels) => net.predict(pixels).scores;"""
OPEN_RUNTIME = """
  const { openRuntime } = await import("./runtimes.js");
  return openRuntime("$RUNTIME", new URL("$MODEL", location.href), $SHAPE);"""


class PageRunner:
    """A model in a page of its own browser, one image at a time, on one thread. Times are by the page's clock.

    Args:
        card: of the file.
        folder: what the page is served from.
        script: the body of a JavaScript function that opens the model, and returns what answers an input.

    Attributes:
        load_ns: from the navigation until the model is loaded.
        call_ns: of the latest `predict`.
        transfer_bytes: gzip -9 of all that the server sent until the model was loaded, without the page.

    Raises:
        ArtifactError: no Chromium, or a runtime that cannot open the model.
    """

    def __init__(self, card: Card, folder: Path, script: str) -> None:
        program = find_chromium()
        if program is None:
            raise ArtifactError("expected Chromium or Chrome, found none")
        self.card = card
        values = {"IMPORT_MAP": IMPORT_MAP, "OPEN": script, "IMAGE_BYTES": str(int(np.prod(card.contract.shape)))}
        Path(folder, "page.html").write_text(fill_dollars(PAGE_FILE.read_text(encoding="utf-8"), values), "utf-8")
        requested: set[str] = set()
        with contextlib.ExitStack() as stack:
            address = stack.enter_context(serving(folder, headers=ISOLATION_HEADERS, requested=requested))
            self._page = stack.enter_context(ChromiumPage(program))
            self._page.open(f"{address}page.html")
            self.load_ns = round(self._page.run("runtime.then((opened) => opened.loaded)") * 1e6)
            self._stack = stack.pop_all()
        atexit.register(self.close)
        self.call_ns = 0
        names = {urlsplit(request).path.lstrip("/") for request in requested} - {"page.html"}
        sent = [folder / name for name in sorted(names) if (folder / name).is_file()]
        self.transfer_bytes = sum(len(gzip.compress(path.read_bytes(), 9)) for path in sent)

    def close(self) -> None:
        """End the browser."""
        self._stack.close()

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        result = self._page.run(f"runtime.then((opened) => opened.predict('{_base64(batch)}'))")
        self.call_ns = round(result["ms"] * 1e6)
        return np.array(result["rows"], np.float32)

    def time_calls(self, batches: Sequence[Images], *, seconds: float, runs: int) -> NDArray[np.int64]:
        """Time calls on each of `batches` in turn, for at least `seconds` and `runs` times; return nanoseconds."""
        images = _base64(np.concatenate(batches))
        arguments = f"'{images}', {len(batches[0])}, {seconds}, {runs}"
        samples = self._page.run(f"runtime.then((opened) => opened.time({arguments}))")
        return (np.array(samples) * 1e6).astype(np.int64)


def open_bundle(path: Path, *, threads: int = 1) -> PageRunner:
    """Open an int8 `.tflite` file as its web bundle."""
    del threads
    folder = _temporary_folder()
    bundle("web", path, folder / "bundle")
    return PageRunner(read_card(path), folder, OPEN_BUNDLE)


def open_litert_js(path: Path, *, threads: int = 1) -> PageRunner:
    """Open a `.tflite` file in LiteRT.js."""
    del threads
    return _open_in("LiteRT.js", path)


def open_onnxruntime_web(path: Path, *, threads: int = 1) -> PageRunner:
    """Open an `.onnx` file in onnxruntime-web."""
    del threads
    return _open_in("onnxruntime-web", path)


def _open_in(runtime: str, path: Path) -> PageRunner:
    card, folder = read_card(path), _temporary_folder()
    return PageRunner(card, folder, runtime_script(runtime, path, card, folder))


def runtime_script(runtime: str, path: Path, card: Card, folder: Path) -> str:
    """Link into `folder` all that a page needs of a runtime and a file; return the script that opens it."""
    (folder / "runtimes").symlink_to(packages_folder().resolve())
    (folder / RUNTIMES_SCRIPT).symlink_to(TEMPLATE_FOLDER / RUNTIMES_SCRIPT)
    model = f"model{path.suffix}"  # its own name may need escapes in a URL
    (folder / model).symlink_to(path.resolve())
    values = {"RUNTIME": runtime, "MODEL": model, "SHAPE": json.dumps([1, *card.contract.shape])}
    return fill_dollars(OPEN_RUNTIME, values)


def _temporary_folder() -> Path:
    """Return a new folder that is removed when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="feredge-", ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _base64(batch: Images) -> str:
    return base64.b64encode(batch.tobytes()).decode()
