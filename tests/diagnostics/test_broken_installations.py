"""`feredge doctor` on real installations that were broken on purpose: what is broken, and how to mend it.

Each is a virtual environment with feredge and the packages that it always needs, linked from this one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import feredge

SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
PACKAGES = (
    *("click", "cv2", "flatbuffers", "google", "numpy", "numpy.libs", "onnxruntime", "opencv_python.libs"),
    *("packaging",),
)
METADATA = ("click", "feredge", "flatbuffers", "numpy", "onnxruntime", "opencv_python", "packaging", "protobuf")


class Installation:
    """A virtual environment whose packages are links, until a test replaces them."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=os.name == "posix")
        self.folder = folder
        (self.site,) = folder.glob("lib/python*/site-packages")
        for name in PACKAGES:
            self._link(SITE_PACKAGES / name)
        for name in METADATA:
            self._link(next(SITE_PACKAGES.glob(f"{name}-*.dist-info")))
        self._link(Path(feredge.__file__).parent)

    def _link(self, path: Path) -> None:
        if path.exists():
            (self.site / path.name).symlink_to(path)

    def remove(self, pattern: str) -> None:
        for path in self.site.glob(pattern):
            path.unlink()

    def own_copy(self, name: str) -> Path:
        """Replace a link to a package by a folder of its files, and return it."""
        target = (self.site / name).resolve()
        (self.site / name).unlink()
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(target, self.site / name, copy_function=_link_file, ignore=ignore)
        return self.site / name

    def replace(self, path: Path, data: bytes) -> None:
        path.unlink()
        path.write_bytes(data)

    def doctor(self) -> tuple[int, list[dict[str, Any]], list[str]]:
        """Return the exit code, the checks, and the errors."""
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            [self.folder / "bin" / "python", "-m", "feredge", "doctor", "--json"],
            capture_output=True,
            text=True,
            env=environment,
            cwd=self.folder,
            check=False,
        )
        assert "Traceback" not in done.stderr
        errors = [line for line in done.stderr.splitlines() if "still running" not in line]
        return done.returncode, json.loads(done.stdout), errors


def _link_file(source: str, target: str) -> None:
    """Make a hard link, because OpenCV's loader resolves symbolic ones; a copy where there are none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def remove_onnxruntime(place: Installation) -> None:
    place.remove("onnxruntime*")


def remove_a_library_of_the_system(place: Installation) -> None:
    """Let OpenCV need a library that no system has, in the place of libGL."""
    place.own_copy("cv2")
    (library,) = place.own_copy("opencv_python.libs").glob("libQt5Gui-*")
    place.replace(library, library.read_bytes().replace(b"libGL.so.1", b"libNo.so.1"))


def remove_a_part_of_numpy(place: Installation) -> None:
    for module in place.own_copy("numpy").glob("_core/_multiarray_umath*.so"):
        module.unlink()


def install_another_opencv(place: Installation) -> None:
    folder = place.site / "opencv_python_headless-4.11.0.86.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: opencv-python-headless\nVersion: 4.11.0.86\n")


def install_opencv_5(place: Installation) -> None:
    metadata = place.own_copy(next(place.site.glob("opencv_python-*.dist-info")).name) / "METADATA"
    text = metadata.read_text(encoding="utf-8")
    version = text.partition("\nVersion: ")[2].partition("\n")[0]
    place.replace(metadata, text.replace(f"\nVersion: {version}", "\nVersion: 5.0.0").encode())


def truncate_the_network(place: Installation) -> None:
    network = place.own_copy("feredge") / "models" / "nano.int8.onnx"
    place.replace(network, network.read_bytes()[:50_000])


def remove_the_cascade(place: Installation) -> None:
    (place.own_copy("cv2") / "data" / "haarcascade_frontalface_default.xml").unlink()


def remove_the_metadata(place: Installation) -> None:
    place.remove("feredge-*.dist-info")


@pytest.mark.skipif(sys.platform != "linux", reason="links packages, and edits a shared library of Linux")
@pytest.mark.parametrize(
    ("break_it", "name", "detail", "remedy"),
    [
        (remove_onnxruntime, "onnxruntime", "expected >=1.20, found none", "pip install 'onnxruntime>=1.20'"),
        (remove_a_library_of_the_system, "opencv-python", "cannot open shared object file", "apt-get install libgl1"),
        (remove_a_part_of_numpy, "numpy", "expected a package that can be imported", "--force-reinstall"),
        (install_another_opencv, "cv2", "opencv-python and opencv-python-headless", "pip uninstall opencv-python "),
        (install_opencv_5, "opencv-python", "found 5.0.0", "pip install 'opencv-python<5,>=4.10'"),
        (truncate_the_network, "prediction", "nano.int8.onnx", "pip install --force-reinstall --no-deps feredge"),
        (remove_the_cascade, "face detection", "cascade", "--no-cache-dir opencv-python"),
        (remove_the_metadata, "feredge", "expected an installed package, found only its files", "pip install ."),
    ],
)
def test_what_is_broken_and_how_to_mend_it(
    tmp_path: Path, break_it: Callable[[Installation], None], name: str, detail: str, remedy: str
) -> None:
    """Guards against a traceback, and against blame of a package that is sound."""
    place = Installation(tmp_path / "venv")
    break_it(place)
    code, checks, errors = place.doctor()
    failed = [check for check in checks if check["status"] == "failed"]
    assert code == 1 and name in {check["name"] for check in failed}, failed
    check = next(check for check in failed if check["name"] == name)
    assert detail in check["detail"] and remedy in check["remedy"]
    assert f"error: {name}: {check['detail']}; to mend it: {check['remedy']}" in errors
    sound = {"numpy": {"opencv-python", "onnxruntime", "numpy"}}.get(name, {name})  # both need numpy
    assert {check["name"] for check in failed} <= sound


@pytest.mark.skipif(sys.platform != "linux", reason="links packages")
def test_a_light_installation_is_sound(tmp_path: Path) -> None:
    """Guards the Predictor's installation against blame for what only the extras bring."""
    code, checks, errors = Installation(tmp_path / "venv").doctor()
    by_name = {check["name"]: check for check in checks}
    assert (code, errors) == (0, [])
    assert by_name["prediction"]["status"] == "ok" and "export" not in by_name
    assert by_name["workshop"]["status"] == "missing" and "training" in by_name["workshop"]["detail"]
    assert by_name["workshop"]["remedy"] == "pip install 'feredge[workshop]'"
