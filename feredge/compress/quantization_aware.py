"""Quantization-aware copies of networks, by tensorflow-model-optimization, and the layers that it can quantize."""

from __future__ import annotations

from feredge.errors import RecipeError
from feredge.keras import KerasLayer, KerasModel, keras
from feredge.train.networks import clone_core

layers = keras.layers

OUTPUT_QUANTIZED_LAYERS = (layers.Multiply, layers.Subtract, layers.Rescaling)
"""Layers without weights that tensorflow-model-optimization does not know; their outputs get a range as others do."""


def quantization_aware(core: KerasModel) -> KerasModel:
    """Return a copy of `core` with fake quantization of weights and activations, after Jacob et al., 2018."""
    # A late import: it takes seconds, and must follow feredge.keras, which selects legacy Keras.
    from tensorflow_model_optimization.quantization.keras import quantize_annotate_layer, quantize_model, quantize_scope

    keras.backend.reset_uids()  # otherwise names in the file depend on the models made before
    if not any(type(layer) in OUTPUT_QUANTIZED_LAYERS for layer in core.layers):
        return quantize_model(clone_core(core))
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit.default_8bit_quantize_registry import (  # noqa: E501
        Default8BitQuantizeConfig,
    )

    def annotate(layer: KerasLayer) -> KerasLayer:
        copy = type(layer).from_config(layer.get_config())
        if type(layer) not in OUTPUT_QUANTIZED_LAYERS:
            return copy
        return quantize_annotate_layer(copy, Default8BitQuantizeConfig([], [], quantize_output=True))

    annotated = keras.models.clone_model(core, clone_function=annotate)
    annotated.set_weights(core.get_weights())
    with quantize_scope():
        return quantize_model(annotated)


def check_layers(core: KerasModel, name: str) -> None:
    """Raise RecipeError, before any slow work, for a layer that quantization-aware training leaves in float32.

    Batch normalizations pass: they are folded or converted before the training.
    """
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit.default_8bit_quantize_registry import (  # noqa: E501
        Default8BitQuantizeRegistry,
    )

    registry = Default8BitQuantizeRegistry()
    passing = (layers.InputLayer, layers.BatchNormalization, *OUTPUT_QUANTIZED_LAYERS)
    for layer in core.layers:
        kind = type(layer).__name__
        if type(layer) is layers.Activation:
            kind = layer.activation.__name__
            supported = kind in ("linear", "relu", "relu6", "sigmoid", "softmax", "swish", "gelu", "tanh")
        else:
            supported = type(layer) in passing or registry.supports(layer)
        if not supported:
            raise RecipeError(
                f"{name}: expected layers that quantization-aware training supports, found {kind} ({layer.name})"
            )
