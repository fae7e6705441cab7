#!/usr/bin/env python3
"""What does the Predictor cost over bare onnxruntime? Prints each ratio beside the one to reach.

    python benchmarks/predictor.py [--model FILE.onnx] [--only PART ...] [--rounds 15] [--predictions 1000000]

Every ratio compares two ways in one run, turn by turn; figures are medians over rounds. Parts:
    one     a ready 48x48 crop, against InferenceSession.run on the ready tensor
    batch   256 crops of mixed sizes on every core, against the bare session on the ready tensor of that batch with
            as many threads, and against a plain script of cv2.resize and session.run one at a time
    import  `import feredge` against `import numpy`, in fresh processes
    cold    a fresh process up to its first prediction, against a bare onnxruntime script
    memory  growth over many predictions
    folder  labelling a folder into csv, against cv2.imdecode alone on every core, and against that and the bare
            session on ready tensors one after the other, for three kinds of pictures
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import cv2
import numpy as np
import onnxruntime

from feredge import Predictor
from feredge.data.drawn import drawn
from feredge.inference.runtimes import find_model
from feredge.label.predict import predict_pictures

CORES = len(os.sched_getaffinity(0))


def main() -> None:
    """Measure the parts asked for, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="an .onnx file of 48x48 gray input; feredge's own unless given")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--predictions", type=int, default=1_000_000, help="of the part `memory`")
    args = parser.parse_args()
    model = find_model(args.model)
    print(f"{model.name}, {CORES} cores, onnxruntime {onnxruntime.__version__}, OpenCV {cv2.__version__}")
    for part in args.only:
        PARTS[part](model, args)


def one(model: Path, args: argparse.Namespace) -> None:
    """Time single predictions in blocks of 200, turn by turn."""
    crop = crops(1)[0]
    with Predictor(model) as predictor:
        ready = predictor.contract.to_batch([crop])
        session = bare(model, 1)
        feed = {session.get_inputs()[0].name: ready}
        ours, theirs = turns(args.rounds, lambda: predictor(crop), lambda: session.run(None, feed), calls=200)
    limit = 1.10 * theirs + 10e-6
    print(
        f"one: Predictor {ours * 1e6:.1f} us, bare session {theirs * 1e6:.1f} us, {(ours - theirs) * 1e6:.1f} us more; "
        f"{ours / limit:.3f} of the limit (1.10 x bare + 10 us)"
    )


def batch(model: Path, args: argparse.Namespace) -> None:
    """Time whole batches; the pause lets a session's spinning threads come to rest."""
    pictures = crops(256)
    with Predictor(model, threads=CORES) as predictor:
        ready = predictor.contract.to_batch(pictures)
        many, single = bare(model, CORES), bare(model, 1)
        name = many.get_inputs()[0].name

        def script() -> None:
            for picture in pictures:
                small = cv2.resize(picture, (48, 48), interpolation=cv2.INTER_AREA)
                single.run(None, {name: small[None, :, :, None]})

        ours, tensor, plain = turns(
            args.rounds, lambda: predictor.batch(pictures), lambda: many.run(None, {name: ready}), script, pause=0.05
        )
    each = [f"{seconds / len(pictures) * 1e6:.1f} us" for seconds in (ours, tensor, plain)]
    print(
        f"batch: Predictor {each[0]} a picture, bare session {each[1]}, plain script {each[2]}; "
        f"{tensor / ours:.2f} of the bare session's rate (reach 0.90), {plain / ours:.2f} of the script's (reach 1.70)"
    )


def imports(model: Path, args: argparse.Namespace) -> None:
    """Time whole processes."""
    ways = (process(f"import {names}") for names in ("feredge", "numpy", "numpy, feredge"))
    ours, theirs, both = turns(args.rounds, *ways)
    print(
        f"import: feredge {ours * 1e3:.1f} ms, numpy {theirs * 1e3:.1f} ms, both {both * 1e3:.1f} ms; "
        f"over numpy {(max(ours, both) - theirs) * 1e3:.1f} ms (reach 5)"
    )


def cold(model: Path, args: argparse.Namespace) -> None:
    """Time whole processes from start to the first prediction's answer."""
    ready = "np.zeros((48, 48), np.uint8)"
    ours = f"import numpy as np; from feredge import Predictor; Predictor({str(model)!r})({ready})"
    theirs = (
        "import numpy as np, onnxruntime as ort; "
        f"session = ort.InferenceSession({str(model)!r}, providers=['CPUExecutionProvider']); "
        f"session.run(None, {{session.get_inputs()[0].name: {ready}[None, :, :, None]}})"
    )
    mine, bare_script = turns(args.rounds, process(ours), process(theirs))
    print(
        f"cold: Predictor {mine * 1e3:.0f} ms, bare script {bare_script * 1e3:.0f} ms; "
        f"{mine / bare_script:.2f} of it (reach 1.15)"
    )


