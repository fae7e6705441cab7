"""The machine and the package versions that weights come from, as training.json tells them."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("feredge", "numpy", "opencv-python", "tensorflow", "tf-keras")


def about_host() -> dict[str, Any]:
    """Describe the machine, as far as it decides how long training takes and which weights come out; and the tools."""
    cpu = platform.processor() or platform.machine()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    return {
        "host": {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform(terse=True)},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }
