"""Resource limits of processes that open untrusted files.

CPU time and the size of written files are limited on Linux and macOS, address space on Linux only (macOS takes that
limit and does not enforce it), nothing on Windows. The parent process enforces wall time.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

WRITTEN_FILE_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True)
class Limits:
    """Limits of one call in a child process.

    Attributes:
        wall_seconds: of wall time, the start of the process with it, in which it waits for no core.
        cpu_seconds: of all threads together.
        memory_bytes: of address space, libraries with it: onnxruntime and LiteRT map 0.2 GB, TensorFlow 2 and more.
    """

    wall_seconds: float = 60.0
    cpu_seconds: int = 120
    memory_bytes: int = 4 << 30


TENSORFLOW_LIMITS = Limits(wall_seconds=180.0, cpu_seconds=360, memory_bytes=16 << 30)
"""For functions that import TensorFlow."""


def run_queue_seconds(pid: int) -> float:
    """Return how long the threads of a process have waited for a core, added up; 0 on other systems than Linux."""
    nanoseconds = 0
    for schedstat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # of a thread that has ended
            nanoseconds += int(schedstat.read_text().split()[1])
    return nanoseconds / 1e9


def set_limits(*, memory_bytes: int, cpu_seconds: int | None = None) -> None:
    """Set soft limits of this process, as far as the system can; a stricter hard limit stays.

    Args:
        memory_bytes: of address space.
        cpu_seconds: beyond what was used so far; None for no limit.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {"RLIMIT_AS": memory_bytes, "RLIMIT_FSIZE": WRITTEN_FILE_LIMIT_BYTES, "RLIMIT_CORE": 0}
    if cpu_seconds is not None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        limits["RLIMIT_CPU"] = int(usage.ru_utime + usage.ru_stime) + 1 + cpu_seconds
    for name, value in limits.items():
        resource_id = getattr(resource, name, None)  # not every system has all
        if resource_id is None:
            continue
        hard = resource.getrlimit(resource_id)[1]
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(resource_id, (soft, hard))
        except (OSError, ValueError):  # macOS refuses a limit on address space under what is mapped
            continue
