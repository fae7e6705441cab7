"""`feredge bundle --for android`: the C library for three ABIs, and a Java class over it."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from pathlib import Path

from feredge.bundles.folder import Contents
from feredge.bundles.golden import Golden
from feredge.bundles.native.module_source import module_source
from feredge.bundles.notices import NOTICES_FILE, code_notice, notices_text, weights_notice
from feredge.bundles.options import BundleOptions
from feredge.bundles.source import Source
from feredge.bundles.targets import SelfTest
from feredge.bundles.templates import fill_dollars
from feredge.export.c.compiler import cross_compile
from feredge.inference.c_source import c_library_memory, library_name
from feredge.programs import ProgramError, first_line, run_program

JNI_FILE = Path(__file__).with_name("jni.c")
TEMPLATE_FOLDER = Path(__file__).with_name("templates")
TEMPLATE_FOLDERS = {".java": "java/feredge/", ".kt": "kotlin/feredge/", ".md": ""}
"""Where a filled template belongs, by its suffix."""
ABI_TARGETS = {
    "arm64-v8a": ("aarch64-linux-musl", "generic"),
    "armeabi-v7a": ("arm-linux-musleabihf", "cortex_a8"),
    "x86_64": ("x86_64-linux-musl", "x86_64_v2"),
}
"""Zig's target and CPU by Android's ABI. musl only names the format: nothing of it is linked. No function of the
interface takes a float, so that 32-bit Arm's calling convention for floats does not matter."""
LIBRARY_FLAGS = (
    *("-shared", "-fPIC", "-nostdlib", "-fno-builtin", "-fvisibility=hidden"),
    *("-fno-unwind-tables", "-fno-asynchronous-unwind-tables"),
    *("-Wl,-z,max-page-size=16384", "-Wl,--hash-style=both", "-Wl,-soname,libferedge.so"),
)
JVM_TEST_NAME = "self-test in the JVM of this machine"
JVM_TIMEOUT_SECONDS = 120.0


def build(source: Source, golden: Golden, options: BundleOptions) -> Contents:
    """Return the bundle's files.

    Raises:
        ArtifactError: a model that the C library does not take, or no compiler for the ABIs.
    """
    del options
    code = module_source(source, JNI_FILE)
    contents = {
        f"jniLibs/{abi}/libferedge.so": cross_compile(code, triple, f"-mcpu={cpu}", *LIBRARY_FLAGS)
        for abi, (triple, cpu) in ABI_TARGETS.items()
    }
    arena_bytes = c_library_memory(code.encode())["arena_bytes"]
    contents |= {name: text.encode() for name, text in _texts(source, golden, arena_bytes).items()}
    notices = [code_notice("The libraries, Java and Kotlin sources"), weights_notice(source.card)]
    return {
        **contents,
        "labels.txt": "".join(f"{name}\n" for name in source.card.classes).encode(),
        "golden.bin": golden.to_bytes(),
        source.name: source.data,
        NOTICES_FILE: notices_text(notices),
    }


def self_tests(folder: Path, source: Source, golden: Golden) -> list[SelfTest]:
    """Run the self-test in a JVM on x86-64 Linux, whose library is Android's."""
    del source, golden
    missing = [program for program in ("javac", "java") if shutil.which(program) is None]
    if missing or (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return [SelfTest(JVM_TEST_NAME, skipped=f"expected Linux on x86-64 with {' and '.join(missing) or 'java'}")]
    with tempfile.TemporaryDirectory() as classes:
        sources = sorted(map(str, folder.glob("java/feredge/*.java")))
        libraries = f"-Djava.library.path={folder / 'jniLibs/x86_64'}"
        commands = [
            ["javac", "-d", classes, *sources],
            ["java", libraries, "-cp", classes, "feredge.SelfTest", str(folder / "golden.bin")],
        ]
        for command in commands:
            try:
                done = run_program(command, timeout_seconds=JVM_TIMEOUT_SECONDS)
            except ProgramError as error:
                return [SelfTest(JVM_TEST_NAME, str(error))]
            if done.returncode:
                return [SelfTest(JVM_TEST_NAME, first_line(done))]
    return [SelfTest(JVM_TEST_NAME)]


def _texts(source: Source, golden: Golden, arena_bytes: int) -> dict[str, str]:
    height, width, channels = source.card.contract.shape
    values = {
        "NAME": library_name(source.card),
        "MODEL": source.name,
        "CLASSES": ", ".join(map(json.dumps, source.card.classes)),
        "HEIGHT": str(height),
        "WIDTH": str(width),
        "CHANNELS": str(channels),
        "ARENA_BYTES": str(arena_bytes),
        "IMAGES": str(len(golden.images)),
    }
    texts = {}
    for path in sorted(TEMPLATE_FOLDER.iterdir()):
        text = path.read_text(encoding="utf-8")
        texts[TEMPLATE_FOLDERS[path.suffix] + path.name] = fill_dollars(text, values)
    return texts
