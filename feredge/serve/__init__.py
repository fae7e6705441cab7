"""The Predictor behind HTTP. Needs the extra `feredge[serve]`."""

from feredge.callable_module import make_callable

make_callable(__name__, "feredge.api.serving:serve")
