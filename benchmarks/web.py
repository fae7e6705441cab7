#!/usr/bin/env python3
"""How does a web bundle compare with onnxruntime-web and LiteRT.js? Prints ratios of time, bytes and first answer.

    python benchmarks/web.py [--model models/nano] [--data fer2013.csv] [--rounds 40] [--starts 7]

All run the same int8 network on one thread in headless Chromium, one image at a time. Needs npm, which fetches the two
packages into the cache folder, Chromium, and ziglang (pip install 'feredge[c]').

time            rounds of each take turns, each in a browser of its own; the ratio of the medians. To reach: 3 times as
                fast as onnxruntime-web, at most 1.5 times LiteRT.js's time.
first answer    from the navigation to the first answer in a fresh browser, less that of an empty page; turns; medians.
                To reach: 1/10 of onnxruntime-web's.
bytes           gzip -9 of all that the server sent until the first answer, and of what the bundle's own page asks for.
                To reach: 110 KB for nano's page.
webcam          frames a second that the bundle's page answers of Chromium's fake camera of 60. To reach: 60.
answers         with --data: rows of FER2013's PublicTest in which every probability is LiteRT's. To reach: all.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from feredge.benchmark.web.packages import NPM_PACKAGES, install_package
from feredge.benchmark.web.runner import OPEN_BUNDLE, PageRunner, runtime_script
from feredge.bundles.targets import bundle
from feredge.bundles.web.chromium import ChromiumPage, find_chromium
from feredge.bundles.web.engines import serving
from feredge.errors import ArtifactError
from feredge.inference.embedded_card import read_card
from feredge.inference.runtimes import open_artifact

FEREDGE, ORT, LITERT, EMPTY, PAGE = "feredge", "onnxruntime-web", "LiteRT.js", "an empty page", "the bundle's page"
FILES = {LITERT: "dense.int8.tflite", ORT: "dense.int8.onnx"}
EMPTY_SCRIPT = "return async () => [];"
CALLS_PER_TURN = 20
PREDICTION_BATCH = 64
CAMERA_FLAGS = ("--use-fake-device-for-media-stream=fps=60", "--use-fake-ui-for-media-stream")
WEBCAM = """(async () => {
  const $ = (id) => document.getElementById(id);
  const until = async (done) => { while (!done()) await new Promise((next) => setTimeout(next, 50)); };
  await until(() => !$("test").hidden);
  $("camera").click();
  await until(() => $("label").textContent || $("error").textContent);
  await new Promise((next) => setTimeout(next, 1000));
  let frames = 0;
  new MutationObserver(() => frames++).observe($("label"), { childList: true });
  const start = performance.now();
  await new Promise((next) => setTimeout(next, 5000));
  return frames / (performance.now() - start) * 1000;
})()"""
"""On the bundle's page: frames answered a second."""


