"""The networks, as `tf_keras` models that tensorflow-model-optimization can work on.

A *core* takes gray pixels scaled to [0, 1], `float32 (N, H, W, 1)`. `with_contract` puts the scaling in front,
so that the whole takes `uint8`, as every artifact does.
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
from feredge.keras import keras, tf
from feredge.recipes.schema import Network
from feredge.train.published import hidden_layers

layers = keras.layers

CHUNK = 256  # images evaluated at a time
CONVOLUTION, NORM = "_conv", "_norm"  # how names of layers end
PLACES, POOL, LOGITS = "places", "pool", "logits"
NORM_MOMENTUM = 0.95  # statistics follow within tens of steps, so short runs and fine-tuning end with fitting ones


def build_core(network: Network, *, size: int | None, classes: int, channels: int = 1) -> Any:
    """Return an untrained core: `float32 (N, size, size, 1)` in [0, 1] to `float32 (N, classes)` probabilities.

    The residual network's `network.dropout` has no layer here: training applies it between `pool` and `logits`,
    where it can be seeded by the step. Residual blocks after He et al., "Deep residual learning for image
    recognition", 2016. Built under the global precision policy; the softmax is float32 in each, because bfloat16
    probabilities keep two digits.

    Args:
        network: which one.
        size: height and width of the images; None for the residual network that averages only, which then takes any.
        classes: outputs.
        channels: of the pixels; only a network that is trained on repeated gray has more than one.

    Raises:
        RecipeError: images too small for the network's poolings, or a foreign network.
    """
    if network.name == "foreign":
        raise RecipeError("network.name: a foreign network is not trained here; `feredge export` takes its file")
    pixels = keras.Input((size, size, channels), name="pixels")
    features = _residual(network, pixels) if network.name == "residual" else hidden_layers(network.name, pixels)
    logits = layers.Dense(classes, name=LOGITS)(features)
    return keras.Model(pixels, layers.Activation("softmax", dtype="float32", name="probabilities")(logits), name="core")


def _residual(network: Network, pixels: Any) -> Any:
    x = _convolution(pixels, network.stem, 3, stride=network.stem_stride, name="stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage, (channels, blocks) in enumerate(zip(network.channels, network.blocks, strict=True)):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _residual_block(x, channels, stride=stride, name=f"stage{stage + 1}_block{block + 1}")
    if network.pool == "average":
        return layers.GlobalAveragePooling2D(name=POOL)(x)
    side = x.shape[1]
    if side is None:
        raise RecipeError("network.pool: weighted expects images of one size, found augmentation.sizes")
    average = keras.initializers.Constant(1 / side**2)
    x = layers.DepthwiseConv2D(side, use_bias=False, depthwise_initializer=average, name=PLACES)(x)
    return layers.Flatten(name=POOL)(x)


def with_contract(core: Any) -> Any:
    """Return the network of the input contract: `uint8 (N, H, W, 1)` in 0..255 to what `core` gives."""
    pixels = keras.Input(core.input_shape[1:], dtype="uint8", name="image")
    scaled = layers.Rescaling(1 / 255, dtype="float32", name="scale")(pixels)
    return keras.Model(pixels, core(scaled), name="feredge")


def fold_input(weights: list[Any], *, repeat: int, mean: float, deviation: float) -> list[Any]:
    """Return a core's weights for plain gray, from those of one that was trained on `repeat` channels, standardised.

    Both are linear, so the first layer can do them: its kernel takes the sum over equal channels, divided by the
    deviation, and its bias what the mean then adds everywhere. Padding with zeros would add it at the border
    otherwise, hence recipes standardise only where there is none.
    """
    if repeat == 1 and (mean, deviation) == (0.0, 1.0):
        return weights
    kernel, *others = weights
    shape = (*kernel.shape[:-2], kernel.shape[-2] // repeat, repeat, kernel.shape[-1])
    summed = kernel.astype(np.float64).reshape(shape).sum(axis=-2) / deviation
    if mean:
        added = mean * summed.sum(axis=tuple(range(summed.ndim - 1)))
        others[0] = (others[0] - added).astype(np.float32)
    return [summed.astype(np.float32), *others]


def weights_digest(model: Any) -> str:
    """Return the SHA-256 over the bytes of a model's weights, in their order."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def plain_clone(core: Any, precision: str = "float32", *, side: int | None = 0) -> Any:
    """Return a network of the same layers and weights, with no wrappers of an earlier compression.

    Args:
        core: the network.
        precision: in `bfloat16` its products are, while its weights and the softmax stay in float32.
        side: height and width of the images that it is to take; 0 for those of `core`, None for any.

    Raises:
        ValueError: weights that do not fit such images.
    """
    pixels = keras.Input((side, side, core.input_shape[-1]), name=core.layers[0].name) if side != 0 else None

    def cloned(layer: Any) -> Any:
        config = layer.get_config()
        if precision == "bfloat16" and layer is not core.layers[0] and layer is not core.layers[-1]:
            config["dtype"] = "mixed_bfloat16"
        return type(layer).from_config(config)

    clone = keras.models.clone_model(core, input_tensors=pixels, clone_function=cloned)
    clone.set_weights(core.get_weights())
    return clone


