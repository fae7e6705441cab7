"""The audit of a Keras network's description: every name in it is on a list, or the network is refused.

Keras imports whatever module a description names and looks classes and functions up by name, so names are judged
here, wherever they stand, before any loader sees the description. The audit collects all that it refuses (the idea is
skops', `skops/io/_audit.py`).
"""

from __future__ import annotations

import json
import re
from typing import Any

from feredge.errors import ArtifactError
from feredge.importing import allowed

CONFIG_BYTES = 16 << 20
CONFIG_DEPTH = 64  # a network in a network in a network nests about 30 deep
LARGEST_SIZE = 1 << 16  # larger ones only exhaust the memory
SIZE_KEYS = frozenset(
    [
        "batch_input_shape",
        "batch_shape",
        "cropping",
        "depth_multiplier",
        "dilation_rate",
        "dims",
        "filters",
        "height",
        "input_dim",
        "input_shape",
        "key_dim",
        "kernel_size",
        "n",
        "num_heads",
        "output_dim",
        "output_padding",
        "output_shape",
        "padding",
        "pool_size",
        "shape",
        "size",
        "strides",
        "target_shape",
        "units",
        "value_dim",
        "width",
    ]
)
REPORTED_FINDINGS = 3

CLASSES = (
    allowed.MODEL_CLASSES
    | allowed.LAYER_CLASSES
    | allowed.INITIALIZERS
    | allowed.REGULARIZERS
    | allowed.CONSTRAINTS
    | allowed.DTYPE_POLICIES
    | allowed.MARKERS
)
NAMES_BY_KEY = {
    "activation": allowed.ACTIVATIONS,
    "dtype": allowed.DTYPES,
    "initializer": allowed.INITIALIZERS,
    "regularizer": allowed.REGULARIZERS,
    "constraint": allowed.CONSTRAINTS,
}
NOT_LOADED = ("compile_config", "training_config", "loss", "metrics", "optimizer")


def parse_config(text: str | bytes) -> Any:
    """Return the JSON of a description. ValueError: too large, nested too deep, or no JSON."""
    if len(text) > CONFIG_BYTES:
        raise ValueError(f"expected a description of at most {CONFIG_BYTES} bytes, found {len(text)}")
    if isinstance(text, bytes):
        text = text.decode()
    depth = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', text, re.DOTALL):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if depth > CONFIG_DEPTH:
            raise ValueError(f"expected a description nested at most {CONFIG_DEPTH} deep, found more")
    return json.loads(text)


def audit_config(config: Any, source: object) -> Any:
    """Return `config` without what is not loaded (optimizer, losses, metrics), each name in it being Keras's own.

    Args:
        config: the parsed description of a model: `{"class_name": "Functional", "config": ...}`.
        source: the file, for the message.

    Raises:
        ArtifactError: names that are not on the list; the line holds the first few.
    """
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict | list):
        raise ArtifactError(f"{source}: expected a Keras model, found a description of something else")
    config = {key: value for key, value in config.items() if key not in NOT_LOADED}
    findings: list[str] = []
    if config.get("class_name") not in allowed.MODEL_CLASSES:
        findings.append(_refused_class(config.get("class_name")))
    _collect(config, "", findings)
    if findings:
        findings = list(dict.fromkeys(findings))
        rest = f" and {len(findings) - REPORTED_FINDINGS} more" if len(findings) > REPORTED_FINDINGS else ""
        listed = "; ".join(findings[:REPORTED_FINDINGS])
        raise ArtifactError(f"{source}: holds {listed}{rest}; expected Keras's own layers")
    return config


def _collect(value: Any, key: str, findings: list[str]) -> None:
    """Append to `findings` all that is refused in `value`, which stands under `key`."""
    if isinstance(value, dict):
        value.pop("compile_config", None)  # nested models bring theirs
        if {"class_name", "module", "registered_name"} & value.keys():
            _check_object(value, findings)
        for name, item in value.items():
            _collect(item, str(name), findings)
    elif isinstance(value, list):
        for item in value:
            _collect(item, key, findings)
    elif isinstance(value, str):
        names = NAMES_BY_KEY.get(key.rpartition("_")[2])
        if names is not None and value not in names:
            findings.append(f"the {key} {value[:60]!r}, which is not run")
    elif key in SIZE_KEYS and isinstance(value, int | float) and not abs(value) <= LARGEST_SIZE:
        findings.append(f"{key} = {value}"[:60] + f", over {LARGEST_SIZE}")


def _check_object(value: dict[str, Any], findings: list[str]) -> None:
    """Append to `findings` what is refused of one description of an object: its class, its module, its registration."""
    name = value.get("class_name")
    if not isinstance(name, str) or name not in CLASSES:
        findings.append(_refused_class(name))
        return
    if not isinstance(value.get("config"), dict | list | None):
        findings.append(f"a {name} without its settings")
    module, registered = value.get("module"), value.get("registered_name")
    if module is not None and (not isinstance(module, str) or module not in allowed.MODULES):
        findings.append(f"the module {str(module)[:60]!r}, which is not imported")
    if registered is not None and registered != name:
        findings.append(_refused_class(registered))


def _refused_class(name: Any) -> str:
    plain = str(name).rpartition(">")[2]
    if plain in ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"):
        return f"a {plain} layer, whose code is not run"
    return f"the custom object {str(name)[:60]!r}, which is not run"
