"""Mirror averaging in an ONNX file: one image in, the network runs it and its mirror image as a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from feredge.recipes.variant import VIEWS

BATCH_AXIS, WIDTH_AXIS = 0, 2
REDUCE_MEAN_AXES_OPSET = 18
"""From this opset up, the axes of ReduceMean are an input."""


def with_mirror_averaging(model: Any) -> Any:
    """Return an ONNX model that averages a network's probabilities over each image and its mirror image.

    The input is gathered with its columns reversed, joined to the batch, and the outputs of both halves are averaged.
    Weights and scales are those of `model`, which is changed.
    """
    graph = model.graph
    image, result = graph.input[0].name, graph.output[0].name
    width = graph.input[0].type.tensor_type.shape.dim[WIDTH_AXIS].dim_value
    classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    for node in graph.node:
        node.input[:] = ["both_images" if name == image else name for name in node.input]
        node.output[:] = ["both_outputs" if name == result else name for name in node.output]
    constants = {
        "reversed_columns": np.arange(width - 1, -1, -1, dtype=np.int64),
        "both_views_shape": np.array([VIEWS, -1, classes], np.int64),
    }
    mean_inputs, mean_attributes = ["both_views"], {"axes": [BATCH_AXIS]}
    if max(entry.version for entry in model.opset_import if not entry.domain) >= REDUCE_MEAN_AXES_OPSET:
        constants["views_axis"] = np.array([BATCH_AXIS], np.int64)
        mean_inputs, mean_attributes = ["both_views", "views_axis"], {}
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in constants.items())
    nodes = [
        helper.make_node("Gather", [image, "reversed_columns"], ["mirror_image"], "mirror", axis=WIDTH_AXIS),
        helper.make_node("Concat", [image, "mirror_image"], ["both_images"], "join_views", axis=BATCH_AXIS),
        *graph.node,
        helper.make_node("Reshape", ["both_outputs", "both_views_shape"], ["both_views"], "separate_views"),
        helper.make_node("ReduceMean", mean_inputs, [result], "mean_of_views", keepdims=0, **mean_attributes),
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # of a batch that is half as large
    return model
