"""The networks, as `tf_keras` models, which tensorflow-model-optimization requires.

A *core* takes gray or RGB pixels scaled to [0, 1], `float32 (N, H, W, C)`. `with_contract` adds a scaling layer in
front, so that the model has the input contract of every exported file: raw `uint8` pixels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import RecipeError
from feredge.inference.contract import Images
from feredge.keras import KerasLayer, KerasModel, Tensor, keras, tf
from feredge.recipes.schema import Network
from feredge.train.custom import custom_features
from feredge.train.published import hidden_layers

layers = keras.layers

PREDICTION_BATCH = 256
CONVOLUTION_SUFFIX, NORM_SUFFIX = "_conv", "_norm"  # of layer names
WEIGHTED_POOL_LAYER, POOL_LAYER, LOGITS_LAYER = "places", "pool", "logits"
MIN_GATE_CHANNELS = 4
NORM_MOMENTUM = 0.95  # statistics adapt within tens of steps, so that they fit the weights after short runs too


def build_core(network: Network, *, size: int | None, classes: int, channels: int = 1) -> KerasModel:
    """Return an untrained core: `float32 (N, size, size, channels)` in [0, 1] to `float32 (N, classes)` probabilities.

    The residual network's `network.dropout` has no layer here: training applies it between `pool` and `logits`,
    seeded by the step. Residual blocks after He et al., "Deep residual learning for image recognition", 2016.
    Layers have the global precision policy; the softmax is always float32, because bfloat16 has a precision of two
    to three digits.

    Args:
        network: the architecture.
        size: height and width of the images; None, for a residual network with average pooling, takes any.
        classes: number of outputs.
        channels: of the input: those of the images, times `network.input_channels`, the copies of each that published
            networks for RGB take.

    Raises:
        RecipeError: the images are too small for the network's pooling layers, the network was trained elsewhere and
            imported, or it is a custom one whose function fails.
    """
    if network.name == "foreign":
        raise RecipeError(
            "network.name: an imported network (`foreign`) is not trained here; `feredge export` takes its file"
        )
    pixels = keras.Input((size, size, channels), name="pixels")
    features = _features(network, pixels)
    logits = layers.Dense(classes, name=LOGITS_LAYER)(features)
    return keras.Model(pixels, layers.Activation("softmax", dtype="float32", name="probabilities")(logits), name="core")


def _features(network: Network, pixels: Tensor) -> Tensor:
    if network.name == "custom":
        return custom_features(network.builder, pixels)
    return _residual(network, pixels) if network.name == "residual" else hidden_layers(network, pixels)


def _residual(network: Network, pixels: Tensor) -> Tensor:
    x = _convolution(pixels, network.stem, 3, stride=network.stem_stride, name="stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage, (channels, blocks) in enumerate(zip(network.channels, network.blocks, strict=True)):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _residual_block(x, network, channels, stride=stride, name=f"stage{stage + 1}_block{block + 1}")
    if network.pool == "average":
        return layers.GlobalAveragePooling2D(name=POOL_LAYER)(x)
    size = x.shape[1]
    if size is None:
        raise RecipeError("network.pool: weighted expects images of one size, found augmentation.progressive_sizes")
    # A global depthwise convolution: a learned weight for each position and channel, at first the average.
    average = keras.initializers.Constant(1 / size**2)
    x = layers.DepthwiseConv2D(size, use_bias=False, depthwise_initializer=average, name=WEIGHTED_POOL_LAYER)(x)
    return layers.Flatten(name=POOL_LAYER)(x)


def with_contract(core: KerasModel) -> KerasModel:
    """Return `core` with a scaling layer in front: `uint8 (N, H, W, C)` in 0..255 to the outputs of `core`."""
    pixels = keras.Input(core.input_shape[1:], dtype="uint8", name="image")
    scaled = layers.Rescaling(1 / 255, dtype="float32", name="scale")(pixels)
    return keras.Model(pixels, core(scaled), name="feredge")


def fold_input(weights: list[Any], *, repeat: int, mean: float, deviation: float) -> list[Any]:
    """Fold channel repetition and standardization of the input into the first layer's weights.

    Both are linear: the kernel is summed over the repeated channels and divided by the standard deviation, and the
    mean's contribution is subtracted from the bias. With zero padding that contribution would differ at the border,
    hence recipes standardize only networks whose first layer has none.

    Args:
        weights: of a core that was trained on `repeat` channels, standardized by `mean` and `deviation`.
        repeat: channels.
        mean: of the pixels in [0, 1].
        deviation: standard deviation of the pixels.

    Returns:
        The weights of the equivalent core for pixels in [0, 1], without repetition.
    """
    if repeat == 1 and (mean, deviation) == (0.0, 1.0):
        return weights
    kernel, *rest = weights
    shape = (*kernel.shape[:-2], kernel.shape[-2] // repeat, repeat, kernel.shape[-1])
    folded = kernel.astype(np.float64).reshape(shape).sum(axis=-2) / deviation
    if mean:
        offset = mean * folded.sum(axis=tuple(range(folded.ndim - 1)))
        rest[0] = (rest[0] - offset).astype(np.float32)
    return [folded.astype(np.float32), *rest]


def weights_digest(model: KerasModel) -> str:
    """Return the SHA-256 of a model's weights, in Keras's order."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def clone_core(core: KerasModel, precision: str = "float32", *, size: int | None = 0) -> KerasModel:
    """Return a copy of a network: new layers of the same configuration and weights.

    Args:
        core: the network.
        precision: `bfloat16` for mixed precision, with weights and softmax in float32.
        size: height and width of the copy's input; 0 for those of `core`, None for any.

    Raises:
        ValueError: the weights do not fit images of this size.
    """
    pixels = keras.Input((size, size, core.input_shape[-1]), name=core.layers[0].name) if size != 0 else None

    def clone_layer(layer: KerasLayer) -> KerasLayer:
        config = layer.get_config()
        if precision == "bfloat16" and layer is not core.layers[0] and layer is not core.layers[-1]:
            config["dtype"] = "mixed_bfloat16"
        return type(layer).from_config(config)

    clone = keras.models.clone_model(core, input_tensors=pixels, clone_function=clone_layer)
    clone.set_weights(core.get_weights())
    return clone


