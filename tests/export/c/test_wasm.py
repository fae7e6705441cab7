"""The kernels for WebAssembly SIMD, with the dot products of different engines, by a header that emulates them here."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from c_library import litert_outputs
from one_operator import GraphBuilder, convolution

from feredge.export.c.source import generate

HERE = Path(__file__).parent
IMAGES = np.random.default_rng(7).integers(0, 256, (8, 9, 7, 3), dtype=np.uint8)
IMAGES[:, :5] = 0
FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-D__wasm_simd128__", f"-I{HERE}")


def network() -> bytes:
    """Convolutions whose depths and channels leave rests, and the smallest weights, as no converter writes them."""
    graph = GraphBuilder()
    first = convolution(graph, graph.image((9, 7, 3)), 21)
    second = convolution(graph, first, 8, strideH=2, strideW=2, fusedActivationFunction=1)
    kernels = [buffer for buffer in graph.model.buffers if buffer.data is not None and len(buffer.data) > 500]
    for buffer in kernels:
        buffer.data = buffer.data.copy()
        buffer.data[100:500] = 128  # -128 as int8: with black pixels sums of two products that need 17 bits
    assert len(kernels) == 2
    return graph.finish(convolution(graph, second, 5, kernel=1))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("relaxed_dot", [None, 0, 1, 2, 3], ids=["simd", "vnni", "arm-dot", "avx2", "arm"])
def test_equals_litert(relaxed_dot: int | None, tmp_path: Path) -> None:
    """Guards the same bits in every browser on every CPU, of which a test machine has one."""
    model = network()
    expected = litert_outputs(model, IMAGES)
    library = generate(model, name="net", classes=[str(number) for number in range(expected.shape[1])])
    (tmp_path / "net.c").write_text(library.source)
    defines = [f"-DRELAXED_DOT={relaxed_dot or 0}"] + ["-D__wasm_relaxed_simd__"] * (relaxed_dot is not None)
    subprocess.run(["gcc", *FLAGS, *defines, tmp_path / "net.c", "-o", tmp_path / "net.so"], check=True)
    predict = ctypes.CDLL(str(tmp_path / "net.so")).feredge_net_predict
    found = np.empty_like(expected)
    for image, row in zip(IMAGES, found, strict=True):
        predict(image.ctypes.data_as(ctypes.c_void_p), row.ctypes.data_as(ctypes.c_void_p))
    np.testing.assert_array_equal(found, expected)
