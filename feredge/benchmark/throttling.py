"""The machine's clock and heat before and after each round: a round in which the clock was held down is invalid.

Linux tells in sysfs, a Raspberry Pi's firmware by `vcgencmd get_throttled`. Other systems tell nothing.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from feredge.benchmark.metrics import Condition, Reading
from feredge.inference.system_info import SYS_PATH, frequency_governor, read_text

FIRMWARE_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
"""Bits of `get_throttled` that hold now; the same 16 higher: at some time since the machine was started."""


@dataclass(frozen=True)
class State:
    """A reading, and what only the difference of two tells.

    Attributes:
        past: what the firmware says has happened since the machine was started.
        counts: Intel's counters of throttling, by their place under `sys`.
    """

    reading: Reading
    past: frozenset[str]
    counts: dict[str, int]


def read(sys: Path = SYS_PATH) -> State:
    """Ask the system once, in a few milliseconds."""
    now, past = parse_throttled(firmware())
    zones = (parse_celsius(read_text(path)) for path in sys.glob("class/thermal/thermal_zone*/temp"))
    counters = sys.glob("devices/system/cpu/cpu*/thermal_throttle/*_throttle_count")
    return State(
        Reading(
            governor=frequency_governor(sys),
            celsius=max((celsius for celsius in zones if celsius is not None), default=None),
            slowed=tuple(sorted({*now, *cooling(sys)})),
        ),
        past,
        {str(path.relative_to(sys)): count for path in counters if (count := parse_count(read_text(path))) is not None},
    )


def between(before: State, after: State) -> Condition:
    """Sum up a round: what held the clock down at either end of it, or began in it."""
    began = after.past - before.past
    counted = any(count > before.counts.get(name, count) for name, count in after.counts.items())
    slowed = {*before.reading.slowed, *after.reading.slowed, *began, *(("throttled",) if counted else ())}
    return Condition(before.reading, after.reading, tuple(sorted(slowed)))


def parse_throttled(words: str) -> tuple[frozenset[str], frozenset[str]]:
    """Read `throttled=0x50005`: what holds now, and what has held since the start. Other text says neither."""
    found = re.fullmatch(r"\s*(?:throttled=)?0x([0-9a-fA-F]{1,8})\s*", words)
    value = int(found[1], 16) if found else 0
    now = frozenset(name for bit, name in FIRMWARE_BITS.items() if value >> bit & 1)
    return now, frozenset(name for bit, name in FIRMWARE_BITS.items() if value >> bit + 16 & 1)


def parse_celsius(words: str) -> float | None:
    """Read thousandths of a degree; None for other text, and for what no chip has and lives."""
    found = re.fullmatch(r"-?\d{1,6}", words, re.ASCII)
    celsius = int(found[0]) / 1000 if found else None
    return celsius if celsius is not None and -60 < celsius < 150 else None


def parse_count(words: str) -> int | None:
    """Read a counter; None for other text."""
    return int(words) if re.fullmatch(r"\d{1,20}", words, re.ASCII) else None


def cooling(sys: Path) -> set[str]:
    """Return whether the kernel cools by the cores' clock now: a cooling device of theirs above its state 0."""
    for device in sys.glob("class/thermal/cooling_device*"):
        kind = read_text(device / "type").lower()
        if ("cpufreq" in kind or kind == "processor") and (parse_count(read_text(device / "cur_state")) or 0) > 0:
            return {"slowed to cool down"}
    return set()


def firmware() -> str:
    """Return what a Raspberry Pi's firmware says; nothing elsewhere."""
    program = _vcgencmd()
    if program is None:
        return ""
    try:
        done = subprocess.run([program, "get_throttled"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


@functools.cache
def _vcgencmd() -> str | None:
    return shutil.which("vcgencmd")
