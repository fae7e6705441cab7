"""Networks of the user's own: the function that a recipe names, `network.builder = "module:function"`.

Its code runs, as the recipe's owner wants; a recipe from elsewhere is to be read before it is used. A recipe in the
card of a model file never runs any: see importing/from_onnx.py.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from feredge.errors import RecipeError, one_line
from feredge.keras import Tensor


def custom_features(builder: str, pixels: Tensor) -> Tensor:
    """Call the function `module:function` with `pixels` in [0, 1], `float32 (N, H, W, C)`. Return its `(N, features)`.

    The module is one that Python can import, or one in the working directory. The function uses layers of tf_keras; the
    last dense layer and the softmax are added to its features.

    Raises:
        RecipeError: no such function, whatever it raises, or features of another shape.
    """
    function = _import_function(builder)
    try:
        features = function(pixels)
        shape = tuple(features.shape)
    except Exception as error:  # of the user's own code
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise RecipeError(f"network.builder: {builder} raises {reason}") from error
    if len(shape) != 2 or shape[1] is None:
        raise RecipeError(f"network.builder: expected {builder} to return (N, features), found {shape}")
    return features


def _import_function(builder: str) -> Any:
    module, _, name = builder.partition(":")
    folder = str(Path.cwd())
    sys.path.append(folder)
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise RecipeError(f"network.builder: expected a function {builder}, found none ({one_line(error)})") from error
    finally:
        sys.path.remove(folder)
    return function
