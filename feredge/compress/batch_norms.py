"""Batch normalization out of the way: folded into the layers beside it, or made a layer that integers can do."""

from __future__ import annotations

from typing import Any

import numpy as np

from feredge.errors import RecipeError
from feredge.inference.contract import Images
from feredge.keras import keras
from feredge.train.networks import norms_after_weights, plain_clone

layers = keras.layers

BATCH = 32


def fold_norms(core: Any) -> Any:
    """Return a network that gives the same without the normalizations that follow a convolution or dense layer."""
    pairs = norms_after_weights(core)
    norms = {norm.name for norm in pairs.values()}

    def cloned(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in norms:
            return layers.Activation("linear", name=layer.name)
        if layer.name in pairs:
            config["use_bias"] = True
        return type(layer).from_config(config)

    folded = keras.models.clone_model(core, clone_function=cloned)
    for layer in core.layers:
        weights = layer.get_weights()
        if layer.name in pairs:
            folded.get_layer(layer.name).set_weights(_folded(layer, pairs[layer.name]))
        elif layer.name not in norms:
            folded.get_layer(layer.name).set_weights(weights)
    return folded


def without_loose_norms(core: Any) -> Any:
    """Return a network that gives the same without the normalizations that follow no convolution or dense layer.

    Quantization-aware training knows those only that do. On a picture another becomes a convolution of one weight
    and one bias a channel, which has an integer kernel; on features it is folded into the dense layer after it.

    Raises:
        RecipeError: features that something else takes.
    """
    loose = _loose_norms(core)
    if not loose:
        return core
    on_features = {_dense_after(norm).name: norm for norm in loose if len(norm.output_shape) == 2}
    gone = {norm.name for norm in on_features.values()}

    def cloned(layer: Any) -> Any:
        if layer.name in gone:
            return layers.Activation("linear", name=layer.name)
        if layer in loose:
            return layers.DepthwiseConv2D(1, name=layer.name)
        return type(layer).from_config(layer.get_config())

    clone = keras.models.clone_model(core, clone_function=cloned)
    for layer in core.layers:
        weights = layer.get_weights()
        if layer.name in on_features:
            gain, shift = _line(on_features[layer.name])
            kernel, *bias = (weight.astype(np.float64) for weight in weights)
            weights = [kernel * gain[:, None], *(each + shift @ kernel for each in bias)]
        elif layer in loose and layer.name not in gone:
            gain, shift = _line(layer)
            weights = [gain[None, None, :, None], shift]
        if layer.name not in gone:
            clone.get_layer(layer.name).set_weights([weight.astype(np.float32) for weight in weights])
    return clone


def with_gains_first(core: Any) -> Any:
    """Return a network that gives the same, the gains of loose normalizations moved in front of the ReLU before them.

    A channel that is rarely active has a small variance, and so a gain of 30 beside others of 0.3. Behind a ReLU, one
    scale for all channels leaves such a channel a few steps, which the gain makes coarse; folded into a dense layer,
    which may have one scale too, it leaves little of the other weights. A ReLU or a pooling gives a times as much for
    a times the input, a > 0, and kernels have a scale a channel, where gains cost nothing (Nagel et al., "Data-free
    quantization through weight equalization and bias correction", 2019, equalize layers so).
    """
    pairs = {norm.name: layer.name for norm in _loose_norms(core) if (layer := _scaled_before(norm)) is not None}
    if not pairs:
        return core
    moved = plain_clone(core)
    for name, before in pairs.items():
        norm, layer = moved.get_layer(name), moved.get_layer(before)
        gain, shift = _line(norm)
        size, sign = np.where(gain == 0, 1.0, np.abs(gain)), np.sign(gain)
        layer.set_weights([(weight * size).astype(np.float32) for weight in layer.get_weights()])
        scale, centre = [sign] * norm.scale, [shift] * norm.center
        mean = np.zeros_like(shift) if norm.center else -shift
        norm.set_weights([*scale, *centre, mean, np.full_like(shift, 1.0 - norm.epsilon)])
    return moved


def with_constants(core: Any, images: Images) -> Any:
    """Return a network whose channels before loose normalizations are constants where int8 cannot tell them from one.

    That is for gains that `with_gains_first` cannot move, as behind an ELU. A channel that varies by less than the
    tensor's rounding does comes out as noise, which a large gain makes larger; its mean is nearer to it.

    Args:
        core: `float32 (N, H, W, C)` in [0, 1] to probabilities.
        images: to calibrate on, `uint8 (N, H, W, C)`.
    """
    norms = [each for each in _loose_norms(core) if each.scale and each.center and _scaled_before(each) is None]
    if not norms:
        return core
    changed = plain_clone(core)
    for norm, (mean, deviation, step) in zip(norms, _moments(core, norms, images), strict=True):
        constant = deviation < step / np.sqrt(12)  # the standard deviation of rounding
        gain, shift = _line(norm)
        gamma, _, before, variance = norm.get_weights()
        beta = (shift + gain * np.where(constant, mean, before)).astype(np.float32)
        changed.get_layer(norm.name).set_weights([np.where(constant, 0, gamma), beta, before, variance])
    return changed


def _moments(core: Any, norms: list[Any], images: Images) -> list[tuple[Any, Any, float]]:
    """Return each channel's mean and standard deviation before each of `norms`, and the tensor's step in int8."""
    probe = keras.Model(core.input, [norm.input for norm in norms])
    sums = [np.zeros((2, norm.input_shape[-1])) for norm in norms]
    count, low, high = np.zeros(len(norms)), np.zeros(len(norms)), np.zeros(len(norms))
    for at in range(0, len(images), BATCH):
        found = probe(images[at : at + BATCH].astype(np.float32) / np.float32(255))
        for place, values in enumerate(found if len(norms) > 1 else [found]):
            rows = values.numpy().astype(np.float64).reshape(-1, values.shape[-1])
            sums[place] += rows.sum(axis=0), np.square(rows).sum(axis=0)
            count[place] += len(rows)
            low[place], high[place] = min(low[place], rows.min()), max(high[place], rows.max())
    means = [total / number for total, number in zip(sums, count, strict=True)]
    deviations = [np.sqrt(np.maximum(squares - np.square(mean), 0)) for mean, squares in means]
    return [
        (mean, deviation, step)
        for (mean, _), deviation, step in zip(means, deviations, (high - low) / 255, strict=True)
    ]


def _loose_norms(core: Any) -> list[Any]:
    """Return the normalizations that follow no convolution or dense layer."""
    tight = {norm.name for norm in norms_after_weights(core).values()}
    return [each for each in core.layers if type(each) is layers.BatchNormalization and each.name not in tight]


def _scaled_before(norm: Any) -> Any | None:
    """Return the layer whose channels `norm` takes by way of nothing but ReLUs and poolings; None where others do."""
    layer = norm.inbound_nodes[0].inbound_layers
    while not isinstance(layer, list) and len(layer.outbound_nodes) == 1:
        if type(layer) in (layers.Conv2D, layers.Dense):
            return layer if layer.activation in (keras.activations.linear, keras.activations.relu) else None
        if not _is_homogeneous(layer):
            return None
        layer = layer.inbound_nodes[0].inbound_layers
    return None


def _is_homogeneous(layer: Any) -> bool:
    """Tell whether a times a layer's input gives a times its output, channel by channel, for every a > 0."""
    if type(layer) is layers.ReLU:
        return layer.max_value is None and not layer.threshold
    if type(layer) is layers.Activation:
        return layer.activation in (keras.activations.linear, keras.activations.relu)
    return type(layer) in (layers.MaxPooling2D, layers.AveragePooling2D, layers.Dropout)


def _dense_after(norm: Any) -> Any:
    layer = norm
    while type(layer) in (layers.BatchNormalization, layers.Dropout) and len(layer.outbound_nodes) == 1:
        layer = layer.outbound_nodes[0].outbound_layer
    if type(layer) is not layers.Dense or not layer.use_bias:
        raise RecipeError(f"expected a dense layer after {norm.name}, found {type(layer).__name__} ({layer.name})")
    return layer


def _line(norm: Any) -> tuple[Any, Any]:
    """Return gain and shift of a normalization's channels, in double precision."""
    gain = 1.0 / np.sqrt(norm.moving_variance.numpy().astype(np.float64) + norm.epsilon)
    if norm.scale:
        gain *= norm.gamma.numpy()
    return gain, (norm.beta.numpy() if norm.center else 0.0) - norm.moving_mean.numpy() * gain


def _folded(layer: Any, norm: Any) -> list[Any]:
    gain, bias = _line(norm)
    if layer.use_bias:
        bias += layer.bias.numpy() * gain
    return [(layer.kernel.numpy() * gain).astype(np.float32), bias.astype(np.float32)]
