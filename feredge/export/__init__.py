"""Export of a trained run to verified TFLite and ONNX files: `export`. TensorFlow is imported when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from feredge.callable_module import make_callable

if TYPE_CHECKING:
    from feredge.export.exporter import export

__all__ = ["export"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'feredge.export' has no attribute {name!r}")
    from feredge.export import exporter

    return getattr(exporter, name)


make_callable(__name__, "feredge.api.exporting:export")
