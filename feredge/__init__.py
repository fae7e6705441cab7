"""feredge: facial-expression networks from face crops to the device, with the accuracy drop measured on the way.

Every command of `feredge` is a function here: `feredge.train(...)`, `feredge.export(...)`, ... Public names are
imported on first use, so that `import feredge` costs next to nothing.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feredge.api.benchmarking import Device, benchmark
    from feredge.api.bundling import bundle
    from feredge.api.calibrating import calibrate
    from feredge.api.classical import baselines
    from feredge.api.datasets import data_check, data_info
    from feredge.api.diagnosing import doctor
    from feredge.api.distillation import soft_labels
    from feredge.api.exporting import export
    from feredge.api.inspecting import inspect, models, recipes
    from feredge.api.labelling import label
    from feredge.api.layer_sensitivity import sensitivity
    from feredge.api.pipeline import run
    from feredge.api.plotting import plots
    from feredge.api.predicting import predict
    from feredge.api.predictor_options import PredictorOptions
    from feredge.api.regression_gate import Baseline
    from feredge.api.reporting import report, select
    from feredge.api.searching import estimate_search, search, study
    from feredge.api.serving import serve
    from feredge.api.submitting import submit
    from feredge.api.torch_export import from_torch
    from feredge.api.tracking import TrackOptions, track
    from feredge.api.training import TrainOptions, train
    from feredge.api.verifying import verify
    from feredge.errors import Cancelled, FeredgeError
    from feredge.inference.contract import CLASSES, InputContract
    from feredge.inference.face import UNSURE_LABEL, Face
    from feredge.inference.foreign import ForeignModel
    from feredge.inference.predictor import Predictor

__version__ = "0.1.0"

_NAME_MODULES = {
    "CLASSES": "feredge.inference.contract",
    "UNSURE_LABEL": "feredge.inference.face",
    "Baseline": "feredge.api.regression_gate",
    "Cancelled": "feredge.errors",
    "Device": "feredge.api.benchmarking",
    "Face": "feredge.inference.predictor",
    "FeredgeError": "feredge.errors",
    "ForeignModel": "feredge.inference.foreign",
    "InputContract": "feredge.inference.contract",
    "Predictor": "feredge.inference.predictor",
    "PredictorOptions": "feredge.api.predictor_options",
    "TrackOptions": "feredge.api.tracking",
    "TrainOptions": "feredge.api.training",
    "bundle": "feredge.api.bundling",
    "calibrate": "feredge.api.calibrating",
    "data_check": "feredge.api.datasets",
    "data_info": "feredge.api.datasets",
    "doctor": "feredge.api.diagnosing",
    "estimate_search": "feredge.api.searching",
    "from_torch": "feredge.api.torch_export",
    "inspect": "feredge.api.inspecting",
    "models": "feredge.api.inspecting",
    "predict": "feredge.api.predicting",
    "select": "feredge.api.reporting",
    "sensitivity": "feredge.api.layer_sensitivity",
    "soft_labels": "feredge.api.distillation",
    "study": "feredge.api.searching",
    "submit": "feredge.api.submitting",
    "track": "feredge.api.tracking",
    "verify": "feredge.api.verifying",
}
"""Where each public name is defined."""
_DEPRECATED_NAMES: dict[str, str] = {}
"""Public names that were replaced, and the names that replaced them; CONTRIBUTING.md says for how long."""
_CALLABLE_MODULES = (
    *("baselines", "benchmark", "export", "label", "plots", "recipes", "report", "run", "search", "serve", "train"),
)
"""Functions whose names are modules of the package too: see `feredge.callable_module`."""

__all__ = [
    "CLASSES",
    "UNSURE_LABEL",
    "Baseline",
    "Cancelled",
    "Device",
    "Face",
    "FeredgeError",
    "ForeignModel",
    "InputContract",
    "Predictor",
    "PredictorOptions",
    "TrackOptions",
    "TrainOptions",
    "baselines",
    "benchmark",
    "bundle",
    "calibrate",
    "data_check",
    "data_info",
    "doctor",
    "estimate_search",
    "export",
    "from_torch",
    "inspect",
    "label",
    "models",
    "plots",
    "predict",
    "recipes",
    "report",
    "run",
    "search",
    "select",
    "sensitivity",
    "serve",
    "soft_labels",
    "study",
    "submit",
    "track",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _DEPRECATED_NAMES:
        replacement = _DEPRECATED_NAMES[name]
        message = f"feredge.{name} is deprecated, use feredge.{replacement}"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(sys.modules[__name__], replacement)
    if name in _CALLABLE_MODULES:
        return importlib.import_module(f"feredge.{name}")
    if name not in _NAME_MODULES:
        raise AttributeError(f"module 'feredge' has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAME_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
