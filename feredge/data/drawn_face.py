"""Features of a drawn face: brows, eyes, nose, mouth, wrinkles, beard, glasses.

Each function takes the strengths of the action units, 0 to 1, by FACS number (see drawn.CLASS_ACTIONS).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[Any]
"""`float32 (N, 1, 1)`, one value a face, or `float32 (N, SIZE, SIZE)`, one a pixel."""
ActionStrengths: TypeAlias = dict[int, Field]

FACE_SIZE = 48
RESERVED_VALUES = 160  # random values of a face before those of its noise


class RandomValues:
    """Random values for a batch of pictures, in a fixed order; `noise_shape` is that of a picture's noise."""

    def __init__(
        self, rows: NDArray[np.int64], seed: int, noise_shape: tuple[int, ...] = (FACE_SIZE, FACE_SIZE)
    ) -> None:
        # One stream for each picture; numpy keeps the raw values of a bit generator stable between versions.
        streams = [np.random.Philox(key=seed, counter=int(row) << 64) for row in rows]
        count = RESERVED_VALUES + math.prod(noise_shape) // 2
        self._bits = np.array([stream.random_raw(count) for stream in streams])
        self._noise_shape = noise_shape
        self._next = 0

    def __call__(self, low: float = 0.0, high: float = 1.0) -> Field:
        """Return the next value of each face, uniform in [low, high)."""
        assert self._next < RESERVED_VALUES
        unit = (self._bits[:, self._next] >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
        self._next += 1
        return (low + (high - low) * unit)[:, None, None]

    def bernoulli(self, share: float) -> Field:
        """Return 1 with probability `share`, else 0, for each face."""
        return (self() < share).astype(np.float32)

    def noise(self) -> Field:
        """Return approximately normal noise of mean 0 and standard deviation 1: a sum of four bytes for each pixel."""
        values = (
            self._bits[:, RESERVED_VALUES:]
            .astype("<u8")
            .view(np.uint8)
            .reshape(-1, *self._noise_shape, 4)
            .astype(np.float32)
        )
        return (values[..., 0] + values[..., 1] + values[..., 2] + values[..., 3] - 510.0) * (1 / 147.8)


@dataclass
class Canvas:
    """Gray values and coordinates of a face: `u` right and `v` down from the center of the head, 1 at its edge.

    Attributes:
        mirrored: absolute `u`, so that one shape draws both sides.
        pixels: pixels per unit.
        tone: 0 black to 1 white.
    """

    u: Field
    v: Field
    pixels: Field
    tone: Field

    def __post_init__(self) -> None:
        self.mirrored = np.abs(self.u)

    def inside(self, distance: Field) -> Field:
        """Return the antialiased coverage of a shape, 0 to 1, from the signed distance to its edge, negative inside."""
        return np.clip(0.5 - distance * self.pixels, 0.0, 1.0)

    def fill(self, coverage: Field, tone: Field | float) -> None:
        """Blend `tone` in with weight `coverage`."""
        self.tone += coverage * (tone - self.tone)

    def line(self, offset: Field, along: Field, width: Field | float, strength: Field | float) -> None:
        """Darken a line: `offset` is the distance from it, `along` runs from -1 to 1 between its ends."""
        ends = np.clip((1.0 - np.abs(along)) * 4.0, 0.0, 1.0)
        coverage = np.clip(1.0 - np.abs(offset) / width, 0.0, 1.0)
        self.tone *= 1.0 - strength * ends * coverage


def brows(face: Canvas, random: RandomValues, actions: ActionStrengths, hair: Field) -> None:
    middle, length = random(0.32, 0.38) - 0.05 * actions[4], random(0.19, 0.24)
    height = random(-0.36, -0.29) + 0.05 * actions[9]
    along = (face.mirrored - middle) / length
    inner = -0.16 * actions[1] + 0.16 * actions[4] * (1.0 - actions[1]) - 0.02
    outer = -0.15 * actions[2] + 0.03 * actions[4] + random(-0.02, 0.05)
    curve = (
        height + 0.5 * inner * (1.0 - along) + 0.5 * outer * (1.0 + along) - random(0.01, 0.07) * (1.0 - along * along)
    )
    width = random(0.025, 0.055) * (1.2 - 0.3 * along)
    coverage = face.inside(np.abs(face.v - curve) - width) * face.inside((np.abs(along) - 1.0) * length)
    face.fill(coverage * random(0.6, 1.0), np.minimum(hair, 0.5) * random(0.5, 1.0))


def eyes(face: Canvas, random: RandomValues, actions: ActionStrengths) -> None:
    middle, length, height = random(0.34, 0.40), random(0.14, 0.18), random(-0.14, -0.08)
    along = (face.mirrored - middle) / length
    parabola = 1.0 - along * along
    size = random(0.06, 0.09) * (1.0 - 0.85 * actions[43])
    upper = size * (1.0 + 0.8 * actions[5] - 0.35 * actions[7] - 0.4 * actions[6] - 0.3 * actions[9])
    lower = size * (0.7 + 0.25 * actions[5] - 0.4 * actions[7] - 0.55 * actions[6] - 0.3 * actions[9])
    tilt = random(-0.03, 0.03) * along
    top, bottom = height + tilt - upper * parabola, height + tilt + lower * parabola
    coverage = face.inside(np.maximum(top - face.v, face.v - bottom))
    face.fill(coverage, random(0.75, 0.97))
    across, down = (
        face.u - np.where(face.u < 0.0, -middle, middle) - random(-0.06, 0.06),
        face.v - height - random(-0.02, 0.03),
    )
    distance = np.sqrt(across * across + down * down)
    face.fill(coverage * face.inside(distance - random(0.065, 0.085)), random(0.05, 0.35))
    face.fill(coverage * face.inside(distance - 0.035), 0.03)
    face.line(face.v - top, along * 0.9, random(0.035, 0.06), random(0.5, 0.9))
    face.line(face.v - bottom, along, 0.035, random(0.1, 0.45))
    face.line(face.v - top + 0.07 - 0.03 * actions[5], along, 0.035, random(0.1, 0.4))
    pouch = face.v - height - 0.14 + 0.04 * actions[6] + 0.05 * along * along
    face.line(pouch, along * 0.8, 0.05, 0.1 + 0.35 * actions[6] + 0.1 * actions[7])
    crows_feet = np.abs(face.v - height - 0.02) - 0.35 * (face.mirrored - middle - length)
    face.line(crows_feet, (face.mirrored - middle - length - 0.1) / 0.1, 0.03, 0.45 * actions[6])


def nose(face: Canvas, random: RandomValues, actions: ActionStrengths) -> None:
    tip, width = random(0.24, 0.32) - 0.04 * actions[9], random(0.11, 0.16) + 0.02 * actions[9]
    sign = np.where(random() < 0.5, np.float32(-1.0), np.float32(1.0))
    bridge = (face.v - tip * 0.4) / (tip * 0.6)
    face.line(face.u * sign - 0.07 - 0.03 * bridge, bridge, 0.06, random(0.05, 0.3))
    base = face.v - tip - 0.04 + 0.35 * face.mirrored * face.mirrored
    face.line(base, face.mirrored / (width * 1.2), 0.045, random(0.2, 0.5))
    across, down = face.mirrored - width * 0.55, (face.v - tip) * 1.4
    face.fill(face.inside(np.sqrt(across * across + down * down) - 0.035) * random(0.3, 0.9), 0.1)
    wrinkled = 0.65 * actions[9]
    for height in (-0.16, -0.07, 0.02, 0.11):
        face.line(face.v - height + 0.4 * face.mirrored, face.mirrored / 0.16, 0.03, wrinkled)
    face.line(face.mirrored - width - 0.02 * bridge, (face.v - tip + 0.08) / 0.14, 0.04, 0.15 + 0.4 * actions[9])


def mouth(face: Canvas, random: RandomValues, actions: ActionStrengths) -> None:
    height = random(0.50, 0.57)
    length = random(0.25, 0.32) * (
        1.0 + 0.35 * actions[12] + 0.35 * actions[20] - 0.15 * actions[24] - 0.3 * actions[27]
    )
    along = face.u / length
    square = along * along
    parabola = 1.0 - square
    opening = np.sqrt(np.clip(parabola, 0.0, 1.0)) + np.minimum(parabola, 0.0)
    corner = 0.10 * actions[15] + 0.05 * actions[20] - 0.17 * actions[12]
    middle = height + corner * (square - 0.35) - 0.03 * actions[17] * parabola + random(-0.015, 0.015) * along
    top = middle - opening * (0.02 * actions[25] + 0.10 * actions[10] + 0.06 * actions[27])
    bottom = middle + opening * (0.14 * actions[25] * (1.0 - actions[24]) + 0.28 * actions[27] + 0.03 * actions[10])
    thick = random(0.035, 0.075) * (1.0 - 0.75 * actions[24]) * (1.0 - 0.3 * actions[12])
    lips = face.inside(np.maximum(top - thick * parabola - face.v, face.v - bottom - 1.35 * thick * parabola))
    face.fill(lips * random(0.25, 0.8), face.tone * random(0.55, 0.9))
    inside = face.inside(np.maximum(top - face.v, face.v - bottom)) * np.clip((bottom - top) * face.pixels, 0.0, 1.0)
    face.fill(inside, random(0.03, 0.2))
    teeth = random(0.05, 0.10) + 0.05 * actions[20]
    face.fill(inside * face.inside(face.v - top - teeth) * random(0.5, 1.0), random(0.75, 0.95))
    face.line(face.v - middle, along * 0.9, 0.04, random(0.5, 0.85) * (1.0 - inside))
    below = face.v - bottom - 1.35 * thick - 0.07
    face.line(below - 0.08 * actions[17] * square, along * 1.5, 0.06, 0.1 + 0.35 * actions[17])
    corner_line = (face.v - middle) / 0.09
    face.line(
        face.mirrored - length - 0.02,
        corner_line,
        0.03,
        0.1 + 0.3 * actions[12] + 0.2 * actions[24] + 0.2 * actions[15],
    )


def wrinkles(face: Canvas, random: RandomValues, actions: ActionStrengths) -> None:
    """Draw wrinkles: beside the mouth, on the forehead, between the brows."""
    age = random(0.0, 0.2)
    along = (face.v - 0.42) / 0.2
    deep = np.clip(age + 0.45 * actions[12] + 0.35 * actions[10] + 0.3 * actions[9], 0.0, 0.6)
    face.line(face.mirrored - 0.29 - 0.09 * along - 0.08 * actions[12], along, 0.04, deep)
    raised = np.clip(age + 0.35 * (actions[1] + actions[2]) * 0.6, 0.0, 0.5)
    for height in (-0.62, -0.53):
        face.line(face.v - height - 0.08 * face.mirrored * actions[2], face.mirrored / 0.4, 0.028, raised)
    frown = np.clip(age * 0.5 + 0.6 * actions[4], 0.0, 0.7)
    face.line(face.mirrored - 0.06, (face.v + 0.27) / 0.12, 0.03, frown)


def beard(face: Canvas, random: RandomValues, hair: Field) -> None:
    tone = np.minimum(hair, 0.4)
    away = 0.36 + 0.25 * (1.0 - face.mirrored) - face.v
    face.fill(face.inside(away * 0.3) * random.bernoulli(0.15) * random(0.15, 0.5), tone)
    above_lip = face.inside(np.abs(face.v - 0.40 - 0.3 * face.mirrored * face.mirrored) - 0.035)
    face.fill(above_lip * face.inside(face.mirrored - 0.25) * random.bernoulli(0.1) * random(0.4, 0.9), tone)


def glasses(face: Canvas, random: RandomValues) -> None:
    across, down = (face.mirrored - 0.37) / random(0.24, 0.3), (face.v + 0.1) / random(0.15, 0.22)
    across, down = across * across, down * down
    edge = (np.sqrt(np.sqrt(across * across + down * down)) - 1.0) * 0.2
    rims = face.inside(np.abs(edge) - random(0.012, 0.025))
    bridge = face.inside(np.abs(face.v + 0.14) - 0.02) * face.inside(face.mirrored - 0.12)
    face.fill(np.maximum(rims, bridge) * random.bernoulli(0.15) * random(0.5, 1.0), random(0.05, 0.5))
