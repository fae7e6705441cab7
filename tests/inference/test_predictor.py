"""The Predictor, as a user embeds it."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from device_models import card, draw_frame, expected, faces, write_onnx, write_tflite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feredge import CLASSES, Face, FeredgeError, Predictor
from feredge.errors import ArtifactError, PictureError
from feredge.inference import runtimes
from feredge.inference.contract import InputContract


@pytest.fixture(scope="module", params=["onnx", "tflite"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / f"model.{request.param}"
    return (write_onnx if request.param == "onnx" else write_tflite)(path, with_card=card())


def close(found: list[Face], pictures: list[np.ndarray], predictor: Predictor) -> None:
    """Hold faces against numpy's answer."""
    wanted = expected(predictor.contract.to_batch(pictures))
    # 1e-5: float32 sums over 2,304 pixels in another order
    np.testing.assert_allclose([face.scores for face in found], wanted, atol=1e-5)
    assert [face.label for face in found] == [CLASSES[index] for index in wanted.argmax(axis=1)]


def test_one_face(model: Path) -> None:
    """The result is what the network says, typed and frozen."""
    with Predictor(model) as predictor:
        picture = faces(1)[0]
        face = predictor(picture)
        close([face], [picture], predictor)
    assert face.confidence == max(face.scores) and face.probabilities[face.label] == face.confidence
    assert list(face.probabilities) == list(CLASSES) and face.box is None
    assert json.loads(json.dumps(face.to_dict()))["probabilities"] == face.probabilities
    assert pickle.loads(pickle.dumps(face)) == face and hash(face)
    with pytest.raises(AttributeError):
        face.label = "happy"  # type: ignore[misc]  # frozen


@pytest.mark.parametrize("threads", [None, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 15, 70])
def test_batch_of_many_sizes(model: Path, threads: int | None, count: int) -> None:
    """Whatever the number of threads and pictures, every picture gets its own answer in its place."""
    with Predictor(model, threads=threads) as predictor:
        pictures = faces(count // 2) + faces(count - count // 2, seed=2, channels=3)
        found = predictor.batch(iter(pictures))
        assert len(found) == count
        if count:
            close(found, pictures, predictor)


def test_paths_bytes_and_arrays_agree(model: Path, tmp_path: Path) -> None:
    """The same picture gives the same answer however it comes."""
    picture = faces(1, channels=3)[0]
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), picture)
    rgb = picture[:, :, ::-1]
    with Predictor(model) as predictor:
        wanted = predictor(picture)
        assert predictor(path) == predictor(str(path)) == predictor(path.read_bytes()) == wanted
        assert predictor(rgb, color="rgb") == predictor(path, color="rgb") == wanted
        assert predictor.batch([path, picture, path.read_bytes()])[2].label == wanted.label


