"""Networks that are trained already, for a training to start from: on one's own faces, or a further round on the same.

Exported files hold no batch normalizations, as these are folded into the kernels before them. Training wants them, so
each is put back to change nothing: with the mean and variance of its channels, and the gain and shift that undo both.

A wider network starts a narrower one with the most important of its channels. What these know is soon mended, and is
worth many epochs. A deeper one begins with further blocks that change nothing yet.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import Dataset
from feredge.data.splits import stratified_sample
from feredge.errors import RunError
from feredge.inference.contract import Images
from feredge.keras import keras
from feredge.recipes.schema import Augmentation
from feredge.train import channels
from feredge.train.batches import Batches
from feredge.train.networks import CONVOLUTION, LOGITS, NORM, PLACES, compiled, plain_clone

IMAGES = 512
"""How many tell a channel's mean and variance: of 6x6 pixels each that is 18,000 values."""
LATER_BLOCK, SECOND = re.compile(r"stage[0-9]+_block(?!1_)[0-9]+_"), "_2_"
"""How names begin in blocks whose shortcut has no layer, and what stands in those of a block's second convolution."""
AS_THEY_ARE = Augmentation(flip=False, shift=0.0, scale=0.0, rotate=0.0, brightness=0.0, erase=0.0)


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network.

    Attributes:
        core: `float32 (N, H, W, 1)` in [0, 1] to probabilities, normalizations folded in.
        classes: what it tells apart.
        digest: of its weights.
    """

    core: Any
    classes: tuple[str, ...]
    digest: str

    @cached_property
    def weights(self) -> dict[str, list[NDArray[np.float32]]]:
        """Kernel and bias of each layer, by its name."""
        return {layer.name: layer.get_weights() for layer in self.core.layers if layer.weights}


def check_teacher(teacher: Trained, classes: tuple[str, ...], size: int, side: int | None) -> None:
    """Refuse a network that tells other classes apart, or takes other images, than its pupil.

    Args:
        teacher: the network.
        classes: the pupil's.
        size: height and width of whole images.
        side: of those that training shows; None where it changes.

    Raises:
        RunError: what was expected and what found.
    """
    if teacher.classes != classes:
        raise RunError(f"expected a teacher of {', '.join(classes)}, found one of {', '.join(teacher.classes)}")
    if teacher.core.input_shape[1:] != (size, size, 1):
        raise RunError(f"expected a teacher for images {(size, size, 1)}, found one for {teacher.core.input_shape[1:]}")
    try:
        plain_clone(teacher.core, side=side)
    except ValueError as error:  # the last layer's, of another length
        shown = f"{side}x{side} pixels" if side else "sides that change"
        raise RunError(f"expected a teacher that takes training images of {shown}, found one that does not") from error


def check(core: Any, start: Trained) -> None:
    """Refuse a start whose layers are not those of `core`, as wide or wider.

    But for the last, which classes of one's own may change, weights of places, which an average is a case of, and
    blocks after the first of a stage.

    Raises:
        RunError: what was expected and what found.
    """
    if core.get_layer(index=1).name != f"stem{CONVOLUTION}" or core.input_shape[-1] != 1:
        raise RunError("expected a residual network of plain gray to start from another, found a published one")
    layers = {layer.name: layer for layer in core.layers if layer.weights}
    if PLACES in start.weights and PLACES not in layers:
        raise RunError("expected to start from a network whose pooling is an average, found a weighted one")
    for layer in layers.values():
        new = layer.name == LOGITS or (layer.name == PLACES and PLACES not in start.weights)
        new |= layer.name not in start.weights and LATER_BLOCK.match(layer.name) is not None
        if not layer.name.endswith(NORM) and not new:
            expected = tuple(layer.weights[0].shape)
            found = start.weights[layer.name][0].shape if layer.name in start.weights else "none"
            if found == "none" or found[:2] != expected[:2] or any(np.less(found, expected)):
                wanted = f"{layer.name} is {expected}, or has more channels"
                raise RunError(f"expected to start from a network whose {wanted}, found {found}")


def narrowed(start: Trained, core: Any, train: Dataset, seed: int) -> Trained:
    """Return a start as wide as `core`: itself, or with the most important of its channels.

    Importance is by what the network itself says of training images: the labels may be of other classes.

    Args:
        start: one that `check` lets pass.
        core: what it is to start.
        train: the training split.
        seed: of the choice of images.
    """
    shared = [layer for layer in core.layers if layer.name.endswith(CONVOLUTION) and layer.name in start.weights]
    if all(start.weights[layer.name][0].shape == layer.weights[0].shape for layer in shared):
        return start
    some = stratified_sample(train, channels.LOOKED_AT, seed)
    said = compiled(start.core)(some.images)
    answers = np.eye(said.shape[1], dtype=np.float32)[said.argmax(axis=1)]
    batches = Batches(some.images, answers, channels.LOOK, AS_THEY_ARE, seed)
    return dataclasses.replace(start, core=channels.narrow_to(start.core, core, batches))


def begin(core: Any, start: Trained, classes: tuple[str, ...], images: Images) -> None:
    """Give a core the weights of `start`, which `check` lets pass; of other classes, the last layer keeps its own.

    Args:
        core: a residual network in float32.
        start: one of the same layers, as wide.
        classes: what `core` is to tell apart.
        images: `uint8 (N, H, W)`, training images to take means and variances from.
    """
    for norm in [layer for layer in core.layers if layer.name.endswith(NORM)]:  # each after those it depends on
        convolution = core.get_layer(norm.name.removesuffix(NORM) + CONVOLUTION)
        added = convolution.name not in start.weights
        if not added:
            convolution.set_weights(start.weights[convolution.name][:1])
        values = compiled(keras.Model(core.input, convolution.output))(images).astype(np.float64)
        values = values.reshape(-1, values.shape[-1])
        mean, variance = values.mean(axis=0), values.var(axis=0)
        if added:  # without its second convolution a block is nothing but its shortcut
            gain, shift = np.full_like(mean, 0.0 if SECOND in norm.name else 1.0), np.zeros_like(mean)
        else:
            gain, shift = np.sqrt(variance + norm.epsilon), mean + start.weights[convolution.name][1]
        norm.set_weights([gain, shift, mean, variance])
    if PLACES in start.weights:
        core.get_layer(PLACES).set_weights(start.weights[PLACES])
    if start.classes == classes:
        core.get_layer(LOGITS).set_weights(start.weights[LOGITS])
