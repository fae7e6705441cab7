"""Annotated pictures: boxes, labels and confidences."""

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

MIN_LONGER_SIDE = 240  # pixels; smaller pictures are enlarged for legible text
WRITABLE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
LABEL_COLORS = (  # BGR, distinguishable with colour blindness (Okabe and Ito, 2008)
    (0, 94, 213),
    (115, 158, 0),
    (167, 121, 204),
    (66, 228, 240),
    (178, 114, 0),
    (0, 159, 230),
    (233, 180, 86),
)


def annotate(pixels: Images, faces: Iterable[Face]) -> Images:
    """Return an annotated BGR copy, `uint8 (h, w, 3)`, with each face's box, label and confidence.

    A face without a box is the full picture. Pictures smaller than MIN_LONGER_SIDE are enlarged.
    """
    cv2 = opencv()
    gray = pixels.ndim == 2 or pixels.shape[2] == 1
    picture = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR) if gray else np.ascontiguousarray(pixels[:, :, :3]).copy()
    scale = max(1, -(-MIN_LONGER_SIDE // max(picture.shape[:2])))
    if scale > 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    rows, columns = picture.shape[:2]
    line = max(1, round(max(rows, columns) / 400))
    for face in faces:
        x, y, width, height = (value * scale for value in face.box or (0, 0, columns // scale, rows // scale))
        colour = LABEL_COLORS[face.classes.index(face.likeliest) % len(LABEL_COLORS)]
        cv2.rectangle(picture, (x, y), (x + width - 1, y + height - 1), colour, line)
        _draw_label(picture, f"{face.label} {face.confidence:.0%}", x, y, line, colour)
    return picture  # type: ignore[no-any-return]


def _draw_label(picture: Any, text: str, x: int, y: int, line: int, colour: tuple[int, int, int]) -> None:
    """Draw text on a filled background above the box, or inside it at the picture's upper border."""
    cv2 = opencv()
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.45 * line + 0.1
    (width, height), baseline = cv2.getTextSize(text, font, size, line)
    x = max(0, min(x, picture.shape[1] - width))
    bottom = y if y >= height + 2 * baseline else y + height + 2 * baseline
    cv2.rectangle(picture, (x, bottom - height - 2 * baseline), (x + width, bottom), colour, cv2.FILLED)
    cv2.putText(picture, text, (x, bottom - baseline), font, size, (0, 0, 0), line, cv2.LINE_AA)


class AnnotatedFolder:
    """Writes annotated copies of pictures into a folder, with their paths relative to their common folder.

    Raises:
        PictureError: a copy could overwrite a picture, because it goes into a folder of pictures; or `path` is a file.
    """

    def __init__(self, path: Path, pictures: Sequence[str]) -> None:
        if path.exists() and not path.is_dir():
            raise PictureError(f"{path}: expected a folder for the copies, found a file")
        self.path = path
        folders = {os.path.dirname(os.path.abspath(picture)) for picture in pictures}  # noqa: PTH100, PTH120
        self._common = os.path.commonpath(folders)
        targets = {path.joinpath(os.path.relpath(folder, self._common)).resolve() for folder in folders}
        for folder in map(Path, folders):
            if folder.resolve() in targets:
                raise PictureError(f"{path}: expected another folder, copies would go into {folder} among the pictures")

    def add(self, picture: str, result: PictureResult) -> None:
        """Write the copy of one picture, unless its result is an error."""
        if isinstance(result, PictureError):
            return
        cv2 = opencv()
        target = self.path / os.path.relpath(picture, self._common)
        if target.suffix.lower() not in WRITABLE_SUFFIXES:
            target = target.with_name(target.name + ".png")
        files.write_bytes(
            target, cv2.imencode(target.suffix.lower(), annotate(read_picture(picture), result))[1].tobytes()
        )
