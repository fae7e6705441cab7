"""Warm starts: training that is initialized from a trained network, for other faces or for a further round.

Exported files hold no batch normalization: it is folded into the kernels. Training needs it, so each one is
inserted again as an identity: with the mean and variance of its channels, and the scale and shift that cancel them.

A wider network initializes a narrower one with its most important channels; fine-tuning recovers their accuracy soon.
A shallower network initializes a deeper one, whose extra blocks are initialized as identity.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import Dataset
from feredge.data.splits import stratified_sample
from feredge.errors import RunError
from feredge.inference.contract import Images
from feredge.keras import KerasModel, keras
from feredge.recipes.schema import Augmentation
from feredge.train import channels
from feredge.train.batches import Batches
from feredge.train.networks import (
    CONVOLUTION_SUFFIX,
    LOGITS_LAYER,
    NORM_SUFFIX,
    WEIGHTED_POOL_LAYER,
    clone_core,
    make_predict_function,
)

STATISTICS_IMAGES = 512
"""Images that a channel's mean and variance are estimated on: with 6x6 pixels each, 18,000 values."""
EXTRA_BLOCK_LAYER, SECOND_CONVOLUTION = re.compile(r"stage[0-9]+_block(?!1_)[0-9]+_"), "_2_"
"""Prefix of layer names in blocks with an identity shortcut, and the part that names a block's second convolution."""
NO_AUGMENTATION = Augmentation(flip=False, shift=0.0, scale=0.0, rotate=0.0, brightness=0.0, erase=0.0)


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A trained network.

    Attributes:
        core: `float32 (N, H, W, C)` in [0, 1] to probabilities, batch normalization folded.
        classes: class names, in the order of the outputs.
        digest: of its weights.
    """

    core: KerasModel
    classes: tuple[str, ...]
    digest: str

    @cached_property
    def weights(self) -> dict[str, list[NDArray[np.float32]]]:
        """Kernel and bias of each layer, by layer name."""
        return {layer.name: layer.get_weights() for layer in self.core.layers if layer.weights}


def check_teacher(
    teacher: TrainedNetwork, classes: tuple[str, ...], shape: tuple[int, int, int], training_size: int | None
) -> None:
    """Raise an error for a teacher of other classes or images than its student's.

    Args:
        teacher: the network.
        classes: the student's.
        shape: `(H, W, C)` of full images.
        training_size: height and width of training images; None where it changes.

    Raises:
        RunError: what was expected and what was found.
    """
    if teacher.classes != classes:
        raise RunError(f"expected a teacher of {', '.join(classes)}, found one of {', '.join(teacher.classes)}")
    if teacher.core.input_shape[1:] != shape:
        raise RunError(f"expected a teacher for images {shape}, found one for {teacher.core.input_shape[1:]}")
    try:
        clone_core(teacher.core, size=training_size)
    except ValueError as error:  # the last dense layer's kernel has another number of rows
        required = f"{training_size}x{training_size} pixels" if training_size else "sizes that change"
        raise RunError(
            f"expected a teacher that takes training images of {required}, found one that does not"
        ) from error


def check_start(core: KerasModel, start: TrainedNetwork) -> None:
    """Raise an error unless `start` has the layers of `core`, with as many channels or more.

    Three may differ: the last layer, as classes may; the weighted pooling, which an average initializes; blocks
    after the first of a stage.

    Raises:
        RunError: what was expected and what was found.
    """
    if core.get_layer(index=1).name != f"stem{CONVOLUTION_SUFFIX}":
        raise RunError("expected a residual network to start from another, found a published one")
    if core.input_shape[-1] != start.core.input_shape[-1]:
        expected, actual = core.input_shape[-1], start.core.input_shape[-1]
        raise RunError(f"expected to start from a network with {expected} input channels, found one with {actual}")
    layers = {layer.name: layer for layer in core.layers if layer.weights}
    if WEIGHTED_POOL_LAYER in start.weights and WEIGHTED_POOL_LAYER not in layers:
        raise RunError("expected to start from a network whose pooling is an average, found a weighted one")
    for name, layer in layers.items():
        optional = name == LOGITS_LAYER or (name == WEIGHTED_POOL_LAYER and name not in start.weights)
        optional |= name not in start.weights and EXTRA_BLOCK_LAYER.match(name) is not None
        if name.endswith(NORM_SUFFIX) or optional:
            continue
        expected = tuple(layer.weights[0].shape)
        actual = start.weights[name][0].shape if name in start.weights else "none"
        if actual == "none" or actual[:2] != expected[:2] or any(np.less(actual, expected)):
            requirement = f"{name} is {expected}, or has more channels"
            raise RunError(f"expected to start from a network whose {requirement}, found {actual}")


def match_widths(start: TrainedNetwork, core: KerasModel, train: Dataset, seed: int) -> TrainedNetwork:
    """Return `start` with as many channels as `core`: itself, or a copy with the most important channels.

    Importance is estimated with the network's own predictions as labels, because the data set's may be of other
    classes.

    Args:
        start: passed `check_start`.
        core: the network that is to be initialized.
        train: the training split.
        seed: of the sample of images.
    """
    shared = [layer for layer in core.layers if layer.name.endswith(CONVOLUTION_SUFFIX) and layer.name in start.weights]
    if all(start.weights[layer.name][0].shape == layer.weights[0].shape for layer in shared):
        return start
    sample = stratified_sample(train, channels.IMPORTANCE_IMAGES, seed)
    probabilities = make_predict_function(start.core)(sample.images)
    targets = np.eye(probabilities.shape[1], dtype=np.float32)[probabilities.argmax(axis=1)]
    batches = Batches(sample.images, targets, channels.IMPORTANCE_BATCH, NO_AUGMENTATION, seed)
    return dataclasses.replace(start, core=channels.match_widths(start.core, core, batches))


def initialize(core: KerasModel, start: TrainedNetwork, classes: tuple[str, ...], images: Images) -> None:
    """Set the weights of `core` to those of `start`. For other classes, the last layer keeps its own.

    Args:
        core: a residual network in float32.
        start: passed `check_start`, with as many channels.
        classes: of `core`.
        images: `uint8 (N, H, W, C)`, training images that means and variances are estimated on.
    """
    for layer in core.layers:  # convolutions of blocks, and the weighted pooling
        if type(layer) is keras.layers.DepthwiseConv2D and layer.name in start.weights:
            layer.set_weights(start.weights[layer.name])
    for norm in [layer for layer in core.layers if layer.name.endswith(NORM_SUFFIX)]:  # in topological order
        convolution = core.get_layer(norm.name.removesuffix(NORM_SUFFIX) + CONVOLUTION_SUFFIX)
        extra = convolution.name not in start.weights
        if not extra:
            convolution.set_weights(start.weights[convolution.name][:1])
        outputs = make_predict_function(keras.Model(core.input, convolution.output))(images).astype(np.float64)
        outputs = outputs.reshape(-1, outputs.shape[-1])
        mean, variance = outputs.mean(axis=0), outputs.var(axis=0)
        if extra:  # a block whose second convolution is scaled by zero is the identity
            gamma, beta = np.full_like(mean, 0.0 if SECOND_CONVOLUTION in norm.name else 1.0), np.zeros_like(mean)
        else:
            gamma, beta = np.sqrt(variance + norm.epsilon), mean + start.weights[convolution.name][1]
        norm.set_weights([gamma, beta, mean, variance])
    if start.classes == classes:
        core.get_layer(LOGITS_LAYER).set_weights(start.weights[LOGITS_LAYER])
