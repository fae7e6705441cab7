"""The preprocessing in C against the input contract's, bit for bit."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable

import numpy as np
import pytest

from feredge.bundles.native.module_source import PREPROCESSING_FILE
from feredge.inference.contract import InputContract
from feredge.inference.face_detection import crop_square

Convert = Callable[[np.ndarray, tuple[int, int, int, int], InputContract], np.ndarray]
WRAPPER = f"""\
#include "{PREPROCESSING_FILE}"
void convert(const uint8_t *picture, int rows, int columns, int channels, int left, int top, int width, int height,
    uint8_t *crop, uint8_t *target, int target_rows, int target_columns, int target_channels)
{{
    feredge_crop(picture, rows, columns, channels, left, top, width, height, crop, target_channels);
    feredge_resize(crop, height, width, target_channels, target, target_rows, target_columns);
}}
"""
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-shared", "-fPIC")


@pytest.fixture(scope="module")
def convert(tmp_path_factory: pytest.TempPathFactory) -> Convert:
    """The C functions on arrays."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    folder = tmp_path_factory.mktemp("preprocessing")
    (folder / "wrapper.c").write_text(WRAPPER)
    subprocess.run([compiler, *FLAGS, "-o", folder / "wrapper.so", folder / "wrapper.c"], check=True)
    function = ctypes.CDLL(str(folder / "wrapper.so")).convert

    def call(picture: np.ndarray, box: tuple[int, int, int, int], contract: InputContract) -> np.ndarray:
        crop = np.zeros(box[2] * box[3] * contract.channels, np.uint8)
        target = np.zeros(contract.shape, np.uint8)
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (picture, crop, target)]
        function(pointers[0], *picture.shape, *box, *pointers[1:], *contract.shape)
        return target

    return call


def test_equals_the_contract(convert: Convert) -> None:
    """Guards each resizing: halving, between pixels, long pictures by area, enlarging; gray, RGB and RGBA."""
    random = np.random.default_rng(1)
    for number in range(300):
        rows, columns = (int(side) for side in random.integers(1, 300, 2))
        rows = (columns, rows, min(rows, 60))[number % 3]
        picture = random.integers(0, 256, (rows, columns, int(random.choice([1, 3, 4]))), np.uint8)
        height, width = (48, 48) if number % 2 else map(int, random.integers(1, 100, 2))
        contract = InputContract(height, width, int(random.choice([1, 3])))
        expected = contract.to_tensor(picture, color="rgb")
        found = convert(picture, (0, 0, columns, rows), contract)
        assert np.array_equal(found, expected), f"{picture.shape} to {contract.shape}"


@pytest.mark.parametrize("box", [(10, 20, 30, 30), (-7, 3, 40, 40), (50, 30, 60, 60), (-100, -90, 300, 300)])
def test_repeats_the_border_as_crop_square(convert: Convert, box: tuple[int, int, int, int]) -> None:
    """Guards faces at the picture's border."""
    picture = np.random.default_rng(2).integers(0, 256, (70, 90, 3), np.uint8)
    contract = InputContract()
    expected = contract.to_tensor(crop_square(picture, box), color="rgb")
    assert np.array_equal(convert(picture, box, contract), expected)
