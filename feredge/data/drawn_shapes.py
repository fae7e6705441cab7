"""Drawn coloured shapes: a synthetic labelled data set of RGB pictures, for first steps and tests with colour.

Each picture shows one square or triangle, blue or orange, at a random place, size, angle and brightness, before other
shapes of random colours. Blue and orange are of one luminance on average, so that gray pictures tell shapes apart and
colours not. The pixels are the same on every machine, for the reasons given in drawn.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import Dataset
from feredge.data.drawn_face import Field, RandomValues
from feredge.data.source_pictures import SourcePictures
from feredge.data.synthetic import draw_dataset
from feredge.inference.contract import Images

SHAPE_SIZE = 64  # pixels
DRAW_BATCH = 32  # pictures drawn at once: their arrays fit the L2 cache
SHAPE_CLASSES = ("blue square", "blue triangle", "orange square", "orange triangle")
BLUE, ORANGE, LUMINANCE = (0.25, 0.62, 1.0), (0.85, 0.5, 0.15), np.float32(0.56)  # RGB of this luminance
HALF_SQRT3 = np.float32(0.8660254)
DISTRACTORS = 2


def drawn_shapes(count: int = 1200, seed: int = 1) -> Dataset:
    """Return `count` drawn shapes, `uint8 (count, 64, 64, 3)` RGB, balanced over the four classes.

    Picture i depends on `seed` and i only: its class is i % 4, and of every ten pictures of a class eight are Training,
    one PublicTest and one PrivateTest. The same call returns the same bytes on every machine.

    Raises:
        DataError: fewer than 40 pictures (some split would miss a class), more than a million, or a seed out of range.
    """
    pictures = SourcePictures(1.0, SHAPE_SIZE, SHAPE_SIZE)
    return draw_dataset(
        "drawn-shapes", _draw, count, seed, classes=SHAPE_CLASSES, noun="pictures", pictures=pictures, batch=DRAW_BATCH
    )


def _draw(rows: NDArray[np.int64], labels: NDArray[np.int8], seed: int) -> Images:
    """Return the pictures of `rows`, `uint8 (N, SHAPE_SIZE, SHAPE_SIZE, 3)`."""
    random = RandomValues(rows, seed, noise_shape=(SHAPE_SIZE, SHAPE_SIZE, 3))
    grid = (np.arange(SHAPE_SIZE, dtype=np.float32) - (SHAPE_SIZE - 1) / 2)[None]
    x, y = grid[:, None, :], grid[:, :, None]
    slope_x, slope_y = random(-0.004, 0.004), random(-0.004, 0.004)
    background = [random(0.1, 0.9) + slope_x * x + slope_y * y for _ in range(3)]
    image = np.stack(background, axis=3)
    for _ in range(DISTRACTORS):
        color = [random(0.0, 1.0) for _ in range(3)]
        distance = _square_distance(*_placed(x, y, random, reach=30.0), random(2.0, 7.0))
        _paint(image, distance, color, random.bernoulli(0.6))
    u, v = _placed(x, y, random, reach=14.0)
    radius = random(8.0, 17.0)
    is_square, is_blue = (labels % 2 == 0)[:, None, None], (labels < 2)[:, None, None]
    distance = np.where(is_square, _square_distance(u, v, radius * 0.8), _triangle_distance(u, v, radius))
    shade, saturation = random(0.55, 1.05) + random(-0.012, 0.012) * u, random(0.5, 1.0)
    tones = [np.where(is_blue, *pair).astype(np.float32) for pair in zip(BLUE, ORANGE, strict=True)]
    color = [shade * (LUMINANCE + saturation * (tone - LUMINANCE)) for tone in tones]
    _paint(image, distance, color, random(0.85, 1.0))
    image = image * random(0.75, 1.15)[..., None] + random.noise() * random(0.01, 0.05)[..., None]
    pixels: Images = np.clip(np.floor(image * 255.0 + 0.5), 0.0, 255.0).astype(np.uint8)
    return pixels


def _placed(x: Field, y: Field, random: RandomValues, reach: float) -> tuple[Field, Field]:
    """Return the pixels' coordinates in a shape at a random place, turned by up to 1 radian either way."""
    half = random(-0.55, 0.55)
    square = half * half
    cos, sin = (1.0 - square) / (1.0 + square), 2.0 * half / (1.0 + square)
    dx, dy = x - random(-reach, reach), y - random(-reach, reach)
    return dx * cos + dy * sin, dy * cos - dx * sin


def _square_distance(u: Field, v: Field, radius: Field) -> Field:
    distance: Field = np.maximum(np.abs(u), np.abs(v)) - radius
    return distance


def _triangle_distance(u: Field, v: Field, radius: Field) -> Field:
    """Return the distance from an upright equilateral triangle of circumradius `radius`, negative inside."""
    sides = np.maximum(HALF_SQRT3 * np.abs(u) - 0.5 * v, v)
    distance: Field = sides - 0.5 * radius
    return distance


def _paint(image: Field, distance: Field, color: list[Field], opacity: Field) -> None:
    """Blend the antialiased shape of `distance` into `image`, `float32 (N, H, W, 3)`."""
    coverage = np.clip(0.5 - distance, 0.0, 1.0) * opacity
    for channel, tone in enumerate(color):
        image[..., channel] += coverage * (tone - image[..., channel])
