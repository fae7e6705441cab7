"""The programs in examples/ run as their first lines say; those for devices are in tests/bundles/."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
MAX_LINES = 60


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn face, 48 pixels a side."""
    from feredge.data.drawn import drawn

    path = tmp_path_factory.mktemp("face") / "face.png"
    cv2.imwrite(str(path), drawn(350).images[0])
    return path


def run_example(name: str, *arguments: str | Path) -> str:
    """Run an example; return what it printed."""
    call = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_predict(portrait: Path) -> None:
    """Guards the first thing that a user runs."""
    import feredge

    assert run_example("predict.py", portrait).split()[0] in feredge.CLASSES


def test_webcam_reads_a_video(tmp_path: Path) -> None:
    """Guards the loop over frames, of a video without faces, to its end."""
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    for shade in (0, 120, 240):
        writer.write(np.full((120, 160, 3), shade, np.uint8))
    writer.release()
    assert run_example("webcam.py", path, "--no-window") == ""


def test_fastapi_app(portrait: Path) -> None:
    """Guards the embedded service: faces as JSON, and a bad picture as the client's error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    call = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", str(port), "fastapi_app:app"]
    with subprocess.Popen(call, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL) as service:
        try:
            assert isinstance(post(port, portrait.read_bytes()), list)
            with pytest.raises(urllib.error.HTTPError, match="400"):
                post(port, b"no picture")
        finally:
            service.terminate()


def post(port: int, body: bytes) -> object:
    """Return the service's answer; wait until it listens."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/faces", body, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the service did not start")


def test_select_file() -> None:
    """Guards the choice within a budget, on stored results."""
    lines = run_example("select_file.py", ROOT / "benchmarks/results/nano.json").splitlines()
    assert any("dense.int8.onnx" in line for line in lines)


@pytest.mark.long
def test_export_network(tmp_path: Path) -> None:
    """Guards the export of a network that feredge did not train."""
    pytest.importorskip("tensorflow")
    from feredge.data.drawn import drawn
    from feredge.keras import keras, seed_everything

    seed_everything(1)
    faces = drawn(350)
    network = keras.Sequential(
        [
            keras.layers.Conv2D(8, 3, strides=2, activation="relu", input_shape=(48, 48, 1)),
            keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(7, activation="softmax"),
        ]
    )
    network.compile("adam", "sparse_categorical_crossentropy")
    network.fit(faces.images / 255.0, faces.labels, epochs=8, verbose=0)
    network.save(tmp_path / "net.h5", include_optimizer=False)
    printed = run_example("export_network.py", tmp_path / "net.h5", "drawn:350", tmp_path / "run")
    assert "dense.int8.tflite" in printed and "dense.int8.onnx" in printed


@pytest.mark.parametrize("path", sorted(filter(Path.is_file, EXAMPLES.rglob("*"))), ids=lambda path: path.name)
def test_examples_are_short(path: Path) -> None:
    """Guards examples against becoming programs."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
