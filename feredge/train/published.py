"""The hidden layers of convolutional and published networks, without their last dense layer.

Where a study names no weight initializer, Keras's default is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from feredge.errors import RecipeError
from feredge.keras import Tensor, keras
from feredge.recipes.schema import Network

layers = keras.layers

Layer = tuple[type, dict[str, Any]]
"""A layer class and its arguments."""


def hidden_layers(network: Network, pixels: Tensor) -> Tensor:
    """Apply the hidden layers of a network to `pixels`, `float32 (N, H, W, C)`. Return `(N, features)`.

    Dropout layers are included; their masks are seeded by the training step (see fitting.py).

    Raises:
        RecipeError: the images are too small for the network's pooling layers.
    """
    counts: dict[str, int] = {}
    x = pixels
    if network.name == "convolutional":
        listed = _convolutional(network.channels, network.kernels, network.dense)
    else:
        listed = PUBLISHED_NETWORKS[network.name]()
    for layer_class, arguments in listed:
        prefix = LAYER_NAMES[layer_class]
        counts[prefix] = counts.get(prefix, 0) + 1
        try:
            x = layer_class(**arguments, name=f"{prefix}{counts[prefix]}")(x)
        except ValueError as error:  # a kernel larger than the feature map
            size = pixels.shape[1]
            raise RecipeError(f"expected images large enough for {network.name}, found {size}x{size}") from error
    return x


def _conv(filters: int, kernel: int = 3, *, padding: str = "valid", initializer: str = "glorot_uniform") -> Layer:
    return layers.Conv2D, {
        "filters": filters,
        "kernel_size": kernel,
        "padding": padding,
        "kernel_initializer": initializer,
    }


def _dense(units: int, *, initializer: str = "glorot_uniform") -> Layer:
    return layers.Dense, {"units": units, "kernel_initializer": initializer}


def _dropout(rate: float) -> Layer:
    return layers.Dropout, {"rate": rate}


RELU: Layer = (layers.ReLU, {})
ELU: Layer = (layers.ELU, {})
BATCH_NORM: Layer = (layers.BatchNormalization, {})
MAX_POOL: Layer = (layers.MaxPooling2D, {})
FLATTEN_LAYER: Layer = (layers.Flatten, {})

LAYER_NAMES = {
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
    return [FLATTEN_LAYER, _dense(256), RELU, _dropout(0.2), _dense(256), RELU, _dropout(0.5)]


def _study_2022_cnn() -> list[Layer]:
    return [
        *(_conv(32), RELU, MAX_POOL),
        *(_conv(64), RELU, _dropout(0.5), MAX_POOL, _dropout(0.5)),
        *(_conv(64), RELU, _dropout(0.2)),
        *(FLATTEN_LAYER, _dense(64), RELU, _dropout(0.5)),
    ]


def _six_class_cnn() -> list[Layer]:
    return [_conv(32), RELU, MAX_POOL, _conv(64), RELU, MAX_POOL, FLATTEN_LAYER]


def _three_class_dcnn() -> list[Layer]:
    blocks: list[Layer] = []
    for filters, kernel, rate in ((64, 5, 0.4), (128, 3, 0.4), (256, 3, 0.5)):
        blocks += [_conv(filters, kernel, padding="same", initializer="he_normal"), ELU, BATCH_NORM] * 2 + [
            MAX_POOL,
            _dropout(rate),
        ]
    return [*blocks, FLATTEN_LAYER, _dense(128, initializer="he_normal"), ELU, BATCH_NORM, _dropout(0.6)]


def _convolutional(channels: Sequence[int], kernels: Sequence[int], dense: Sequence[int]) -> list[Layer]:
    listed: list[Layer] = []
    for filters, kernel in zip(channels, kernels, strict=True):
        listed += [_conv(filters, kernel, padding="same", initializer="he_normal"), RELU, BATCH_NORM] * 2 + [
            MAX_POOL,
            _dropout(0.2),
        ]
    listed.append(FLATTEN_LAYER)
    for units in dense:
        listed += [_dense(units), RELU, BATCH_NORM, _dropout(0.5)]
    return listed


def _tuned_cnn() -> list[Layer]:
    return _convolutional((32, 128, 128, 32), (3, 3, 3, 3), (64,))


def _course_cnn() -> list[Layer]:
    blocks: list[Layer] = []
    for filters in (32, 64, 128):
        blocks += [_conv(filters), RELU, MAX_POOL, BATCH_NORM]
    return [*blocks, FLATTEN_LAYER, _dense(256), RELU, _dropout(0.5)]


PUBLISHED_NETWORKS: dict[str, Callable[[], list[Layer]]] = {
    "study-2022-ann": _study_2022_ann,
    "study-2022-cnn": _study_2022_cnn,
    "six-class-cnn": _six_class_cnn,
    "three-class-dcnn": _three_class_dcnn,
    "tuned-cnn": _tuned_cnn,
    "course-cnn": _course_cnn,
}
