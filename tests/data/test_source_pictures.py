"""Size and colour of a source's pictures, and the warnings about colour that a network does not use."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from feredge.data import color_note, load, summarize
from feredge.data.source_pictures import SourcePictures, has_color


def put(path: Path, *, color: bool, size: tuple[int, int] = (40, 60)) -> None:
    """Write a noisy picture of `(height, width)`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    gray = np.random.default_rng(0).integers(90, 160, (*size, 1), np.uint8)
    cv2.imwrite(str(path), np.concatenate([gray, gray, gray + 60 if color else gray], axis=2))


def test_a_folder_of_mixed_pictures(tmp_path: Path) -> None:
    """Guards `data info`: gray pictures that are stored with three channels, as JPEG too, have no colour."""
    put(tmp_path / "a" / "1.png", color=True)
    put(tmp_path / "a" / "2.jpg", color=False)
    put(tmp_path / "b" / "3.png", color=False, size=(50, 90))
    put(tmp_path / "b" / "4.jpg", color=True, size=(50, 90))
    dataset = load(tmp_path, channels=3)
    assert dataset.pictures == SourcePictures(0.5, 45, 75)
    assert "pictures: 75 x 45 pixels, 50% of them in colour" in summarize(dataset).to_text()


def test_folders_give_rgb(tmp_path: Path) -> None:
    """Guards the order of the channels: OpenCV reads and writes BGR."""
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "a" / "1.png"), np.full((48, 48, 3), (10, 20, 200), np.uint8))
    assert (load(tmp_path, channels=3).images == (200, 20, 10)).all()
    assert load(tmp_path).images.shape == (1, 48, 48, 1)


def test_a_sample_without_a_readable_picture(tmp_path: Path) -> None:
    """Guards skipped pictures: they are not sampled."""
    put(tmp_path / "a" / "1.png", color=True)
    (tmp_path / "a" / "2.png").write_bytes(b"no picture")
    assert load(tmp_path, skip_bad_rows=True).pictures == SourcePictures(1.0, 40, 60)


@pytest.mark.parametrize(
    ("share", "channels", "note"),
    [
        (0.0, 1, ""),
        (1.0, 3, ""),
        (0.2, 3, ""),
        (0.0, 3, "the pictures are gray and the network takes RGB"),
        (1.0, 1, "the pictures are 9 x 8 pixels, in colour; data.channels=3"),
        (0.2, 1, "20% of them in colour"),
    ],
)
def test_unsuitable_networks_are_named(share: float, channels: int, note: str) -> None:
    """Guards the one warning: colour that is not used, and channels that hold nothing."""
    found = color_note(SourcePictures(share, 8, 9), channels)
    assert note in found and bool(note) == bool(found)
    assert color_note(None, channels) == ""


def test_gray_has_no_colour() -> None:
    """Guards pictures of one channel."""
    assert not has_color(np.zeros((4, 4), np.uint8))
