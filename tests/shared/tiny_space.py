"""A small search space on images of 16 pixels, for `tiny_training.stripes`, whose trials take a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomli_w

TINY_SPACE: dict[str, Any] = {
    "name": "tiny",
    "search": {"recipe": "demo", "min_epochs": 1, "reduction_factor": 2, "latency": False, "views": False},
    "data": {"size": 16},
    "network": {
        "stem": {"low": 4, "high": 12, "step": 4},
        "channels": {"length": {"low": 1, "high": 2}, "item": {"low": 8, "high": 16, "step": 8}},
        "blocks": {"length": "network.channels", "item": {"choices": [1]}},
    },
    "training": {
        "epochs": 3,
        "batch_size": 16,
        "ema_decay": 0.8,
        "learning_rate": {"low": 0.003, "high": 0.3, "log": True},
    },
}


def write_space(path: Path, **sections: Any) -> Path:
    """Write TINY_SPACE, with some of its sections replaced; a section of None is left out."""
    table = {name: value for name, value in {**TINY_SPACE, **sections}.items() if value is not None}
    path.write_text(tomli_w.dumps(table))
    return path
