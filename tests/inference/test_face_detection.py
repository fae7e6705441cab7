"""Finding faces, and cutting them out."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from device_models import draw_frame, write_yunet
from hypothesis import given, settings
from hypothesis import strategies as st

from feredge.errors import ArtifactError, FeredgeError, PictureError
from feredge.inference import face_detection


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Intersection over union of two boxes."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(across, 0) * max(down, 0)
    return both / (one[2] * one[3] + other[2] * other[3] - both)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_haar_finds_faces_largest_first(channels: int) -> None:
    """Gray, BGR and BGRA frames give the same boxes, in plain ints."""
    frame, places = draw_frame(channels)
    found = face_detection.detect(frame)
    # 0.6: the drawn face reaches from edge to edge, the cascade's box does not
    assert len(found) == 2 and all(overlap(*pair) > 0.6 for pair in zip(found, places, strict=True))
    assert all(type(value) is int for box in found for value in box)


def test_boxes_of_a_shrunk_picture_lead_back() -> None:
    """A large photograph is searched small, and its boxes are in its own pixels."""
    frame, places = draw_frame(1)
    large: Any = cv2.resize(frame, None, fx=4, fy=4)
    found = face_detection.detect(large)
    wanted = [tuple(4 * value for value in place) for place in places]
    assert len(found) == 2 and all(overlap(*pair) > 0.6 for pair in zip(found, wanted, strict=True))


def test_nothing_found_is_an_empty_list() -> None:
    """Also in pictures smaller than any face."""
    for shape in ((480, 640), (10, 10, 3), (1, 1), (1, 3000)):
        assert face_detection.detect(np.full(shape, 90, np.uint8)) == []


def test_threads_share_a_detector() -> None:
    """OpenCV's cascade holds its working images, so each thread must have its own."""
    frame, _ = draw_frame()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: face_detection.detect(frame), range(12)))
    assert all(boxes == found[0] and len(boxes) == 2 for boxes in found)


def test_own_detector_is_clipped_and_sorted() -> None:
    """A detector of one's own may reach over the border, or miss the picture."""
    own = lambda pixels, color: [(5, 5, 10, 10), (-10, -10, 30, 30), (500, 0, 5, 5)]  # noqa: E731
    assert face_detection.detect(np.zeros((50, 60), np.uint8), detector=own) == [(0, 0, 20, 20), (5, 5, 10, 10)]


def test_detectors_can_be_sent_to_other_processes() -> None:
    """Worker pools pickle what they are given."""
    frame, _ = draw_frame()
    haar = face_detection.Haar(min_neighbors=4)
    haar(frame, "bgr")
    copy = pickle.loads(pickle.dumps(haar))
    assert copy.min_neighbors == 4 and copy(frame, "bgr") == haar(frame, "bgr")


def test_crop_is_a_square_around_the_centre() -> None:
    """The longer side counts, and the margin is a share of it."""
    picture = np.arange(200 * 200, dtype=np.uint32).reshape(200, 200).astype(np.uint8)
    assert np.array_equal(face_detection.crop_square(picture, (50, 60, 20, 40)), picture[60:100, 40:80])
    assert np.array_equal(face_detection.crop_square(picture, (50, 60, 20, 40), margin=0.5), picture[50:110, 30:90])


def test_crop_repeats_the_border() -> None:
    """Outside there is nothing: the nearest pixel stands in, as cv2.copyMakeBorder does it."""
    picture = np.random.default_rng(1).integers(0, 256, (40, 30, 3), np.uint8)
    framed = cv2.copyMakeBorder(picture, 50, 50, 50, 50, cv2.BORDER_REPLICATE)
    for x, y, side in ((-10, -5, 20), (20, 30, 25), (-20, -20, 80), (10, -15, 20)):
        wanted = framed[50 + y : 50 + y + side, 50 + x : 50 + x + side]
        assert np.array_equal(face_detection.crop_square(picture, (x, y, side, side)), wanted)


@pytest.mark.parametrize(
    ("box", "margin", "words"),
    [
        ((60, 0, 10, 10), 0.0, "overlaps the 50x40 picture"),
        ((-10, 0, 10, 10), 0.0, "overlaps the 50x40 picture"),
        ((0, 0, 201, 201), 0.0, "about as large"),
        ((0, 0, 10, 10), 5.0, "margin"),
        ((0, 0, 10, 10), float("nan"), "margin"),
        ((0, 0, 0, 10), 0.0, "expected a box"),
    ],
)
def test_bad_crops(box: tuple[int, ...], margin: float, words: str) -> None:
    """A box far outside, absurdly large or empty is an error, not a picture of nothing."""
    with pytest.raises(PictureError, match=words):
        face_detection.crop_square(np.zeros((40, 50), np.uint8), box, margin=margin)


@settings(max_examples=200)
@given(
    box=st.tuples(*[st.floats(-1e3, 1e3) | st.sampled_from([float("nan"), 1e300, -0.4])] * 4),
    margin=st.floats(-1, 5),
    channels=st.sampled_from([None, 1, 3, 4]),
)
def test_any_box(box: tuple[float, ...], margin: float, channels: int | None) -> None:
    """Whatever the box, the answer is a square or a PictureError."""
    picture = np.zeros((40, 50) if channels is None else (40, 50, channels), np.uint8)
    try:
        cut = face_detection.crop_square(picture, box, margin=margin)
    except PictureError:
        return
    assert cut.shape[0] == cut.shape[1] >= 1 and cut.shape[2:] == picture.shape[2:]


def test_yunet_file(tmp_path: Path) -> None:
    """A file with YuNet's outputs is decoded by OpenCV, and boxes lead back to the large picture."""
    detector = face_detection.YuNet(write_yunet(tmp_path / "yunet.onnx"), max_side=320)
    # in the 320-pixel picture: centre 16, side 64, cut at the border; the picture is twice as large
    assert face_detection.detect(np.zeros((640, 640, 3), np.uint8), detector=detector) == [(0, 0, 96, 96)]
    assert face_detection.detect(np.zeros((640, 640), np.uint8), detector=face_detection.open_detector(detector)) == [
        (0, 0, 96, 96)
    ]


def test_bad_yunet_file(tmp_path: Path, small_onnx: Path) -> None:
    """A missing or damaged file, and another network's, is an ArtifactError when it is opened."""
    path = tmp_path / "yunet.onnx"
    with pytest.raises(ArtifactError, match=r"yunet\.onnx"):
        face_detection.YuNet(path)
    path.write_bytes(b"not a model")
    with pytest.raises(FeredgeError, match=r"yunet\.onnx"):
        face_detection.open_detector(path)
    with pytest.raises(ArtifactError, match="expected a YuNet file"):
        face_detection.YuNet(small_onnx)
