"""Checks an ONNX file before onnxruntime loads it, by a protobuf reader that does not need the onnx package.

Only what the checks need is read: operators, subgraphs, functions, metadata, weight locations. The wire format is
https://protobuf.dev/programming-guides/encoding, the fields' numbers are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Repeated occurrences of a singular field are all checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from feredge.errors import ArtifactError

ALLOWED_DOMAINS = frozenset(
    ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"),
)
"""Operator set domains that onnxruntime itself implements."""
REFUSED_OPERATORS = frozenset((
    "Loop", "If", "Scan", "SequenceMap", "BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch",
    "EPContext", "PythonOp", "PythonOpGrad", "TritonOp", "ATen",
))  # fmt: skip
"""Operators with control flow or search loops, and those that run external code or compiled graphs."""
DEPTH_LIMIT = 32
"""Maximum nesting depth of graphs."""
METADATA_LIMIT = 1 << 20
"""Maximum bytes of a metadata key or value."""
_TENSOR_EXTERNAL = 1  # TensorProto.DataLocation.EXTERNAL


@dataclass
class OnnxContents:
    """The contents of an ONNX model that are checked.

    Attributes:
        operators: (domain, operator) of every node, including subgraphs.
        metadata: the model's metadata by key; values of a repeated key are joined by newlines.
        external_data: of each tensor stored in another file, its `location`, `offset` and other entries.
        subgraphs: whether any node has a graph attribute.
        functions: whether the file defines functions or training graphs.
    """

    operators: set[tuple[str, str]] = field(default_factory=set)
    metadata: dict[str, str] = field(default_factory=dict)
    external_data: list[dict[str, str]] = field(default_factory=list)
    subgraphs: bool = False
    functions: bool = False


def read_onnx(model: bytes) -> OnnxContents:
    """Parse an ONNX model; ArtifactError, whose text does not name the file, if it is none."""
    if model[4:8] == b"ORTM":  # onnxruntime would read it in its own format
        raise ArtifactError("expected an ONNX model, found one in ORT format")
    contents = OnnxContents()
    graphs = 0
    for number, value in _fields(model, 0, len(model)):
        if not isinstance(value, tuple):
            continue
        if number == 7:
            graphs += 1
            _read_graph(model, value, contents, 0)
        elif number == 14:
            _read_metadata(model, value, contents.metadata)
        elif number in (20, 25):  # training and functions
            contents.functions = True
    if not graphs:
        raise ArtifactError("expected an ONNX model, found a file without a graph")
    return contents


def check_onnx(contents: OnnxContents) -> None:
    """Check that a model uses only onnxruntime's operators, no control flow, and no external weights.

    Raises:
        ArtifactError: a refused operator, a subgraph, a function or external data. The text does not name the file.
    """
    check_operators(contents.operators)
    if contents.subgraphs or contents.functions:
        raise ArtifactError("expected one graph of operators, found subgraphs or functions")
    if contents.external_data:
        location = contents.external_data[0].get("location", "")
        raise ArtifactError(f"expected a file that holds all its weights, found some in another file, {location!r:.80}")


def check_operators(operators: set[tuple[str, str]]) -> None:
    """Raise ArtifactError for an operator, `(domain, name)`, with control flow or of a domain not onnxruntime's."""
    for domain, name in sorted(operators):
        if domain not in ALLOWED_DOMAINS:
            raise ArtifactError(f"expected operators that onnxruntime implements, found {name!r:.60} of {domain!r:.60}")
        if name in REFUSED_OPERATORS:
            raise ArtifactError(f"expected operators without control flow, found {name}")


def _read_graph(model: bytes, span: tuple[int, int], contents: OnnxContents, depth: int) -> None:
    if depth > DEPTH_LIMIT:
        raise ArtifactError(f"expected graphs nested at most {DEPTH_LIMIT} deep, found more")
    for number, value in _fields(model, *span):
        if not isinstance(value, tuple):
            continue
        if number == 1:
            _read_node(model, value, contents, depth)
        elif number == 5:
            _read_tensor(model, value, contents)
        elif number == 15:
            _read_sparse(model, value, contents)


def _read_node(model: bytes, span: tuple[int, int], contents: OnnxContents, depth: int) -> None:
    names, domains = [], []
    for number, value in _fields(model, *span):
        if not isinstance(value, tuple):
            continue
        if number == 4:
            names.append(_text(model, value))
        elif number == 7:
            domains.append(_text(model, value))
        elif number == 5:
            for attribute, part in _fields(model, *value):
                if not isinstance(part, tuple):
                    continue
                if attribute in (6, 11):
                    contents.subgraphs = True
                    _read_graph(model, part, contents, depth + 1)
                elif attribute in (5, 10):
                    _read_tensor(model, part, contents)
                elif attribute in (22, 23):
                    _read_sparse(model, part, contents)
    contents.operators |= {(domain, name) for domain in domains or [""] for name in names}


def _read_tensor(model: bytes, span: tuple[int, int], contents: OnnxContents) -> None:
    entries: dict[str, str] = {}
    external = False
    for number, value in _fields(model, *span):
        if number == 13 and isinstance(value, tuple):
            external = True
            _read_metadata(model, value, entries)
        elif number == 14 and value == _TENSOR_EXTERNAL:
            external = True
    if external:
        contents.external_data.append(entries)


def _read_sparse(model: bytes, span: tuple[int, int], contents: OnnxContents) -> None:
    for number, value in _fields(model, *span):
        if number in (1, 2) and isinstance(value, tuple):
            _read_tensor(model, value, contents)


def _read_metadata(model: bytes, span: tuple[int, int], entries: dict[str, str]) -> None:
    """Read a StringStringEntryProto into `entries`."""
    key = text = ""
    for number, value in _fields(model, *span):
        if isinstance(value, tuple) and number in (1, 2):
            if value[1] - value[0] > METADATA_LIMIT:
                raise ArtifactError(
                    f"expected metadata of at most {METADATA_LIMIT:,} bytes, found {value[1] - value[0]:,}"
                )
            key, text = (_text(model, value), text) if number == 1 else (key, _text(model, value))
    entries[key] = f"{entries[key]}\n{text}" if key in entries else text


def _text(model: bytes, span: tuple[int, int]) -> str:
    return model[slice(*span)].decode(errors="backslashreplace")


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int | tuple[int, int]]]:
    """Yield each field of a protobuf message as its number and its value: an integer, or the span of its bytes."""
    while at < end:
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at, end)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(data, at, end)
        else:
            length = {1: 8, 5: 4}.get(wire, end)  # ONNX has no groups
        if not 0 < number < 1 << 29 or at + length > end:
            raise ArtifactError(f"expected an ONNX model, found an invalid field at byte {at}")
        yield number, (at, at + length)
        at += length


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, at
        shift += 7
    raise ArtifactError(f"expected an ONNX model, found an invalid varint at byte {at}")
