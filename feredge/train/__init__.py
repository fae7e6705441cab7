"""Training: `train` fits a recipe's network, `load_model` loads it. TensorFlow is imported lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from feredge.callable_module import make_callable

if TYPE_CHECKING:
    from feredge.train.record import load_model
    from feredge.train.training import train

__all__ = ["load_model", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'feredge.train' has no attribute {name!r}")
    from feredge.train import record, training

    return getattr({"load_model": record, "train": training}[name], name)


make_callable(__name__, "feredge.api.training:train")
