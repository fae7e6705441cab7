"""Drawn faces: a synthetic labelled data set for first steps, demonstrations and tests, without a download.

Each face is a shaded head with hair, brows, eyes, nose and mouth, at a random pose and in random light. Its expression
is a set of action units of Ekman and Friesen's Facial Action Coding System (FACS), with the units of each class from
their prototypes (EMFACS). Accuracy on drawn faces says nothing about accuracy on people.

The pixels are the same on every machine: all is elementwise IEEE arithmetic on float32 (+ - * / sqrt, comparisons)
over a counter-based random stream that numpy keeps stable, without library functions whose last digit differs between
processors, or sums whose order does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feredge.data import drawn_face as face_parts
from feredge.data.dataset import Dataset
from feredge.data.drawn_face import FACE_SIZE, ActionStrengths, Canvas, Field, RandomValues
from feredge.data.source_pictures import SourcePictures
from feredge.data.synthetic import draw_dataset
from feredge.inference.contract import CLASSES, Images

DRAW_BATCH = 64  # faces drawn at once: their arrays fit the L2 cache

CLASS_ACTIONS: dict[str, dict[int, tuple[float, float]]] = {
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
"""Minimum and maximum strength of each action unit in each class.

1 inner brow raiser, 2 outer brow raiser, 4 brow lowerer, 5 upper lid raiser, 6 cheek raiser, 7 lid tightener,
9 nose wrinkler, 10 upper lip raiser, 12 lip corner puller, 15 lip corner depressor, 17 chin raiser, 20 lip
stretcher, 24 lip pressor, 25 lips part, 27 mouth stretch (jaw drop), 43 eyes closed.
"""
ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17, 20, 24, 25, 27, 43)
UNLISTED_STRENGTH = 0.08  # maximum strength of the units that a class does not list


def drawn(count: int = 4900, seed: int = 1) -> Dataset:
    """Return `count` drawn faces, `uint8 (count, 48, 48, 1)`, balanced over the seven classes.

    Face i depends on `seed` and i only: its class is i % 7, and of every ten faces of a class eight are Training,
    one PublicTest and one PrivateTest. The same call returns the same bytes on every machine.

    Raises:
        DataError: fewer than 70 faces (some split would miss a class), more than a million, or a seed out of range.
    """
    pictures = SourcePictures(0.0, FACE_SIZE, FACE_SIZE)
    return draw_dataset("drawn", _draw, count, seed, classes=CLASSES, noun="faces", pictures=pictures, batch=DRAW_BATCH)


def _draw(rows: NDArray[np.int64], labels: NDArray[np.int8], seed: int) -> Images:
    """Return the faces of `rows`, `uint8 (N, FACE_SIZE, FACE_SIZE, 1)`."""
    random = RandomValues(rows, seed)
    actions = _action_strengths(labels, random)
    head = _head(random, actions)
    face_parts.nose(head.face, random, actions)
    face_parts.eyes(head.face, random, actions)
    face_parts.brows(head.face, random, actions, head.hair)
    face_parts.beard(head.face, random, head.hair)
    face_parts.mouth(head.face, random, actions)
    face_parts.wrinkles(head.face, random, actions)
    face_parts.glasses(head.face, random)
    return _camera(_compose(head, random), random)[..., None]


def _action_strengths(labels: NDArray[np.int8], random: RandomValues) -> ActionStrengths:
    """Return the strength of every action unit in each face."""
    strength = random(0.85, 1.0)
    actions = {}
    for unit in ACTION_UNITS:
        class_limits = [CLASS_ACTIONS[name].get(unit, (0.0, UNLISTED_STRENGTH)) for name in CLASSES]
        limits = np.array(class_limits, np.float32)[labels]
        low, high = limits[:, 0, None, None], limits[:, 1, None, None]
        actions[unit] = strength * (low + (high - low) * random())
    return actions


def _rotation(angle: Field) -> tuple[Field, Field]:
    """Return cosine and sine by the half-angle formula; `angle` is 2 tan(a / 2), about a in radians."""
    half = angle * 0.5
    square = half * half
    return (1.0 - square) / (1.0 + square), 2.0 * half / (1.0 + square)


@dataclass
class _Head:
    """Position, coverage and albedo of the head in the image."""

    face: Canvas
    coverage: Field
    hair_coverage: Field
    hair: Field
    skin: Field
    shade: Field
    x: Field
    y: Field


def _head(random: RandomValues, actions: ActionStrengths) -> _Head:
    """Place and light a head, half an ellipsoid, with skin and hair."""
    grid = (np.arange(FACE_SIZE, dtype=np.float32) - (FACE_SIZE - 1) / 2)[None]
    height = random(23.0, 28.0)
    width = height * random(0.74, 0.88)
    cos, sin = _rotation(random(-0.1, 0.1) + random(-0.1, 0.1))
    dx, dy = grid[:, None, :] - random(-2.0, 2.0), grid[:, :, None] - random(-2.0, 1.5)
    x = (dx * cos + dy * sin) / width
    y = (dy * cos - dx * sin) / height
    below = np.clip(y, 0.0, 2.0)
    y = y - below * below * 0.12 * actions[27]  # a jaw drop makes the face longer
    x = x / (1.0 - random(0.05, 0.22) * below * below)  # the jaw is narrower than the brow
    radius = np.sqrt(x * x + y * y)
    depth = np.sqrt(np.clip(1.0 - radius * radius, 0.0, 1.0))
    cos_yaw, sin_yaw = _rotation(random(-0.15, 0.15) + random(-0.15, 0.15))
    cos_pitch, sin_pitch = _rotation(random(-0.15, 0.15))
    u = x * cos_yaw - depth * sin_yaw
    depth_yawed = depth * cos_yaw + x * sin_yaw
    v = y * cos_pitch - depth_yawed * sin_pitch
    v = v + u * random(-0.03, 0.03)
    skin = random(0.42, 0.88)
    hair = np.where(random() < 0.75, random(0.05, 0.3), random(0.4, 0.85))
    face = Canvas(u * 0.88, v * 0.88, height * 1.14, np.broadcast_to(skin, u.shape).copy())
    shade = random(0.6, 0.8) + 0.5 * np.clip(
        x * random(-0.8, 0.8) + y * random(-0.7, 0.2) + depth * random(0.2, 0.7), -0.35, 1.0
    )
    coverage = face.inside(radius - 1.0)
    volume = random(1.04, 1.22)
    side = random(-0.2, 1.1)  # length of the hair at the sides
    outer = face.inside(np.sqrt(x * x + y * y * 0.92) - volume) * face.inside(y - side)
    line = random(-0.75, -0.5) + x * random(-0.2, 0.2) + x * x * random(-0.1, 0.35)
    bald = random.bernoulli(0.08)
    hair_coverage = outer * np.maximum(1.0 - coverage, face.inside(v - line)) * (1.0 - bald)
    return _Head(face, coverage, hair_coverage, hair, skin, shade, dx / 24.0, dy / 24.0)


def _compose(head: _Head, random: RandomValues) -> Field:
    """Compose background, body, head, hair and an occluding bar."""
    x, y = head.x, head.y
    background = random(0.05, 0.95) + random(-0.25, 0.25) * x + random(-0.25, 0.25) * y
    image = np.broadcast_to(background, (len(background), FACE_SIZE, FACE_SIZE)).copy()
    for _ in range(3):
        half_width, half_height = random(0.1, 0.8), random(0.1, 0.8)
        blob = np.maximum(
            np.abs(x - random(-1.0, 1.0)) - half_width,
            np.abs(y + random(-0.4, 0.4) * x - random(-1.0, 1.0)) - half_height,
        )
        image += np.clip(0.5 - blob * 24.0, 0.0, 1.0) * random.bernoulli(0.5) * (random(0.0, 1.0) - image)
    neck = np.clip(0.5 - (np.abs(x) - random(0.35, 0.5)) * 24.0, 0.0, 1.0) * (y > 0.3)
    image += neck * (head.skin * 0.75 * head.shade - image)
    dress = np.clip((y - random(0.95, 1.2) - 0.1 * np.abs(x)) * 24.0, 0.0, 1.0)
    image += dress * (random(0.05, 0.9) - image)
    image += head.coverage * (head.face.tone * head.shade - image)
    image += head.hair_coverage * (head.hair * head.shade * (0.8 + 0.2 * head.coverage) - image)
    return _occlude(image, x, y, random)


def _occlude(image: Field, x: Field, y: Field, random: RandomValues) -> Field:
    """Draw a bar (a hand, a strand, a cup, a caption) over some of the images."""
    cos, sin = _rotation(random(-1.6, 1.6))
    across = (x - random(-0.9, 0.9)) * cos + (y - random(-0.9, 0.9)) * sin
    coverage = np.clip(0.5 - (np.abs(across) - random(0.02, 0.09)) * 24.0, 0.0, 1.0)
    image += coverage * random.bernoulli(0.2) * random(0.4, 1.0) * (random(0.0, 1.0) - image)
    return image


def _camera(image: Field, random: RandomValues) -> Images:
    """Apply a light gradient, contrast, blur, noise and rounding."""
    grid = ((np.arange(FACE_SIZE, dtype=np.float32) - (FACE_SIZE - 1) / 2) / 24.0)[None]
    gradient = 1.0 + random(-0.25, 0.25) * grid[:, None, :] + random(-0.2, 0.2) * grid[:, :, None]
    image = image * gradient * random(0.8, 1.15) + random(-0.05, 0.15)
    blend = random(0.0, 0.4)
    image = _blur(_blur(image, blend, 1), blend, 2)
    image = image + random.noise() * random(0.005, 0.025)
    return np.clip(np.floor(image * 255.0 + 0.5), 0.0, 255.0).astype(np.uint8)


def _blur(image: Field, blend: Field, axis: int) -> Field:
    """Mix each pixel with the mean of its two neighbours along `axis`."""
    indices = np.arange(FACE_SIZE)
    before = image.take(np.maximum(indices - 1, 0), axis)
    after = image.take(np.minimum(indices + 1, FACE_SIZE - 1), axis)
    return image + blend * ((before + after) * 0.5 - image)
