"""Audit of a Keras model's configuration: a name that is not on the allowlist refuses the model.

Keras imports every module that a configuration names, and looks up classes and functions by name. So all names are
checked before a loader reads the configuration. The audit collects all refused names, as `skops/io/_audit.py` does.
"""

from __future__ import annotations

import json
import re
from typing import Any

from feredge.errors import ArtifactError
from feredge.importing import allowlist

CONFIG_BYTES = 16 << 20
CONFIG_DEPTH = 64  # three nested models are about 30 deep
MAX_LAYER_SIZE = 1 << 16  # larger layers only exhaust the memory
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

ALLOWED_CLASSES = (
    allowlist.MODEL_CLASSES
    | allowlist.LAYER_CLASSES
    | allowlist.INITIALIZER_NAMES
    | allowlist.REGULARIZER_NAMES
    | allowlist.CONSTRAINT_NAMES
    | allowlist.DTYPE_POLICIES
    | allowlist.MARKER_CLASSES
    | allowlist.OPERATION_CLASSES
)
NAMES_BY_KEY = {
    "activation": allowlist.ACTIVATION_NAMES,
    "dtype": allowlist.DTYPE_NAMES,
    "initializer": allowlist.INITIALIZER_NAMES,
    "regularizer": allowlist.REGULARIZER_NAMES,
    "constraint": allowlist.CONSTRAINT_NAMES,
}
UNLOADED_KEYS = ("compile_config", "training_config", "loss", "metrics", "optimizer")


def parse_config(text: str | bytes) -> Any:
    """Return the parsed JSON of a configuration. ValueError: too large, nested too deep, or not JSON."""
    if len(text) > CONFIG_BYTES:
        raise ValueError(f"expected a configuration of at most {CONFIG_BYTES} bytes, found {len(text)}")
    if isinstance(text, bytes):
        text = text.decode()
    depth = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', text, re.DOTALL):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if depth > CONFIG_DEPTH:
            raise ValueError(f"expected a configuration nested at most {CONFIG_DEPTH} deep, found more")
    return json.loads(text)


def audit_config(config: Any, source: object) -> Any:
    """Return `config` without its optimizer, losses and metrics, which are not loaded, after checking all names.

    Args:
        config: the parsed configuration of a model: `{"class_name": "Functional", "config": ...}`.
        source: the file, for the message.

    Raises:
        ArtifactError: names that are not on the allowlist, of which the message lists the first few.
    """
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict | list):
        raise ArtifactError(f"{source}: expected a Keras model, found another configuration")
    config = {key: value for key, value in config.items() if key not in UNLOADED_KEYS}
    findings: list[str] = []
    if config.get("class_name") not in allowlist.MODEL_CLASSES:
        findings.append(_refused_class(config.get("class_name")))
    _collect(config, "", findings)
    if findings:
        findings = list(dict.fromkeys(findings))
        rest = f" and {len(findings) - REPORTED_FINDINGS} more" if len(findings) > REPORTED_FINDINGS else ""
        listed = "; ".join(findings[:REPORTED_FINDINGS])
        raise ArtifactError(f"{source}: holds {listed}{rest}; expected Keras's own layers")
    return config


def _collect(value: Any, key: str, findings: list[str]) -> None:
    """Append everything refused in `value`, the value of `key`, to `findings`."""
    if isinstance(value, dict):
        value.pop("compile_config", None)  # of nested models
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
    elif key in SIZE_KEYS and isinstance(value, int | float) and not abs(value) <= MAX_LAYER_SIZE:
        findings.append(f"{key} = {value}"[:60] + f", over {MAX_LAYER_SIZE}")


def _check_object(value: dict[str, Any], findings: list[str]) -> None:
    """Append everything refused in an object's configuration to `findings`: class, module, registered name."""
    name = value.get("class_name")
    if not isinstance(name, str) or name not in ALLOWED_CLASSES:
        findings.append(_refused_class(name))
        return
    if not isinstance(value.get("config"), dict | list | None):
        findings.append(f"a {name} without its settings")
    if name in allowlist.FUNCTION_LAYERS:
        function = value["config"].get("function") if isinstance(value.get("config"), dict) else None
        if function not in allowlist.TENSORFLOW_FUNCTIONS:
            findings.append(f"the function {str(function)[:60]!r}, which is not run")
    module, registered = value.get("module"), value.get("registered_name")
    if module is not None and (not isinstance(module, str) or module not in allowlist.MODULE_NAMES):
        findings.append(f"the module {str(module)[:60]!r}, which is not imported")
    if registered is not None and registered != name:
        findings.append(_refused_class(registered))


def _refused_class(name: Any) -> str:
    class_name = str(name).rpartition(">")[2]
    if class_name in ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"):
        return f"a {class_name} layer, whose code is not run"
    return f"the custom object {str(name)[:60]!r}, which is not run"
