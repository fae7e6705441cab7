"""Classical baselines: published scikit-learn models, stored as ONNX files with the runner interface.

`fit` fits baselines to a run's training split, for the benchmark; `reproduce` runs each by the protocol of the study
that published it. No pickle is stored, and scikit-learn is needed for fitting only.
"""

from feredge.baselines.catalog import BASELINES, DEFAULT_BASELINES, Baseline, get_baseline
from feredge.baselines.fitting import FittedBaseline, fit
from feredge.baselines.reproducing import Reproduction, reproduce
from feredge.baselines.runner import open_baseline
from feredge.callable_module import make_callable

__all__ = [
    "BASELINES",
    "DEFAULT_BASELINES",
    "Baseline",
    "FittedBaseline",
    "Reproduction",
    "fit",
    "get_baseline",
    "open_baseline",
    "reproduce",
]

make_callable(__name__, "feredge.api.classical:baselines")
