"""Frames of a Raspberry Pi's camera, by a stand-in for picamera2, and of the standard input."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from device_models import draw_frame

import feredge
from feredge.errors import PictureError
from feredge.inference.contract import InputContract
from feredge.label.captures import PicameraCapture, PipeCapture, RawFormat
from feredge.label.video import Video

FRAMES = [np.roll(draw_frame()[0], 4 * number, axis=1) for number in range(5)]
JPEGS = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in FRAMES]


class Picamera2:
    """The part of picamera2's interface that is used, with FRAMES as the camera's."""

    def __init__(self, camera_num: int = 0) -> None:
        if camera_num:
            raise IndexError("list index out of range")  # as without a camera
        self.calls: list[object] = []
        self.frames = iter(FRAMES)

    def create_video_configuration(self, main: dict[str, object]) -> dict[str, object]:
        return {"main": main}

    def configure(self, configuration: dict[str, object]) -> None:
        assert configuration == {"main": {"size": (640, 480), "format": "RGB888"}}

    def start(self) -> None:
        self.calls.append("start")

    def capture_array(self, name: str) -> np.ndarray:
        assert name == "main"
        if (frame := next(self.frames, None)) is None:
            raise RuntimeError("the camera was unplugged")
        return frame

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def picamera(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("picamera2")
    module.__dict__["Picamera2"] = Picamera2
    monkeypatch.setitem(sys.modules, "picamera2", module)


@contextmanager
def pipe(data: bytes) -> Iterator[io.BufferedReader]:
    """A pipe that another thread fills."""
    source, target = os.pipe()

    def fill() -> None:
        with os.fdopen(target, "wb") as file:
            file.write(data)

    writer = threading.Thread(target=fill)
    writer.start()
    with os.fdopen(source, "rb") as reader:
        yield reader
    writer.join()


def read_all(capture: PipeCapture) -> list[np.ndarray | None]:
    frames: list[np.ndarray | None] = []
    while True:
        good, pixels = capture.read()
        if not good and capture.ended:
            return frames
        frames.append(pixels)


def test_picamera(picamera: None) -> None:
    """Guards the Pi's camera: its frames as they are, live, and released at the end."""
    video = Video("picamera2")
    camera = video._capture._camera  # type: ignore[attr-defined]
    frames = [pixels for _, _, pixels in video.frames()]
    assert (video.live, video.frame_rate) == (True, 30)
    assert frames and all(any(np.array_equal(frame, sent) for sent in FRAMES) for frame in frames)
    assert camera.calls == ["start", "stop", "close"]
    with pytest.raises(PictureError, match=r"picamera2: expected a camera, found none that is free \(list index"):
        PicameraCapture(1)


def test_without_picamera2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the line on other machines."""
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(PictureError, match="expected the package picamera2, found none; Raspberry Pi OS has it as"):
        Video("picamera2")


def test_jpeg_frames() -> None:
    """Guards the frames' borders: a thumbnail inside a frame, fill bytes, bytes between frames, a damaged frame."""
    thumbnail = JPEGS[0][:2] + b"\xff\xe1" + (2 + len(JPEGS[1][:3000])).to_bytes(2) + JPEGS[1][:3000] + JPEGS[0][2:]
    damaged = JPEGS[2][:20] + b"\xff\xd9"
    gray = cv2.imencode(".jpg", FRAMES[3][:, :, 0])[1].tobytes()
    with pipe(thumbnail + b"--boundary\r\n" + damaged + gray[:2] + b"\xff" + gray[2:] + JPEGS[4]) as reader:
        frames = read_all(PipeCapture(reader))
    assert [frame is None for frame in frames] == [False, True, False, False]
    for frame, jpeg in ((frames[0], JPEGS[0]), (frames[2], gray), (frames[3], JPEGS[4])):
        assert frame is not None
        np.testing.assert_array_equal(frame, cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))


def planes(frame: np.ndarray, name: str) -> bytes:
    """A frame as a camera's YUV 4:2:0 planes."""
    i420 = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420)
    if name == "yuv420":
        return i420.tobytes()
    rows = len(frame)
    chroma = i420[rows:].reshape(2, -1).T  # U and V, pixel by pixel
    return i420[:rows].tobytes() + np.ascontiguousarray(chroma).tobytes()


