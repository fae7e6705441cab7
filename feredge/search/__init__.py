"""Search for the network that fits a device: spaces of recipes, and studies on Optuna. TensorFlow comes in on use."""

from feredge.callable_module import make_callable

make_callable(__name__, "feredge.api.searching:search")
