"""A video in, a table and an annotated video out."""

from __future__ import annotations

import csv
import re
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from device_models import draw_frame

from feredge import Predictor
from feredge.errors import PictureError
from feredge.label.track import EveryNth, Realtime, track_video, tracked_frames
from feredge.label.video import Video
from feredge.label.video_output import VIDEO_CODECS, Frame

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
    assert (video.frame_rate, video.frame_count, video.live) == (10, COUNT, False)
    with Predictor(small_onnx) as predictor:
        frames = list(tracked_frames(predictor, video))
    assert [frame.index for frame in frames] == list(range(COUNT))
    assert [frame.time for frame in frames] == pytest.approx([number / 10 for number in range(COUNT)], abs=1e-3)
    assert {tuple(tracked.number for tracked in frame.faces) for frame in frames} == {(0, 1)}
    assert all(frame.analyzed for frame in frames)
    assert not [thread for thread in threading.enumerate() if "_read" in thread.name]


def test_skipped_frames_hold_what_was_seen(small_onnx: Path, clip: Path) -> None:
    """Between two looks the faces stay as they were."""
    with Predictor(small_onnx) as predictor:
        frames = list(tracked_frames(predictor, Video(clip), sampler=EveryNth(4)))
    assert [frame.analyzed for frame in frames] == [number % 4 == 0 for number in range(COUNT)]
    assert frames[3].faces == frames[0].faces != frames[4].faces


@pytest.mark.parametrize("suffix", list(VIDEO_CODECS))
def test_table_and_video(small_onnx: Path, clip: Path, tmp_path: Path, suffix: str) -> None:
    """The table has a row a face and look; the video has every frame, with boxes drawn in."""
    out, table = tmp_path / f"out{suffix}", tmp_path / "track.csv"
    with Predictor(small_onnx) as predictor:
        done = track_video(predictor, Video(clip), sampler=EveryNth(2), table=table, out=out)
    assert (done.frames, done.analyzed, done.faces) == (COUNT, COUNT // 2, 2)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == [number for number in range(0, COUNT, 2) for _ in range(2)]
    assert {row["face"] for row in rows} == {"0", "1"} and float(rows[2]["time"]) == 0.2
    again = Video(out)
    before = [pixels for _, _, pixels in Video(clip).frames()]
    after = [pixels for _, _, pixels in again.frames()]
    assert len(after) == COUNT and again.frame_rate == 10
    x, y, width, height = (int(rows[0][name]) for name in ("x", "y", "width", "height"))
    edge = np.s_[y + height - 3 : y + height + 1, x + 20 : x + width - 20]
    # Boxes are coloured and the clip is gray: 30 is far above what the codecs do to gray
    assert np.ptp(after[0][edge].astype(int).mean(axis=(0, 1))) > 30 > np.ptp(before[0][edge].mean(axis=(0, 1)))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, table.name])


@pytest.mark.parametrize("suffix", list(VIDEO_CODECS))
def test_a_video_cut_short_is_an_error(small_onnx: Path, clip: Path, tmp_path: Path, suffix: str) -> None:
    """Guards a full disk: OpenCV reports nothing, and the old video must not give way to one that cannot be read."""
    out = tmp_path / f"out{suffix}"
    out.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Predictor(small_onnx) as predictor:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        try:
            with pytest.raises(PictureError, match=f"expected a video of {COUNT} frames"):
                track_video(predictor, Video(clip), detect=False, out=out)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert out.read_text() == "old" and list(tmp_path.iterdir()) == [out]


def test_the_source_is_not_replaced(small_onnx: Path, clip: Path, tmp_path: Path) -> None:
    """Guards `--video same.avi --out same.avi`, by another name too."""
    source = Path(shutil.copy(clip, tmp_path / "same.avi"))
    (tmp_path / "link.avi").symlink_to(source)
    for out in (source, tmp_path / "link.avi"):
        with Predictor(small_onnx) as predictor, pytest.raises(PictureError, match="another file than the video"):
            track_video(predictor, Video(source), out=out)
    assert source.read_bytes() == clip.read_bytes()


def test_each_frame_as_one_face(small_onnx: Path, clip: Path) -> None:
    """With `detect=False` no faces are looked for."""
    with Predictor(small_onnx) as predictor:
        frames = list(tracked_frames(predictor, Video(clip), detect=False))
    assert all([tracked.number for tracked in frame.faces] == [0] for frame in frames)


def test_stopped_video_leaves_no_files(small_onnx: Path, clip: Path, tmp_path: Path) -> None:
    """Half an annotated video is none."""

    def stop(frame: Frame) -> None:
        if frame.index == 5:
            raise KeyboardInterrupt

    with Predictor(small_onnx) as predictor, pytest.raises(KeyboardInterrupt):
        track_video(predictor, Video(clip), table=tmp_path / "t.csv", out=tmp_path / "o.mp4", on_frame=stop)
    assert list(tmp_path.iterdir()) == []


