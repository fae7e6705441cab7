"""What of this machine matters to feredge: instruction sets, cameras, compilers."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from feredge.diagnostics.check import Check
from feredge.inference import system_info

X86_ARCHITECTURES = ("x86_64", "amd64", "i386", "i686")
VNNI_FLAGS = ("avx512_vnni", "avx_vnni")
DOT_PRODUCT_FLAG = "asimddp"
COMPILER_NAMES = ("cc", "gcc", "clang", "cl", "arm-none-eabi-gcc", "aarch64-linux-gnu-gcc", "zig")
CAMERAS_PATH = Path("/sys/class/video4linux")
OTHER_PROGRAMS = {"qemu-aarch64": "feredge bench --arm", "ssh": "feredge bench --device"}


def check_machine() -> Iterator[Check]:
    """Yield what this machine has."""
    cpu = system_info.read_fields(system_info.CPUINFO_PATH)
    model = cpu.get("model name") or platform.processor() or platform.machine()
    yield Check("machine", "cpu", "ok", f"{model}, {os.cpu_count()} cores, {platform.machine()}")
    yield _instruction_sets(system_info.cpu_flags(), platform.machine().lower())
    yield _cameras()
    yield _compilers()
    for program, purpose in OTHER_PROGRAMS.items():
        path = shutil.which(program)
        yield Check("machine", program, "ok" if path else "missing", path or f"would give {purpose}")


def _instruction_sets(flags: set[str], architecture: str) -> Check:
    """Describe the instructions that int8 inference and TensorFlow depend on."""
    name = "instruction sets"
    if not flags:
        return Check("machine", name, "ok", "not shown by this system")
    if architecture not in X86_ARCHITECTURES:
        has_dot_product = DOT_PRODUCT_FLAG in flags
        detail = "dot product" if has_dot_product else "no dot product: int8 is slower than on newer cores"
        return Check("machine", name, "ok", detail)
    vectors = [flag.upper() for flag in ("avx", "avx2", "avx512f") if flag in flags]
    vnni = [flag.upper().replace("_", "-") for flag in VNNI_FLAGS if flag in flags]
    detail = ", ".join([*vectors, *vnni])
    if "avx" not in flags:
        return Check("machine", name, "missing", f"{detail or 'no AVX'}: TensorFlow needs AVX, to train and export")
    if not vnni:
        detail += "; no VNNI: int8 ONNX with 8-bit kernels (--no-reduce-range) gives wrong results here"
    return Check("machine", name, "ok", detail)


def _cameras() -> Check:
    if sys.platform != "linux":
        return Check("machine", "cameras", "ok", "not listed on this system; feredge track 0 opens the first")
    devices = sorted(CAMERAS_PATH.glob("video*"), key=lambda path: (len(path.name), path.name))
    if not devices:
        return Check("machine", "cameras", "missing", "would give feredge track 0")
    names = (f"{path.name.removeprefix('video')} ({system_info.read_text(path / 'name')})" for path in devices)
    return Check("machine", "cameras", "ok", ", ".join(names))


def _compilers() -> Check:
    compilers = [name for name in COMPILER_NAMES if shutil.which(name)]
    if importlib.util.find_spec("ziglang") is not None:
        compilers.append("ziglang")
    if not compilers:
        return Check("machine", "C compilers", "missing", "would build the C library", "pip install 'feredge[c]'")
    return Check("machine", "C compilers", "ok", ", ".join(compilers))
