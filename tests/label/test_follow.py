"""A video in, a table and an annotated video out."""

from __future__ import annotations

import csv
import resource
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from device_models import draw_frame

from feredge import Predictor
from feredge.errors import PictureError
from feredge.label.follow import CODES, follow
from feredge.label.video import Every, Frame, HoldRate, Video, watch

COUNT = 20


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames at 10 a second: two faces, the picture drifting a little to the right."""
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    for number in range(COUNT):
        writer.write(np.roll(draw_frame()[0], 2 * number, axis=1))
    writer.release()
    return path


def test_every_frame(small_onnx: Path, clip: Path) -> None:
    """All frames come in order with their times, and two faces keep their numbers throughout."""
    video = Video(str(clip))
    assert (video.rate, video.count, video.live) == (10, COUNT, False)
    with Predictor(small_onnx) as predictor:
        frames = list(watch(predictor, video))
    assert [frame.index for frame in frames] == list(range(COUNT))
    assert [frame.time for frame in frames] == pytest.approx([number / 10 for number in range(COUNT)], abs=1e-3)
    assert {tuple(tracked.number for tracked in frame.faces) for frame in frames} == {(0, 1)}
    assert all(frame.looked for frame in frames)
    assert not [thread for thread in threading.enumerate() if thread.daemon and "_read" in thread.name]


def test_skipped_frames_hold_what_was_seen(small_onnx: Path, clip: Path) -> None:
    """Between two looks the faces stay as they were."""
    with Predictor(small_onnx) as predictor:
        frames = list(watch(predictor, Video(clip), pace=Every(4)))
    assert [frame.looked for frame in frames] == [number % 4 == 0 for number in range(COUNT)]
    assert frames[3].faces == frames[0].faces != frames[4].faces


@pytest.mark.parametrize("suffix", list(CODES))
def test_table_and_video(small_onnx: Path, clip: Path, tmp_path: Path, suffix: str) -> None:
    """The table has a row a face and look; the video has every frame, with boxes drawn in."""
    out, table = tmp_path / f"out{suffix}", tmp_path / "track.csv"
    with Predictor(small_onnx) as predictor:
        done = follow(predictor, Video(clip), pace=Every(2), table=table, out=out)
    assert (done.frames, done.looked, done.faces) == (COUNT, COUNT // 2, 2)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == [number for number in range(0, COUNT, 2) for _ in range(2)]
    assert {row["face"] for row in rows} == {"0", "1"} and float(rows[2]["time"]) == 0.2
    again = Video(out)
    before = [pixels for _, _, pixels in Video(clip).frames()]
    after = [pixels for _, _, pixels in again.frames()]
    assert len(after) == COUNT and again.rate == 10
    x, y, width, height = (int(rows[0][name]) for name in ("x", "y", "width", "height"))
    edge = np.s_[y + height - 3 : y + height + 1, x + 20 : x + width - 20]
    # Boxes are coloured and the clip is gray: 30 is far above what the codecs do to gray
    assert np.ptp(after[0][edge].astype(int).mean(axis=(0, 1))) > 30 > np.ptp(before[0][edge].mean(axis=(0, 1)))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, table.name])


@pytest.mark.parametrize("suffix", list(CODES))
def test_a_video_cut_short_is_an_error(small_onnx: Path, clip: Path, tmp_path: Path, suffix: str) -> None:
    """Guards a full disk: OpenCV reports nothing, and the old video must not give way to one that cannot be read."""
    out = tmp_path / f"out{suffix}"
    out.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Predictor(small_onnx) as predictor:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        try:
            with pytest.raises(PictureError, match=f"expected a video of {COUNT} frames"):
                follow(predictor, Video(clip), find=False, out=out)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert out.read_text() == "old" and list(tmp_path.iterdir()) == [out]


def test_the_source_is_not_replaced(small_onnx: Path, clip: Path, tmp_path: Path) -> None:
    """Guards `--video same.avi --out same.avi`, by another name too."""
    source = Path(shutil.copy(clip, tmp_path / "same.avi"))
    (tmp_path / "link.avi").symlink_to(source)
    for out in (source, tmp_path / "link.avi"):
        with Predictor(small_onnx) as predictor, pytest.raises(PictureError, match="another file than the video"):
            follow(predictor, Video(source), out=out)
    assert source.read_bytes() == clip.read_bytes()


def test_each_frame_as_one_face(small_onnx: Path, clip: Path) -> None:
    """With `find=False` no faces are looked for."""
    with Predictor(small_onnx) as predictor:
        frames = list(watch(predictor, Video(clip), find=False))
    assert all([tracked.number for tracked in frame.faces] == [0] for frame in frames)


def test_stopped_video_leaves_no_files(small_onnx: Path, clip: Path, tmp_path: Path) -> None:
    """Half an annotated video is none."""

    def stop(frame: Frame) -> None:
        if frame.index == 5:
            raise KeyboardInterrupt

    with Predictor(small_onnx) as predictor, pytest.raises(KeyboardInterrupt):
        follow(predictor, Video(clip), table=tmp_path / "t.csv", out=tmp_path / "o.mp4", each=stop)
    assert list(tmp_path.iterdir()) == []


def test_stopped_camera_keeps_what_it_saw(small_onnx: Path, clip: Path, tmp_path: Path) -> None:
    """Ctrl-C is how a recording ends. A clip stands in for the camera here."""

    def stop(frame: Frame) -> None:
        if frame.index >= 5:
            raise KeyboardInterrupt

    video = Video(clip)
    video.live = True
    with Predictor(small_onnx) as predictor:
        done = follow(predictor, video, table=tmp_path / "t.csv", out=tmp_path / "o.avi", each=stop)
    assert done.frames >= 1 and (tmp_path / "t.csv").exists()
    assert len(list(Video(tmp_path / "o.avi").frames())) == done.frames - 1


def test_leaving_early_ends_the_reader(clip: Path) -> None:
    """Whoever stops reading frames leaves no thread behind."""
    before = threading.active_count()
    frames = Video(clip).frames()
    next(frames)
    assert isinstance(frames, Iterator) and threading.active_count() == before + 1
    frames.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_hold_rate() -> None:
    """Where each look takes three frames' time, one of about three frames is looked into, and the video keeps pace."""
    now = 100.0
    pace = HoldRate(lambda: now)
    looked = []
    for index in range(60):
        shown = index / 30
        now = max(now, 100.0 + shown)  # a frame cannot be worked on before it is there
        if pace(index, shown):
            looked.append(index)
            now += 0.1
    assert looked[0] == 0 and 15 <= len(looked) <= 21
    assert now - 100.0 - 59 / 30 < 0.15


def test_hold_rate_looks_at_least_once_a_second() -> None:
    """However slow, it does not go blind."""
    now = 0.0
    pace = HoldRate(lambda: now)
    looked = []
    for index in range(120):
        if pace(index, index / 30):
            looked.append(index)
            now += 5.0
    assert looked == [0, 30, 60, 90]


@pytest.mark.parametrize("name", ["none.mp4", "text.mp4"])
def test_no_video(tmp_path: Path, name: str) -> None:
    """A missing file, and text."""
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(PictureError, match=f"{name}: expected a video"):
        Video(tmp_path / name)


def test_no_camera() -> None:
    """A number without a camera behind it."""
    with pytest.raises(PictureError, match="expected a camera"):
        Video(99)


def test_bad_outputs(small_onnx: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown suffixes, and a window where there is no screen, are told before the work."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with Predictor(small_onnx) as predictor:
        for options, words in (
            ({"out": tmp_path / "o.gif"}, "ends in .mp4"),
            ({"table": tmp_path / "t.png"}, "ends in .csv"),
            ({"show": True}, "expected a screen"),
        ):
            with pytest.raises(PictureError, match=words):
                follow(predictor, Video(clip), **options)  # type: ignore[arg-type]
