"""Clock and energy of the CPU, read while something runs.

The clock is from a Raspberry Pi's firmware, whose throttling the kernel does not see, else from cpufreq or
/proc/cpuinfo. Energy is from the RAPL counters of Intel and AMD (readable by root only, in most systems), or from the
voltages and currents that a Raspberry Pi 5's `vcgencmd pmic_read_adc` reports. Other systems report nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

from feredge.benchmark.throttling import parse_count, vcgencmd
from feredge.inference.system_info import CPUINFO_PATH, SYS_PATH, read_text

RaplCounters = dict[str, tuple[int, int]]
"""Microjoules of each CPU package, and the value at which its counter starts again from 0."""


def clock_mhz(sysfs: Path = SYS_PATH, cpuinfo: Path = CPUINFO_PATH) -> float | None:
    """Return the current clock of the fastest core."""
    if match := re.search(r"frequency\(\d+\)=(\d{1,12})\s*$", vcgencmd("measure_clock", "arm"), re.ASCII):
        return int(match[1]) / 1e6
    current = sysfs.glob("devices/system/cpu/cpu*/cpufreq/scaling_cur_freq")
    kilohertz = [count for path in current if (count := parse_count(read_text(path)))]
    if kilohertz:
        return max(kilohertz) / 1e3
    clocks = re.findall(r"^cpu MHz\s*:\s*(\d{1,6}(?:\.\d{1,6})?)$", read_text(cpuinfo), re.MULTILINE | re.ASCII)
    return max(map(float, clocks), default=None)


def rapl_counters(sysfs: Path = SYS_PATH) -> RaplCounters:
    """Return the energy counters of all CPU packages."""
    counters = {}
    for zone in sysfs.glob("class/powercap/intel-rapl:*"):
        energy = parse_count(read_text(zone / "energy_uj"))
        wrap = parse_count(read_text(zone / "max_energy_range_uj"))
        if read_text(zone / "name").startswith("package") and energy is not None and wrap:
            counters[zone.name] = energy, wrap
    return counters


def joules_between(before: RaplCounters, after: RaplCounters) -> float | None:
    """Return the energy between two readings less than one wrap of the counters apart; None without counters."""
    if not before or before.keys() != after.keys():
        return None
    return sum((after[name][0] - energy) % wrap for name, (energy, wrap) in before.items()) / 1e6


def board_watts() -> float | None:
    """Return the power that a Raspberry Pi 5 draws now, over all rails that report both voltage and current."""
    readings = re.findall(
        r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=(\d{1,4}\.\d{1,12})[AV]\s*$",
        vcgencmd("pmic_read_adc"),
        re.MULTILINE | re.ASCII,
    )
    amperes, volts = ({rail: float(value) for rail, kind, value in readings if kind == unit} for unit in "AV")
    return sum(amperes[rail] * volts[rail] for rail in amperes.keys() & volts.keys()) or None