class Contestants:
    """The runtimes' scripts, each in a folder that its page is served from."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.card = read_card(model / FILES[LITERT])
        self.scripts = {EMPTY: EMPTY_SCRIPT, FEREDGE: OPEN_BUNDLE}
        self.folders = {name: folder / str(number) for number, name in enumerate((EMPTY, FEREDGE, *FILES))}
        for path in self.folders.values():
            path.mkdir()
        bundle("web", model, self.folders[FEREDGE] / "bundle")
        for name, file in FILES.items():
            self.scripts[name] = runtime_script(name, model / file, self.card, self.folders[name])
        self.names = [FEREDGE, *FILES]

    def open(self, name: str, *, first_answer: bool = False) -> PageRunner:
        """Open a runtime in a fresh browser; with `first_answer` its `load_ns` includes that."""
        script = self.scripts[name]
        if first_answer:
            size = int(np.prod(self.card.contract.shape))
            script = f"const run = await (async () => {{{script}}})(); await run(new Uint8Array({size})); return run;"
        return PageRunner(self.card, self.folders[name], script)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/nano"), help="a folder of exported files")
    parser.add_argument("--data", type=Path, help="FER2013's csv")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--starts", type=int, default=7)
    args = parser.parse_args()
    try:
        for package in NPM_PACKAGES:
            install_package(package)
        with tempfile.TemporaryDirectory() as folder:
            print(f"web: {args.model}, {os.cpu_count()} cores, {NPM_PACKAGES}")
            contestants = Contestants(args.model, Path(folder))
            print_times(contestants, args.rounds)
            print_first_answers(contestants, args.starts)
            print_page(contestants.folders[FEREDGE] / "bundle")
            if args.data:
                print_answers(contestants, args.model, args.data)
    except ArtifactError as error:
        parser.error(str(error))


def print_times(contestants: Contestants, rounds: int) -> None:
    """Print the median time of an answer, of rounds in turns."""
    runners = {name: contestants.open(name) for name in contestants.names}
    batches = list(np.random.default_rng(0).integers(0, 256, (16, 1, *contestants.card.contract.shape), np.uint8))
    times: dict[str, list[float]] = {name: [] for name in runners}
    for runner in runners.values():
        runner.time_calls(batches, seconds=0, runs=200)
    for _ in range(rounds):
        for name, runner in runners.items():
            times[name].append(float(runner.time_calls(batches, seconds=0, runs=CALLS_PER_TURN).mean()) / 1e6)
    for runner in runners.values():
        runner.close()
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"  time          {name:16} {median:8.3f} ms  {median / medians[FEREDGE]:6.2f} x feredge's")


def print_first_answers(contestants: Contestants, starts: int) -> None:
    """Print the time to the first answer in a fresh browser, and what was sent until then."""
    times: dict[str, list[float]] = {name: [] for name in contestants.scripts}
    sizes = {}
    for _ in range(starts):
        for name, values in times.items():
            runner = contestants.open(name, first_answer=True)
            values.append(runner.load_ns / 1e6)
            sizes[name] = runner.transfer_bytes
            runner.close()
    medians = {name: statistics.median(values) for name, values in times.items()}
    first = {name: medians[name] - medians[EMPTY] for name in contestants.names}
    for name in contestants.names:
        print(f"  first answer  {name:16} {first[name]:8.1f} ms  {first[name] / first[FEREDGE]:6.2f} x feredge's")
    for name in contestants.names:
        print(f"  bytes         {name:16} {sizes[name] / 1000:8.1f} KB")


def print_page(folder: Path) -> None:
    """Print what the bundle's own page asks for, and its frames a second of a fake webcam."""
    program = find_chromium()
    if program is None:
        raise ArtifactError("expected Chromium, found none")
    requested: set[str] = set()
    with serving(folder, requested=requested) as address, ChromiumPage(program, flags=CAMERA_FLAGS) as page:
        page.open(address)
        rate = page.run(WEBCAM)
    paths = {urlsplit(request).path.lstrip("/") or "index.html" for request in requested}
    size = sum(len(gzip.compress((folder / path).read_bytes(), 9)) for path in paths)
    print(f"  bytes         {PAGE:16} {size / 1000:8.1f} KB")
    print(f"  webcam        {PAGE:16} {rate:8.1f} frames/s")


def print_answers(contestants: Contestants, model: Path, data: Path) -> None:
    """Print in how many rows of PublicTest each build answers as LiteRT."""
    from feredge.data import load

    dataset = load(data)
    images = np.ascontiguousarray(dataset.images[dataset.usage == "PublicTest"])
    litert = open_artifact(model / FILES[LITERT])
    expected = np.concatenate([litert.predict(image[None]) for image in images])
    for build in ("relaxed", "simd", "plain"):
        script = OPEN_BUNDLE.replace("load()", f"load({{ build: '{build}' }})")
        runner = PageRunner(contestants.card, contestants.folders[FEREDGE], script)
        starts = range(0, len(images), PREDICTION_BATCH)
        rows = np.concatenate([runner.predict(images[start : start + PREDICTION_BATCH]) for start in starts])
        runner.close()
        equal = int((rows == expected).all(axis=1).sum())
        print(f"  answers       {build:16} {equal:,} of {len(images):,} rows equal to LiteRT's")


if __name__ == "__main__":
    main()
