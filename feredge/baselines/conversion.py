"""Conversion of fitted scikit-learn steps to one ONNX model with the input contract."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from feredge.baselines.catalog import Estimator
from feredge.inference.artifact import CARD_KEY, Card
from feredge.inference.contract import Images, InputContract

ModelProto: TypeAlias = Any
NodeProto: TypeAlias = Any
"""Types of onnx, which has no annotations."""

TARGET_OPSETS = {"": 17, "ai.onnx.ml": 3, "com.microsoft": 1}
MODEL_HEADER = '<ir_version: 8, opset_import: ["" : 17]>'  # merged models must agree on both


@dataclass(frozen=True)
class Scaling:
    """Scaling of pixels to features, `(pixel - offset) / scale` in float32, in numpy and in the ONNX file."""

    offset: float
    scale: float

    def __call__(self, images: Images) -> NDArray[np.float32]:
        """Return `float32 (N, H * W * C)` for `uint8 (N, H, W, C)`."""
        flat = images.reshape(len(images), -1).astype(np.float32)
        return (flat - np.float32(self.offset)) / np.float32(self.scale)


def to_onnx(steps: list[Estimator], class_matrix: NDArray[np.float32], card: Card, scaling: Scaling | None) -> bytes:
    """Return an ONNX file with `card` as metadata: `uint8` pixels in, `float32 (N, classes)` out.

    Args:
        steps: fitted scikit-learn estimators, in the order of a pipeline; the last is a classifier or clusterer.
        class_matrix: `(scores, classes)`, 1 where a score of the last step, of a class or cluster, is for a class.
        card: metadata of the file.
        scaling: preprocessing of the pixels; None for a file whose input is precomputed features.
    """
    from onnx import checker, compose, helper

    parts = [compose.add_prefix(_convert_step(step), f"step{number}/") for number, step in enumerate(steps)]
    parts.append(_class_model(steps[-1], class_matrix))
    if scaling is not None:
        parts.insert(0, _preprocessing_model(scaling, card.contract))
    model = parts[0]
    for part in parts[1:]:
        model = compose.merge_models(model, part, io_map=[(model.graph.output[0].name, part.graph.input[0].name)])
    # skl2onnx names its graphs at random; equal fits must give equal bytes.
    model.graph.name, model.graph.doc_string = "baseline", ""
    helper.set_model_props(model, {CARD_KEY: json.dumps(card.to_json(), sort_keys=True)})
    checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _preprocessing_model(scaling: Scaling, contract: InputContract) -> ModelProto:
    """Return the model from pixels to features."""
    from onnx import parser

    height, width, channels = contract.shape
    return parser.parse_model(f"""{MODEL_HEADER}
        pixels (uint8[N, {height}, {width}, {channels}] image) => (float[N, {height * width * channels}] features)
        <int64[2] rows = {{0, -1}}, float offset = {{{scaling.offset:.9g}}}, float scale = {{{scaling.scale:.9g}}}> {{
            raw = Cast<to = 1>(image)
            flat = Reshape(raw, rows)
            moved = Sub(flat, offset)
            features = Div(moved, scale)
        }}""")


def _convert_step(step: Estimator) -> ModelProto:
    """Return one step as a model with one output."""
    from onnx import helper
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.base import is_classifier, is_clusterer
    from sklearn.neighbors import KNeighborsClassifier

    options: dict[str, Any] = {"zipmap": False} if is_classifier(step) else {}
    if isinstance(step, KNeighborsClassifier):
        options["optim"] = "cdist"  # onnxruntime's operator; the standard conversion loops over the rows
    model = convert_sklearn(
        step,
        initial_types=[("features", FloatTensorType([None, step.n_features_in_]))],
        options={id(step): options},
        target_opset=TARGET_OPSETS,
    )
    domains = {opset.domain for opset in model.opset_import}
    del model.opset_import[:]  # skl2onnx lists the lowest sufficient version, and some domains twice
    model.opset_import.extend(helper.make_opsetid(domain, TARGET_OPSETS[domain]) for domain in sorted(domains))
    if is_classifier(step) or is_clusterer(step):
        del model.graph.output[0]  # the label; probabilities or distances remain
    for node in model.graph.node:
        if node.op_type == "TreeEnsembleClassifier":
            _drop_zeros(node)
    return model


def _drop_zeros(forest: NodeProto) -> None:
    """Remove the zero class weights of a forest's leaves: most of the file, if the trees have full depth."""
    attributes = {attribute.name: attribute for attribute in forest.attribute}
    nonzero = np.array(attributes["class_weights"].floats) != 0
    for name in ("class_ids", "class_nodeids", "class_treeids", "class_weights"):
        values = attributes[name].floats if name == "class_weights" else attributes[name].ints
        remaining = np.array(values)[nonzero].tolist()
        del values[:]
        values.extend(remaining)
    for name in ("nodes_hitrates", "nodes_missing_value_tracks_true"):  # optional, and no feature is missing
        if name in attributes:
            forest.attribute.remove(attributes[name])


def _class_model(final_step: Estimator, class_matrix: NDArray[np.float32]) -> ModelProto:
    """Return the model from the last step's output to class probabilities."""
    from onnx import parser
    from sklearn.base import is_clusterer
    from sklearn.svm import SVC

    scores, classes = class_matrix.shape
    if is_clusterer(final_step):  # distances: 1 for the nearest
        body = "near = ArgMin<axis = 1>(given) same = Equal(near, numbers) score = Cast<to = 1>(same)"
    elif isinstance(final_step, SVC):  # sums of pairwise votes: the order is kept, not calibrated
        body = "score = Softmax<axis = 1>(given)"
    else:
        body = "score = Identity(given)"
    numbers, values = (", ".join(map(str, values)) for values in (range(scores), class_matrix.ravel().tolist()))
    return parser.parse_model(f"""{MODEL_HEADER}
        classes (float[N, {scores}] given) => (float[N, {classes}] probabilities)
        <int64[1, {scores}] numbers = {{{numbers}}}, float[{scores}, {classes}] columns = {{{values}}}> {{
            {body}
            probabilities = MatMul(score, columns)
        }}""")
