"""Machine information from Linux's /proc and /sys, empty elsewhere, and versions of the installed packages."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

SYS_PATH = Path("/sys")
CPUINFO_PATH = Path("/proc/cpuinfo")
MEMINFO_PATH = Path("/proc/meminfo")
VERSIONED_PACKAGES = (
    *("feredge", "numpy", "onnxruntime", "ai-edge-litert", "opencv-python", "opencv-python-headless"),
    *("tensorflow", "tf-keras", "tensorflow-model-optimization", "tf2onnx", "onnx", "scikit-learn"),
)


def read_text(path: Path) -> str:
    """Return a small file's stripped text; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def read_fields(path: Path) -> dict[str, str]:
    """Return the values of `name: value` lines by name; the first of a repeated name (CPUINFO_PATH: the first core)."""
    values: dict[str, str] = {}
    for key, _, value in (line.partition(":") for line in read_text(path).splitlines() if line):
        values.setdefault(key.strip(), value.strip())
    return values


def read_sizes(path: Path) -> dict[str, int]:
    """Return the fields given in kB, converted to bytes."""
    values = ((name, value.partition(" ")) for name, value in read_fields(path).items())
    return {name: int(number) << 10 for name, (number, _, unit) in values if unit == "kB"}


def cpu_flags() -> set[str]:
    """Return the first core's instruction set flags: `flags` on x86, `Features` on Arm."""
    cpu = read_fields(CPUINFO_PATH)
    return set(f"{cpu.get('flags', '')} {cpu.get('Features', '')}".split())


def package_versions(names: tuple[str, ...] = VERSIONED_PACKAGES) -> dict[str, str]:
    """Return the versions of those packages that are installed, from their metadata."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def frequency_governor(sys: Path = SYS_PATH) -> str:
    """Return the first core's frequency scaling governor."""
    return read_text(sys / "devices/system/cpu/cpu0/cpufreq/scaling_governor")
