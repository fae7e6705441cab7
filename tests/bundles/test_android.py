"""The Android bundle: its libraries need nothing of a system, and its Java class answers as LiteRT on this JVM."""

from __future__ import annotations

import platform
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from feredge.bundles.targets import bundle, check_bundle
from feredge.export.c.compiler import has_zig
from feredge.inference.contract import InputContract
from feredge.inference.face_detection import crop_square
from feredge.inference.runtimes import open_artifact

NANO = Path(__file__).parents[2] / "models/nano"
PAGE_BYTES = 16384
has_jvm = platform.machine() == "x86_64" and shutil.which("javac") is not None
PROGRAM = """
import feredge.Net;
import java.nio.ByteBuffer;
import java.nio.file.*;

public final class Check {
    public static void main(String[] arguments) throws Exception {
        byte[] bytes = Files.readAllBytes(Paths.get(arguments[0]));
        ByteBuffer picture = ByteBuffer.allocateDirect(bytes.length);
        picture.put(bytes);
        Net net = new Net();
        System.out.println(java.util.Arrays.toString(net.predict(picture, 70, 90)));
        System.out.println(java.util.Arrays.toString(net.predict(picture, 70, 90, 50, -5, 30, 41)));
        Runnable[] mistakes = {
            () -> net.predict(new byte[5]),
            () -> net.predict(ByteBuffer.wrap(bytes), 70, 90),
            () -> net.predict(picture, 70, 91),
            () -> net.predict(picture, 70, 90, 70, 0, 9, 9),
            () -> net.predict(picture, 70, 90, 0, 0, 1000, 9),
        };
        for (Runnable mistake : mistakes) {
            try {
                mistake.run();
            } catch (IllegalArgumentException error) {
                System.out.println(error.getMessage());
            }
        }
    }
}
"""


@pytest.fixture(scope="module")
def android(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `models/nano`; do not change it."""
    if not has_zig():
        pytest.skip("ziglang is not installed")
    return bundle("android", NANO, tmp_path_factory.mktemp("android") / "nano")


@pytest.mark.parametrize(("abi", "bits"), [("arm64-v8a", 64), ("armeabi-v7a", 32), ("x86_64", 64)])
def test_libraries(android: Path, abi: str, bits: int) -> None:
    """Guards phones with pages of 16 KB, and against a symbol that only another libc has."""
    data = (android / f"jniLibs/{abi}/libferedge.so").read_bytes()
    assert data[:5] == b"\x7fELF" + bytes([bits // 32])
    offset, size, count = (struct.unpack_from(kind, data, at)[0] for kind, at in ELF_HEADER[bits])
    alignments = set()
    for number in range(count):
        at = offset + number * size
        if struct.unpack_from("<I", data, at)[0] == 1:  # PT_LOAD
            alignments.add(struct.unpack_from("<Q" if bits == 64 else "<I", data, at + (48 if bits == 64 else 28))[0])
    assert alignments == {PAGE_BYTES}
    if shutil.which("readelf"):
        path = str(android / f"jniLibs/{abi}/libferedge.so")
        listing = subprocess.run(["readelf", "--dyn-syms", "-dW", path], capture_output=True, text=True).stdout
        undefined = [line for line in listing.splitlines() if " UND " in line and line.split()[-1] != "UND"]
        assert "NEEDED" not in listing and undefined == [] and "Java_feredge_Net_predict" in listing


ELF_HEADER = {
    64: (("<Q", 32), ("<H", 54), ("<H", 56)),
    32: (("<I", 28), ("<H", 42), ("<H", 44)),
}
"""Type and place of the program headers' offset, size and count."""


def test_verify(android: Path) -> None:
    """Guards the self-test in the JVM, and that it says where it cannot run."""
    checks, tests = check_bundle(android)
    assert not [check.failure for check in checks if check.failure]
    assert not [test.failure for test in tests if test.failure], tests
    assert bool(tests[-1].skipped) != has_jvm


@pytest.mark.skipif(not has_jvm, reason="no JVM on x86-64")
def test_answers_and_mistakes(android: Path, tmp_path: Path) -> None:
    """Guards the crop and the resizing by Java, and one line for each mistake, where C would read beyond a buffer."""
    picture = np.random.default_rng(3).integers(0, 256, (90, 70, 4), np.uint8)
    (tmp_path / "picture.bin").write_bytes(picture.tobytes())
    (tmp_path / "Check.java").write_text(PROGRAM)
    sources = [*map(str, android.glob("java/feredge/*.java")), str(tmp_path / "Check.java")]
    subprocess.run(["javac", "-d", str(tmp_path), *sources], check=True)
    libraries = f"-Djava.library.path={android / 'jniLibs/x86_64'}"
    command = ["java", libraries, "-cp", str(tmp_path), "Check", str(tmp_path / "picture.bin")]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    batch = InputContract().to_batch([picture, crop_square(picture, (50, -5, 30, 41))], color="rgb")
    found = [[float(value) for value in line.strip("[]").split(",")] for line in lines[:2]]
    np.testing.assert_array_equal(np.array(found, np.float32), open_artifact(NANO / "dense.int8.tflite").predict(batch))
    assert len(lines) == 7 and all(line.startswith("expected ") for line in lines[2:])
