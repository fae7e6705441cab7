"""Batch normalization before quantization: folding, conversion to convolutions, and scale equalization.

Batch normalization is unfused where it cannot be folded, because no convolution or dense layer precedes it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import RecipeError
from feredge.inference.contract import Images
from feredge.keras import KerasLayer, KerasModel, keras
from feredge.train.networks import clone_core, foldable_batchnorms

layers = keras.layers

CALIBRATION_BATCH = 32


def fold_batchnorms(core: KerasModel) -> KerasModel:
    """Return an equivalent network with batch normalization folded into convolution and dense layers before it."""
    foldable = foldable_batchnorms(core)
    folded_names = {norm.name for norm in foldable.values()}

    def clone_layer(layer: KerasLayer) -> KerasLayer:
        config = layer.get_config()
        if layer.name in folded_names:
            return layers.Activation("linear", name=layer.name)
        if layer.name in foldable:
            config["use_bias"] = True
        return type(layer).from_config(config)

    folded = keras.models.clone_model(core, clone_function=clone_layer)
    for layer in core.layers:
        weights = layer.get_weights()
        if layer.name in foldable:
            folded.get_layer(layer.name).set_weights(_folded_weights(layer, foldable[layer.name]))
        elif layer.name not in folded_names:
            folded.get_layer(layer.name).set_weights(weights)
    return folded


def convert_unfused_batchnorms(core: KerasModel) -> KerasModel:
    """Return an equivalent network without unfused batch normalization.

    Quantization-aware training does not support it. On feature maps (4-D) it becomes a depthwise 1x1 convolution, which
    has an integer kernel; on feature vectors (2-D) it is folded into the dense layer after it.

    Raises:
        RecipeError: feature vectors that are not the input of a dense layer.
    """
    unfused = unfused_batchnorms(core)
    if not unfused:
        return core
    by_dense = {_dense_after(norm).name: norm for norm in unfused if len(norm.output_shape) == 2}
    folded_names = {norm.name for norm in by_dense.values()}

    def clone_layer(layer: KerasLayer) -> KerasLayer:
        if layer.name in folded_names:
            return layers.Activation("linear", name=layer.name)
        if layer in unfused:
            return layers.DepthwiseConv2D(1, name=layer.name)
        return type(layer).from_config(layer.get_config())

    clone = keras.models.clone_model(core, clone_function=clone_layer)
    for layer in core.layers:
        weights = layer.get_weights()
        if layer.name in by_dense:
            scale, shift = scale_and_shift(by_dense[layer.name])
            kernel, bias = (weight.astype(np.float64) for weight in weights)
            weights = [kernel * scale[:, None], bias + shift @ kernel]
        elif layer in unfused and layer.name not in folded_names:
            scale, shift = scale_and_shift(layer)
            weights = [scale[None, None, :, None], shift]
        if layer.name not in folded_names:
            clone.get_layer(layer.name).set_weights([weight.astype(np.float32) for weight in weights])
    return clone


def equalize_scales(core: KerasModel) -> KerasModel:
    """Return an equivalent network with the scales of unfused batch normalization moved to the layer before the ReLU.

    A channel that is rarely active has a small variance, and so a scale of, for example, 30 where other channels
    have 0.3. Scales are
    equalized across layers, because one high-gain channel uses up the per-tensor range: of the activations after the
    ReLU, and of the weights of a dense layer that the normalization is folded into. ReLU and pooling are positively
    homogeneous, so a scale can be applied before them, where kernels have a range per channel (Nagel et al.,
    "Data-free quantization through weight equalization and bias correction", 2019).
    """
    producers = {norm.name: layer.name for norm in unfused_batchnorms(core) if (layer := _producer(norm)) is not None}
    if not producers:
        return core
    equalized = clone_core(core)
    for norm_name, layer_name in producers.items():
        norm, layer = equalized.get_layer(norm_name), equalized.get_layer(layer_name)
        scale, shift = scale_and_shift(norm)
        magnitude, sign = np.where(scale == 0, 1.0, np.abs(scale)), np.sign(scale)
        layer.set_weights([(weight * magnitude).astype(np.float32) for weight in layer.get_weights()])
        gamma, beta = [sign] * norm.scale, [shift] * norm.center
        mean = np.zeros_like(shift) if norm.center else -shift
        norm.set_weights([*gamma, *beta, mean, np.full_like(shift, 1.0 - norm.epsilon)])
    return equalized


def freeze_dead_channels(core: KerasModel, images: Images) -> KerasModel:
    """Return a network with those channels replaced by their mean whose variation is below the resolution of int8.

    These are channels before unfused batch normalization.
    It is for scales that `equalize_scales` cannot move, as after an ELU. A channel whose standard deviation is less
    than that of the tensor's rounding error is mostly noise in int8, which a large scale amplifies; its mean is a
    better estimate.

    Args:
        core: the network, mapping `float32 (N, H, W, C)` in [0, 1] to class probabilities.
        images: calibration images, `uint8 (N, H, W, C)`.
    """
    norms = [norm for norm in unfused_batchnorms(core) if norm.scale and norm.center and _producer(norm) is None]
    if not norms:
        return core
    frozen = clone_core(core)
    for norm, (mean, deviation, step) in zip(norms, _moments(core, norms, images), strict=True):
        dead = deviation < step / np.sqrt(12)  # the standard deviation of rounding
        scale, shift = scale_and_shift(norm)
        gamma, _, moving_mean, variance = norm.get_weights()
        beta = (shift + scale * np.where(dead, mean, moving_mean)).astype(np.float32)
        frozen.get_layer(norm.name).set_weights([np.where(dead, 0, gamma), beta, moving_mean, variance])
    return frozen


def _moments(core: KerasModel, norms: list[KerasLayer], images: Images) -> list[tuple[Any, Any, float]]:
    """Return each channel's mean and standard deviation before each of `norms`, and the tensor's int8 step."""
    inputs = keras.Model(core.input, [norm.input for norm in norms])
    sums = [np.zeros((2, norm.input_shape[-1])) for norm in norms]
    count, low, high = np.zeros(len(norms)), np.zeros(len(norms)), np.zeros(len(norms))
    for start in range(0, len(images), CALIBRATION_BATCH):
        tensors = inputs(images[start : start + CALIBRATION_BATCH].astype(np.float32) / np.float32(255))
        for i, values in enumerate(tensors if len(norms) > 1 else [tensors]):
            rows = values.numpy().astype(np.float64).reshape(-1, values.shape[-1])
            sums[i] += rows.sum(axis=0), np.square(rows).sum(axis=0)
            count[i] += len(rows)
            low[i], high[i] = min(low[i], rows.min()), max(high[i], rows.max())
    means = [total / number for total, number in zip(sums, count, strict=True)]
    deviations = [np.sqrt(np.maximum(squares - np.square(mean), 0)) for mean, squares in means]
    return [
        (mean, deviation, step)
        for (mean, _), deviation, step in zip(means, deviations, (high - low) / 255, strict=True)
    ]


def unfused_batchnorms(core: KerasModel) -> list[KerasLayer]:
    """Return the batch normalization layers that follow no convolution or dense layer."""
    foldable = {norm.name for norm in foldable_batchnorms(core).values()}
    return [layer for layer in core.layers if type(layer) is layers.BatchNormalization and layer.name not in foldable]


def _producer(norm: KerasLayer) -> KerasLayer | None:
    """Return the layer that computes the channels of `norm`, if only ReLU and pooling lie between; else None."""
    layer = norm.inbound_nodes[0].inbound_layers
    while not isinstance(layer, list) and len(layer.outbound_nodes) == 1:
        if type(layer) in (layers.Conv2D, layers.Dense):
            return layer if layer.activation in (keras.activations.linear, keras.activations.relu) else None
        if not _is_homogeneous(layer):
            return None
        layer = layer.inbound_nodes[0].inbound_layers
    return None


def _is_homogeneous(layer: KerasLayer) -> bool:
    """Return whether f(a x) = a f(x) for a > 0, in each channel."""
    if type(layer) is layers.ReLU:
        return layer.max_value is None and not layer.threshold
    if type(layer) is layers.Activation:
        return layer.activation in (keras.activations.linear, keras.activations.relu)
    return type(layer) in (layers.MaxPooling2D, layers.AveragePooling2D, layers.Dropout)


def _dense_after(norm: KerasLayer) -> KerasLayer:
    layer = norm
    while type(layer) in (layers.BatchNormalization, layers.Dropout) and len(layer.outbound_nodes) == 1:
        layer = layer.outbound_nodes[0].outbound_layer
    if type(layer) is not layers.Dense or not layer.use_bias:
        raise RecipeError(f"expected a dense layer after {norm.name}, found {type(layer).__name__} ({layer.name})")
    return layer


def scale_and_shift(norm: KerasLayer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return batch normalization in inference as scale and shift per channel, in double precision."""
    scale = 1.0 / np.sqrt(norm.moving_variance.numpy().astype(np.float64) + norm.epsilon)
    if norm.scale:
        scale *= norm.gamma.numpy()
    return scale, (norm.beta.numpy() if norm.center else 0.0) - norm.moving_mean.numpy() * scale


def _folded_weights(layer: KerasLayer, norm: KerasLayer) -> list[Any]:
    scale, bias = scale_and_shift(norm)
    if layer.use_bias:
        bias += layer.bias.numpy() * scale
    return [(layer.kernel.numpy() * scale).astype(np.float32), bias.astype(np.float32)]
