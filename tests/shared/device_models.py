"""The smallest models in the input contract: every pixel times a weight a class, then softmax."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from feredge.inference.artifact import CARD_KEY, Card
from feredge.inference.contract import CLASSES, InputContract
from feredge.inference.embedded_card import append_tflite_card


def card(**changes: Any) -> Card:
    values: dict[str, Any] = {
        "variant": "dense",
        "precision": "float32",
        "classes": CLASSES,
        "contract": InputContract(),
    }
    return Card(**{**values, **changes})


def weights(contract: InputContract, classes: int, seed: int = 1) -> np.ndarray:
    """`float32 (pixels, classes)`, scaled so that winners are clear and differ from picture to picture."""
    pixels = int(np.prod(contract.shape))
    return np.random.default_rng(seed).normal(0, 4 / np.sqrt(pixels), (pixels, classes)).astype(np.float32)


def expected(batch: np.ndarray, seed: int = 1) -> np.ndarray:
    """What the models below answer, by numpy: `float64 (N, 7)`."""
    contract = InputContract(*batch.shape[1:])
    logits = batch.reshape(len(batch), -1) / 255 @ weights(contract, len(CLASSES), seed).astype(np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def write_onnx(path: Path, *, with_card: Card | None = None, outputs: int = 7, last: str = "Softmax") -> Path:
    """Write the model as ONNX. `last` is its last operation; `with_card=None` leaves the card out."""
    contract = with_card.contract if with_card else InputContract()
    scaled = weights(contract, outputs) / np.float32(255)
    return write_linear(path, scaled, np.zeros(outputs, np.float32), with_card, last=last)


def write_linear(
    path: Path, weights: np.ndarray, bias: np.ndarray, with_card: Card | None, *, last: str = "Softmax"
) -> Path:
    """Write softmax(flatten(pixels) @ weights + bias) as ONNX."""
    from onnx import TensorProto, helper

    contract = with_card.contract if with_card else InputContract()
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
        helper.make_node(last, ["logits"], ["probabilities"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", *contract.shape])
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(bias)])
    return save_onnx(path, nodes, image, answer, {"weights": weights, "bias": bias}, with_card)


def save_onnx(
    path: Path, nodes: list[Any], taken: Any, given: Any, constants: dict[str, Any], with_card: Card | None = None
) -> Path:
    """Write a graph of one input and one output."""
    import onnx
    from onnx import helper, numpy_helper

    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, path.stem, [taken], [given], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if with_card is not None:
        model.metadata_props.add(key=CARD_KEY, value=json.dumps(with_card.to_json()))
    onnx.save(model, path)
    return path


def write_tflite(path: Path, *, with_card: Card | None = None) -> Path:
    """Write the same model as TensorFlow Lite, built with LiteRT's own schema."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    with_card = with_card or card()
    contract, classes = with_card.contract, len(with_card.classes)
    pixels = int(np.prod(contract.shape))
    model = schema.ModelT()
    model.version, model.description = 3, "small"
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, model.operatorCodes = [], [], []

    def tensor(name: str, shape: list[int], kind: int, value: np.ndarray | None = None) -> int:
        one = schema.TensorT()
        one.name, one.shape, one.type = name, shape, kind
        if value is None:
            one.shapeSignature, one.buffer = [-1, *shape[1:]], 0
        else:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(value.tobytes(), np.uint8)
            model.buffers.append(buffer)
            one.buffer = len(model.buffers) - 1
        graph.tensors.append(one)
        return len(graph.tensors) - 1

    def operator(code: int, inputs: list[int], outputs: list[int], kind: int, options: Any) -> None:
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = 1
        model.operatorCodes.append(entry)
        one = schema.OperatorT()
        one.opcodeIndex, one.inputs, one.outputs = len(model.operatorCodes) - 1, inputs, outputs
        one.builtinOptionsType, one.builtinOptions = kind, options
        graph.operators.append(one)

    floats, ints = schema.TensorType.FLOAT32, schema.TensorType.INT32
    image = tensor("image", [1, *contract.shape], schema.TensorType.UINT8)
    cast = tensor("cast", [1, *contract.shape], floats)
    row = tensor("row", [1, pixels], floats)
    logits = tensor("logits", [1, classes], floats)
    answer = tensor("probabilities", [1, classes], floats)
    flat = tensor("flat", [2], ints, np.array([-1, pixels], np.int32))
    kernel = np.ascontiguousarray(weights(contract, classes).T / np.float32(255))
    matrix = tensor("weights", [classes, pixels], floats, kernel)
    operators, options = schema.BuiltinOperator, schema.BuiltinOptions
    operator(operators.CAST, [image], [cast], options.CastOptions, schema.CastOptionsT())
    operator(operators.RESHAPE, [cast, flat], [row], options.ReshapeOptions, schema.ReshapeOptionsT())
    dense = schema.FullyConnectedOptionsT()
    operator(operators.FULLY_CONNECTED, [row, matrix, -1], [logits], options.FullyConnectedOptions, dense)
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    operator(operators.SOFTMAX, [logits], [answer], options.SoftmaxOptions, softmax)
    graph.inputs, graph.outputs = [image], [answer]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(append_tflite_card(bytes(builder.Output()), with_card))
    return path