@pytest.mark.parametrize("name", ["yuv420", "nv12"])
def test_a_camera_frame_gives_the_label_of_its_picture(name: str, small_onnx: Path) -> None:
    """Guards the conversion of a colour frame: 2 of 256 steps of gray by YUV's rounding, 1 point of a probability."""
    noise = np.random.default_rng(1).integers(0, 120, (30, 40, 3), np.uint8)
    frame = cv2.add(draw_frame()[0], cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC))
    with pipe(planes(frame, name)) as reader:
        _, pixels = PipeCapture(reader, RawFormat(640, 480, name)).read()
    assert pixels is not None
    picture = cv2.imencode(".png", frame)[1].tobytes()
    tensors = [InputContract().to_tensor(source).astype(int) for source in (pixels, picture)]
    assert np.abs(tensors[0] - tensors[1]).max() <= 2
    with feredge.Predictor(small_onnx) as predictor:
        first, second = predictor(pixels), predictor(picture)
    assert first.label == second.label and abs(first.confidence - second.confidence) < 0.01


@pytest.mark.parametrize(("name", "channels"), [("gray", 1), ("bgr", 3), ("rgb", 3)])
def test_raw_frames(name: str, channels: int) -> None:
    """Guards the order of the channels; the last frame, which is not whole, is dropped."""
    frames = np.random.default_rng(2).integers(0, 256, (3, 5, 7, channels), np.uint8)
    with pipe(frames.tobytes() + b"half a frame") as reader:
        found = read_all(PipeCapture(reader, RawFormat.parse(f"7x5:{name}")))
    expected = frames[..., ::-1] if name == "rgb" else np.broadcast_to(frames, (3, 5, 7, 3))
    np.testing.assert_array_equal(np.array(found), expected)


@pytest.mark.parametrize(
    ("data", "raw", "message"),
    [
        (b"", None, "expected JPEG frames, or --raw for raw ones, found none"),
        (b"\0\0\0\1\x67\x42", None, r"found H\.264; rpicam-vid --codec mjpeg writes JPEG"),
        (b"RIFF" + bytes(999), None, "expected JPEG frames"),
        (JPEGS[0][:999], None, "expected JPEG frames"),
        (bytes(99), "64x48", "expected raw frames of 4,608 bytes, found none"),
    ],
)
def test_a_pipe_without_frames(data: bytes, raw: str | None, message: str) -> None:
    """Guards one line for another format, and for a program that ended at once."""
    with pipe(data) as reader, pytest.raises(PictureError, match=message):
        PipeCapture(reader, RawFormat.parse(raw) if raw else None)


@pytest.mark.parametrize("text", ["640", "640x", "640x480:", "640x480:h264", "0x5", "5x5:nv12", "99999x99999", "-1x4"])
def test_bad_raw_format(text: str) -> None:
    """Guards one line before anything is read."""
    with pytest.raises(PictureError, match=r"expected (raw|nv12) frames"):
        RawFormat.parse(text)


@pytest.mark.parametrize("redirected", [False, True], ids=["pipe", "file"])
def test_command(small_onnx: Path, tmp_path: Path, redirected: bool) -> None:
    """Guards `rpicam-vid ... -o - | feredge track -`; of a redirected file every frame is analyzed."""
    (tmp_path / "frames.mjpeg").write_bytes(b"".join(JPEGS))
    table = tmp_path / "track.csv"
    command = [sys.executable, "-m", "feredge", "track", "-", "--model", str(small_onnx), "--csv", str(table)]
    if redirected:
        with (tmp_path / "frames.mjpeg").open("rb") as file:
            done = subprocess.run(command, stdin=file, capture_output=True)
        assert b"5 frames, 5 analyzed, 2 faces tracked" in done.stderr
    else:
        done = subprocess.run(command, input=b"".join(JPEGS), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert table.read_text().startswith("frame,time,face,label")
    done = subprocess.run([*command, "--raw", "9x9"], input=b"", capture_output=True)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1) and b"even sides" in done.stderr
