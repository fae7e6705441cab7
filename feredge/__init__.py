"""feredge: facial-expression networks from face crops to the device, with proof of what was lost on the way.

Public names are loaded on first use, so that `import feredge` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feredge.errors import FeredgeError
    from feredge.inference.contract import CLASSES, InputContract
    from feredge.inference.face import Face
    from feredge.inference.predictor import Predictor

__version__ = "0.1.0"
__all__ = ["CLASSES", "Face", "FeredgeError", "InputContract", "Predictor"]

_HOMES = {
    "CLASSES": "feredge.inference.contract",
    "Face": "feredge.inference.face",
    "FeredgeError": "feredge.errors",
    "InputContract": "feredge.inference.contract",
    "Predictor": "feredge.inference.predictor",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'feredge' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