def compiled(core: Any) -> Callable[[Images], NDArray[np.float32]]:
    """Return a function from gray images `uint8 (N, H, W)` to a core's probabilities `float32 (N, classes)`."""
    _, height, width, channels = core.input_shape
    forward = tf.function(
        lambda pixels: core(tf.cast(pixels, tf.float32) / 255.0, training=False),
        input_signature=[tf.TensorSpec((None, height, width, channels), tf.uint8)],
    )

    def probabilities(images: Images) -> NDArray[np.float32]:
        chunks = [forward(images[at : at + CHUNK, ..., None]).numpy() for at in range(0, len(images), CHUNK)]
        return np.concatenate(chunks) if chunks else np.empty((0, core.output_shape[1]), np.float32)

    return probabilities


def norms_after_weights(core: Any) -> dict[str, Any]:
    """Return the normalizations that can be folded, by the name of the layer that they follow."""
    pairs = {}
    for layer in core.layers:
        followers = [node.outbound_layer for node in layer.outbound_nodes]
        if (
            type(layer) in (layers.Conv2D, layers.Dense)
            and layer.activation is keras.activations.linear
            and len(followers) == 1
            and type(followers[0]) is layers.BatchNormalization
        ):
            pairs[layer.name] = followers[0]
    return pairs


def multiply_adds(core: Any) -> int:
    """Return the multiply-accumulate operations of convolutions and dense layers, an image."""
    kernels = {
        layer: layer.depthwise_kernel if isinstance(layer, layers.DepthwiseConv2D) else layer.kernel
        for layer in core.layers
        if isinstance(layer, layers.Conv2D | layers.Dense | layers.DepthwiseConv2D)
    }

    def places(layer: Any) -> Any:
        """Return the shape of the places that the kernel is laid on: a transposed convolution's are its input's."""
        return (layer.input_shape if isinstance(layer, layers.Conv2DTranspose) else layer.output_shape)[1:-1]

    return sum(kernel.shape.num_elements() * math.prod(places(layer)) for layer, kernel in kernels.items())


def _convolution(x: Any, channels: int, kernel: int, *, stride: int = 1, name: str) -> Any:
    how = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
    x = layers.Conv2D(channels, kernel, stride, **how, name=f"{name}{CONVOLUTION}")(x)
    return layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"{name}{NORM}")(x)


def _residual_block(x: Any, channels: int, *, stride: int, name: str) -> Any:
    shortcut = x
    if stride != 1 or x.shape[-1] != channels:
        shortcut = _convolution(x, channels, 1, stride=stride, name=f"{name}_shortcut")
    x = layers.ReLU(name=f"{name}_relu1")(_convolution(x, channels, 3, stride=stride, name=f"{name}_1"))
    x = _convolution(x, channels, 3, name=f"{name}_2")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, shortcut]))
