"""The machine, in the words that matter for a figure. Reads what the system says; imports nothing heavy."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from pathlib import Path

from feredge.benchmark.results import Machine
from feredge.inference import system_info

FLAGS = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16"),
    *("avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "hypervisor"),  # a virtual machine shares its cores
    *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "fphp"),
)
PACKAGES = (
    *("feredge", "numpy", "onnxruntime", "ai-edge-litert", "opencv-python", "opencv-python-headless"),
    *("tensorflow", "tf-keras", "tensorflow-model-optimization", "tf2onnx", "onnx", "scikit-learn"),
)


def describe() -> Machine:
    """Describe this machine, now."""
    cpu, flags = system_info.read_fields(system_info.CPUINFO_PATH), system_info.cpu_flags()
    board = system_info.read_text(Path("/proc/device-tree/model"))
    return Machine(
        cpu=cpu.get("model name") or board or _arm(cpu) or platform.processor() or "unknown",
        architecture=platform.machine(),
        flags=tuple(flag for flag in FLAGS if flag in flags),
        cores=os.cpu_count() or 1,
        memory_bytes=system_info.read_sizes(system_info.MEMINFO_PATH).get("MemTotal", 0),
        governor=system_info.frequency_governor() or "not shown by this system",
        system=f"{platform.system()} {platform.release()}",
        versions={"python": platform.python_version(), **_versions()},
        load=_load(),
    )


def _load() -> float | None:
    """Return how many cores are busy: in the next half second where Linux tells, else over the last minute."""
    before = _ticks()
    if before is None:
        return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    time.sleep(0.5)
    busy, idle = (after - earlier for after, earlier in zip(_ticks() or before, before, strict=True))
    return round((os.cpu_count() or 1) * busy / max(busy + idle, 1), 2)


def _ticks() -> tuple[int, int] | None:
    """Return the time that all cores together were busy, or taken by a virtual machine's host, and were idle."""
    words = system_info.read_text(Path("/proc/stat")).partition("\n")[0].split()
    if len(words) < 9 or words[0] != "cpu":
        return None
    user, nice, system, idle, waiting, *interrupts_and_stolen = map(int, words[1:9])
    return user + nice + system + sum(interrupts_and_stolen), idle + waiting


def _arm(cpu: dict[str, str]) -> str:
    """Return what Linux says of an Arm core on a board without a name."""
    return f"Arm core, part {cpu['CPU part']} of {cpu.get('CPU implementer', '?')}" if "CPU part" in cpu else ""


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
