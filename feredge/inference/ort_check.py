"""Checks a model in ORT format before onnxruntime loads it.

onnxruntime verifies the flatbuffer's offsets itself; this checks operators, weights and metadata. Fields: `ort.fbs`,
https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/flatbuffers/schema/ort.fbs.
"""

from __future__ import annotations

from feredge.errors import ArtifactError
from feredge.inference.flatbuffer_reader import FlatbufferReader
from feredge.inference.onnx_check import check_operators

ORT_SCHEMA = {
    "Session": (("version", "string"), ("model", "Model"), ("session state", "refused"), ("kernel_types", "union")),
    "Model": (
        ("ir_version", "q"),
        ("opset_import", "[OperatorSet]"),
        ("producer_name", "string"),
        ("producer_version", "string"),
        ("domain", "string"),
        ("model_version", "q"),
        ("doc_string", "string"),
        ("graph", "Graph"),
        ("graph_doc_string", "string"),
        ("metadata", "[Entry]"),
    ),
    "OperatorSet": (("domain", "string"), ("version", "q")),
    "Entry": (("key", "string"), ("value", "string")),
    "Graph": (
        ("initializers", "[Tensor]"),
        ("node_args", "[ValueInfo]"),
        ("nodes", "[Node]"),
        ("max_node_index", "I"),
        ("node_edges", "[NodeEdge]"),
        ("inputs", "[string]"),
        ("outputs", "[string]"),
        ("sparse_initializers", "[union]"),
        ("runtime_optimizations", "union"),
    ),
    "Tensor": (
        ("name", "string"),
        ("doc_string", "string"),
        ("dims", "[q]"),
        ("data_type", "i"),
        ("raw_data", "[B]"),
        ("string_data", "[string]"),
        ("weights in another file", "refused"),
    ),
    "ValueInfo": (("name", "string"), ("doc_string", "string"), ("type", "union")),
    "Node": (
        ("name", "string"),
        ("doc_string", "string"),
        ("domain", "string"),
        ("since_version", "i"),
        ("index", "I"),
        ("op_type", "string"),
        ("type", "i"),
        ("provider", "string"),
        ("inputs", "[string]"),
        ("outputs", "[string]"),
        ("attributes", "[Attribute]"),
        ("input_arg_counts", "[i]"),
        ("implicit_inputs", "[string]"),
    ),
    "NodeEdge": (("node_index", "I"), ("input_edges", "union"), ("output_edges", "union")),
    "Attribute": (
        ("name", "string"),
        ("doc_string", "string"),
        ("type", "i"),
        ("f", "f"),
        ("i", "q"),
        ("s", "string"),
        ("t", "Tensor"),
        ("g", "union"),
        ("floats", "[f]"),
        ("ints", "[q]"),
        ("strings", "[string]"),
        ("tensors", "[Tensor]"),
        ("graphs", "[union]"),
    ),
}


def check_ort(model: bytes) -> dict[str, str]:
    """Check an ORT-format model as `onnx_check.check_onnx` does, and return its metadata.

    Raises:
        ArtifactError: another format, damaged, or contents that are refused. The text does not name the file.
    """
    parsed = FlatbufferReader(model, ORT_SCHEMA).root("Session", b"ORTM").get("model", {})
    graph = parsed.get("graph", {})
    nodes = graph.get("nodes", [])
    check_operators({(node.get("domain", ""), node.get("op_type", "")) for node in nodes})
    attributes = [attribute for node in nodes for attribute in node.get("attributes", [])]
    if graph.get("sparse_initializers") or any(attr.get("graphs") or "g" in attr for attr in attributes):
        raise ArtifactError("expected one graph of dense weights, found subgraphs or sparse weights")
    node_limit = graph.get("max_node_index", 0)
    edges = graph.get("node_edges", [])
    if any(node.get("index", 0) >= node_limit for node in nodes) or any(
        edge.get("node_index", 0) >= node_limit for edge in edges
    ):
        raise ArtifactError(f"expected node indices below {node_limit}, found a larger one")
    return {entry.get("key", ""): entry.get("value", "") for entry in parsed.get("metadata", [])}
