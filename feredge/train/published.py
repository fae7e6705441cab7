"""The layers of the published networks, from their first convolution to what their last dense layer takes.

Where a study names no start for its weights, it is Keras's; `same` padding is named, the rest have none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from feredge.errors import RecipeError
from feredge.keras import keras

layers = keras.layers

Layer = tuple[type, dict[str, Any]]
"""A class of layers, and how one is made."""


def hidden_layers(name: str, pixels: Any) -> Any:
    """Return what the layers of network `name` make of `pixels`, `float32 (N, H, W, C)`: `(N, features)`.

    Dropout layers are among them, for fine-tuning; in training each is drawn by the step's number (see fitting.py).

    Raises:
        RecipeError: pixels too few for its poolings.
    """
    counts: dict[str, int] = {}
    x = pixels
    for kind, settings in NETWORKS[name]():
        word = NAMES[kind]
        counts[word] = counts.get(word, 0) + 1
        try:
            x = kind(**settings, name=f"{word}{counts[word]}")(x)
        except ValueError as error:  # a kernel larger than what is left
            size = pixels.shape[1]
            raise RecipeError(f"expected images large enough for {name}, found {size}x{size}") from error
    return x


def _conv(filters: int, kernel: int = 3, *, padding: str = "valid", start: str = "glorot_uniform") -> Layer:
    return layers.Conv2D, {
        "filters": filters,
        "kernel_size": kernel,
        "padding": padding,
        "kernel_initializer": start,
    }


def _dense(units: int, *, start: str = "glorot_uniform") -> Layer:
    return layers.Dense, {"units": units, "kernel_initializer": start}


def _dropout(share: float) -> Layer:
    return layers.Dropout, {"rate": share}


RELU: Layer = (layers.ReLU, {})
ELU: Layer = (layers.ELU, {})
NORM: Layer = (layers.BatchNormalization, {})
POOL: Layer = (layers.MaxPooling2D, {})
FLATTEN: Layer = (layers.Flatten, {})

NAMES = {
    layers.Conv2D: "conv",
    layers.Dense: "dense",
    layers.Dropout: "dropout",
    layers.ReLU: "relu",
    layers.ELU: "elu",
    layers.BatchNormalization: "norm",
    layers.MaxPooling2D: "pool",
    layers.Flatten: "flatten",
}


def _study_2022_ann() -> list[Layer]:
    return [FLATTEN, _dense(256), RELU, _dropout(0.2), _dense(256), RELU, _dropout(0.5)]


def _study_2022_cnn() -> list[Layer]:
    return [
        *(_conv(32), RELU, POOL),
        *(_conv(64), RELU, _dropout(0.5), POOL, _dropout(0.5)),
        *(_conv(64), RELU, _dropout(0.2)),
        *(FLATTEN, _dense(64), RELU, _dropout(0.5)),
    ]


def _six_class_cnn() -> list[Layer]:
    return [_conv(32), RELU, POOL, _conv(64), RELU, POOL, FLATTEN]


def _three_class_dcnn() -> list[Layer]:
    blocks: list[Layer] = []
    for filters, kernel, share in ((64, 5, 0.4), (128, 3, 0.4), (256, 3, 0.5)):
        blocks += [_conv(filters, kernel, padding="same", start="he_normal"), ELU, NORM] * 2 + [POOL, _dropout(share)]
    return [*blocks, FLATTEN, _dense(128, start="he_normal"), ELU, NORM, _dropout(0.6)]


def _tuned_cnn() -> list[Layer]:
    blocks: list[Layer] = []
    for filters in (32, 128, 128, 32):
        blocks += [_conv(filters, padding="same", start="he_normal"), RELU, NORM] * 2 + [POOL, _dropout(0.2)]
    return [*blocks, FLATTEN, _dense(64), RELU, NORM, _dropout(0.5)]


def _course_cnn() -> list[Layer]:
    blocks: list[Layer] = []
    for filters in (32, 64, 128):
        blocks += [_conv(filters), RELU, POOL, NORM]
    return [*blocks, FLATTEN, _dense(256), RELU, _dropout(0.5)]


NETWORKS: dict[str, Callable[[], list[Layer]]] = {
    "study-2022-ann": _study_2022_ann,
    "study-2022-cnn": _study_2022_cnn,
    "six-class-cnn": _six_class_cnn,
    "three-class-dcnn": _three_class_dcnn,
    "tuned-cnn": _tuned_cnn,
    "course-cnn": _course_cnn,
}
