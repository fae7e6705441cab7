"""Limits of what a process may take, for processes that open files of unknown origin.

By system: CPU time and the size of written files are limited on Linux and macOS, address space on Linux only (macOS
takes that limit and does not keep it), nothing on Windows. Wall time is kept by whoever started the process.
"""

from __future__ import annotations

from dataclasses import dataclass

FILE_LIMIT = 1 << 30
"""Bytes of a file that is written."""


@dataclass(frozen=True)
class Limits:
    """What one call in a child process may take.

    Attributes:
        seconds: of wall time, the start of the process with it.
        cpu_seconds: of all threads together.
        memory_bytes: of address space, libraries with it: onnxruntime and LiteRT map 0.2 GB, TensorFlow 2 and more.
    """

    seconds: float = 60.0
    cpu_seconds: int = 120
    memory_bytes: int = 4 << 30


TENSORFLOW = Limits(seconds=180.0, cpu_seconds=360, memory_bytes=16 << 30)
"""For functions that import TensorFlow."""


def set_limits(*, memory_bytes: int, cpu_seconds: int | None = None) -> None:
    """Limit what this process takes from now on, as far as the system can; a stricter limit that stands is kept.

    Args:
        memory_bytes: of address space.
        cpu_seconds: beyond what it has taken; None for any.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {"RLIMIT_AS": memory_bytes, "RLIMIT_FSIZE": FILE_LIMIT, "RLIMIT_CORE": 0}
    if cpu_seconds is not None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        wanted["RLIMIT_CPU"] = int(usage.ru_utime + usage.ru_stime) + 1 + cpu_seconds
    for name, value in wanted.items():
        kind = getattr(resource, name, None)  # some systems lack some
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (soft, hard))
        except (OSError, ValueError):  # macOS refuses a limit on address space under what is mapped
            continue
