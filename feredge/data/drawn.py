"""Drawn faces: a labelled data set without a download, for newcomers, demonstrations and tests.

Each face is a shaded head with hair, brows, eyes, nose and mouth, seen from a random side in random light.
Its expression is a set of facial actions after Ekman and Friesen's coding system (FACS), with the actions of each
class from their prototypes (EMFACS). Drawn faces say nothing about accuracy on people.

Everything is elementwise IEEE arithmetic on float32 (+ - * / sqrt, comparisons) over a counter-based random
stream whose values numpy promises to keep, so the pixels are the same on every machine: no library functions
whose last digit differs between processors, no sums whose order does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feredge.data import drawn_face as parts
from feredge.data.dataset import Dataset
from feredge.data.drawn_face import SIZE, Actions, Canvas, Chance, Field
from feredge.errors import DataError
from feredge.inference.contract import CLASSES, Images

BATCH = 64  # faces drawn together: their fields stay in the second-level cache

ACTIONS: dict[str, dict[int, tuple[float, float]]] = {
    "angry": {4: (0.7, 1.0), 5: (0.0, 0.4), 7: (0.5, 1.0), 17: (0.0, 0.6), 24: (0.6, 1.0)},
    "disgust": {
        4: (0.2, 0.6),
        6: (0.0, 0.4),
        7: (0.3, 0.7),
        9: (0.6, 1.0),
        10: (0.6, 1.0),
        15: (0.0, 0.5),
        25: (0.1, 0.6),
    },
    "fear": {
        1: (0.7, 1.0),
        2: (0.4, 0.8),
        4: (0.4, 0.8),
        5: (0.6, 1.0),
        20: (0.6, 1.0),
        25: (0.4, 1.0),
        27: (0.1, 0.3),
    },
    "happy": {6: (0.5, 1.0), 12: (0.6, 1.0), 25: (0.0, 1.0), 27: (0.0, 0.2)},
    "sad": {1: (0.6, 1.0), 4: (0.4, 0.8), 15: (0.6, 1.0), 17: (0.2, 0.8), 43: (0.0, 0.4)},
    "surprise": {1: (0.7, 1.0), 2: (0.7, 1.0), 5: (0.5, 1.0), 25: (0.6, 1.0), 27: (0.5, 1.0)},
    "neutral": {43: (0.0, 0.2)},
}
"""Lowest and highest strength of each action unit in each class.

