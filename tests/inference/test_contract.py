"""One function makes every network's input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from device_models import faces
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from feredge.errors import ArtifactError, PictureError
from feredge.inference.contract import InputContract

GRAY, RGB = InputContract(), InputContract(channels=3)


def test_ready_crop_is_untouched() -> None:
    """A crop of the right size passes as it is, in all three gray shapes."""
    crop = faces(1)[0]
    crop = np.ascontiguousarray(cv2.resize(crop, (48, 48)))
    assert np.array_equal(GRAY.to_tensor(crop)[:, :, 0], crop)
    assert np.array_equal(GRAY.to_tensor(crop[:, :, None])[:, :, 0], crop)


def test_colour_orders_agree(tmp_path: Path) -> None:
    """BGR, BGRA, RGB when said, a lossless file and its bytes give the same tensor, for both kinds of network."""
    bgr = faces(1, channels=3)[0]
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), bgr)
    bgra = np.dstack([bgr, np.full(bgr.shape[:2], 255, np.uint8)])
    for contract in (GRAY, RGB):
        wanted = contract.to_tensor(bgr)
        rgb = np.ascontiguousarray(bgr[:, :, ::-1])
        assert np.array_equal(contract.to_tensor(rgb, color="rgb"), wanted)
        assert np.array_equal(contract.to_tensor(bgr[:, :, ::-1], color="rgb"), wanted)  # a view with steps
        assert np.array_equal(contract.to_tensor(bgra), wanted)
        assert np.array_equal(contract.to_tensor(path), wanted)
        assert np.array_equal(contract.to_tensor(str(path)), wanted)
        assert np.array_equal(contract.to_tensor(path.read_bytes()), wanted)


def test_color_speaks_of_arrays_only(tmp_path: Path) -> None:
    """`color="rgb"` must not swap the channels of a file, which is always read right."""
    bgr = faces(1, channels=3)[0]
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), bgr)
    assert np.array_equal(RGB.to_tensor(path, color="rgb"), RGB.to_tensor(bgr))


def test_first_channel_of_a_colour_network_is_red() -> None:
    """Swapped channels are silently wrong answers."""
    bgr = np.zeros((48, 48, 3), np.uint8)
    bgr[:, :, 2] = 200
    assert RGB.to_tensor(bgr)[0, 0].tolist() == [200, 0, 0]
    assert RGB.to_tensor(np.full((48, 48), 7, np.uint8))[0, 0].tolist() == [7, 7, 7]


def test_unknown_colour_order() -> None:
    """A typing error must not mean BGR."""
    with pytest.raises(PictureError, match="colour order"):
        GRAY.to_tensor(faces(1, channels=3)[0], color="RGB")  # type: ignore[arg-type]  # refused


def test_shrinking_averages() -> None:
    """A checkerboard must become gray, not black or white, or fine lines alias."""
    board = np.indices((480, 480)).sum(axis=0) % 2 * 255
    assert np.ptp(GRAY.to_tensor(board.astype(np.uint8))) <= 1


@pytest.mark.parametrize("shape", [(192, 192), (200, 333), (767, 640), (1501, 1501), (3000, 200)])
def test_large_pictures_are_averaged_too(shape: tuple[int, int]) -> None:
    """Halving and bilinear sampling together give nearly what averaging in one step gives."""
    smooth: Any = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, shape, np.uint8), (0, 0), min(shape) / 12)
    picture: Any = cv2.normalize(smooth, smooth, 0, 255, cv2.NORM_MINMAX)
    once = cv2.resize(picture, (48, 48), interpolation=cv2.INTER_AREA).astype(int)
    # A shift of 1/100 of the picture, by odd rows left out, along its steepest slopes; the rest is far closer.
    apart = np.abs(GRAY.to_tensor(picture)[:, :, 0] - once)
    assert apart.max() <= 16
    assert apart.mean() <= 3


def test_jpeg_is_read_by_its_brightness(tmp_path: Path) -> None:
    """Decoding a colour JPEG straight to gray must not change what a gray network sees."""
    picture = cv2.resize(faces(1, channels=3)[0], (160, 160))
    picture = cv2.addWeighted(picture, 0.5, np.full_like(picture, 128), 0.5, 0)  # no colour that clips
    cv2.imwrite(str(tmp_path / "face.jpg"), picture)
    decoded: Any = cv2.imread(str(tmp_path / "face.jpg"))
    difference = GRAY.to_tensor(tmp_path / "face.jpg").astype(int) - GRAY.to_tensor(decoded)
    # 1: both round once more or less
    assert np.abs(difference).max() <= 1
    assert np.array_equal(RGB.to_tensor(tmp_path / "face.jpg"), RGB.to_tensor(decoded))


def test_box_is_cut_before_resizing() -> None:
    """The rest of the picture leaves no trace."""
    picture = np.zeros((100, 100), np.uint8)
    picture[20:68, 30:78] = 200
    assert (GRAY.to_tensor(picture, box=(30, 20, 48, 48)) == 200).all()
    for box in ((60, 60, 48, 48), (-1, 0, 10, 10), (0, 0, 0, 5)):
        with pytest.raises(PictureError, match="expected a box"):
            GRAY.to_tensor(picture, box=box)


def test_batch_of_many_sizes() -> None:
    """The order is kept, and no pictures are an empty batch."""
    pictures = faces(5) + faces(3, channels=3)
    batch = GRAY.to_batch(pictures)
    assert batch.shape == (8, 48, 48, 1) and batch.flags.c_contiguous
    assert all(np.array_equal(row, GRAY.to_tensor(picture)) for row, picture in zip(batch, pictures, strict=True))
    assert GRAY.to_batch([]).shape == (0, 48, 48, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_of_a_batch_is_written_in_place(channels: int) -> None:
    """Guards the way of batches, in every bit: the tensor that a picture has alone, and no byte beside it."""
    contract, random = InputContract(channels=channels), np.random.default_rng(2)
    for rows, columns in ((48, 48), (96, 96), (97, 193), (30, 60), (48, 200), (200, 96), (191, 64), (1, 1), (384, 400)):
        picture = random.integers(0, 256, (rows, columns, channels), np.uint8)
        for one in (picture, picture[::-1, ::-1], picture[:, :, 0]):
            batch = np.full((3, *contract.shape), 7, np.uint8)
            contract.to_tensor(one, out=batch[1])
            assert np.array_equal(batch[1], contract.to_tensor(one)) and (batch[::2] == 7).all()


def test_check_batch() -> None:
    """What a network cannot take is named with both shapes."""
    GRAY.check_batch(np.zeros((2, 48, 48, 1), np.uint8))
    for batch in (np.zeros((2, 48, 48), np.uint8), np.zeros((2, 48, 48, 1), np.float32)):
        with pytest.raises(PictureError, match=r"expected uint8 \(N, 48, 48, 1\)"):
            GRAY.check_batch(batch)  # type: ignore[arg-type]  # refused


@pytest.mark.parametrize(
    "change",
    [{"layout": "NCHW"}, {"dtype": "float32"}, {"range": [-1, 1]}, {"channels": 2}, {"height": 0}, {"more": 1}],
)
def test_other_contracts_are_refused(change: dict[str, object]) -> None:
    """A file that wants another scale or layout must not be fed ours."""
    with pytest.raises(ArtifactError):
        InputContract.from_json({**GRAY.to_json(), **change})


@settings(max_examples=150)
@given(
    picture=arrays.arrays(
        st.sampled_from([np.uint8, np.uint8, np.uint8, np.float32, np.int64, np.bool_]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=70),
    ),
    color=st.sampled_from(["bgr", "rgb"]),
    contract=st.sampled_from([GRAY, RGB, InputContract(1, 200, 1)]),
)
def test_any_array(picture: np.ndarray, color: str, contract: InputContract) -> None:
    """Whatever the array, the answer is the network's input or a PictureError."""
    try:
        tensor = contract.to_tensor(picture, color=color)  # type: ignore[arg-type]  # a name of a color order
    except PictureError:
        return
    assert tensor.shape == contract.shape and tensor.dtype == np.uint8 and tensor.flags.c_contiguous


@pytest.mark.parametrize("shape", [(1, 1), (1, 60_000), (60_000, 1), (3, 40_000, 3), (1, 1, 4)])
def test_extreme_shapes(shape: tuple[int, ...]) -> None:
    """Slivers become an input without an error from inside OpenCV."""
    assert GRAY.to_tensor(np.full(shape, 9, np.uint8)).shape == GRAY.shape
