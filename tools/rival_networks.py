"""Networks of other packages as TensorFlow functions, from the files that the packages install."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[np.float32]]


def read_weights(manifest: list[dict[str, Any]], data: bytes) -> Weights:
    """Return the tensors of a TensorFlow.js weights manifest, dequantized to float32."""
    tensors, offset = {}, 0
    for item in manifest[0]["weights"]:
        quantization = item.get("quantization")
        dtype = np.dtype(quantization["dtype"] if quantization else item["dtype"])
        count = math.prod(item["shape"])
        values = np.frombuffer(data, dtype, count, offset).reshape(item["shape"])
        offset += count * dtype.itemsize
        if quantization:
            values = (values * quantization["scale"] + quantization["min"]).astype(np.float32)
        tensors[item["name"]] = values
    return tensors


def graph_model(folder: Path, name: str) -> Callable[[Any], Any]:
    """Return a TensorFlow.js graph model as a function of its one input."""
    from feredge.keras import tf

    model = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    weights = read_weights(model["weightsManifest"], (folder / f"{name}.bin").read_bytes())
    nodes = model["modelTopology"]["node"]

    def text(node: Any, key: str) -> str:
        return base64.b64decode(node["attr"][key]["s"]).decode()

    def integers(node: Any, key: str) -> list[int]:
        return [int(value) for value in node["attr"][key]["list"]["i"]]

    def fused_convolution(node: Any, image: Any, kernel: Any, *others: Any) -> Any:
        result = tf.nn.conv2d(image, kernel, integers(node, "strides"), text(node, "padding"))
        operations = [base64.b64decode(item).decode() for item in node["attr"]["fused_ops"]["list"]["s"]]
        for operation in operations:
            result = tf.nn.relu(result) if operation == "Relu" else tf.nn.bias_add(result, others[0])
        return result

    operations: dict[str, Callable[..., Any]] = {
        "_FusedConv2D": fused_convolution,
        "DepthwiseConv2dNative": lambda node, image, kernel: tf.nn.depthwise_conv2d(
            image, kernel, integers(node, "strides"), text(node, "padding")
        ),
        "MaxPool": lambda node, image: tf.nn.max_pool2d(
            image, integers(node, "ksize"), integers(node, "strides"), text(node, "padding")
        ),
        "AddV2": lambda node, first, second: first + second,
        "Relu": lambda node, value: tf.nn.relu(value),
        "Mean": lambda node, value, axes: tf.reduce_mean(value, axes),
        "Softmax": lambda node, value: tf.nn.softmax(value),
        "Identity": lambda node, value: value,
    }

    def run(image: Any) -> Any:
        values: dict[str, Any] = dict(weights)
        for node in nodes:
            if node["op"] == "Placeholder":
                values[node["name"]] = image
            elif node["op"] != "Const":
                values[node["name"]] = operations[node["op"]](node, *(values[name] for name in node["input"]))
        return values[nodes[-1]["name"]]

    return run


def face_expression_net(folder: Path) -> Callable[[Any], Any]:
    """Return face-api's FaceExpressionNet as a function of `float32 (1, 112, 112, 3)` pixels from 0 to 255."""
    from feredge.keras import tf

    name = "face_expression_model"
    manifest = json.loads((folder / f"{name}-weights_manifest.json").read_text(encoding="utf-8"))
    weights = read_weights(manifest, (folder / f"{name}.bin").read_bytes())

    def convolution(image: Any, prefix: str, stride: int) -> Any:
        strides = [1, stride, stride, 1]
        if f"{prefix}/filters" in weights:
            result = tf.nn.conv2d(image, weights[f"{prefix}/filters"], strides, "SAME")
        else:
            kernels = weights[f"{prefix}/depthwise_filter"], weights[f"{prefix}/pointwise_filter"]
            result = tf.nn.separable_conv2d(image, *kernels, strides, "SAME")
        return result + weights[f"{prefix}/bias"]

    def dense_block(image: Any, name: str) -> Any:
        outputs = [tf.nn.relu(convolution(image, f"{name}/conv0", 2))]
        for number in range(1, 4):
            outputs.append(convolution(tf.nn.relu(tf.add_n(outputs)), f"{name}/conv{number}", 1))
        return tf.nn.relu(tf.add_n(outputs))

    def run(pixels: Any) -> Any:
        image = (pixels - np.array([122.782, 117.001, 104.298], np.float32)) / 255
        for block in range(4):
            image = dense_block(image, f"dense{block}")
        features = tf.reshape(tf.nn.avg_pool2d(image, 7, 2, "VALID"), [1, -1])
        return tf.nn.softmax(features @ weights["fc/weights"] + weights["fc/bias"])

    return run


def to_tflite(function: Callable[[Any], Any], shape: tuple[int, ...]) -> bytes:
    """Convert a function of one image to a float32 TensorFlow Lite model."""
    from feredge.keras import tf

    traced = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32)])
    module = tf.Module()
    module.function = traced
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], module).convert())
