"""CPU throttling and temperature before and after each round: a round in which the CPU was throttled is invalid.

Read from Linux's sysfs and control groups, and on a Raspberry Pi from `vcgencmd get_throttled`. Other systems report
nothing.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from feredge.benchmark.metrics import SensorReading, ThrottlingState
from feredge.inference.system_info import SYS_PATH, frequency_governor, read_text

CGROUP_PATH = Path("/proc/self/cgroup")
FIRMWARE_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
"""Bits of `get_throttled` for the current state; 16 bits higher: at any time since boot."""


@dataclass(frozen=True)
class SystemSnapshot:
    """A sensor reading, and cumulative counters, of which only differences between snapshots count.

    Attributes:
        flags_since_boot: throttling that the firmware reports to have occurred since boot.
        throttle_counts: Intel's throttling counters, by their path under sysfs.
        quota_throttle_count: periods in which this process's control group had used up its CPU quota.
    """

    reading: SensorReading
    flags_since_boot: frozenset[str]
    throttle_counts: dict[str, int]
    quota_throttle_count: int = 0


def take_snapshot(sysfs: Path = SYS_PATH) -> SystemSnapshot:
    """Read sensors and counters, in a few milliseconds."""
    current, since_boot = parse_throttled(vcgencmd("get_throttled"))
    zones = (parse_celsius(read_text(path)) for path in sysfs.glob("class/thermal/thermal_zone*/temp"))
    counters = sysfs.glob("devices/system/cpu/cpu*/thermal_throttle/*_throttle_count")
    return SystemSnapshot(
        reading=SensorReading(
            governor=frequency_governor(sysfs),
            celsius=max((celsius for celsius in zones if celsius is not None), default=None),
            slowed=tuple(sorted({*current, *cpu_cooling(sysfs)})),
        ),
        flags_since_boot=since_boot,
        throttle_counts={
            str(path.relative_to(sysfs)): count
            for path in counters
            if (count := parse_count(read_text(path))) is not None
        },
        quota_throttle_count=quota_throttle_count(sysfs),
    )


def compare_snapshots(before: SystemSnapshot, after: SystemSnapshot) -> ThrottlingState:
    """Return the throttling of a round: what was active at either end of it, or began during it."""
    new_flags = after.flags_since_boot - before.flags_since_boot
    increased = any(count > before.throttle_counts.get(name, count) for name, count in after.throttle_counts.items())
    slowed = {*before.reading.slowed, *after.reading.slowed, *new_flags, *(("throttled",) if increased else ())}
    if after.quota_throttle_count > before.quota_throttle_count:
        slowed.add("CPU quota")
    return ThrottlingState(before.reading, after.reading, tuple(sorted(slowed)))


def parse_throttled(output: str) -> tuple[frozenset[str], frozenset[str]]:
    """Parse `throttled=0x50005` into current flags and flags since boot; both are empty for other text."""
    match = re.fullmatch(r"\s*(?:throttled=)?0x([0-9a-fA-F]{1,8})\s*", output)
    value = int(match[1], 16) if match else 0
    current = frozenset(name for bit, name in FIRMWARE_BITS.items() if value >> bit & 1)
    return current, frozenset(name for bit, name in FIRMWARE_BITS.items() if value >> bit + 16 & 1)


def parse_celsius(millidegrees: str) -> float | None:
    """Parse thousandths of a degree; None for other text, and for values out of a chip's range."""
    match = re.fullmatch(r"-?\d{1,6}", millidegrees, re.ASCII)
    celsius = int(match[0]) / 1000 if match else None
    return celsius if celsius is not None and -60 < celsius < 150 else None


def parse_count(text: str) -> int | None:
    """Parse a counter; None for other text."""
    return int(text) if re.fullmatch(r"\d{1,20}", text, re.ASCII) else None


def cpu_cooling(sysfs: Path) -> set[str]:
    """Return whether the kernel lowers the CPU frequency to cool: a CPU cooling device above its state 0."""
    for device in sysfs.glob("class/thermal/cooling_device*"):
        device_type = read_text(device / "type").lower()
        if "cpufreq" in device_type or device_type == "processor":
            state = parse_count(read_text(device / "cur_state"))
            if state is not None and state > 0:
                return {"slowed to cool down"}
    return set()


def quota_throttle_count(sysfs: Path, cgroup: Path = CGROUP_PATH) -> int:
    """Return `nr_throttled` of this process's CPU control group, of version 1 or 2; 0 where it is not reported."""
    mounted = sysfs / "fs/cgroup"
    for line in read_text(cgroup).splitlines():
        _, _, membership = line.partition(":")
        controllers, _, path = membership.partition(":")
        if not controllers or "cpu" in controllers.split(","):
            folder = mounted / controllers / path.lstrip("/")
            # In a container the group's own path may not be visible, but its root is the container's group.
            for stat in (folder / "cpu.stat", mounted / controllers / "cpu.stat"):
                match = re.search(r"^nr_throttled (\d{1,20})$", read_text(stat), re.MULTILINE | re.ASCII)
                if match:
                    return int(match[1])
    return 0


def vcgencmd(*arguments: str) -> str:
    """Return the output of a Raspberry Pi's `vcgencmd`, as `get_throttled`; nothing elsewhere."""
    program = _vcgencmd()
    if program is None:
        return ""
    try:
        process = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return process.stdout if process.returncode == 0 else ""


@functools.cache
def _vcgencmd() -> str | None:
    return shutil.which("vcgencmd")