def make_predict_function(core: KerasModel) -> Callable[[Images], NDArray[np.float32]]:
    """Return a compiled function from images `uint8 (N, H, W, C)` to a core's outputs `float32 (N, classes)`."""
    _, height, width, channels = core.input_shape
    forward = tf.function(
        lambda pixels: core(tf.cast(pixels, tf.float32) / 255.0, training=False),
        input_signature=[tf.TensorSpec((None, height, width, channels), tf.uint8)],
    )

    def predict(images: Images) -> NDArray[np.float32]:
        starts = range(0, len(images), PREDICTION_BATCH)
        outputs = [forward(images[start : start + PREDICTION_BATCH]).numpy() for start in starts]
        return np.concatenate(outputs) if outputs else np.empty((0, core.output_shape[1]), np.float32)

    return predict


def foldable_batchnorms(core: KerasModel) -> dict[str, KerasLayer]:
    """Return the batch normalizations that can be folded, by the name of the layer that they follow."""
    batchnorms = {}
    for layer in core.layers:
        followers = [node.outbound_layer for node in layer.outbound_nodes]
        if (
            type(layer) in (layers.Conv2D, layers.Dense)
            and layer.activation is keras.activations.linear
            and len(followers) == 1
            and type(followers[0]) is layers.BatchNormalization
        ):
            batchnorms[layer.name] = followers[0]
    return batchnorms


def multiply_adds(core: KerasModel) -> int:
    """Return the multiply-accumulate operations (MACs) of convolutions and dense layers per image."""
    kernels = {
        layer: layer.depthwise_kernel if isinstance(layer, layers.DepthwiseConv2D) else layer.kernel
        for layer in core.layers
        if isinstance(layer, layers.Conv2D | layers.Dense | layers.DepthwiseConv2D)
    }

    def positions(layer: KerasLayer) -> int:
        """Return how many times the kernel is applied: once per output pixel, of a transposed one per input pixel."""
        shape = layer.input_shape if isinstance(layer, layers.Conv2DTranspose) else layer.output_shape
        return math.prod(shape[1:-1])

    return sum(kernel.shape.num_elements() * positions(layer) for layer, kernel in kernels.items())


def _convolution(x: Tensor, channels: int, kernel: int, *, stride: int = 1, name: str) -> Tensor:
    options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
    x = layers.Conv2D(channels, kernel, stride, **options, name=f"{name}{CONVOLUTION_SUFFIX}")(x)
    return layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"{name}{NORM_SUFFIX}")(x)


def _block_convolution(x: Tensor, network: Network, channels: int, *, stride: int = 1, name: str) -> Tensor:
    """Apply a block's convolution: an ordinary one (`dense`), or a depthwise and a 1x1 one (`depthwise`).

    Between these two there is no batch normalization: it could not be folded into the depthwise kernel.
    """
    if network.convolution == "dense":
        return _convolution(x, channels, network.kernel, stride=stride, name=name)
    options = {"padding": "same", "use_bias": False, "depthwise_initializer": "he_normal"}
    x = layers.DepthwiseConv2D(network.kernel, stride, **options, name=f"{name}_depthwise")(x)
    return _convolution(x, channels, 1, name=name)


def _residual_block(x: Tensor, network: Network, channels: int, *, stride: int, name: str) -> Tensor:
    shortcut = x
    if stride != 1 or x.shape[-1] != channels:
        shortcut = _convolution(x, channels, 1, stride=stride, name=f"{name}_shortcut")
    x = _block_convolution(x, network, channels, stride=stride, name=f"{name}_1")
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = _block_convolution(x, network, channels, name=f"{name}_2")
    if network.squeeze_excitation:
        x = _channel_gates(x, max(channels // network.squeeze_excitation, MIN_GATE_CHANNELS), name=f"{name}_gate")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, shortcut]))


def _channel_gates(x: Tensor, reduced: int, *, name: str) -> Tensor:
    """Multiply each channel by a gate between 0 and 1, computed from the means of all channels."""
    pooled = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    hidden = layers.Conv2D(reduced, 1, kernel_initializer="he_normal", name=f"{name}_reduce")(pooled)
    hidden = layers.ReLU(name=f"{name}_relu")(hidden)
    gates = layers.Conv2D(x.shape[-1], 1, name=f"{name}_expand")(hidden)
    gates = layers.Activation("sigmoid", name=f"{name}_sigmoid")(gates)
    return layers.Multiply(name=f"{name}_multiply")([x, gates])