def test_gray_pictures_for_a_network_of_colour_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Guards wrong answers without a word; gray networks take any picture, and colour is no reason for a warning."""
    colour = write_onnx(tmp_path / "colour.onnx", with_card=card(contract=InputContract(48, 48, 3)))
    gray = write_onnx(tmp_path / "gray.onnx", with_card=card())
    picture, frame = faces(1)[0], faces(1, channels=3)[0]
    for path, first, warnings in ((gray, picture, 0), (colour, frame, 0), (colour, picture, 1)):
        caplog.clear()
        with Predictor(path) as predictor:
            for one in (first, picture):
                predictor(one)
            predictor.batch([picture])
        assert len(caplog.records) == warnings and ("colour.onnx takes RGB" in caplog.text) == bool(warnings)


def test_frame_finds_faces(model: Path, tmp_path: Path) -> None:
    """A face in a frame gets the answer of its square crop, and its box."""
    frame, places = draw_frame()
    path = tmp_path / "frame.png"
    cv2.imwrite(str(path), frame)
    with Predictor(model) as predictor:
        found = predictor.frame(frame)
        assert len(found) == 2 and found == predictor.frame(path, color="rgb")
        x, y, side, _ = found[0].box  # type: ignore[misc]  # a detected face has a box
        assert predictor(frame[y : y + side, max(x, 0) : x + side]).label == found[0].label
        assert predictor.frame(np.zeros((300, 300), np.uint8)) == []
        own = predictor.frame(frame, boxes=places, margin=0.1)
        assert [face.box for face in own] == places
        assert predictor(frame, box=places[1], margin=0.1) == own[1]
        assert predictor.frame(frame, boxes=[]) == []


def test_boxes_over_the_border(model: Path) -> None:
    """Detectors hand over negative corners; they are answered, not crashed on."""
    frame, _ = draw_frame()
    with Predictor(model) as predictor:
        assert predictor(frame, box=np.array([-20.4, -3.0, 100.2, 90.0])).box == (-20, -3, 100, 90)
        with pytest.raises(PictureError):
            predictor(frame, box=(5000, 0, 10, 10))


def test_ready_batch(model: Path) -> None:
    """`predict` makes a Predictor a runner: it takes the tensor, and nothing else."""
    with Predictor(model) as predictor:
        batch = predictor.contract.to_batch(faces(40))
        np.testing.assert_allclose(predictor.predict(batch), expected(batch), atol=1e-5)
        np.testing.assert_allclose(predictor.predict(batch[::2]), expected(batch[::2]), atol=1e-5)
        with pytest.raises(PictureError, match="expected uint8"):
            predictor.predict(batch.astype(np.float32))


def test_bad_picture_in_a_batch_is_named(model: Path, tmp_path: Path) -> None:
    """Of many pictures, the message says which one."""
    pictures: list[Any] = list(faces(40))
    pictures[33] = tmp_path / "none.png"
    with Predictor(model, threads=2) as predictor:
        with pytest.raises(PictureError, match=r"picture 33: .*none\.png"):
            predictor.batch(pictures)
        assert len(predictor.batch(faces(40))) == 40  # and it still works
        with pytest.raises(PictureError, match="many pictures"):
            predictor.batch("face.png")


@pytest.mark.parametrize("picture", [None, [[1]], np.zeros((4, 4)), np.zeros((2, 48, 48, 1), np.uint8), b"", "no.png"])
def test_bad_pictures(model: Path, picture: Any) -> None:
    """Each is one line."""
    with Predictor(model) as predictor:
        for call in (predictor, predictor.frame):
            with pytest.raises(PictureError) as error:
                call(picture)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("detect", [False, True])
def test_stream(model: Path, tmp_path: Path, detect: bool) -> None:
    """A long list gives what single calls give, in order, with each bad picture's error in its place."""
    frame, _ = draw_frame()
    path = tmp_path / "frame.png"
    cv2.imwrite(str(path), frame)
    pictures: list[Any] = [faces(1)[0], path, tmp_path / "none.png", np.zeros((300, 300), np.uint8), frame[:, :320]]
    pictures = pictures * 13
    with Predictor(model, threads=2) as predictor:
        single = predictor.frame if detect else lambda picture: [predictor(picture)]
        found = list(predictor.stream(iter(pictures), detect=detect))
        assert len(found) == len(pictures)
        for picture, answer in zip(pictures, found, strict=True):
            if isinstance(answer, PictureError):
                assert "none.png" in str(answer) and picture == tmp_path / "none.png"
                continue
            wanted = single(picture)
            assert [(face.label, face.box) for face in answer] == [(face.label, face.box) for face in wanted]
        if detect:
            assert [len(answer) for answer in found[:5] if isinstance(answer, list)] == [0, 2, 0, 1]


def test_stream_reads_only_a_little_ahead(model: Path) -> None:
    """Of an endless list only a few chunks are in memory, and whoever stops listening leaves no thread behind."""
    seen = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal seen
        while True:
            seen += 1
            yield np.zeros((48, 48), np.uint8)

    with Predictor(model, threads=2) as predictor:
        before = threading.active_count()
        stream = predictor.stream(endless())
        for _ in range(100):
            next(stream)
        assert seen < 100 + 32 * 10
        stream.close()
        assert threading.active_count() == before


def test_closed(model: Path) -> None:
    """A closed Predictor says so; closing twice is no error."""
    predictor = Predictor(model, threads=2)
    predictor.batch(faces(40))
    predictor.close()
    predictor.close()
    calls = (
        predictor,
        predictor.frame,
        lambda picture: predictor.batch([picture] * 40),
        lambda picture: next(predictor.stream([picture])),
    )
    for call in calls:
        with pytest.raises(ArtifactError, match="closed"):
            call(faces(1)[0])


def test_closed_by_another_thread(model: Path) -> None:
    """Guards a batch that is under way: it ends whole or in the one line, not in its pool's own errors."""
    pictures = faces(200)
    for _ in range(5):
        predictor = Predictor(model, threads=2)
        predictor.batch(pictures)
        with ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(lambda one: [one.batch(pictures) for _ in range(1000)], predictor)
            time.sleep(0.02)
            predictor.close()
            with pytest.raises(ArtifactError, match="closed"):
                under_way.result()


def test_a_file_replaced_before_the_first_batch_is_noticed(model: Path) -> None:
    """Guards against answers that come half from one network and half from another."""
    with Predictor(model, threads=2) as predictor:
        (write_tflite if model.suffix == ".tflite" else write_onnx)(model, with_card=card(variant="other"))
        with pytest.raises(ArtifactError, match="replaced by another model"):
            predictor.batch(faces(40))


def test_bad_threads(model: Path) -> None:
    """onnxruntime takes 0 for `all cores`; here it is a mistake."""
    with pytest.raises(ArtifactError, match="at least 1 thread"):
        Predictor(model, threads=0)


