#!/usr/bin/env python3
"""How does a web bundle compare with onnxruntime-web and LiteRT.js? Prints ratios of time, bytes and first answer.

    python benchmarks/web.py [--model models/nano] [--data fer2013.csv] [--rounds 40] [--starts 7] [--cache FOLDER]

All run the same int8 network on one thread in headless Chromium, one image at a time. Needs npm, which fetches the two
packages into the cache folder, Chromium, and ziglang (pip install 'feredge[c]').

time            rounds of each take turns in one page; the ratio of the medians. To reach: 3 times as fast as
                onnxruntime-web, at most 1.5 times LiteRT.js's time.
first answer    from the navigation to the first answer in a fresh browser, less that of an empty page; turns; medians.
                To reach: 1/10 of onnxruntime-web's.
bytes           gzip -9 of all that the server sent until the first answer, and of what the bundle's own page asks for.
                To reach: 110 KB for nano's page.
webcam          frames a second that the bundle's page answers of Chromium's fake camera of 60. To reach: 60.
answers         with --data: rows of FER2013's PublicTest in which every probability is LiteRT's. To reach: all.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import http.server
import json
import os
import queue
import shutil
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from feredge.bundles.targets import bundle
from feredge.inference.runtimes import open_artifact

PACKAGES = ("@litertjs/core@2.5.3", "onnxruntime-web@1.30.0")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
    "--use-fake-device-for-media-stream=fps=60", "--use-fake-ui-for-media-stream",
)  # fmt: skip
TIMEOUT_SECONDS = 300
FEREDGE, ORT, LITERT, EMPTY, PAGE = "feredge", "onnxruntime-web", "LiteRT.js", "an empty page", "the bundle's page"
CREATE = {
    FEREDGE: """
      const { load } = await import("/bundle/feredge.js");
      const net = await load();
      return async (image) => net.predict(image).scores;""",
    ORT: """
      const ort = await import("/node_modules/onnxruntime-web/dist/ort.wasm.min.mjs");
      ort.env.wasm.numThreads = 1;
      ort.env.wasm.wasmPaths = "/node_modules/onnxruntime-web/dist/";
      const model = await (await fetch("/model/dense.int8.onnx")).arrayBuffer();
      const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
      const [name] = session.inputNames, [output] = session.outputNames;
      const tensor = (image) => new ort.Tensor("uint8", image, [1, ...SHAPE]);
      return async (image) => (await session.run({ [name]: tensor(image) }))[output].data;""",
    LITERT: """
      const { loadLiteRt, loadAndCompile, Tensor } = await import("@litertjs/core");
      await loadLiteRt("/node_modules/@litertjs/core/wasm/");
      const model = await loadAndCompile("/model/dense.int8.tflite", { accelerator: "wasm" });
      return async (image) => {
        const input = new Tensor(image, [1, ...SHAPE]);
        const [output] = await model.run(input);
        const scores = await output.data();
        input.delete();
        output.delete();
        return scores;
      };""",
    EMPTY: "return async () => [];",
}
"""JavaScript that opens the network in each runtime, and returns what answers an image."""
HEAD = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="importmap">{"imports": {
  "@litertjs/core": "/node_modules/@litertjs/core/dist/index.js",
  "@litertjs/wasm-utils": "/node_modules/@litertjs/wasm-utils/dist/index.js"}}</script>
<script type="module">
const SHAPE = %s, SIZE = SHAPE[0] * SHAPE[1] * SHAPE[2];
const image = new Uint8Array(SIZE).map((_, index) => (index * 37 + (index >> 5) * 11) %% 256);
const send = (value) => fetch("/result", { method: "POST", body: JSON.stringify(value) });
addEventListener("unhandledrejection", (event) => send({ error: String(event.reason) }));
"""
FIRST_ANSWER = "const run = await (async () => {%s})(); await run(image); await send({ ms: performance.now() });"
TURNS = """
const runs = {%s}, times = {};
for (const name in runs) { times[name] = []; for (let i = 0; i < 200; i++) await runs[name](image); }
for (let round = 0; round < %d; round++) for (const name in runs) {
  const start = performance.now();
  for (let i = 0; i < 20; i++) await runs[name](image);
  times[name].push((performance.now() - start) / 20);
}
await send(times);"""
ANSWERS = """
const pixels = new Uint8Array(await (await fetch("/images")).arrayBuffer()), rows = {};
for (const build of ["relaxed", "simd", "plain"]) {
  const net = await (await import("/bundle/feredge.js")).load({ build });
  rows[build] = [];
  for (let at = 0; at < pixels.length; at += SIZE) rows[build].push(net.predict(pixels.subarray(at, at + SIZE)).scores);
}
await send(rows);"""
WEBCAM = """
const frame = document.body.appendChild(document.createElement("iframe"));
Object.assign(frame, { src: "/bundle/index.html", width: 800, height: 1200, allow: "camera" });
const $ = (id) => frame.contentDocument?.getElementById(id);
const until = async (done) => { while (!done()) await new Promise((next) => setTimeout(next, 50)); };
await until(() => $("test") && !$("test").hidden);
$("camera").click();
await until(() => $("label").textContent);
await new Promise((next) => setTimeout(next, 1000));
let frames = 0;
new MutationObserver(() => frames++).observe($("label"), { childList: true });
const start = performance.now();
await new Promise((next) => setTimeout(next, 5000));
await send({ rate: frames / (performance.now() - start) * 1000, error: $("error").textContent });"""


