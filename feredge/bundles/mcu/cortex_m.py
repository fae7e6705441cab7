"""The self-test of a C library on an emulated Cortex-M core, with the instructions of an inference."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from feredge.errors import DeviceError
from feredge.export.c.compiler import ZIG_COMPILER, has_zig
from feredge.programs import ProgramError, first_line, run_program

EMULATOR = "qemu-system-arm"
CORES = {
    "cortex-m3": ("mps2-an385", "thumb-freestanding-eabi", "cortex_m3", 40_000),
    "cortex-m4": ("mps2-an386", "thumb-freestanding-eabihf", "cortex_m4+vfp4d16sp", 40_000),
    "cortex-m7": ("mps2-an500", "thumb-freestanding-eabihf", "cortex_m7+fp_armv8d16", 40_000),
    "cortex-m55": ("mps3-an547", "thumb-freestanding-eabihf", "cortex_m55", 31_250),
}
"""QEMU's board, Zig's target and CPU, and picoseconds per tick of the core's timer there, by core."""
BARE_METAL_FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-ffreestanding", "-nostartfiles", "-fno-sanitize=all")
TIMEOUT_SECONDS = 900.0


class CoreResult(NamedTuple):
    """Result of a self-test.

    Attributes:
        unequal_row: the first golden image with another answer; None if all are equal.
        instructions: of one inference.
    """

    unequal_row: int | None
    instructions: int


def missing_tool() -> str:
    """Return what this machine lacks to run Cortex-M code, and how to install it; empty if nothing."""
    if shutil.which(EMULATOR) is None:
        return f"expected {EMULATOR}, found none; apt-get install {EMULATOR}"
    if not has_zig():
        return "expected Zig to compile with, found none; pip install 'feredge[c]'"
    return ""


def run_on_core(folder: Path, core: str) -> CoreResult:
    """Compile the self-test of a bundle's folder for a core, and run it in QEMU.

    Args:
        folder: with `src/` and `self_test/`.
        core: a name of CORES.

    Raises:
        DeviceError: a missing tool, a program that does not compile, or one that ends without a result.
    """
    if missing := missing_tool():
        raise DeviceError(missing)
    board, target, cpu, picoseconds = CORES[core]
    with tempfile.TemporaryDirectory(prefix="feredge-") as work:
        firmware = Path(work, "firmware.elf")
        compiler = [*ZIG_COMPILER, "-target", target, f"-mcpu={cpu}", *BARE_METAL_FLAGS]
        sources = [*(folder / "src").glob("*.c"), folder / "self_test/cortex_m.c"]
        script = f"-Wl,-T,{folder / 'self_test/cortex_m.ld'}"
        macros = [f"-DPICOSECONDS_PER_TICK={picoseconds}", "-I", str(folder / "src")]
        _run([*compiler, *macros, *map(str, sources), script, "-o", str(firmware)], "firmware that compiles")
        emulator = [EMULATOR, "-M", board, "-nographic", "-monitor", "none", "-icount", "shift=0"]
        semihosting = ["-semihosting-config", "enable=on,target=native", "-kernel", str(firmware)]
        output = _run([*emulator, *semihosting], "firmware that ends", statuses=(0, 1))
    result = re.search(r"(equal|not equal: row (\d+))\s+instructions (\d+)", output)
    if result is None:
        raise DeviceError(f"expected a result of the {core} firmware, found {output[:200]!r}")
    return CoreResult(None if result[2] is None else int(result[2]), int(result[3]))


def _run(command: list[str], expected: str, statuses: tuple[int, ...] = (0,)) -> str:
    try:
        done = run_program(command, timeout_seconds=TIMEOUT_SECONDS)
    except ProgramError as error:
        raise DeviceError(f"expected {expected}, found that {error}") from error
    if done.returncode not in statuses:
        raise DeviceError(f"expected {expected}, found: {first_line(done)}")
    return done.stdout + done.stderr
