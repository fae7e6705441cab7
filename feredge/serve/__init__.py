"""The Predictor as an HTTP service. Needs the extra `feredge[serve]`."""

from feredge.callable_module import make_callable

make_callable(__name__, "feredge.api.serving:serve")
