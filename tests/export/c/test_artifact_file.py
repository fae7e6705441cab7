"""The `.c` artifact: what it holds, that it compiles anywhere, and that other code is refused."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from one_operator import GraphBuilder, convolution

from feredge.errors import ArtifactError, NoCardError
from feredge.export.c import compiler
from feredge.export.c.artifact_file import c_artifact, check_c_artifact
from feredge.export.c.layers import Arithmetic
from feredge.export.c.source import generate
from feredge.inference.artifact import Card
from feredge.inference.contract import InputContract
from feredge.inference.embedded_card import read_card
from feredge.inference.runtimes import open_artifact
from feredge.inspection import macs, weights
from feredge.inspection.probes import probe_images

NANO = Path(__file__).parents[3] / "models/nano/dense.int8.tflite"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`models/nano` as a C library."""
    path = tmp_path_factory.mktemp("c") / "dense.int8.c"
    path.write_text(c_artifact(NANO.read_bytes(), read_card(NANO), "xnnpack")[0])
    return path


def test_answers_as_litert(nano: Path) -> None:
    """Guards the claim of equal answers on a whole network."""
    images = probe_images(InputContract())
    runner = open_artifact(nano)
    np.testing.assert_array_equal(runner.predict(images), open_artifact(NANO).predict(images))
    with pytest.raises(ArtifactError, match=r"expected a batch of uint8 \(N, 48, 48, 1\), found float32"):
        runner.predict(images.astype(np.float32))


def test_describes_itself(nano: Path) -> None:
    """Guards the card, the weights and the multiply-adds, which are read without compiling anything."""
    assert read_card(nano) == read_card(NANO)
    kernels = [weights.read(path).kernels for path in (nano, NANO)]
    assert all(np.array_equal(kernels[0][name], kernels[1][name]) for name in kernels[1])
    assert macs.count(nano) == macs.count(NANO)
    _, library = check_c_artifact(nano)
    assert library.arena.bytes == library.arena.lower_bound == 46_800
    assert library.header in nano.read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("int best = 0;", "int best = 1;"), "code that this version of feredge generates"),
        (lambda text: text.replace("-ffast-math.", "-ffast-math. */ int x; /*"), "expected a card|found none"),
        (lambda text: text.replace("   arithmetic: xnnpack", "   arithmetic: other"), "expected arithmetic xnnpack"),
        (lambda text: text[:-4000], "damaged|found other code|expected a flatbuffer"),
        (lambda text: "int main(void) { return 0; }\n", "expected a feredge card"),
        (lambda text: "", "expected a feredge card"),
    ],
)
def test_other_code_is_refused(nano: Path, tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    """Guards against running code from a stranger's file: only what feredge generates is compiled."""
    path = tmp_path / "dense.int8.c"
    path.write_text(change(nano.read_text()))
    with pytest.raises(ArtifactError, match=message):
        open_artifact(path)


def test_a_c_file_without_a_card(tmp_path: Path) -> None:
    """Guards `feredge inspect` of a C file from elsewhere."""
    path = tmp_path / "main.c"
    path.write_text("int main(void) { return 0; }\n")
    with pytest.raises(NoCardError, match=r"main\.c: expected a feredge card"):
        read_card(path)


def test_card_text_cannot_end_the_comment() -> None:
    """Guards against class names and licences that hold C: they stay in the comment."""
    card = read_card(NANO)
    classes = ("*/ int x;", '"?\\', "ä", *card.classes[3:])
    hostile = Card("dense", "int8", classes, card.contract, {"name": "/* a\n*/"}, licence="*/ #error")
    text, library = c_artifact(NANO.read_bytes(), hostile, "tflm")
    assert text.split("*/")[0].count("\n") == 5
    assert '"*/ int x;", "\\042\\077\\134", "\\303\\244"' in library.source


@pytest.mark.parametrize("arithmetic", ["xnnpack", "tflm"])
@pytest.mark.parametrize(
    "command",
    [
        ("gcc", "-std=c99"),
        ("g++", "-std=c++11", "-x", "c++"),
        (sys.executable, "-m", "ziglang", "cc", "-std=c99", "-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4"),
        (sys.executable, "-m", "ziglang", "cc", "-std=c99", "-target", "wasm32-freestanding", "-mcpu=generic+simd128"),
        (sys.executable, "-m", "ziglang", "cc", "-std=c99", "-target", "aarch64-linux-musl", "-mcpu=cortex_a76"),
        (sys.executable, "-m", "ziglang", "cc", "-std=c99", "-target", "arm-linux-musleabihf", "-mcpu=cortex_a7"),
        (sys.executable, "-m", "ziglang", "cc", "-std=c99", "-target", "riscv64-linux-musl"),
    ],
    ids=["gcc", "g++", "cortex-m4", "wasm", "cortex-a76", "armhf", "riscv64"],
)
def test_compiles_without_warnings(command: tuple[str, ...], arithmetic: Arithmetic, tmp_path: Path) -> None:
    """Guards users' builds, which may treat warnings as errors; each target has kernels of its own."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    graph = GraphBuilder()
    last = graph.int8((1, 9, 7, 4), 0.11, 20)
    first = convolution(graph, graph.image((9, 7, 3)), 4)
    model = graph.finish(graph.operator("ADD", [first, first], last, "AddOptions"))
    source = tmp_path / "net.c"
    source.write_text(generate(model, name="net", classes=list(map(str, range(252))), arithmetic=arithmetic).source)
    arguments = [*command, *WARNINGS, "-O2", "-ffp-contract=off", "-c", str(source), "-o", str(tmp_path / "net.o")]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_needs_memcpy_and_memset_only(nano: Path, tmp_path: Path) -> None:
    """Guards firmware without a C library: no heap, no mathematical functions."""
    target = tmp_path / "net.o"
    subprocess.run(["gcc", "-std=c99", "-O2", "-c", str(nano), "-o", str(target)], check=True)
    symbols = subprocess.run(["nm", "-u", str(target)], capture_output=True, text=True, check=True).stdout.split()
    assert set(symbols) - {"U", "memcpy", "memset", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"} == set()


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the message where nothing can compile."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArtifactError, match=r"expected a C compiler .* found none; pip install 'feredge\[c\]'"):
        compiler.find_compiler()


def test_a_compiler_that_fails(tmp_path: Path) -> None:
    """Guards the one line for a compiler that refuses a file."""
    source = tmp_path / "broken.c"
    source.write_text("int main(void) { return }\n")
    with pytest.raises(ArtifactError, match=r"expected a C file that compiles, found: .*error"):
        compiler.compile_library(source, tmp_path / "broken.so")
