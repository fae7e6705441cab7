"""Description of the machine that a benchmark runs on, from the operating system. Imports nothing heavy."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from feredge.benchmark.results import Machine
from feredge.inference import system_info

CPU_FLAGS = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16"),
    *("avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "hypervisor"),  # a virtual machine shares its cores
    *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "fphp"),
)


def describe() -> Machine:
    """Describe this machine and its current load."""
    cpu, flags = system_info.read_fields(system_info.CPUINFO_PATH), system_info.cpu_flags()
    board = system_info.read_text(Path("/proc/device-tree/model"))
    return Machine(
        cpu=cpu.get("model name") or board or _arm_core(cpu) or platform.processor() or "unknown",
        architecture=platform.machine(),
        flags=tuple(flag for flag in CPU_FLAGS if flag in flags),
        cores=os.cpu_count() or 1,
        memory_bytes=system_info.read_sizes(system_info.MEMINFO_PATH).get("MemTotal", 0),
        governor=system_info.frequency_governor() or "not shown by this system",
        system=f"{platform.system()} {platform.release()}",
        versions={"python": platform.python_version(), **system_info.package_versions()},
        load=_load(),
    )


def _load() -> float | None:
    """Return how many cores are busy: over the next half second on Linux, else over the last minute."""
    before = _cpu_ticks()
    if before is None:
        return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    time.sleep(0.5)
    busy, idle = (end - start for end, start in zip(_cpu_ticks() or before, before, strict=True))
    return round((os.cpu_count() or 1) * busy / max(busy + idle, 1), 2)


def _cpu_ticks() -> tuple[int, int] | None:
    """Return the busy time of all cores, with that stolen by a virtual machine's host, and their idle time."""
    fields = system_info.read_text(Path("/proc/stat")).partition("\n")[0].split()
    if len(fields) < 9 or fields[0] != "cpu":
        return None
    user, nice, system, idle, iowait, *interrupts_and_stolen = map(int, fields[1:9])
    return user + nice + system + sum(interrupts_and_stolen), idle + iowait


def _arm_core(cpu: dict[str, str]) -> str:
    """Describe an Arm core by its part and implementer numbers, for a board without a model name."""
    return f"Arm core, part {cpu['CPU part']} of {cpu.get('CPU implementer', '?')}" if "CPU part" in cpu else ""