def test_stopped_camera_keeps_what_it_saw(small_onnx: Path, clip: Path, tmp_path: Path) -> None:
    """Ctrl-C is how a recording ends. A clip stands in for the camera here."""

    def stop(frame: Frame) -> None:
        if frame.index >= 5:
            raise KeyboardInterrupt

    video = Video(clip)
    video.live = True
    with Predictor(small_onnx) as predictor:
        done = track_video(predictor, video, table=tmp_path / "t.csv", out=tmp_path / "o.avi", on_frame=stop)
    assert done.frames >= 1 and (tmp_path / "t.csv").exists()
    assert len(list(Video(tmp_path / "o.avi").frames())) >= 1


@pytest.mark.parametrize("suffix", list(VIDEO_CODECS))
def test_frames_stand_at_their_own_times(small_onnx: Path, clip: Path, tmp_path: Path, suffix: str) -> None:
    """Guards phones, which record fewer frames a second as the light fades: the copy must not play faster."""
    video = Video(clip)
    times = [number / 20 if number < 10 else 0.5 + (number - 10) / 4 for number in range(COUNT)]
    frames = [(index, times[index], pixels) for index, _, pixels in video.frames()]
    video.frames = lambda: (frame for frame in frames)  # type: ignore[method-assign]  # frames of a test
    with Predictor(small_onnx) as predictor:
        track_video(predictor, video, detect=False, out=tmp_path / f"o{suffix}")
    copy = list(Video(tmp_path / f"o{suffix}").frames())
    assert len(copy) == round(times[-1] * 10) + 1
    for place in (0, 10, 25, len(copy) - 1):
        shown = max(number for number in range(COUNT) if round(times[number] * 10) <= place)
        differences = [np.abs(copy[place][2][300:].astype(int) - one[2][300:]).mean() for one in frames]
        assert abs(int(np.argmin(differences)) - shown) <= 1


def test_a_clock_that_jumps_is_not_filled_up(small_onnx: Path, clip: Path, tmp_path: Path) -> None:
    """Guards the disk: a wrong time of day in a stream must not become a day of one picture."""
    video = Video(clip)
    frames = [(index, time + 86400 * (index > 9), pixels) for index, time, pixels in video.frames()]
    video.frames = lambda: (frame for frame in frames)  # type: ignore[method-assign]  # frames of a test
    with Predictor(small_onnx) as predictor:
        track_video(predictor, video, detect=False, out=tmp_path / "o.avi")
    assert len(list(Video(tmp_path / "o.avi").frames())) == COUNT


def test_a_picture_of_another_size_stays_in_the_copy(small_onnx: Path, clip: Path, tmp_path: Path) -> None:
    """A conference changes its resolution on the way; OpenCV leaves such frames out without a word."""
    video = Video(clip)
    frames = [(index, time, pixels[::2, ::2] if index > 9 else pixels) for index, time, pixels in video.frames()]
    video.frames = lambda: (frame for frame in frames)  # type: ignore[method-assign]  # frames of a test
    with Predictor(small_onnx) as predictor:
        track_video(predictor, video, detect=False, out=tmp_path / "o.avi")
    assert [pixels.shape for _, _, pixels in Video(tmp_path / "o.avi").frames()] == [(480, 640, 3)] * COUNT


def test_a_damaged_packet_does_not_end_a_video(small_onnx: Path, clip: Path, tmp_path: Path) -> None:
    """One picture of an MJPEG file overwritten: all others come, at their places, and it is counted."""
    data = bytearray(clip.read_bytes())
    starts = [match.start() for match in re.finditer(b"00dc....\xff\xd8", data, re.DOTALL)]
    assert len(starts) >= COUNT
    at, length = starts[8] + 8, int.from_bytes(data[starts[8] + 4 : starts[8] + 8], "little")
    data[at : at + length] = bytes(length)
    (tmp_path / "damaged.avi").write_bytes(data)
    video = Video(tmp_path / "damaged.avi")
    with Predictor(small_onnx) as predictor:
        done = track_video(predictor, video, detect=False, table=tmp_path / "t.csv")
    assert (done.frames, done.damaged) == (COUNT - 1, 1)
    with (tmp_path / "t.csv").open(newline="") as file:
        numbers = [int(row["frame"]) for row in csv.DictReader(file)]
    assert numbers == [number for number in range(COUNT) if number != 8]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("b.webm", "libvpx"), ("c.mp4", "libx264")])