def memory(model: Path, args: argparse.Namespace) -> None:
    """Watch the resident set over single predictions, after the first ten thousand."""
    pictures = crops(64)
    with Predictor(model) as predictor:
        for number in range(10_000):
            predictor(pictures[number % 64])
        before = resident()
        for number in range(args.predictions):
            predictor(pictures[number % 64])
        grown = resident() - before
    print(f"memory: {grown / 1e6:.2f} MB more after {args.predictions:,} predictions (reach below 5)")


def folder(model: Path, args: argparse.Namespace) -> None:
    """Label folders of three kinds of pictures, each the drawn face of its size; files are in the page cache."""
    for name, side, suffix, count in (
        ("640x640 JPEG", 640, ".jpg", 400),
        ("224x224 JPEG", 224, ".jpg", 2000),
        ("48x48 PNG", 48, ".png", 5000),
    ):
        with tempfile.TemporaryDirectory() as place, Predictor(model, threads=CORES) as predictor:
            paths = []
            for number, picture in enumerate(drawn(count, 1).images):
                face = cv2.resize(picture.reshape(48, 48), (side, side), interpolation=cv2.INTER_CUBIC)
                # Cameras write colour, which takes longer to decode than gray.
                colour = cv2.applyColorMap(face, cv2.COLORMAP_BONE) if suffix == ".jpg" else face
                paths.append(str(Path(place) / f"{number:06}{suffix}"))
                cv2.imwrite(paths[-1], colour)
            data = [np.frombuffer(Path(path).read_bytes(), np.uint8) for path in paths]
            ready, many = predictor.contract.to_batch(paths), bare(model, CORES)
            name_in = many.get_inputs()[0].name
            table = Path(place) / "labels.csv"
            with ThreadPoolExecutor(CORES) as pool:
                ours, alone, inference = turns(
                    max(3, args.rounds // 3),
                    lambda: predict_pictures(predictor, paths, table, detect=False),  # noqa: B023 - called in this turn
                    lambda: list(pool.map(cv2.imdecode, data, [cv2.IMREAD_COLOR] * len(data))),  # noqa: B023
                    lambda: many.run(None, {name_in: ready}),  # noqa: B023
                    pause=0.05,
                )
        print(
            f"folder: {name}: {len(paths) / ours:,.0f} pictures/s labelled, {len(paths) / alone:,.0f} only decoded; "
            f"{alone / ours:.2f} of it (reach 0.90), {(alone + inference) / ours:.2f} of decoding and bare inference"
        )


def turns(rounds: int, *ways: Callable[[], Any], calls: int = 1, pause: float = 0.0) -> list[float]:
    """Return the median seconds of one call of each way; each round calls every way, in changing order."""
    for way in ways:
        way()
    times: list[list[float]] = [[] for _ in ways]
    for number in range(rounds):
        order = range(len(ways)) if number % 2 else reversed(range(len(ways)))
        for index in order:
            time.sleep(pause)
            began = time.perf_counter()
            for _ in range(calls):
                ways[index]()
            times[index].append((time.perf_counter() - began) / calls)
    return [statistics.median(one) for one in times]


def bare(model: Path, threads: int) -> Any:
    """Return a session with the CPU provider and this many threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def crops(count: int) -> list[np.ndarray]:
    """Return drawn faces as gray crops of 48 pixels; of many, all but the first are 40 to 200 pixels wide."""
    random = np.random.default_rng(1)
    pictures = drawn(max(70, count), 1).images[:count].reshape(-1, 48, 48)
    sides = [48, *random.integers(40, 201, len(pictures) - 1).tolist()]
    return [cv2.resize(one, (side, side)) for one, side in zip(pictures, sides, strict=True)]


def process(code: str) -> Callable[[], Any]:
    """Return what runs `code` in a fresh interpreter."""
    return lambda: subprocess.run([sys.executable, "-c", code], check=True)


def resident() -> int:
    """Return this process's resident set in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


PARTS = {"one": one, "batch": batch, "import": imports, "cold": cold, "memory": memory, "folder": folder}

if __name__ == "__main__":
    main()