def test_many_threads_share_one(model: Path) -> None:
    """Eight threads calling at once get their own answers; LiteRT's interpreter alone would mix them up."""
    pictures = faces(64)
    with Predictor(model, threads=2) as predictor, ThreadPoolExecutor(8) as pool:
        alone = [predictor(picture) for picture in pictures]
        for _ in range(5):
            assert [face.label for face in pool.map(predictor, pictures)] == [face.label for face in alone]
        batches = list(pool.map(lambda _: predictor.batch(pictures), range(8)))
    assert all([face.label for face in batch] == [face.label for face in alone] for batch in batches)


def test_after_a_fork(model: Path) -> None:
    """A child answers although the parent's threads, pools and held locks did not come along, and ends cleanly."""
    pictures = faces(40)
    frame, _ = draw_frame()
    with Predictor(model, threads=2) as predictor:
        wanted = [face.label for face in predictor.batch(pictures)]
        predictor.frame(frame)
        predictor._session._lock.acquire()  # as another thread may hold it at the moment of the fork
        child = os.fork()
        if child == 0:
            code = 9
            try:
                threading.Timer(30, os._exit, [8]).start()
                same = [face.label for face in predictor.batch(pictures)] == wanted
                code = 0 if same and len(predictor.frame(frame)) == 2 else 7
            finally:
                os._exit(code)
        predictor._session._lock.release()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [face.label for face in predictor.batch(pictures)] == wanted


def test_forked_child_that_ends_like_a_script(model: Path) -> None:
    """At a child's ordinary end Python frees everything; a session's end must not wait for the parent's threads."""
    code = """
import os, sys
import numpy as np
from feredge import Predictor
predictor = Predictor(sys.argv[1], threads=2)
pictures = [np.full((60, 60), 9, np.uint8)] * 40
predictor.batch(pictures)
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
predictor.batch(pictures)
"""
    done = subprocess.run([sys.executable, "-c", code, str(model)], timeout=60, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_sent_to_other_processes(model: Path) -> None:
    """Worker pools pickle the Predictor; it opens its file again there."""
    pictures = faces(3)
    with Predictor(model, threads=1) as predictor, multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(predictor, pictures) == [predictor(picture) for picture in pictures]


def test_replaced_file_is_noticed_after_a_fork(tmp_path: Path) -> None:
    """A child opens the file anew, and must not go on with another network under the old labels."""
    path = write_onnx(tmp_path / "m.onnx", with_card=card())
    with Predictor(path) as predictor:
        write_onnx(path, with_card=card(variant="other"))
        predictor._session.reset_after_fork()
        with pytest.raises(ArtifactError, match="replaced by another model"):
            predictor(faces(1)[0])


def test_default_model() -> None:
    """`Predictor()` opens the network that comes with feredge: small, integer, and it tells faces apart."""
    assert runtimes.DEFAULT_MODEL.stat().st_size <= 150_000
    with Predictor() as predictor:
        assert (predictor.classes, predictor.card.precision) == (CLASSES, "int8")
        assert len({face.label for face in predictor.batch(faces(100))}) > 2


SCRIPT = """
import sys
from feredge import Predictor
import numpy as np
with Predictor(sys.argv[1]) as predictor:
    predictor(np.zeros((48, 48), np.uint8))
heavy = {"tensorflow", "tf_keras", "keras", "sklearn", "matplotlib", "rich", "cv2", "onnx", "click"}
print(sorted(heavy & set(sys.modules)))
"""


def test_device_side_is_light_and_private(tmp_path: Path) -> None:
    """In a fresh interpreter nothing but numpy and onnxruntime is loaded, and a fresh HOME stays empty.

    onnxruntime writes device files for its maker's telemetry there unless it is told not to before the import.
    """
    path = write_onnx(tmp_path / "m.onnx", with_card=card())
    home = tmp_path / "home"
    home.mkdir()
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)],
        env={**keep, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
    assert list(home.rglob("*")) == []


def test_telemetry_is_the_users_choice(tmp_path: Path) -> None:
    """What the user set stays."""
    path = write_onnx(tmp_path / "m.onnx", with_card=card())
    code = "import os, sys, feredge; feredge.Predictor(sys.argv[1]); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for value, wanted in (({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")):
        keep = {name: text for name, text in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
        environment = {**keep, "HOME": str(tmp_path), **value}
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == wanted


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_onnx_files(tmp_path: Path, data: st.DataObject) -> None:
    """A damaged ONNX file opens or is a FeredgeError; tools/fuzz tries many more, in processes of their own."""
    path = tmp_path / "m.onnx"
    whole = bytearray(write_onnx(path, with_card=card(), outputs=7).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 400) | st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.integers(1, len(whole)))] if data.draw(st.booleans()) else whole)
    try:
        with Predictor(path) as predictor:
            predictor(np.zeros((48, 48), np.uint8))
    except FeredgeError as error:
        assert "\n" not in str(error)
