"""Classical baselines: published scikit-learn systems, kept as ONNX files behind the runner interface.

`fit` fits systems to a run's own training split, for the benchmark; `reproduce` runs each by the protocol of the
study that published it. What is kept holds no pickle, and scikit-learn is needed for fitting only.
"""

from feredge.baselines.fitting import Fitted, fit
from feredge.baselines.reproducing import Reproduction, reproduce
from feredge.baselines.runner import open_baseline
from feredge.baselines.systems import DEFAULT, SYSTEMS, System, system
from feredge.callable_module import make_callable

__all__ = [
    "DEFAULT",
    "SYSTEMS",
    "Fitted",
    "Reproduction",
    "System",
    "fit",
    "open_baseline",
    "reproduce",
    "system",
]

make_callable(__name__, "feredge.api.classical:baselines")
