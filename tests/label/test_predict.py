"""Labelling many pictures, stopped and gone on with."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import pytest
from device_models import draw_frame, faces, write_yunet

from feredge import Predictor
from feredge.errors import PictureError, RunError
from feredge.inference.face_detection import Detector
from feredge.label.predict import predict_pictures
from feredge.label.sources import list_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 pictures: faces, a frame with two, one that is damaged."""
    path = tmp_path_factory.mktemp("pictures")
    for number, picture in enumerate(faces(88)):
        cv2.imwrite(str(path / f"{number:03}.png"), picture)
    cv2.imwrite(str(path / "frame.jpg"), draw_frame()[0])
    (path / "040.png").write_bytes((path / "041.png").read_bytes()[:-40])
    return path


def test_each_picture_has_its_row(small_onnx: Path, folder: Path, tmp_path: Path) -> None:
    """Order is kept, every row is the Predictor's answer, the damaged picture is a row with its error."""
    pictures = list_pictures([folder])
    seen = []
    with Predictor(small_onnx, threads=2) as predictor:
        state = predict_pictures(
            predictor,
            pictures,
            tmp_path / "t.csv",
            detect=False,
            on_result=lambda picture, answer: seen.append(picture),
        )
        with (tmp_path / "t.csv").open(newline="") as file:
            found = list(csv.DictReader(file))
        assert [row["picture"] for row in found] == pictures == seen
        for row in found:
            if row["error"]:
                assert row["picture"].endswith("040.png") and "cannot decode" in row["error"]
                continue
            face = predictor(row["picture"])
            assert row["label"] == face.label
            # 1e-6: six digits are written
            assert float(row["confidence"]) == pytest.approx(face.confidence, abs=1e-6)
    assert (state.pictures, state.faces, state.failed) == (89, 88, 1)


def test_faces_are_looked_for(small_onnx: Path, folder: Path, tmp_path: Path) -> None:
    """A frame with two faces has two rows with boxes."""
    with Predictor(small_onnx) as predictor:
        state = predict_pictures(predictor, [str(folder / "frame.jpg")], tmp_path / "t.csv")
    assert state.faces == 2
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 3


def test_interrupted_at_any_picture(small_onnx: Path, folder: Path, tmp_path: Path) -> None:
    """Ctrl-C at the 1st, 16th, 17th or last picture loses nothing, does nothing twice, and ends the same."""
    pictures = list_pictures([folder])
    with Predictor(small_onnx, threads=2) as predictor:
        predict_pictures(predictor, pictures, tmp_path / "whole.csv", detect=False)
        stops = [1, 16, 17, 89]
        seen: list[str] = []

        def stop(picture: str, answer: object) -> None:
            if stops and len(seen) == stops[0] - 1:
                stops.pop(0)
                raise KeyboardInterrupt
            seen.append(picture)

        for _ in range(4):
            with pytest.raises(KeyboardInterrupt):
                predict_pictures(predictor, pictures, tmp_path / "t.csv", detect=False, on_result=stop)
        predict_pictures(predictor, pictures, tmp_path / "t.csv", detect=False, on_result=stop)
    assert seen == pictures
    assert (tmp_path / "t.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_other_settings_do_not_go_on(small_onnx: Path, folder: Path, tmp_path: Path) -> None:
    """Half a table of faces found, and half of whole pictures, is no table."""

    def stop(picture: str, answer: object) -> None:
        raise KeyboardInterrupt

    with Predictor(small_onnx) as predictor:
        with pytest.raises(KeyboardInterrupt):
            predict_pictures(predictor, list_pictures([folder]), tmp_path / "t.csv", detect=False, on_result=stop)
        with pytest.raises(RunError, match="other settings"):
            predict_pictures(predictor, list_pictures([folder]), tmp_path / "t.csv", detect=True)


def one_box(side: int) -> Detector:
    """Return a new function, at an address of its own, of one name."""

    def look(pixels: object, color: object) -> list[tuple[int, int, int, int]]:
        return [(0, 0, side, side)]

    return look


def test_a_detector_is_the_same_in_another_process(small_onnx: Path, folder: Path, tmp_path: Path) -> None:
    """Guards going on with a detector of one's own, whose repr holds an address, and with a YuNet file elsewhere."""

    def stop(picture: str, answer: object) -> None:
        raise KeyboardInterrupt

    pairs: list[tuple[Any, Any]] = [
        (one_box(40), one_box(40)),
        (write_yunet(tmp_path / "a.onnx"), Path(shutil.copy(tmp_path / "a.onnx", tmp_path / "b.onnx"))),
    ]
    for pair in pairs:
        for detector in pair:
            with Predictor(small_onnx, detector=detector) as predictor, pytest.raises(KeyboardInterrupt):
                predict_pictures(predictor, [str(folder / "000.png")], tmp_path / "t.csv", on_result=stop)
        with Predictor(small_onnx) as predictor, pytest.raises(RunError, match="other settings"):
            predict_pictures(predictor, [str(folder / "000.png")], tmp_path / "t.csv")
        (tmp_path / "t.csv.part").unlink()


SLOW = """
import sys
from time import sleep
from pathlib import Path
from feredge import Predictor
from feredge.label import table
from feredge.label.predict import predict_pictures
from feredge.label.sources import list_pictures
table.STATE_SAVE_SECONDS = 0.01
model, folder, out, wait = sys.argv[1:]
with Predictor(model, threads=2) as predictor:
    pictures = list_pictures([folder])
    predict_pictures(predictor, pictures, Path(out), detect=False, on_result=lambda *_: sleep(float(wait)))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_started_again(small_onnx: Path, folder: Path, tmp_path: Path, how: signal.Signals) -> None:
    """A real process that is killed in the middle, or gets Ctrl-C, is gone on with."""
    with Predictor(small_onnx, threads=2) as predictor:
        predict_pictures(predictor, list_pictures([folder]), tmp_path / "whole.csv", detect=False)
    out = tmp_path / "t.csv"
    command = [sys.executable, "-c", SLOW, str(small_onnx), str(folder), str(out)]
    process = subprocess.Popen(
        [*command, "0.02"],
        stderr=subprocess.DEVNULL,
        # A suite in the background ignores Ctrl-C, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    part = tmp_path / "t.csv.part"
    end = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 2000) and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(how)
    assert process.wait(60) != 0 and not out.exists()
    subprocess.run([*command, "0"], check=True, timeout=60)
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "whole.csv"]


def test_unreadable_only(small_onnx: Path, tmp_path: Path) -> None:
    """Nothing but bad pictures is a table of errors."""
    with Predictor(small_onnx) as predictor:
        state = predict_pictures(predictor, ["none.png", str(tmp_path)], tmp_path / "t.csv")
        assert (state.pictures, state.faces, state.failed) == (2, 0, 2)
        assert isinstance(next(predictor.stream(["none.png"])), PictureError)
