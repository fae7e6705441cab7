"""What annotated copies show."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from device_models import draw_frame, faces

from feredge import CLASSES, Face
from feredge.errors import PictureError
from feredge.label.draw import LABEL_COLORS, AnnotatedFolder, annotate


def named(box: tuple[int, int, int, int] | None = None, label: str = "happy") -> Face:
    scores = tuple(float(name == label) for name in CLASSES)
    return Face(label, 1.0, scores, CLASSES, box)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_box_and_label_are_drawn(channels: int) -> None:
    """In the class's colour, around the box and in a strip above it; the picture given is left alone."""
    frame, places = draw_frame(channels)
    before = frame.copy()
    drawn = annotate(frame, [named(places[0])])
    assert drawn.shape == (480, 640, 3) and np.array_equal(frame, before)
    x, y, _, height = places[0]
    colour = list(LABEL_COLORS[CLASSES.index("happy")])
    assert drawn[y + height - 1, x + 50].tolist() == colour
    assert (drawn[y - 12 : y, x : x + 60] == colour).all(axis=2).mean() > 0.3
    assert np.array_equal(drawn[:, 300:], annotate(frame, [])[:, 300:])


@pytest.mark.parametrize("box", [(0, 0, 30, 30), (600, 450, 40, 30), (-20, -10, 800, 600), None])
def test_boxes_at_the_border(box: tuple[int, int, int, int] | None) -> None:
    """The label stays inside the picture."""
    drawn = annotate(np.zeros((480, 640), np.uint8), [named(box)])
    inside = drawn[2:-2, 2:-2]
    assert (inside == LABEL_COLORS[CLASSES.index("happy")]).all(axis=2).sum() > 500


def test_small_pictures_are_enlarged() -> None:
    """In 48 x 48 pixels no label can be read."""
    assert annotate(np.zeros((48, 48), np.uint8), [named()]).shape == (240, 240, 3)


def test_folder_keeps_the_names_below_the_common_folder(tmp_path: Path) -> None:
    """Two pictures of one name in two folders do not take each other's place; odd suffixes become PNG."""
    pictures = [tmp_path / "in" / name for name in ("a/1.png", "b/1.png", "b/2.tiff")]
    for path in pictures:
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), faces(1)[0])
    folder = AnnotatedFolder(tmp_path / "out", [str(path) for path in pictures])
    for path in pictures:
        folder.add(str(path), [named()])
    folder.add(str(pictures[0]), PictureError("damaged"))
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert found == ["a/1.png", "b/1.png", "b/2.tiff.png"]
    picture = cv2.imread(str(tmp_path / "out" / "a" / "1.png"))
    assert picture is not None and picture.shape[2] == 3


def test_originals_are_safe(tmp_path: Path) -> None:
    """Copies into the pictures' own folder would overwrite them."""
    with pytest.raises(PictureError, match="another folder"):
        AnnotatedFolder(tmp_path, [str(tmp_path / "a.png")])


def test_a_copy_never_takes_the_place_of_another_picture(tmp_path: Path) -> None:
    """Guards pictures below the folder for the copies: that of a/a/1.png would come where a/1.png is."""
    pictures = [str(tmp_path / "a" / "1.png"), str(tmp_path / "a" / "a" / "1.png")]
    (tmp_path / "link").symlink_to(tmp_path)
    for place in (tmp_path, tmp_path / "link"):
        with pytest.raises(PictureError, match=r"copies would go into .*/a among the pictures"):
            AnnotatedFolder(place, pictures)
    AnnotatedFolder(tmp_path / "a" / "b", pictures)


def test_pictures_above_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards relative names with `..` in them, which are no names below the common folder as they stand."""
    cv2.imwrite(str(tmp_path / "a.png"), faces(1)[0])
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    AnnotatedFolder(Path("out"), ["../a.png"]).add("../a.png", [named()])
    assert (tmp_path / "here" / "out" / "a.png").is_file()


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    """Guards `--annotate FILE`: said before the work, not as a stack trace at the first copy."""
    (tmp_path / "file").touch()
    with pytest.raises(PictureError, match="found a file"):
        AnnotatedFolder(tmp_path / "file", ["a.png"])