class Server:
    """Serves the bundle, the packages and generated pages, and records what was asked for."""

    def __init__(self, folder: Path, head: str) -> None:
        self.pages: dict[str, bytes] = {"/images": b""}
        self.requests: list[str] = []
        self.results: queue.Queue[Any] = queue.Queue()
        self.folder, self._head = folder, head

    def add(self, script: str) -> str:
        """Add a page with a module script; return its path."""
        path = f"/page-{len(self.pages)}.html"
        self.pages[path] = f"{self._head}{script}</script><body></body>".encode()
        return path

    def gzip_bytes(self) -> int:
        """Return gzip -9 of all that was asked for since the list was cleared, once each."""
        paths = {request.partition("?")[0] for request in self.requests if request != "/result"}
        return sum(len(gzip.compress(self.read(path), 9)) for path in paths)

    def read(self, path: str) -> bytes:
        if path in self.pages:
            return self.pages[path]
        target = self.folder / path.lstrip("/")
        return (target / "index.html" if target.is_dir() else target).read_bytes()

    @contextmanager
    def running(self) -> Iterator[str]:
        server = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                if self.path not in server.pages:
                    super().do_GET()
                    return
                self.send_response(200)
                self.send_header(
                    "Content-Type", "text/html" if self.path.endswith(".html") else "application/octet-stream"
                )
                self.send_header("Content-Length", str(len(server.pages[self.path])))
                self.end_headers()
                self.wfile.write(server.pages[self.path])

            def do_POST(self) -> None:
                server.results.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        handler = functools.partial(Handler, directory=str(self.folder))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as service:
            threading.Thread(target=service.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{service.server_port}"
            service.shutdown()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/nano"), help="a folder of exported files")
    parser.add_argument("--data", type=Path, help="FER2013's csv")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/feredge-web-benchmark").expanduser())
    parser.add_argument("--browser", default=next(filter(None, map(shutil.which, BROWSERS)), None))
    args = parser.parse_args()
    if args.browser is None or shutil.which("npm") is None:
        parser.error(f"expected npm and a browser among {', '.join(BROWSERS)}, found one missing")
    args.cache.mkdir(parents=True, exist_ok=True)
    npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(args.cache), *PACKAGES]
    if subprocess.run(npm, check=False).returncode:
        parser.error(f"expected npm to install {', '.join(PACKAGES)}, found a failure")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle("web", args.model, folder / "bundle")
        (folder / "node_modules").symlink_to((args.cache / "node_modules").resolve())
        (folder / "model").symlink_to(args.model.resolve())
        runner = open_artifact(args.model / "dense.int8.tflite")
        server = Server(folder, HEAD % list(runner.card.contract.shape))
        with server.running() as address:
            report(server, functools.partial(visit, server, address, args.browser), runner, args)


def visit(server: Server, address: str, browser: str, path: str) -> Any:
    """Open a page in a fresh browser, and return what it sends."""
    server.requests.clear()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, *FLAGS, f"--user-data-dir={profile}", address + path]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            result = server.results.get(timeout=TIMEOUT_SECONDS)
        finally:
            process.terminate()
            process.wait()
    if isinstance(result, dict) and result.get("error"):
        raise SystemExit(f"{path}: {result['error']}")
    return result


def report(server: Server, visit: Any, runner: Any, args: argparse.Namespace) -> None:
    """Print each comparison."""
    print(f"web: {args.model}, {os.cpu_count()} cores, {', '.join(PACKAGES)}")
    runtimes = [name for name in CREATE if name != EMPTY]
    opened = ", ".join(f"{json.dumps(name)}: await (async () => {{{CREATE[name]}}})()" for name in runtimes)
    times = visit(server.add(TURNS % (opened, args.rounds)))
    medians = {name: statistics.median(rounds) for name, rounds in times.items()}
    for name in runtimes:
        print(f"  time          {name:16} {medians[name]:8.3f} ms  {medians[name] / medians[FEREDGE]:6.2f} x feredge's")

    pages = {name: server.add(FIRST_ANSWER % script) for name, script in CREATE.items()}
    starts: dict[str, list[float]] = {name: [] for name in pages}
    sizes = {}
    for _ in range(args.starts):
        for name, path in pages.items():
            starts[name].append(visit(path)["ms"])
            sizes[name] = server.gzip_bytes()
    empty = statistics.median(starts[EMPTY])
    first = {name: statistics.median(starts[name]) - empty for name in runtimes}
    for name in runtimes:
        print(f"  first answer  {name:16} {first[name]:8.1f} ms  {first[name] / first[FEREDGE]:6.2f} x feredge's")
    for name in runtimes:
        print(f"  bytes         {name:16} {sizes[name] / 1000:8.1f} KB")

    rate = visit(server.add(WEBCAM))["rate"]
    server.requests = [path for path in server.requests if path.startswith("/bundle/")]
    print(f"  bytes         {PAGE:16} {server.gzip_bytes() / 1000:8.1f} KB")
    print(f"  webcam        {PAGE:16} {rate:8.1f} frames/s")

    if args.data:
        from feredge.data import load

        dataset = load(args.data)
        images = np.ascontiguousarray(dataset.images[dataset.usage == "PublicTest"])
        compare(server, visit, runner, images)


def compare(server: Server, visit: Any, runner: Any, images: np.ndarray) -> None:
    """Print in how many rows each build answers as LiteRT."""
    server.pages["/images"] = images.tobytes()
    expected = np.concatenate([runner.predict(image[None]) for image in images])
    for build, rows in visit(server.add(ANSWERS)).items():
        equal = int((np.array(rows, np.float32) == expected).all(axis=1).sum())
        print(f"  answers       {build:16} {equal:,} of {len(images):,} rows equal to LiteRT's")


if __name__ == "__main__":
    main()
