"""What Linux says of a machine in /proc and /sys. Other systems say nothing: empty texts, no fields."""

from __future__ import annotations

from pathlib import Path

SYS = Path("/sys")
CPU = Path("/proc/cpuinfo")
MEMORY = Path("/proc/meminfo")


def text(path: Path) -> str:
    """Return a small file's text without its ends; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def fields(path: Path) -> dict[str, str]:
    """Return the values of lines `name: value`; of a name that comes again, as in CPU for each core, the first."""
    found: dict[str, str] = {}
    for key, _, value in (line.partition(":") for line in text(path).splitlines() if line):
        found.setdefault(key.strip(), value.strip())
    return found


def sizes(path: Path) -> dict[str, int]:
    """Return the fields that are in kB, in bytes."""
    found = ((name, value.partition(" ")) for name, value in fields(path).items())
    return {name: int(number) << 10 for name, (number, _, unit) in found if unit == "kB"}


def cpu_flags() -> set[str]:
    """Return the first core's instruction sets, as x86 or Arm names them."""
    cpu = fields(CPU)
    return set(f"{cpu.get('flags', '')} {cpu.get('Features', '')}".split())


def governor(sys: Path = SYS) -> str:
    """Return what sets the first core's frequency."""
    return text(sys / "devices/system/cpu/cpu0/cpufreq/scaling_governor")
