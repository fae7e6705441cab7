"""Class probabilities from the outputs of an imported network: probabilities, logits, or a single sigmoid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError
from feredge.keras import KerasLayer, KerasModel, keras

SUM_TOLERANCE = 1e-3  # of float32 sums
BINARY_LAYER, PROBABILITIES_LAYER = "two_classes", "probabilities"


def with_probabilities(core: KerasModel, rows: NDArray[np.float32], name: str) -> KerasModel:
    """Return `core` with outputs that are the probabilities of classes.

    Probabilities stay as they are. Logits get a softmax. A single output `p` after a sigmoid, or its logit, becomes
    `1 - p` and `p`.

    Args:
        core: the imported network.
        rows: its outputs for real images, `float32 (N, outputs)`.
        name: of the file, for messages.

    Raises:
        ArtifactError: outputs that are neither.
    """
    layer = core.get_layer(core.output_names[0])
    has_sigmoid = getattr(layer, "activation", None) is keras.activations.sigmoid
    if rows.shape[1] == 1:
        if not has_sigmoid and len(rows) and rows.min() >= 0 and rows.max() <= 1:
            raise ArtifactError(f"{name}: expected a sigmoid or several outputs, found one output within 0 and 1")
        return _with_two_classes(_without_activation(core, layer) if has_sigmoid else core)
    if has_sigmoid:
        raise ArtifactError(
            f"{name}: expected one probability distribution over the classes, found a sigmoid for each of "
            f"{rows.shape[1]} outputs, whose sum is {rows.sum(axis=1).mean():.3g} on average: several classes can be "
            "true at once; train it with a softmax"
        )
    if len(rows) and rows.min() >= 0 and float(np.abs(rows.sum(axis=1) - 1).max()) < SUM_TOLERANCE:
        return core
    return keras.Model(core.input, keras.layers.Softmax(name=PROBABILITIES_LAYER)(core.output), name="core")


def _without_activation(core: KerasModel, last: KerasLayer) -> KerasModel:
    """Return a copy of `core` whose last layer is linear."""

    def clone_layer(layer: KerasLayer) -> KerasLayer:
        config = layer.get_config()
        return type(layer).from_config({**config, "activation": "linear"} if layer is last else config)

    clone = keras.models.clone_model(core, clone_function=clone_layer)
    clone.set_weights(core.get_weights())
    return clone


def _with_two_classes(core: KerasModel) -> KerasModel:
    """Return `core`, whose output is a logit z, with the softmax of (0, z): the probabilities 1 - p and p."""
    binary = keras.layers.Dense(2, name=BINARY_LAYER)
    logits = binary(core.output)
    binary.set_weights([np.array([[0, 1]], np.float32), np.zeros(2, np.float32)])
    return keras.Model(core.input, keras.layers.Softmax(name=PROBABILITIES_LAYER)(logits), name="core")
