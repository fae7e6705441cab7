"""The parts of a drawn face, painted on a head: brows, eyes, nose, mouth, wrinkles, beard, glasses.

Every part takes the strength of the facial actions by their FACS number (drawn.ACTIONS), 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[Any]
"""`float32 (N, 1, 1)`, one value a face, or `float32 (N, SIZE, SIZE)`, one a pixel."""
Actions: TypeAlias = dict[int, Field]

SIZE = 48
DRAWS = 160  # random values set aside for each face; its noise comes after them


class Chance:
    """Random values for a batch of faces, handed out in a fixed order."""

    def __init__(self, rows: NDArray[np.int64], seed: int) -> None:
        # A stream of its own for each face; numpy keeps the raw values of a bit generator from version to version.
        streams = [np.random.Philox(key=seed, counter=int(row) << 64) for row in rows]
        self._bits = np.array([stream.random_raw(DRAWS + SIZE * SIZE // 2) for stream in streams])
        self._next = 0

    def __call__(self, low: float = 0.0, high: float = 1.0) -> Field:
        """Return the next value of each face, uniform from `low` to `high`."""
        assert self._next < DRAWS
        unit = (self._bits[:, self._next] >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
        self._next += 1
        return (low + (high - low) * unit)[:, None, None]

    def sometimes(self, share: float) -> Field:
        """Return 1 for a `share` of the faces, 0 for the others."""
        return (self() < share).astype(np.float32)

    def noise(self) -> Field:
        """Return a value of mean 0 and deviation 1 a pixel: four bytes added, near enough to a normal one."""
        values = self._bits[:, DRAWS:].astype("<u8").view(np.uint8).reshape(-1, SIZE, SIZE, 4).astype(np.float32)
        return (values[..., 0] + values[..., 1] + values[..., 2] + values[..., 3] - 510.0) * (1 / 147.8)


@dataclass
class Canvas:
    """A face being painted: `u` to the right and `v` down from the middle of the head, 1 at its edge.

    Attributes:
        mirrored: `u` without its sign, so that one shape paints both sides.
        pixels: pixels in a unit.
        tone: 0 black to 1 white.
    """

    u: Field
    v: Field
    pixels: Field
    tone: Field

    def __post_init__(self) -> None:
        self.mirrored = np.abs(self.u)

    def inside(self, distance: Field) -> Field:
        """Return how far each pixel lies inside a shape, 0 to 1, from its distance to the edge, negative inside."""
        return np.clip(0.5 - distance * self.pixels, 0.0, 1.0)

    def fill(self, cover: Field, tone: Field | float) -> None:
        """Paint `tone` where `cover` is 1."""
        self.tone += cover * (tone - self.tone)

    def line(self, offset: Field, along: Field, width: Field | float, strength: Field | float) -> None:
        """Darken a line: `offset` is the distance from it, `along` runs from -1 to 1 between its ends."""
        ends = np.clip((1.0 - np.abs(along)) * 4.0, 0.0, 1.0)
        cover = np.clip(1.0 - np.abs(offset) / width, 0.0, 1.0)
        self.tone *= 1.0 - strength * ends * cover


def brows(face: Canvas, chance: Chance, act: Actions, hair: Field) -> None:
    middle, length = chance(0.32, 0.38) - 0.05 * act[4], chance(0.19, 0.24)
    height = chance(-0.36, -0.29) + 0.05 * act[9]
    along = (face.mirrored - middle) / length
    inner = -0.16 * act[1] + 0.16 * act[4] * (1.0 - act[1]) - 0.02
    outer = -0.15 * act[2] + 0.03 * act[4] + chance(-0.02, 0.05)
    curve = (
        height + 0.5 * inner * (1.0 - along) + 0.5 * outer * (1.0 + along) - chance(0.01, 0.07) * (1.0 - along * along)
    )
    width = chance(0.025, 0.055) * (1.2 - 0.3 * along)
    cover = face.inside(np.abs(face.v - curve) - width) * face.inside((np.abs(along) - 1.0) * length)
    face.fill(cover * chance(0.6, 1.0), np.minimum(hair, 0.5) * chance(0.5, 1.0))


def eyes(face: Canvas, chance: Chance, act: Actions) -> None:
    middle, length, height = chance(0.34, 0.40), chance(0.14, 0.18), chance(-0.14, -0.08)
    along = (face.mirrored - middle) / length
    round_ = 1.0 - along * along
    size = chance(0.06, 0.09) * (1.0 - 0.85 * act[43])
    upper = size * (1.0 + 0.8 * act[5] - 0.35 * act[7] - 0.4 * act[6] - 0.3 * act[9])
    lower = size * (0.7 + 0.25 * act[5] - 0.4 * act[7] - 0.55 * act[6] - 0.3 * act[9])
    tilt = chance(-0.03, 0.03) * along
    top, bottom = height + tilt - upper * round_, height + tilt + lower * round_
    cover = face.inside(np.maximum(top - face.v, face.v - bottom))
    face.fill(cover, chance(0.75, 0.97))
    across, down = (
        face.u - np.where(face.u < 0.0, -middle, middle) - chance(-0.06, 0.06),
        face.v - height - chance(-0.02, 0.03),
    )
    distance = np.sqrt(across * across + down * down)
    face.fill(cover * face.inside(distance - chance(0.065, 0.085)), chance(0.05, 0.35))
    face.fill(cover * face.inside(distance - 0.035), 0.03)
    face.line(face.v - top, along * 0.9, chance(0.035, 0.06), chance(0.5, 0.9))
    face.line(face.v - bottom, along, 0.035, chance(0.1, 0.45))
    face.line(face.v - top + 0.07 - 0.03 * act[5], along, 0.035, chance(0.1, 0.4))
    pouch = face.v - height - 0.14 + 0.04 * act[6] + 0.05 * along * along
    face.line(pouch, along * 0.8, 0.05, 0.1 + 0.35 * act[6] + 0.1 * act[7])
    feet = np.abs(face.v - height - 0.02) - 0.35 * (face.mirrored - middle - length)
    face.line(feet, (face.mirrored - middle - length - 0.1) / 0.1, 0.03, 0.45 * act[6])


def nose(face: Canvas, chance: Chance, act: Actions) -> None:
    tip, width = chance(0.24, 0.32) - 0.04 * act[9], chance(0.11, 0.16) + 0.02 * act[9]
    sign = np.where(chance() < 0.5, np.float32(-1.0), np.float32(1.0))
    bridge = (face.v - tip * 0.4) / (tip * 0.6)
    face.line(face.u * sign - 0.07 - 0.03 * bridge, bridge, 0.06, chance(0.05, 0.3))
    base = face.v - tip - 0.04 + 0.35 * face.mirrored * face.mirrored
    face.line(base, face.mirrored / (width * 1.2), 0.045, chance(0.2, 0.5))
    across, down = face.mirrored - width * 0.55, (face.v - tip) * 1.4
    face.fill(face.inside(np.sqrt(across * across + down * down) - 0.035) * chance(0.3, 0.9), 0.1)
    wrinkled = 0.65 * act[9]
    for height in (-0.16, -0.07, 0.02, 0.11):
        face.line(face.v - height + 0.4 * face.mirrored, face.mirrored / 0.16, 0.03, wrinkled)
    face.line(face.mirrored - width - 0.02 * bridge, (face.v - tip + 0.08) / 0.14, 0.04, 0.15 + 0.4 * act[9])


def mouth(face: Canvas, chance: Chance, act: Actions) -> None:
    height = chance(0.50, 0.57)
    length = chance(0.25, 0.32) * (1.0 + 0.35 * act[12] + 0.35 * act[20] - 0.15 * act[24] - 0.3 * act[27])
    along = face.u / length
    square = along * along
    round_ = 1.0 - square
    opening = np.sqrt(np.clip(round_, 0.0, 1.0)) + np.minimum(round_, 0.0)
    corner = 0.10 * act[15] + 0.05 * act[20] - 0.17 * act[12]
    middle = height + corner * (square - 0.35) - 0.03 * act[17] * round_ + chance(-0.015, 0.015) * along
    top = middle - opening * (0.02 * act[25] + 0.10 * act[10] + 0.06 * act[27])
    bottom = middle + opening * (0.14 * act[25] * (1.0 - act[24]) + 0.28 * act[27] + 0.03 * act[10])
    thick = chance(0.035, 0.075) * (1.0 - 0.75 * act[24]) * (1.0 - 0.3 * act[12])
    lips = face.inside(np.maximum(top - thick * round_ - face.v, face.v - bottom - 1.35 * thick * round_))
    face.fill(lips * chance(0.25, 0.8), face.tone * chance(0.55, 0.9))
    inside = face.inside(np.maximum(top - face.v, face.v - bottom)) * np.clip((bottom - top) * face.pixels, 0.0, 1.0)
    face.fill(inside, chance(0.03, 0.2))
    teeth = chance(0.05, 0.10) + 0.05 * act[20]
    face.fill(inside * face.inside(face.v - top - teeth) * chance(0.5, 1.0), chance(0.75, 0.95))
    face.line(face.v - middle, along * 0.9, 0.04, chance(0.5, 0.85) * (1.0 - inside))
    below = face.v - bottom - 1.35 * thick - 0.07
    face.line(below - 0.08 * act[17] * square, along * 1.5, 0.06, 0.1 + 0.35 * act[17])
    pit = (face.v - middle) / 0.09
    face.line(face.mirrored - length - 0.02, pit, 0.03, 0.1 + 0.3 * act[12] + 0.2 * act[24] + 0.2 * act[15])


def folds(face: Canvas, chance: Chance, act: Actions) -> None:
    """Wrinkles: beside the mouth, on the forehead, between the brows."""
    age = chance(0.0, 0.2)
    run = (face.v - 0.42) / 0.2
    deep = np.clip(age + 0.45 * act[12] + 0.35 * act[10] + 0.3 * act[9], 0.0, 0.6)
    face.line(face.mirrored - 0.29 - 0.09 * run - 0.08 * act[12], run, 0.04, deep)
    raised = np.clip(age + 0.35 * (act[1] + act[2]) * 0.6, 0.0, 0.5)
    for height in (-0.62, -0.53):
        face.line(face.v - height - 0.08 * face.mirrored * act[2], face.mirrored / 0.4, 0.028, raised)
    frown = np.clip(age * 0.5 + 0.6 * act[4], 0.0, 0.7)
    face.line(face.mirrored - 0.06, (face.v + 0.27) / 0.12, 0.03, frown)


def beard(face: Canvas, chance: Chance, hair: Field) -> None:
    tone = np.minimum(hair, 0.4)
    away = 0.36 + 0.25 * (1.0 - face.mirrored) - face.v
    face.fill(face.inside(away * 0.3) * chance.sometimes(0.15) * chance(0.15, 0.5), tone)
    above_lip = face.inside(np.abs(face.v - 0.40 - 0.3 * face.mirrored * face.mirrored) - 0.035)
    face.fill(above_lip * face.inside(face.mirrored - 0.25) * chance.sometimes(0.1) * chance(0.4, 0.9), tone)


def glasses(face: Canvas, chance: Chance) -> None:
    across, down = (face.mirrored - 0.37) / chance(0.24, 0.3), (face.v + 0.1) / chance(0.15, 0.22)
    across, down = across * across, down * down
    edge = (np.sqrt(np.sqrt(across * across + down * down)) - 1.0) * 0.2
    rims = face.inside(np.abs(edge) - chance(0.012, 0.025))
    bridge = face.inside(np.abs(face.v + 0.14) - 0.02) * face.inside(face.mirrored - 0.12)
    face.fill(np.maximum(rims, bridge) * chance.sometimes(0.15) * chance(0.5, 1.0), chance(0.05, 0.5))
