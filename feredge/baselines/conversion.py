"""Fitted scikit-learn steps to one ONNX model in the input contract."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.inference.artifact import CARD_KEY, Card
from feredge.inference.contract import Images, InputContract

OPSETS = {"": 17, "ai.onnx.ml": 3, "com.microsoft": 1}
HEADER = '<ir_version: 8, opset_import: ["" : 17]>'  # joined models must have the same of both


@dataclass(frozen=True)
class Scaling:
    """Pixels to features: `(pixel - offset) / scale`, in float32 here and in the file."""

    offset: float
    scale: float

    def __call__(self, images: Images) -> NDArray[np.float32]:
        """Return `float32 (N, H * W)` for `uint8 (N, H, W)`."""
        flat = images.reshape(len(images), -1).astype(np.float32)
        return (flat - np.float32(self.offset)) / np.float32(self.scale)


def to_onnx(steps: list[Any], columns: NDArray[np.float32], card: Card, scaling: Scaling | None) -> bytes:
    """Return an ONNX file with `card` inside: pixels in, `float32 (N, classes)` out.

    Args:
        steps: fitted scikit-learn estimators, in the order of use; the last classifies or clusters.
        columns: `(scores, classes)`, 1 where a score of the last step, class or cluster, counts for a class.
        card: what the file says of itself.
        scaling: of the card's pixels; None for a file that takes ready features.
    """
    from onnx import checker, compose, helper

    parts = [compose.add_prefix(_convert(step), f"step{number}/") for number, step in enumerate(steps)]
    parts.append(_back(steps[-1], columns))
    if scaling is not None:
        parts.insert(0, _front(scaling, card.contract))
    model = parts[0]
    for part in parts[1:]:
        model = compose.merge_models(model, part, io_map=[(model.graph.output[0].name, part.graph.input[0].name)])
    # skl2onnx names its graphs at random, and equal fits shall give equal bytes.
    model.graph.name, model.graph.doc_string = "baseline", ""
    helper.set_model_props(model, {CARD_KEY: json.dumps(card.to_json(), sort_keys=True)})
    checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _front(scaling: Scaling, contract: InputContract) -> Any:
    """Return the model that makes features of pixels."""
    from onnx import parser

    height, width, channels = contract.shape
    return parser.parse_model(f"""{HEADER}
        pixels (uint8[N, {height}, {width}, {channels}] image) => (float[N, {height * width * channels}] features)
        <int64[2] rows = {{0, -1}}, float offset = {{{scaling.offset:.9g}}}, float scale = {{{scaling.scale:.9g}}}> {{
            raw = Cast<to = 1>(image)
            flat = Reshape(raw, rows)
            moved = Sub(flat, offset)
            features = Div(moved, scale)
        }}""")


def _convert(step: Any) -> Any:
    """Return one step as a model of one output."""
    from onnx import helper
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.base import is_classifier, is_clusterer
    from sklearn.neighbors import KNeighborsClassifier

    options: dict[str, Any] = {"zipmap": False} if is_classifier(step) else {}
    if isinstance(step, KNeighborsClassifier):
        options["optim"] = "cdist"  # onnxruntime's own operator; the other way loops over the rows
    model = convert_sklearn(
        step,
        initial_types=[("features", FloatTensorType([None, step.n_features_in_]))],
        options={id(step): options},
        target_opset=OPSETS,
    )
    domains = {used.domain for used in model.opset_import}
    del model.opset_import[:]  # skl2onnx names the lowest version that would do, and some domains twice
    model.opset_import.extend(helper.make_opsetid(domain, OPSETS[domain]) for domain in sorted(domains))
    if is_classifier(step) or is_clusterer(step):
        del model.graph.output[0]  # the label; probabilities or distances stay
    for node in model.graph.node:
        if node.op_type == "TreeEnsembleClassifier":
            _drop_zeros(node)
    return model


def _drop_zeros(forest: Any) -> None:
    """Leave out of a forest the classes that a leaf does not hold: most of the file, where trees are whole."""
    attributes = {attribute.name: attribute for attribute in forest.attribute}
    held = np.array(attributes["class_weights"].floats) != 0
    for name in ("class_ids", "class_nodeids", "class_treeids", "class_weights"):
        values = attributes[name].floats if name == "class_weights" else attributes[name].ints
        kept = np.array(values)[held].tolist()
        del values[:]
        values.extend(kept)
    for name in ("nodes_hitrates", "nodes_missing_value_tracks_true"):  # optional, and nothing here is missing
        if name in attributes:
            forest.attribute.remove(attributes[name])


def _back(last: Any, columns: NDArray[np.float32]) -> Any:
    """Return the model that makes class probabilities of what the last step gives."""
    from onnx import parser
    from sklearn.base import is_clusterer
    from sklearn.svm import SVC

    scores, classes = columns.shape
    if is_clusterer(last):  # given distances: 1 for the nearest
        body = "near = ArgMin<axis = 1>(given) same = Equal(near, numbers) score = Cast<to = 1>(same)"
    elif isinstance(last, SVC):  # given sums of votes: in their order, but not calibrated
        body = "score = Softmax<axis = 1>(given)"
    else:
        body = "score = Identity(given)"
    numbers, values = (", ".join(map(str, values)) for values in (range(scores), columns.ravel().tolist()))
    return parser.parse_model(f"""{HEADER}
        classes (float[N, {scores}] given) => (float[N, {classes}] probabilities)
        <int64[1, {scores}] numbers = {{{numbers}}}, float[{scores}, {classes}] columns = {{{values}}}> {{
            {body}
            probabilities = MatMul(score, columns)
        }}""")
