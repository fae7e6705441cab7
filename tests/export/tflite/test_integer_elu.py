"""ELUs in int8 flatbuffers."""

from __future__ import annotations

import numpy as np
from tiny_training import stripes

from feredge.export import quantizer
from feredge.export.tflite.int8 import Int8TFLite
from feredge.inspection import flatbuffer
from feredge.keras import keras


def test_elus_are_integers_where_their_neighbours_are() -> None:
    """Guards int8 of networks with ELUs, which the converter leaves in float, where the gate refuses the file.

    Also guards an ELU that two layers read, and one whose convolution was left in float.
    """
    pixels = keras.Input((16, 16, 1))
    x = keras.layers.ELU(name="elu1")(keras.layers.Conv2D(8, 3, strides=2, padding="same", name="conv1")(pixels))
    x = keras.layers.Add()([x, keras.layers.Conv2D(8, 3, padding="same", name="conv2")(x)])
    x = keras.layers.ELU(name="elu2")(keras.layers.Conv2D(8, 3, name="conv3")(x))
    core = keras.Model(pixels, keras.layers.Dense(7, "softmax")(keras.layers.GlobalAveragePooling2D()(x)))
    core.get_layer("conv1").set_weights([core.get_layer("conv1").get_weights()[0] * 6, np.full(8, -0.5)])
    images = stripes().images[:96].copy()
    images[0, 0, 0], images[0, 0, 1] = 0, 255
    exact = core(images / np.float32(255)).numpy()
    network = Int8TFLite(core, images)
    for keep_float in ((), ("conv3",)):
        model = network.quantize(keep_float)
        parsed = flatbuffer.parse(model)
        kinds = flatbuffer.operator_names(parsed)
        assert kinds.count("ELU") == 2
        elus = [operator for kind, operator in zip(kinds, parsed.subgraphs[0].operators, strict=True) if kind == "ELU"]
        types = [flatbuffer.type_name(parsed.subgraphs[0].tensors[elu.outputs[0]]) for elu in elus]
        assert types == ["INT8", "FLOAT32" if keep_float else "INT8"]
        assert [flatbuffer.output_name(parsed, elu).split("/")[1] for elu in elus] == ["elu1", "elu2"]
        assert bool(flatbuffer.float_activations(model)) == bool(keep_float)
        # Seven probabilities of untrained weights lie near 1/7; a step of the output is 1/256.
        np.testing.assert_allclose(quantizer.predict(model, images), exact, atol=0.02)
