"""Drawing what was found into a picture."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from feredge import files
from feredge.errors import PictureError
from feredge.inference.face import Face, PictureResult
from feredge.inference.pictures import Images, opencv, read_picture

SMALLEST = 240  # pixels of the longer side below which a picture is enlarged, so that text can be read
WRITABLE = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
COLOURS = (  # BGR, told apart also by the commonest colour-blind eyes (Okabe and Ito, 2008)
    (0, 94, 213),
    (115, 158, 0),
    (167, 121, 204),
    (66, 228, 240),
    (178, 114, 0),
    (0, 159, 230),
    (233, 180, 86),
)


def annotate(pixels: Images, faces: Iterable[Face]) -> Images:
    """Return a BGR copy, `uint8 (h, w, 3)`, with each face's box, label and confidence.

    A face without a box is the whole picture. Pictures smaller than 240 pixels are enlarged.
    """
    cv2 = opencv()
    gray = pixels.ndim == 2 or pixels.shape[2] == 1
    picture = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR) if gray else np.ascontiguousarray(pixels[:, :, :3]).copy()
    scale = max(1, -(-SMALLEST // max(picture.shape[:2])))
    if scale > 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    rows, columns = picture.shape[:2]
    line = max(1, round(max(rows, columns) / 400))
    for face in faces:
        x, y, width, height = (value * scale for value in face.box or (0, 0, columns // scale, rows // scale))
        colour = COLOURS[face.classes.index(face.label) % len(COLOURS)]
        cv2.rectangle(picture, (x, y), (x + width - 1, y + height - 1), colour, line)
        _write(picture, f"{face.label} {face.confidence:.0%}", x, y, line, colour)
    return picture  # type: ignore[no-any-return]


def _write(picture: Any, text: str, x: int, y: int, line: int, colour: tuple[int, int, int]) -> None:
    """Write on a filled strip above the box, or inside it at the picture's upper border."""
    cv2 = opencv()
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.45 * line + 0.1
    (width, height), below = cv2.getTextSize(text, font, size, line)
    x = max(0, min(x, picture.shape[1] - width))
    bottom = y if y >= height + 2 * below else y + height + 2 * below
    cv2.rectangle(picture, (x, bottom - height - 2 * below), (x + width, bottom), colour, cv2.FILLED)
    cv2.putText(picture, text, (x, bottom - below), font, size, (0, 0, 0), line, cv2.LINE_AA)


class Folder:
    """Writes annotated copies of pictures into a folder, named as the pictures are below their common folder.

    Raises:
        PictureError: a copy would come into a folder of pictures, and could take the place of one; or `path` is a file.
    """

    def __init__(self, path: Path, pictures: Sequence[str]) -> None:
        if path.exists() and not path.is_dir():
            raise PictureError(f"{path}: expected a folder for the copies, found a file")
        self.path = path
        folders = {os.path.dirname(os.path.abspath(picture)) for picture in pictures}  # noqa: PTH100, PTH120
        self._common = os.path.commonpath(folders)
        places = {path.joinpath(os.path.relpath(folder, self._common)).resolve() for folder in folders}
        for folder in map(Path, folders):
            if folder.resolve() in places:
                raise PictureError(f"{path}: expected another folder, copies would come into {folder}, beside pictures")

    def add(self, picture: str, answer: PictureResult) -> None:
        """Write the copy of one picture, if it could be read."""
        if isinstance(answer, PictureError):
            return
        cv2 = opencv()
        target = self.path / os.path.relpath(picture, self._common)
        if target.suffix.lower() not in WRITABLE:
            target = target.with_name(target.name + ".png")
        files.write_bytes(
            target, cv2.imencode(target.suffix.lower(), annotate(read_picture(picture), answer))[1].tobytes()
        )
