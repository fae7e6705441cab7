"""The self-test of a bundle's C library: on this machine, and in QEMU on others."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from feredge.bundles.mcu.cortex_m import EMULATOR, missing_tool, run_on_core
from feredge.bundles.targets import SelfTest
from feredge.errors import ArtifactError, DeviceError
from feredge.export.c.compiler import ZIG_COMPILER, find_compiler, has_zig
from feredge.programs import ProgramError, first_line, run_program

COMPILER_FLAGS = ("-std=c99", "-O2", "-ffp-contract=off")
TIMEOUT_SECONDS = 300.0
EMULATED_TARGETS = {
    "armhf": ("qemu-arm", "arm-freestanding-eabihf", "cortex_a7"),
    "aarch64": ("qemu-aarch64", "aarch64-freestanding", "cortex_a53"),
    "riscv64": ("qemu-riscv64", "riscv64-freestanding", "generic_rv64+m+a+f+d"),
}
"""QEMU's program, Zig's target and its CPU, by architecture."""
MICROCONTROLLER_CORE = "cortex-m4"
EMULATED_FLAGS = (*COMPILER_FLAGS, "-ffreestanding", "-nostdlib", "-fno-sanitize=all")
EMULATED_MAIN = Path(__file__).with_name("emulated_main.c")


def run_self_tests(folder: Path, symbol: str) -> list[SelfTest]:
    """Compile the self-test of a bundle and run it: on this machine, for EMULATED_TARGETS, and on a Cortex-M4 in QEMU.

    Args:
        symbol: prefix of the library's names.
    """
    emulated = [emulated_test(folder, symbol, architecture) for architecture in EMULATED_TARGETS]
    return [_host_test(folder), *emulated, _cortex_m_test(folder)]


def _host_test(folder: Path) -> SelfTest:
    name = f"self-test on this machine ({platform.machine()})"
    try:
        compiler = [*find_compiler(), *COMPILER_FLAGS]
    except ArtifactError as error:
        return SelfTest(name, skipped=str(error))
    return _compile_and_run(folder, name, [*compiler, str(folder / "self_test/main.c")], [])


def _cortex_m_test(folder: Path) -> SelfTest:
    name = f"self-test on {MICROCONTROLLER_CORE} ({EMULATOR})"
    if missing := missing_tool():
        return SelfTest(name, skipped=missing)
    try:
        row = run_on_core(folder, MICROCONTROLLER_CORE).unequal_row
    except DeviceError as error:
        return SelfTest(name, str(error))
    return SelfTest(name, "" if row is None else f"expected equal answers, found: row {row} is not equal")


def emulated_test(folder: Path, symbol: str, architecture: str) -> SelfTest:
    """Compile the self-test of a bundle for one of EMULATED_TARGETS, and run it in QEMU."""
    emulator, target, cpu = EMULATED_TARGETS[architecture]
    name = f"self-test on {architecture} ({emulator})"
    if shutil.which(emulator) is None:
        return SelfTest(name, skipped=f"expected {emulator}, found none")
    if not has_zig():
        return SelfTest(name, skipped="expected Zig to compile with, found none; pip install 'feredge[c]'")
    macros = [f'-DGOLDEN_HEADER="{symbol}_golden.h"', f"-DSELF_TEST={symbol}_self_test"]
    compiler = [*ZIG_COMPILER, "-target", target, f"-mcpu={cpu}", *EMULATED_FLAGS, *macros]
    return _compile_and_run(folder, name, [*compiler, str(EMULATED_MAIN)], [emulator])


def _compile_and_run(folder: Path, name: str, compiler: Sequence[str], emulator: Sequence[str]) -> SelfTest:
    with tempfile.TemporaryDirectory(prefix="feredge-") as work:
        program = Path(work, "self_test")
        sources = map(str, (folder / "src").glob("*.c"))
        failure = _run([*compiler, "-I", str(folder / "src"), *sources, "-o", str(program)], "a compiled self-test")
        return SelfTest(name, failure or _run([*emulator, str(program)], "equal answers"))


def _run(command: Sequence[str], expected: str) -> str:
    """Return why a command failed, in one line; an empty text if it did not."""
    try:
        done = run_program(command, timeout_seconds=TIMEOUT_SECONDS)
    except ProgramError as error:
        return f"expected {expected}, found that {error}"
    return f"expected {expected}, found: {first_line(done)}" if done.returncode else ""
