"""`cancel`: work that its caller stops between two steps, and goes on with later."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from device_models import draw_frame, faces

import feredge
from feredge.api.cancel import cancellable
from feredge.errors import Cancelled


def test_progress_is_reported_until_then() -> None:
    """Guards the order: a step that is cancelled is not reported."""
    steps: list[float] = []
    progress = cancellable(lambda task, done, total, note="": steps.append(done), lambda: len(steps) > 1)
    with pytest.raises(Cancelled, match="cancelled at rows 2/5"):
        for done in range(5):
            progress("rows", done, 5)
    assert steps == [0, 1]


def test_labelling_goes_on_after_it(small_onnx: Path, tmp_path: Path) -> None:
    """Guards the partial table: what is in it stays, and the same call finishes it."""
    for number, picture in enumerate(faces(5)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    options = feredge.PredictorOptions(small_onnx, cropped=True)
    polls = iter([False, False, True])
    with pytest.raises(Cancelled):
        feredge.label([tmp_path], out=tmp_path / "t.csv", options=options, cancel=lambda: next(polls))
    assert not (tmp_path / "t.csv").exists()
    result = feredge.label([tmp_path], out=tmp_path / "t.csv", options=options)
    assert (result.pictures, result.faces, result.failed) == (5, 5, 0)


def test_a_video_that_is_cancelled_leaves_no_table(small_onnx: Path, tmp_path: Path) -> None:
    """Guards half a table under a final name."""
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    for _ in range(4):
        writer.write(draw_frame()[0])
    writer.release()
    polls = iter([False, True])
    with pytest.raises(Cancelled):
        feredge.track(
            tmp_path / "clip.avi",
            options=feredge.PredictorOptions(small_onnx),
            table=tmp_path / "t.csv",
            cancel=lambda: next(polls),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["clip.avi"]


def test_a_training_goes_on_after_it(tmp_path: Path) -> None:
    """Guards the checkpoint: epochs before the cancelled one are kept, and the same call trains the others."""
    pytest.importorskip("tensorflow")
    epochs: list[float] = []
    (tmp_path / "tiny.toml").write_text("[network]\nstem = 4\nstem_stride = 2\nchannels = [4]\nblocks = [1]\n")

    def train(cancel: bool) -> feredge.api.training.TrainResult:
        return feredge.train(
            tmp_path / "tiny.toml",
            "drawn:140",
            out=tmp_path / "run",
            overrides={"training.epochs": 3, "training.batch_size": 16, "training.warmup_epochs": 0.0},
            progress=lambda task, done, total, note="": epochs.append(done),
            cancel=(lambda: bool(epochs) and epochs[-1] >= 1) if cancel else None,
        )

    with pytest.raises(Cancelled, match="cancelled at train"):
        train(cancel=True)
    before = max(epochs)
    epochs.clear()
    assert len(train(cancel=False).to_dataframe()) == 3 and min(epochs) >= before
