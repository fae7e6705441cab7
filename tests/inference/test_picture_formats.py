"""Pictures that are no array, path or bytes; HEIC and AVIF; YUV planes."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from device_models import faces

from feredge import Predictor
from feredge.errors import PictureError
from feredge.inference.pictures import MAX_PIXELS, picture_size, pixels_and_order, read_picture, to_pixels

Image = pytest.importorskip("PIL.Image")
COLOR = faces(1, channels=3)[0]
PNG = cv2.imencode(".png", COLOR)[1].tobytes()


def frame(height: int = 480, width: int = 640) -> np.ndarray:
    """Return a smooth BGR picture with all colours in it."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], 2).astype(np.uint8)


@pytest.mark.parametrize("kind", [bytearray, memoryview, io.BytesIO])
def test_bytes_of_every_type(kind: Any) -> None:
    """A socket fills a bytearray, a web framework hands a BytesIO: both are a file's bytes."""
    assert (to_pixels(kind(PNG)) == COLOR).all()


def test_a_buffer_at_its_end_is_read_from_its_beginning() -> None:
    """Guards `picture.save(buffer)`, which leaves the buffer at its end."""
    buffer = io.BytesIO()
    Image.fromarray(COLOR[:, :, ::-1]).save(buffer, "PNG")
    assert (to_pixels(buffer) == COLOR).all()


def test_an_open_file(tmp_path: Path) -> None:
    """A file that is open for bytes is read; one for text is refused."""
    (tmp_path / "a.png").write_bytes(PNG)
    with (tmp_path / "a.png").open("rb") as file:
        assert (to_pixels(file) == COLOR).all()
    with (tmp_path / "a.png").open(encoding="latin-1") as text, pytest.raises(PictureError, match="binary mode"):
        to_pixels(text)  # type: ignore[arg-type]  # refused


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_of_pillow(mode: str) -> None:
    """Guards red against blue, palettes taken as gray, and 16 bits cut to their lower 8."""
    rgb = Image.fromarray(np.ascontiguousarray(COLOR[:, :, ::-1]))
    if mode == "I;16":
        wanted = np.asarray(rgb.convert("L"))
        picture = Image.fromarray(wanted.astype(np.uint16) * 257)
    else:
        picture = rgb.convert(mode)
        gray = mode in ("1", "L", "LA")
        wanted = np.asarray(picture.convert("L")) if gray else np.asarray(picture.convert("RGB"))[:, :, ::-1]
    pixels, order = pixels_and_order(picture, "rgb")
    assert order == "bgr" and pixels.shape == wanted.shape and (pixels == wanted).all()


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pillow_without_a_range(mode: str) -> None:
    """What white is in 32-bit integers or floats, nobody has said."""
    with pytest.raises(PictureError, match=f"mode {mode}"):
        to_pixels(Image.new(mode, (4, 4)))


def test_pillow_is_turned_and_limited(tmp_path: Path) -> None:
    """A picture of Pillow is what its file is: turned as the camera says, and refused before it is decoded."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(frame(40, 60)).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as picture:
        assert (to_pixels(picture) == read_picture(tmp_path / "a.png")).all()
    with pytest.raises(PictureError, match="at most 100,000,000 pixels"):
        to_pixels(Image.new("1", (MAX_PIXELS // 1000 + 1, 1000)))


def test_predictor_takes_them_all(small_onnx: Path) -> None:
    """One picture in six wrappings has one answer, alone and in a batch."""
    wrapped = [COLOR, PNG, bytearray(PNG), memoryview(PNG), io.BytesIO(PNG), Image.open(io.BytesIO(PNG))]
    with Predictor(small_onnx) as predictor:
        alone = [predictor(picture).scores for picture in wrapped]
        batch = [face.scores for face in predictor.batch(wrapped)]
        with pytest.raises(PictureError, match="many pictures"):
            predictor.batch(bytearray(PNG))  # type: ignore[arg-type]  # refused
    assert np.ptp(alone, axis=0).max() == 0 and np.abs(np.subtract(batch, alone)).max() < 1e-5


def test_avif() -> None:
    """Phones write it; its size is known before it is decoded."""
    picture = frame()
    try:
        data = cv2.imencode(".avif", picture)[1].tobytes()
    except cv2.error:
        pytest.skip("this OpenCV writes no AVIF")
    assert picture_size(data) == (640, 480)
    assert np.abs(read_picture(data).astype(int) - picture).mean() < 8
    for end in (30, 200, len(data) // 2):
        with pytest.raises(PictureError):
            read_picture(data[:end])


def test_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read with pillow-heif; without it the line says what to install."""
    heif = pytest.importorskip("pillow_heif")
    picture = frame()
    buffer = io.BytesIO()
    heif.from_pillow(Image.fromarray(picture[:, :, ::-1].copy())).save(buffer, quality=90)
    data = buffer.getvalue()
    assert picture_size(data) == (640, 480)
    assert np.abs(read_picture(data).astype(int) - picture).mean() < 8
    extent = data.index(b"iloc") + 18  # of the coded picture; elsewhere, pillow-heif raises an EOFError
    with pytest.raises(PictureError, match="expected a whole picture"):
        read_picture(data[:extent] + bytes(2) + data[extent + 2 :])
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(PictureError, match="pip install pillow-heif"):
        read_picture(data)


@pytest.mark.parametrize("color", ["yuv420", "nv12"])
def test_planes_of_a_camera(color: Any) -> None:
    """Guards Picamera2's YUV420: all its colours come back, and so do bright and dark."""
    picture = frame()
    planes: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
    if color == "nv12":
        planes[480:] = planes[480:].reshape(2, -1).T.reshape(240, 640)
    pixels, order = pixels_and_order(planes, color)
    assert order == "bgr" and pixels.shape == (480, 640, 3)
    assert np.abs(pixels.astype(int) - picture).mean() < 4


def test_planes_that_nobody_named_are_refused() -> None:
    """Guards a face looked for in Y, U and V above each other; the same as (h, w, 1) is taken as gray."""
    planes: Any = cv2.cvtColor(frame(), cv2.COLOR_BGR2YUV_I420)
    with pytest.raises(PictureError, match='color="yuv420"'):
        to_pixels(planes)
    assert to_pixels(planes[:, :, None]).shape == (720, 640, 1)


@pytest.mark.parametrize("shape", [(720, 640), (360, 320), (1080, 1280), (1620, 1920)])
def test_gray_pictures_of_such_a_shape_are_gray(shape: tuple[int, int]) -> None:
    """Guards portraits of 320 x 360: textured, black below, or flat, they are no planes."""
    textured: Any = cv2.cvtColor(frame(*shape), cv2.COLOR_BGR2GRAY)
    below_black = textured.copy()
    below_black[shape[0] * 2 // 3 :] = 0
    for picture in (textured, below_black, np.full(shape, 128, np.uint8)):
        assert to_pixels(picture) is picture


@pytest.mark.parametrize("shape", [(481, 640), (480, 639), (480, 640, 3)])
def test_no_planes(shape: tuple[int, ...]) -> None:
    """A shape that planes cannot have is no frame."""
    with pytest.raises(PictureError, match=r"expected yuv420 planes \(height \* 3/2, width\)"):
        pixels_and_order(np.zeros(shape, np.uint8), "yuv420")
