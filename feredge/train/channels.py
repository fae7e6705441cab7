"""Channel pruning: whole channels out of a network, so that its tensors shrink and a dense runtime gains time.

Channels that are added together are removed together. Groups of channels give up their least important ones, eight
at a time because runtimes work on vectors of eight, and first where a multiply-add that is saved costs least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import RecipeError
from feredge.keras import keras, tf
from feredge.train.batches import Batches
from feredge.train.networks import multiply_adds, norms_after_weights

layers = keras.layers

LOOKED_AT, LOOK = 8192, 16
"""Training images that importance is taken from, and how many at a time: squares of few images' sums tell more."""
STEP = 8
EACH = (  # leave the channels what they are: as many, in their order
    layers.BatchNormalization,
    layers.ReLU,
    layers.ELU,
    layers.Activation,
    layers.Softmax,
    layers.Dropout,
    layers.MaxPooling2D,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling2D,
    layers.Flatten,
)


@dataclass(eq=False)
class Group:
    """Channels that are kept or removed together.

    Attributes:
        size: how many.
        made_by: names of the convolutions and dense layers that give them.
        fixed: they are the picture's or the classes', and stay.
    """

    size: int
    made_by: list[str] = field(default_factory=list)
    fixed: bool = False


Kept = dict[Group, NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Layout:
    """Which channels each layer works on.

    Attributes:
        takes, gives: the group of a layer's input and output, by its name.
        places: pixels in which each channel stands in a layer's input, where that was flattened; else 1.
    """

    takes: dict[str, Group]
    gives: dict[str, Group]
    places: dict[str, int]

    @property
    def groups(self) -> list[Group]:
        """Those that can be made smaller, in the network's order."""
        return [group for group in dict.fromkeys(self.gives.values()) if not group.fixed]

    def inputs(self, name: str, kept: Kept) -> NDArray[np.int64]:
        """Return the places in a layer's input that are left."""
        group, places = self.takes[name], self.places[name]
        channels = kept.get(group, np.arange(group.size))
        return (np.arange(places)[:, None] * group.size + channels).ravel()

    def outputs(self, name: str, kept: Kept) -> NDArray[np.int64]:
        """Return the channels of a convolution's or dense layer's output that are left."""
        group = self.gives[name]
        return kept.get(group, np.arange(group.size))


def layout(core: Any) -> Layout:
    """Follow the channels through a network.

    Raises:
        RecipeError: a layer of a kind that is not known here.
    """
    found = Layout({}, {}, {})
    flat: dict[str, int] = {}
    for layer in core.layers:  # each comes after those that it takes from
        name = layer.name
        if type(layer) is layers.InputLayer:
            found.gives[name], flat[name] = Group(layer.output_shape[0][-1], fixed=True), 1
            continue
        sources = [tensor._keras_history.layer.name for tensor in _as_list(layer.input)]
        found.takes[name] = group = found.gives[sources[0]]
        found.places[name] = flat[name] = flat[sources[0]]
        if type(layer) is layers.Add:
            for source in sources[1:]:
                _join(found, group, found.gives[source])
        elif type(layer) is layers.Dense or (type(layer) is layers.Conv2D and layer.groups == 1):
            group, flat[name] = Group(layer.output_shape[-1], [name]), 1
        elif type(layer) is layers.Flatten:
            flat[name] = math.prod(layer.input_shape[1:-1])
        elif type(layer) not in EACH and not _is_depthwise(layer):
            raise RecipeError(f"expected layers whose channels can be removed, found {type(layer).__name__} ({name})")
        found.gives[name] = group
    found.gives[core.layers[-1].name].fixed = True
    return found


def _is_depthwise(layer: Any) -> bool:
    return type(layer) is layers.DepthwiseConv2D and layer.depth_multiplier == 1


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _join(found: Layout, group: Group, other: Group) -> None:
    if other is group:
        return
    group.made_by += other.made_by
    group.fixed |= other.fixed
    for table in (found.takes, found.gives):
        table.update({name: group for name, each in table.items() if each is other})


def remove_channels(core: Any, share: float, batches: Batches) -> Any:
    """Return a copy of `core` without its least important channels and at least `share` of its multiply-adds.

    Args:
        core: `float32 (N, H, W, 1)` in [0, 1] to probabilities.
        share: between 0 and 1.
        batches: training images, from which importance is taken.

    Raises:
        RecipeError: a layer that is not known, or more than can be removed.
    """
    found = layout(core)
    return _without(core, found, choose(core, found, importance(core, found, batches), share))


def narrow_to(core: Any, narrow: Any, batches: Batches) -> Any:
    """Return a copy of `core` with as many channels as `narrow` has, the most important of its own.

    Args:
        core: as above.
        narrow: a network of some of the same layers, with no more channels in any.
        batches: as above.
    """
    found, wanted = layout(core), {layer.name: layer.output_shape[-1] for layer in narrow.layers[1:]}
    sizes = {group: min(wanted.get(name, group.size) for name in group.made_by) for group in found.groups}
    return _without(core, found, _most_important(importance(core, found, batches), sizes))


def _without(core: Any, found: Layout, kept: Kept) -> Any:
    """Return a copy of `core` with the channels `kept` and no others."""
    slim = narrowed(core, {name: len(found.outputs(name, kept)) for group in kept for name in group.made_by})
    for layer in core.layers:
        weights = layer.get_weights()
        if type(layer) in (layers.Conv2D, layers.Dense):
            inputs, outputs = found.inputs(layer.name, kept), found.outputs(layer.name, kept)
            weights = [weights[0][..., inputs, :][..., outputs], *(bias[outputs] for bias in weights[1:])]
        elif weights:  # one value, or one depthwise window of (H, W, channels, 1), a channel
            inputs = found.inputs(layer.name, kept)
            weights = [values[:, :, inputs] if values.ndim == 4 else values[inputs] for values in weights]
        slim.get_layer(layer.name).set_weights(weights)
    return slim


def narrowed(core: Any, widths: dict[str, int]) -> Any:
    """Return a network of the same layers with other numbers of channels, by layer, and fresh weights."""

    def cloned(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in widths:
            config["units" if type(layer) is layers.Dense else "filters"] = widths[layer.name]
        return type(layer).from_config(config)

    return keras.models.clone_model(core, clone_function=cloned)


def importance(core: Any, found: Layout, batches: Batches) -> dict[Group, NDArray[np.float64]]:
    """Return how much the loss would change without each channel: the first-order estimate, squared, on average.

    The estimate is the sum of the channel's output times the loss's gradient by it (Molchanov et al., "Importance
    estimation for neural network pruning", 2019), taken where the channel is made: at the scale and shift of the
    normalization after a convolution, or at the convolution's kernel and bias. It adds up over what is added.
    """
    norms = norms_after_weights(core)
    makers = {
        name: (norms.get(name) or core.get_layer(name)).trainable_variables
        for group in found.groups
        for name in group.made_by
    }

    @tf.function  # type: ignore[untyped-decorator]
    def changes(images: Any, targets: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            probabilities = core(tf.cast(images, tf.float32) / 255.0, training=False)
            loss = tf.reduce_mean(keras.losses.categorical_crossentropy(targets, probabilities))
        gradients = tape.gradient(loss, makers)
        return [
            tf.add_n(
                [
                    tf.reduce_sum(tf.reshape(value * slope, [-1, group.size]), axis=0)
                    for name in group.made_by
                    for value, slope in zip(makers[name], gradients[name], strict=True)
                ]
            )
            for group in found.groups
        ]

    sums = [np.zeros(group.size) for group in found.groups]
    for images, targets in batches.epoch(0):
        for total, change in zip(sums, changes(images, targets), strict=True):
            total += np.square(change.numpy().astype(np.float64))
    return dict(zip(found.groups, sums, strict=True))


def choose(core: Any, found: Layout, scores: dict[Group, NDArray[np.float64]], share: float) -> Kept:
    """Return the channels to keep of each group, in their order.

    Raises:
        RecipeError: `share` of the multiply-adds cannot be saved with STEP channels left in each group.
    """
    sizes = {group: group.size for group in found.groups}
    everything = _multiply_adds(core, found, sizes)
    assert everything == multiply_adds(core)
    left = {group: np.sort(scores[group]) for group in sizes}  # the least important first
    while _multiply_adds(core, found, sizes) > (1 - share) * everything:
        best, price = None, math.inf
        for group, size in sizes.items():
            fewer = (size - 1) // STEP * STEP
            if fewer < STEP:
                continue
            lost = left[group][: group.size - fewer].sum() - left[group][: group.size - size].sum()
            saved = _multiply_adds(core, found, sizes) - _multiply_adds(core, found, {**sizes, group: fewer})
            if lost / saved < price:
                best, price = group, lost / saved
        if best is None:
            most = 1 - _multiply_adds(core, found, sizes) / everything
            raise RecipeError(
                f"expected at most {math.floor(100 * most)}% of the multiply-adds to remove with channels"
            )
        sizes[best] = (sizes[best] - 1) // STEP * STEP
    return _most_important(scores, sizes)


def _most_important(scores: dict[Group, NDArray[np.float64]], sizes: dict[Group, int]) -> Kept:
    """Return so many channels of each group, in their order."""
    return {
        group: np.sort(np.argsort(-scores[group], kind="stable")[:size]).astype(np.int64)
        for group, size in sizes.items()
    }


def _multiply_adds(core: Any, found: Layout, sizes: dict[Group, int]) -> int:
    """Return what `multiply_adds` would of a network with groups of these sizes."""
    total = 0
    for layer in core.layers:
        if type(layer) not in (layers.Conv2D, layers.Dense, layers.DepthwiseConv2D):
            continue
        takes, gives = found.takes[layer.name], found.gives[layer.name]
        inputs, outputs = (sizes.get(group, group.size) for group in (takes, gives))
        if type(layer) is layers.DepthwiseConv2D:
            inputs = 1  # each channel comes from one
        kernel = layer.weights[0]
        window = math.prod(kernel.shape[:-2]) * math.prod(layer.output_shape[1:-1])
        total += inputs * found.places[layer.name] * outputs * window
    return total
