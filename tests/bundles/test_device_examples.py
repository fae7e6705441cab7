"""The examples for devices, with bundles of `models/nano`: the sketch runs, Kotlin and Swift are checked."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from feredge.bundles.targets import bundle
from feredge.export.c.compiler import has_zig
from feredge.inference.predictor import Predictor
from feredge.programs import run_program

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NANO = ROOT / "models/nano"
ARDUINO = """\
#include <stdio.h>
#include <stdlib.h>
struct Port {
    void begin(long) {}
    void print(const char *text) { printf("%s", text); }
    void print(float value, int digits) { printf("%.*f", digits, value); }
    void println(const char *text) { printf("%s\\n", text); }
    void println(unsigned long value) { printf("%lu\\n", value); }
} Serial;
unsigned long millis() { return 0; }
void delay(unsigned long) { exit(1); }
"""
CAMERA = """\
enum { QCIF, GRAYSCALE, OV7675 };
struct {
    bool begin(int, int, int, int) { return true; }
    void readFrame(void *frame) { fread(frame, 1, 176 * 144, fopen(FRAME_FILE, "rb")); }
} Camera;
"""
JAVA_CLASSES = {
    "android/graphics/Bitmap": """public class Bitmap {
        public enum Config { ARGB_8888, RGB_565 }
        public static native Bitmap createBitmap(Bitmap source, int x, int y, int width, int height);
        public static native Bitmap createBitmap(
            Bitmap source, int x, int y, int width, int height, Matrix matrix, boolean filter);
        public native Bitmap copy(Config config, boolean mutable);
        public native void copyPixelsToBuffer(java.nio.Buffer buffer);
        public native Config getConfig();
        public native int getHeight();
        public native int getWidth();
    }""",
    "android/graphics/Matrix": "public class Matrix { public native boolean postRotate(float degrees); }",
    "android/graphics/PointF": "public class PointF { public float x, y; }",
    "android/graphics/Rect": """public class Rect {
        public int left, top, right, bottom;
        public Rect(int left, int top, int right, int bottom) {}
        public native int height();
        public native int width();
    }""",
    "android/media/FaceDetector": """public class FaceDetector {
        public class Face {
            public native float eyesDistance();
            public native void getMidPoint(android.graphics.PointF point);
        }
        public FaceDetector(int width, int height, int maxFaces) {}
        public native int findFaces(android.graphics.Bitmap bitmap, Face[] faces);
    }""",
    "androidx/camera/core/ImageInfo": "public interface ImageInfo { int getRotationDegrees(); }",
    "androidx/camera/core/ImageProxy": """public interface ImageProxy extends AutoCloseable {
        android.graphics.Bitmap toBitmap();
        ImageInfo getImageInfo();
        void close();
    }""",
    "androidx/camera/core/ImageAnalysis": """public class ImageAnalysis {
        public interface Analyzer { void analyze(ImageProxy image); }
    }""",
}


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_the_sketch_answers_as_the_predictor(nano_bundle: Path, tmp_path: Path) -> None:
    """Guards the sketch's crop and its averages, with stand-ins of the Arduino core and the camera."""
    noise = np.random.default_rng(1).integers(0, 256, (12, 16), np.uint8)
    frame = np.asarray(cv2.resize(noise, (176, 144), interpolation=cv2.INTER_CUBIC), np.uint8)
    (tmp_path / "frame").write_bytes(frame.tobytes())
    (tmp_path / "Arduino.h").write_text(ARDUINO)
    (tmp_path / "Arduino_OV767X.h").write_text(CAMERA)
    sketch = tmp_path / "sketch.cpp"
    text = (EXAMPLES / "arduino_camera/arduino_camera.ino").read_text(encoding="utf-8")
    sketch.write_text(f"#include <Arduino.h>\n{text}\nint main() {{ setup(); loop(); }}\n")
    includes = ["-I", str(tmp_path), "-I", str(nano_bundle / "src"), f'-DFRAME_FILE="{tmp_path / "frame"}"']
    library = nano_bundle / "src/feredge_nano_dense.c"
    for command in (
        ["gcc", "-std=c99", "-O1", "-ffp-contract=off", "-c", str(library), "-o", str(tmp_path / "library.o")],
        ["g++", *includes, str(sketch), str(tmp_path / "library.o"), "-o", str(tmp_path / "sketch")],
        [str(tmp_path / "sketch")],
    ):
        done = run_program(command, timeout_seconds=300)
        assert done.returncode == 0, done.stdout + done.stderr
    with Predictor(NANO / "dense.int8.tflite") as predictor:
        face = predictor(frame[24:120, 40:136])
    assert done.stdout == f"{face.label} {face.confidence:.3f} ms: 0\n"


@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="kotlinc is not installed")
def test_kotlin_compiles(tmp_path: Path) -> None:
    """Guards the bundle's extension for bitmaps and the example, with stand-ins of Android's classes."""
    if not has_zig():
        pytest.skip("ziglang is not installed")
    folder = bundle("android", NANO, tmp_path / "android")
    for name, text in JAVA_CLASSES.items():
        path = tmp_path / f"stubs/{name}.java"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"package {Path(name).parent.as_posix().replace('/', '.')};\n{text}\n")
    sources = [EXAMPLES / "ExpressionAnalyzer.kt", *folder.glob("kotlin/feredge/*.kt"), *folder.glob("java/feredge/*")]
    command = ["kotlinc", "-Werror", *map(str, sources), str(tmp_path / "stubs"), "-d", str(tmp_path / "classes")]
    done = run_program(command, timeout_seconds=600)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "path",
    [EXAMPLES / "Expressions.swift", *(ROOT / "feredge/bundles/ios/templates").glob("*.swift")],
    ids=lambda path: path.name,
)
def test_swift_has_no_syntax_errors(path: Path) -> None:
    """Guards the sources that no compiler here has seen."""
    grammar = pytest.importorskip("tree_sitter_swift")
    tree_sitter = pytest.importorskip("tree_sitter")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    assert not parser.parse(path.read_bytes()).root_node.has_error