def faces(count: int, seed: int = 1, channels: int | None = None) -> list[np.ndarray]:
    """Smooth random pictures of many sizes; they stand in for faces where only the way through matters."""
    import cv2

    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        height, width = (int(side) for side in random.integers(30, 130, 2))
        coarse = random.integers(0, 256, (6, 6) if channels is None else (6, 6, channels), np.uint8)
        found.append(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return found


def write_yunet(path: Path) -> Path:
    """Write a model with YuNet's inputs and outputs that always sees one face, in the first cell of stride 32.

    There the score is `sqrt(cls * obj)`; the centre is `(0.5, 0.5) * 32`, the sides are `exp(log 2) * 32`.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, outputs, constants = [], [], []
    for stride in (8, 16, 32):
        cells = (320 // stride) ** 2
        for name, width, first in (("cls", 1, 1.0), ("obj", 1, 1.0), ("bbox", 4, None), ("kps", 10, 0.0)):
            value = np.zeros((1, cells, width), np.float32)
            if stride == 32:
                value[0, 0] = first if first is not None else [0.5, 0.5, np.log(2), np.log(2)]
            constants.append(numpy_helper.from_array(value, f"{name}{stride}"))
            nodes += [
                helper.make_node("Mul", ["none", f"{name}{stride}"], [f"zero_{name}{stride}"]),
                helper.make_node("Add", [f"zero_{name}{stride}", f"{name}{stride}"], [f"{name}_{stride}"]),
            ]
            outputs.append(helper.make_tensor_value_info(f"{name}_{stride}", TensorProto.FLOAT, value.shape))
    mean = helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0)
    flat = helper.make_node("Reshape", ["mean", "one"], ["level"])
    none = helper.make_node("Mul", ["level", "zero"], ["none"])
    constants += [
        numpy_helper.from_array(np.zeros((1, 1, 1), np.float32), "zero"),
        numpy_helper.from_array(np.array([1, 1, 1], np.int64), "one"),
    ]
    pixels = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 320, 320])
    graph = helper.make_graph([mean, flat, none, *nodes], "yunet", [pixels], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7), path)
    return path


def draw_face(side: int) -> np.ndarray:
    """A gray face as the Haar cascade knows one: bright forehead, nose and cheeks; dark brows, eyes and mouth."""
    import cv2

    picture = np.full((200, 200), 100, np.uint8)

    def ellipse(x: int, y: int, across: int, down: int, tone: int) -> None:
        cv2.ellipse(picture, (x, y), (across, down), 0, 0, 360, tone, -1)

    ellipse(100, 105, 70, 92, 190)
    for x in (70, 130):
        ellipse(x, 80, 22, 13, 110)
        ellipse(x, 82, 13, 7, 60)
        ellipse(x, 64, 24, 6, 70)
    ellipse(100, 105, 10, 28, 215)
    ellipse(100, 132, 16, 5, 130)
    ellipse(100, 156, 30, 9, 90)
    return cv2.resize(cv2.GaussianBlur(picture, (0, 0), 4), (side, side), interpolation=cv2.INTER_AREA)


def draw_frame(channels: int = 3) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """A 640x480 picture with two drawn faces, and where they were put, the larger first."""
    frame = np.full((480, 640), 100, np.uint8)
    places = [(50, 100, 200, 200), (400, 200, 120, 120)]
    for x, y, width, height in places:
        frame[y : y + height, x : x + width] = draw_face(width)
    return (frame if channels == 1 else np.repeat(frame[:, :, None], channels, axis=2)), places
