"""`models/nano` on emulated Cortex-M boards: the bits of LiteRT, and the instructions of an inference."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from c_library import litert_outputs

from feredge.export.c.layers import Arithmetic
from feredge.export.c.source import generate
from feredge.inference.contract import CLASSES, InputContract
from feredge.inspection.probes import probe_images

HERE = Path(__file__).parent
NANO = HERE.parents[2] / "models/nano/dense.int8.tflite"
IMAGES = 2
FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-ffreestanding", "-nostartfiles", "-fno-sanitize=all")


def c_table(kind: str, name: str, rows: np.ndarray) -> str:
    values = ", ".join("{" + ", ".join(map(str, row)) + "}" for row in rows)
    return f"static const {kind} {name}[{rows.shape[0]}][{rows.shape[1]}] = {{{values}}};\n"


def build(folder: Path, arithmetic: Arithmetic, target: str, cpu: str) -> Path:
    """Cross-compile the library and the program that runs it on golden vectors, and return the firmware."""
    images = probe_images(InputContract())[:IMAGES]
    expected = litert_outputs(NANO.read_bytes(), images, reference=arithmetic == "tflm") * 256
    library = generate(NANO.read_bytes(), name="net", classes=CLASSES, arithmetic=arithmetic)
    (folder / "net.c").write_text(library.source)
    (folder / "net.h").write_text(library.header)
    tables = c_table("uint8_t", "golden_pixels", images.reshape(IMAGES, -1))
    tables += c_table("int16_t", "golden_outputs", expected.astype(int))
    (folder / "golden.h").write_text(f"#include <stddef.h>\n#define GOLDEN_IMAGES {IMAGES}\n{tables}")
    firmware = folder / "firmware.elf"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, f"-mcpu={cpu}", *FLAGS, "-I", str(folder)]
    sources = [str(folder / "net.c"), str(HERE / "cortex_m.c"), f"-Wl,-T,{HERE / 'cortex_m.ld'}"]
    subprocess.run([*command, *sources, "-o", str(firmware)], check=True, capture_output=True)
    return firmware


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")
@pytest.mark.parametrize(
    ("board", "target", "cpu", "arithmetic", "most_instructions"),
    [
        ("mps2-an386", "thumb-freestanding-eabihf", "cortex_m4+vfp4d16sp", "xnnpack", 20_000_000),
        ("mps2-an385", "thumb-freestanding-eabi", "cortex_m3", "tflm", 80_000_000),
    ],
    ids=["cortex-m4", "cortex-m3"],
)
def test_answers_and_instructions(
    board: str, target: str, cpu: str, arithmetic: Arithmetic, most_instructions: int, tmp_path: Path
) -> None:
    """Guards the bits on a microcontroller, and the DSP kernels: 12 million multiply-adds take under 20 million."""
    firmware = build(tmp_path, arithmetic, target, cpu)
    emulator = ["qemu-system-arm", "-M", board, "-nographic", "-icount", "shift=0", "-kernel", str(firmware)]
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    done = subprocess.run([*emulator, *semihosting], capture_output=True, text=True, timeout=120)
    counts = dict(re.findall(r"(equal|instructions) (\d+)", done.stdout + done.stderr))
    assert int(counts["equal"]) == IMAGES
    assert int(counts["instructions"]) <= most_instructions