1 inner brow raiser, 2 outer brow raiser, 4 brow lowerer, 5 upper lid raiser, 6 cheek raiser, 7 lid tightener,
9 nose wrinkler, 10 upper lip raiser, 12 lip corner puller, 15 lip corner depressor, 17 chin raiser, 20 lip
stretcher, 24 lip pressor, 25 lips part, 27 mouth stretch (jaw drop), 43 eyes closed.
"""
UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17, 20, 24, 25, 27, 43)
LEAK = 0.08  # every face also shows a little of the actions that its class does not name


def drawn(count: int = 4900, seed: int = 1) -> Dataset:
    """Return `count` drawn faces, `uint8 (count, 48, 48)`, evenly over the seven classes.

    Face i depends on `seed` and i only: its class is i % 7, and of every ten faces of a class eight are Training,
    one PublicTest and one PrivateTest. The same call gives the same bytes everywhere.

    Raises:
        DataError: fewer than 70 faces (some split would miss a class), more than a million, or a seed out of range.
    """
    if not 70 <= count <= 1_000_000:
        raise DataError(f"drawn:{count}: expected from 70 to 1000000 faces")
    if not 0 <= seed < 2**64:
        raise DataError(f"drawn:{count}: expected a seed from 0 to 2^64 - 1, found {seed}")
    rows = np.arange(count, dtype=np.int64)
    labels = (rows % len(CLASSES)).astype(np.int8)
    starts = range(0, count, BATCH)
    images = np.concatenate(
        [_draw(rows[start : start + BATCH], labels[start : start + BATCH], seed) for start in starts]
    )
    turn = rows // len(CLASSES) % 10
    usage = np.where(turn < 8, "Training", np.where(turn == 8, "PublicTest", "PrivateTest"))
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    return Dataset(images, labels, usage, rows, CLASSES, digest, f"drawn:{count}")


def _draw(rows: NDArray[np.int64], labels: NDArray[np.int8], seed: int) -> Images:
    """Return the faces of `rows`, `uint8 (N, SIZE, SIZE)`."""
    chance = Chance(rows, seed)
    act = _actions(labels, chance)
    head = _head(chance, act)
    parts.nose(head.face, chance, act)
    parts.eyes(head.face, chance, act)
    parts.brows(head.face, chance, act, head.hair)
    parts.beard(head.face, chance, head.hair)
    parts.mouth(head.face, chance, act)
    parts.folds(head.face, chance, act)
    parts.glasses(head.face, chance)
    return _camera(_scene(head, chance), chance)


def _actions(labels: NDArray[np.int8], chance: Chance) -> Actions:
    """Return the strength of every action unit in each face."""
    strength = chance(0.85, 1.0)
    act = {}
    for unit in UNITS:
        limits = np.array([ACTIONS[name].get(unit, (0.0, LEAK)) for name in CLASSES], np.float32)[labels]
        low, high = limits[:, 0, None, None], limits[:, 1, None, None]
        act[unit] = strength * (low + (high - low) * chance())
    return act


def _turn(angle: Field) -> tuple[Field, Field]:
    """Return cosine and sine, by the half-angle tangent: `angle` is 2 tan(a / 2), a radian or nearly."""
    half = angle * 0.5
    square = half * half
    return (1.0 - square) / (1.0 + square), 2.0 * half / (1.0 + square)


@dataclass
class _Head:
    """Where the head stands in the picture, and its albedo as it is painted."""

    face: Canvas
    cover: Field
    hair_cover: Field
    hair: Field
    skin: Field
    shade: Field
    x: Field
    y: Field


def _head(chance: Chance, act: Actions) -> _Head:
    """Place a head (half an ellipsoid), light it, and return its bare skin with hair."""
    grid = (np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2)[None]
    height = chance(23.0, 28.0)
    width = height * chance(0.74, 0.88)
    cos, sin = _turn(chance(-0.1, 0.1) + chance(-0.1, 0.1))
    dx, dy = grid[:, None, :] - chance(-2.0, 2.0), grid[:, :, None] - chance(-2.0, 1.5)
    x = (dx * cos + dy * sin) / width
    y = (dy * cos - dx * sin) / height
    below = np.clip(y, 0.0, 2.0)
    y = y - below * below * 0.12 * act[27]  # a dropped jaw makes the face longer
    x = x / (1.0 - chance(0.05, 0.22) * below * below)  # and the jaw is narrower than the brow
    radius = np.sqrt(x * x + y * y)
    depth = np.sqrt(np.clip(1.0 - radius * radius, 0.0, 1.0))
    cos_yaw, sin_yaw = _turn(chance(-0.15, 0.15) + chance(-0.15, 0.15))
    cos_nod, sin_nod = _turn(chance(-0.15, 0.15))
    u = x * cos_yaw - depth * sin_yaw
    toward = depth * cos_yaw + x * sin_yaw
    v = y * cos_nod - toward * sin_nod
    v = v + u * chance(-0.03, 0.03)
    skin = chance(0.42, 0.88)
    hair = np.where(chance() < 0.75, chance(0.05, 0.3), chance(0.4, 0.85))
    face = Canvas(u * 0.88, v * 0.88, height * 1.14, np.broadcast_to(skin, u.shape).copy())
    shade = chance(0.6, 0.8) + 0.5 * np.clip(
        x * chance(-0.8, 0.8) + y * chance(-0.7, 0.2) + depth * chance(0.2, 0.7), -0.35, 1.0
    )
    cover = face.inside(radius - 1.0)
    volume = chance(1.04, 1.22)
    side = chance(-0.2, 1.1)  # how far down the hair falls beside the face
    outer = face.inside(np.sqrt(x * x + y * y * 0.92) - volume) * face.inside(y - side)
    line = chance(-0.75, -0.5) + x * chance(-0.2, 0.2) + x * x * chance(-0.1, 0.35)
    bald = chance.sometimes(0.08)
    hair_cover = outer * np.maximum(1.0 - cover, face.inside(v - line)) * (1.0 - bald)
    return _Head(face, cover, hair_cover, hair, skin, shade, dx / 24.0, dy / 24.0)


def _scene(head: _Head, chance: Chance) -> Field:
    """Set the head before a background, with body, shade and things in front."""
    x, y = head.x, head.y
    back = chance(0.05, 0.95) + chance(-0.25, 0.25) * x + chance(-0.25, 0.25) * y
    picture = np.broadcast_to(back, (len(back), SIZE, SIZE)).copy()
    for _ in range(3):
        wide, high = chance(0.1, 0.8), chance(0.1, 0.8)
        blob = np.maximum(
            np.abs(x - chance(-1.0, 1.0)) - wide, np.abs(y + chance(-0.4, 0.4) * x - chance(-1.0, 1.0)) - high
        )
        picture += np.clip(0.5 - blob * 24.0, 0.0, 1.0) * chance.sometimes(0.5) * (chance(0.0, 1.0) - picture)
    neck = np.clip(0.5 - (np.abs(x) - chance(0.35, 0.5)) * 24.0, 0.0, 1.0) * (y > 0.3)
    picture += neck * (head.skin * 0.75 * head.shade - picture)
    dress = np.clip((y - chance(0.95, 1.2) - 0.1 * np.abs(x)) * 24.0, 0.0, 1.0)
    picture += dress * (chance(0.05, 0.9) - picture)
    picture += head.cover * (head.face.tone * head.shade - picture)
    picture += head.hair_cover * (head.hair * head.shade * (0.8 + 0.2 * head.cover) - picture)
    return _occlude(picture, x, y, chance)


def _occlude(picture: Field, x: Field, y: Field, chance: Chance) -> Field:
    """Lay a bar (a hand, a strand, a cup, a caption) over some of the pictures."""
    cos, sin = _turn(chance(-1.6, 1.6))
    across = (x - chance(-0.9, 0.9)) * cos + (y - chance(-0.9, 0.9)) * sin
    cover = np.clip(0.5 - (np.abs(across) - chance(0.02, 0.09)) * 24.0, 0.0, 1.0)
    picture += cover * chance.sometimes(0.2) * chance(0.4, 1.0) * (chance(0.0, 1.0) - picture)
    return picture


def _camera(picture: Field, chance: Chance) -> Images:
    """Light gradient, contrast, blur, noise, rounding."""
    grid = ((np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2) / 24.0)[None]
    gradient = 1.0 + chance(-0.25, 0.25) * grid[:, None, :] + chance(-0.2, 0.2) * grid[:, :, None]
    picture = picture * gradient * chance(0.8, 1.15) + chance(-0.05, 0.15)
    soft = chance(0.0, 0.4)
    picture = _blur(_blur(picture, soft, 1), soft, 2)
    picture = picture + chance.noise() * chance(0.005, 0.025)
    return np.clip(np.floor(picture * 255.0 + 0.5), 0.0, 255.0).astype(np.uint8)


def _blur(picture: Field, soft: Field, axis: int) -> Field:
    """Mix each pixel with the mean of its two neighbours along `axis`."""
    places = np.arange(SIZE)
    before = picture.take(np.maximum(places - 1, 0), axis)
    after = picture.take(np.minimum(places + 1, SIZE - 1), axis)
    return picture + soft * ((before + after) * 0.5 - picture)
