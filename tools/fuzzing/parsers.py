"""Parsers that a case should reach: functions whose calls show that it got past magic, lengths and digests."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

REACHED_PARSERS: set[str] = set()
"""Names of the parsers that the current case has reached."""


@dataclass(frozen=True)
class Parser:
    """A function whose calls are recorded.

    Attributes:
        path: `module:name` or `module:Class.name`.
        counts: whether a call with this result counts; None counts every call, also one that raises or crashes.
    """

    path: str
    counts: Callable[[Any], bool] | None = None


PARSERS_BY_NAME = {
    "cv2.imdecode": [Parser("cv2:imdecode")],
    "netpbm": [Parser("feredge.inference.netpbm:decode_binary")],
    "libheif": [Parser("feredge.inference.picture_formats:decode_heif")],
    "csv rows": [Parser("feredge.data.fer2013_csv:_parse_block", lambda part: part.row_count > 0)],
    "votes rows": [Parser("feredge.data.votes:_parse_count")],
    "onnxruntime": [Parser("onnxruntime:InferenceSession.__init__")],
    "LiteRT": [Parser("ai_edge_litert.interpreter:Interpreter.__init__")],
    "C generator": [Parser("feredge.export.c.model:_check_types")],
    "h5py": [Parser("h5py:File.__init__", lambda _: True)],
    "Keras": [Parser("tf_keras.models:load_model"), Parser("keras.saving:load_model")],
    "npy array": [Parser("numpy.lib.format:read_array"), Parser("numpy.lib.format:read_array_header_1_0")],
    "results": [Parser("feredge.benchmark.results:Results._check")],
    "manifest": [Parser("feredge.inference.artifact:Entry.__init__")],
    "settings": [Parser("feredge.dataclass_io:read")],
    "multipart": [Parser("feredge.serve.request:form_files", bool)],
    "base64 JSON": [Parser("feredge.serve.request:json_pictures", lambda pictures: bool(pictures[1]))],
}


def record_calls(names: set[str]) -> None:
    """Replace the named parsers by functions that add their name to REACHED_PARSERS and call them."""
    for name in names:
        for parser in PARSERS_BY_NAME[name]:
            module, _, path = parser.path.partition(":")
            owner: Any = importlib.import_module(module)
            *classes, attribute = path.split(".")
            for class_name in classes:
                owner = getattr(owner, class_name)
            setattr(owner, attribute, _recorded(getattr(owner, attribute), name, parser.counts))


def _recorded(function: Any, name: str, counts: Callable[[Any], bool] | None) -> Any:
    def call(*arguments: Any, **options: Any) -> Any:
        if counts is None:
            REACHED_PARSERS.add(name)
        result = function(*arguments, **options)
        if counts is not None and counts(result):
            REACHED_PARSERS.add(name)
        return result

    return call
