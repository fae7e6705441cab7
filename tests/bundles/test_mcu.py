"""The bundle for microcontrollers: it builds as its README says, and gives the bits of LiteRT on Cortex-M cores."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from feredge.bundles.golden import golden_vectors
from feredge.bundles.mcu.boards import Need, boards, require_fit
from feredge.bundles.mcu.contents import build
from feredge.bundles.mcu.cortex_m import CORES, missing_tool, run_on_core
from feredge.bundles.options import BundleOptions
from feredge.bundles.source import open_source
from feredge.bundles.targets import bundle
from feredge.errors import ArtifactError

NANO = Path(__file__).parents[2] / "models/nano"
ARDUINO = """\
#include <stdint.h>
#include <stddef.h>
struct Port {
    void begin(long) {}
    template <class T> void print(T) {}
    template <class T> void println(T, int = 0) {}
    size_t readBytes(char *, size_t size) { return size; }
} Serial;
unsigned long micros() { return 0; }
void delay(unsigned long) {}
"""


@pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())
@pytest.mark.parametrize(
    ("core", "most_instructions"), [("cortex-m4", 20_000_000), ("cortex-m7", 20_000_000), ("cortex-m55", 40_000_000)]
)
def test_answers_and_instructions(core: str, most_instructions: int, nano_bundle: Path) -> None:
    """Guards the bits on a microcontroller, and the DSP kernels: 12 million multiply-adds take under 20 million.

    On a Cortex-M55 the plain kernels run: there are none for its vectors.
    """
    result = run_on_core(nano_bundle, core)
    assert result.unequal_row is None
    assert 12_000_000 < result.instructions <= most_instructions


@pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())
def test_the_arithmetic_of_tensorflow_lite_micro(tmp_path: Path) -> None:
    """Guards the second arithmetic, on a core without floating point and DSP instructions."""
    folder = bundle("mcu", NANO, tmp_path / "tflm", BundleOptions("tflm"))
    assert run_on_core(folder, "cortex-m3").unequal_row is None


def run_cmake(source: Path, build_folder: Path, *options: str) -> None:
    """Configure, build and test a bundle's CMake project."""
    for command in (
        ["cmake", "-S", str(source), "-B", str(build_folder), *options],
        ["cmake", "--build", str(build_folder)],
        ["ctest", "--test-dir", str(build_folder)],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake(nano_bundle: Path, tmp_path: Path) -> None:
    """Guards the project that a user builds first."""
    run_cmake(nano_bundle, tmp_path)


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed")
@pytest.mark.parametrize("core", CORES)
def test_cmake_for_a_core_in_qemu(core: str, nano_bundle: Path, tmp_path: Path) -> None:
    """Guards the toolchain file, the linker script and the start-up code with the Arm GNU toolchain."""
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={nano_bundle}/cmake/arm-none-eabi.cmake"
    run_cmake(nano_bundle, tmp_path, toolchain, f"-DCORTEX_M={core}")


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_arduino_sketches_compile(nano_bundle: Path, tmp_path: Path) -> None:
    """Guards the examples, with a stand-in for Arduino's core."""
    (tmp_path / "Arduino.h").write_text(ARDUINO)
    for sketch in nano_bundle.glob("examples/*/*.ino"):
        includes = ["-I", str(nano_bundle / "src"), "-include", str(tmp_path / "Arduino.h")]
        command = ["g++", "-std=c++11", "-Wall", "-Werror", "-fsyntax-only", "-x", "c++", *includes, str(sketch)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    properties = (nano_bundle / "library.properties").read_text()
    assert "name=feredge_nano_dense\n" in properties and "includes=feredge_nano_dense.h\n" in properties


def test_the_model_and_operators_for_tensorflow_lite_micro(nano_bundle: Path) -> None:
    """Guards the array, and that each operator of the model is added once."""
    text = (nano_bundle / "tflite_micro/feredge_nano_dense_tflite.h").read_text()
    flatbuffer = open_source(NANO).flatbuffer
    values = text.split("] = {")[1].split("}")[0].replace("\n", "").split(",")
    assert bytes(int(value) for value in values) == flatbuffer
    calls = [line.strip() for line in text.splitlines() if "resolver.Add" in line]
    assert f"MicroMutableOpResolver<{len(set(calls))}>" in text and "resolver.AddConv2D();" in calls


def test_boards_state_their_memory_and_source() -> None:
    """Guards the table of boards."""
    known = boards()
    assert len(known) >= 20
    for board in known.values():
        assert board.source.startswith("https://") and 16 <= board.ram_kb <= 2048 and 64 <= board.flash_kb <= 16384


def test_a_board_that_is_too_small_is_refused_with_what_it_lacks() -> None:
    """Guards `--board` against a library that cannot be linked."""
    need = Need.of(arena_bytes=46_800, constant_bytes=300_000, image_bytes=2304)
    require_fit("arduino-nano-33-ble-sense", need)
    with pytest.raises(
        ArtifactError, match=r"NUCLEO-F103RB: .* found 20 and 128; lacking: RAM 32\.0 KB, flash 173\.0 KB"
    ):
        require_fit("nucleo-f103rb", need)


def test_card_text_cannot_become_code() -> None:
    """Guards generated files against class and recipe names that hold C, CMake or line breaks."""
    source = open_source(NANO)
    classes = ("*/ #error", "a\nurl=evil", "@SYMBOL@", *source.card.classes[3:])
    hostile = replace(source, card=replace(source.card, classes=classes, recipe={"name": "x\n*/ #error"}))
    contents = build(hostile, golden_vectors(source), BundleOptions())
    assert not [name for name, data in contents.items() if b"\nurl=evil" in data or b"\n*/ #error" in data]
    assert all("@" not in name and "\n" not in name for name in contents)
