"""`feredge track` as it is typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest
from click.testing import CliRunner, Result
from device_models import draw_frame

from feredge import cli
from feredge.commands.track import VideoSource


@pytest.fixture
def feredge(small_onnx: Path) -> Any:
    """Call `feredge track --model small.onnx ...` and return what click saw."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(cli.main, ["track", "--model", str(small_onnx), *map(str, arguments)])

    return call


def test_video(feredge: Any, tmp_path: Path) -> None:
    """A video gives a line when a face appears or changes, or a table and a video."""
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    for _ in range(5):
        writer.write(draw_frame()[0])
    writer.release()
    done = feredge(clip)
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 2 and "face 1" in done.stdout
    assert "5 frames, 5 analyzed, 2 faces tracked" in done.stderr
    out, table = tmp_path / "out.mp4", tmp_path / "track.csv"
    done = feredge(clip, "--out", out, "--csv", table, "--skip", 1, "--smooth", 0)
    assert done.exit_code == 0 and out.exists() and len(table.read_text().splitlines()) == 1 + 3 * 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing argument"),
        (["--", "-1"], "expected a camera's number from 0, found -1"),
        (["b.mp4", "--json"], "--json"),
        (["b.mp4", "--skip", "1", "--realtime"], "--skip or --realtime, found both"),
        (["0", "--reconnect", "3"], "--reconnect is for a stream's address, found a camera"),
        (["none.mp4"], "none.mp4: expected a video"),
        (["none.mp4", "--model", "none.onnx"], "none.onnx: expected a model"),
    ],
)
def test_bad_input(feredge: Any, arguments: list[str], words: str) -> None:
    """Each exits with code 2 and says what was expected; OpenCV takes -1 for any camera, and without one crashes."""
    done = feredge(*arguments)
    assert done.exit_code == 2 and words in done.stderr and "Traceback" not in done.output


@pytest.mark.parametrize(
    ("text", "source"), [("0", 0), ("12", 12), ("./0", "./0"), ("a.mp4", "a.mp4"), ("rtsp://pi/1", "rtsp://pi/1")]
)
def test_digits_are_a_camera(text: str, source: str | int) -> None:
    """Guards a file that is called 0, which has a way to be named, and addresses."""
    assert VideoSource().convert(text, None, None) == source