def test_variable_rates_of_real_files(small_onnx: Path, clip: Path, tmp_path: Path, name: str, codec: str) -> None:
    """The containers of phones and browsers, each of which states its rate and length in another way."""
    times = "settb=1/1000,setpts='if(lt(N,10),N*33,330+(N-10)*200)'"
    rates = ["-vsync", "passthrough", "-enc_time_base", "1:1000", "-pix_fmt", "yuv420p"]
    command = ["ffmpeg", "-v", "error", "-i", str(clip), "-vf", times, *rates, "-c:v", codec, str(tmp_path / name)]
    subprocess.run(command, check=True)
    with Predictor(small_onnx) as predictor:
        done = track_video(predictor, Video(tmp_path / name), detect=False, out=tmp_path / "o.mp4")
    assert done.frames == COUNT and done.seconds == pytest.approx(2.13, abs=0.05)
    assert [time for _, time, _ in Video(tmp_path / "o.mp4").frames()][-1] == pytest.approx(2.13, abs=0.2)


class Camera(ThreadingHTTPServer):
    """A network camera on this machine, which hangs up after `frames` pictures of each visit."""

    daemon_threads = True

    def __init__(self, frames: int) -> None:
        jpeg = cv2.imencode(".jpg", draw_frame()[0])[1].tobytes()
        part = b"--f\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg)
        self.visits = 0

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                camera = self.server
                assert isinstance(camera, Camera)
                camera.visits += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=f")
                self.end_headers()
                with suppress(OSError):
                    for _ in range(frames):
                        self.wfile.write(part)
                        time.sleep(0.02)

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v.mjpg"


@pytest.fixture
def camera() -> Iterator[Camera]:
    """One that hangs up after a hundred pictures, two seconds."""
    server = Camera(100)
    yield server
    server.shutdown()
    server.server_close()


def test_stopped_stream_keeps_what_it_saw(small_onnx: Path, camera: Camera, tmp_path: Path) -> None:
    """Ctrl-C is how a network camera's recording ends, too."""

    def stop(frame: Frame) -> None:
        if frame.index >= 20:
            raise KeyboardInterrupt

    video = Video(camera.address)
    assert video.live and not video.frame_count
    with Predictor(small_onnx) as predictor:
        done = track_video(predictor, video, detect=False, table=tmp_path / "t.csv", on_frame=stop)
    assert done.frames >= 1 and len((tmp_path / "t.csv").read_text().splitlines()) == done.frames


def test_a_stream_that_breaks_off_is_tried_again(small_onnx: Path, camera: Camera) -> None:
    """A router that restarts does not end a recording; that it broke off is said."""
    lines: list[str] = []

    def stop(frame: Frame) -> None:
        if camera.visits > 1 and frame.time > 3:
            raise KeyboardInterrupt

    with Predictor(small_onnx) as predictor:
        done = track_video(
            predictor, Video(camera.address, reconnect=20, notify=lines.append), detect=False, on_frame=stop
        )
    assert camera.visits > 1 and done.seconds > 3
    assert "interrupted after" in lines[0] and "reconnected" in lines[1]


def test_a_stream_that_does_not_come_back(small_onnx: Path, camera: Camera, tmp_path: Path) -> None:
    """It ends after the chosen time, its table is whole, and the end is told from that of a file."""
    video = Video(camera.address, reconnect=1)
    camera.shutdown()
    camera.server_close()
    with Predictor(small_onnx) as predictor:
        done = track_video(predictor, video, detect=False, table=tmp_path / "t.csv")
    assert video.lost and done.frames > 5
    assert len((tmp_path / "t.csv").read_text().splitlines()) == done.frames + 1


def test_leaving_early_ends_the_reader(clip: Path) -> None:
    """Whoever stops reading frames leaves no thread behind."""
    before = threading.active_count()
    frames = Video(clip).frames()
    next(frames)
    assert isinstance(frames, Iterator) and threading.active_count() == before + 1
    frames.close()
    assert threading.active_count() == before


def test_realtime() -> None:
    """Where each look takes three frames' time, one of about three frames is analyzed, and the video keeps pace."""
    now = 100.0
    sampler = Realtime(lambda: now)
    analyzed = []
    for index in range(60):
        shown = index / 30
        now = max(now, 100.0 + shown)  # a frame cannot be worked on before it is there
        if sampler(index, shown):
            analyzed.append(index)
            now += 0.1
    assert analyzed[0] == 0 and 15 <= len(analyzed) <= 21
    assert now - 100.0 - 59 / 30 < 0.15


def test_realtime_analyzes_at_least_once_a_second() -> None:
    """However slow, it does not go blind."""
    now = 0.0
    sampler = Realtime(lambda: now)
    analyzed = []
    for index in range(120):
        if sampler(index, index / 30):
            analyzed.append(index)
            now += 5.0
    assert analyzed == [0, 30, 60, 90]


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
                track_video(predictor, Video(clip), **options)


def test_a_signal_while_the_decoder_starts(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a thread that decodes on behind an interpreter that ends: native code in it aborts the process."""
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        started.append(thread)
        start(thread)
        raise KeyboardInterrupt

    video = Video(clip)
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(video.frames())
    assert [thread.is_alive() for thread in started] == [False]
    assert not started[0].daemon
