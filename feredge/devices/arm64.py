"""A bare Debian for arm64 in a folder, with the wheels a Raspberry Pi would get, and its Python under qemu.

No root rights and no Raspberry Pi are needed. Times under emulation say nothing.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from feredge.errors import DeviceError

BARE = ("python3", "libstdc++6", "libgcc-s1")
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")
CORES = {
    "cortex-a72": ("fp asimd evtstrm crc32 cpuid", "0x0", "0xd08"),
    "cortex-a76": (
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
        "0x4",
        "0xd0b",
    ),
}
"""What the kernel says of a core: features, variant, part. Runtimes choose their kernels by it; qemu 7 shows the
host's in its place, on which onnxruntime ends while it is imported."""


def make_root(cache: Path, name: str = "bookworm-lite", extra: Sequence[str] = ()) -> Path:
    """Return a root with Python 3.11 in it, made once as `cache/name`; `extra` are further Debian packages.

    Raises:
        DeviceError: a program that is not there, or packages that could not be fetched.
    """
    root = cache / name
    if not (root / "usr/bin/python3.11").exists():
        need("mmdebstrap", "mmdebstrap")
        cache.mkdir(parents=True, exist_ok=True)
        command = ["mmdebstrap", "--quiet", "--mode=chrootless", "--variant=extract", "--architectures=arm64"]
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            made = Path(temporary) / "root"
            _run([*command, f"--include={','.join([*BARE, *extra])}", "bookworm", str(made)], "a Debian for arm64")
            shutil.rmtree(root, ignore_errors=True)
            made.rename(root)
    return root


def install(root: Path, wanted: Sequence[str], constraints: Sequence[str] = ()) -> Path:
    """Return a folder in the root with the packages `wanted`, installed once from arm64 wheels only.

    Raises:
        DeviceError: they could not be fetched, or there is no wheel for arm64.
    """
    text = "".join(f"{line}\n" for line in constraints)
    digest = hashlib.sha256(f"{sorted(wanted)}{text}".encode()).hexdigest()
    target = root / "opt" / f"packages-{digest[:12]}"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as name:
            (Path(name) / "constraints.txt").write_text(text)
            made = Path(name) / "packages"
            command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
            command += ["--only-binary", ":all:", "--python-version", "3.11", "--target", str(made)]
            command += [f"--platform={one}" for one in PLATFORMS]
            _run([*command, "--constraint", f"{name}/constraints.txt", *wanted], f"arm64 wheels of {', '.join(wanted)}")
            made.rename(target)
    return target


def with_core(root: Path, core: str, folder: Path) -> Path:
    """Return `folder` as the same root, with a /proc/cpuinfo that shows two cores of this kind."""
    features, variant, part = CORES[core]
    for entry in root.iterdir():
        if entry.name != "proc":
            (folder / entry.name).symlink_to(entry.resolve())
    (folder / "proc").mkdir()
    words = (
        f"BogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        f"CPU variant\t: {variant}\nCPU part\t: {part}\nCPU revision\t: 1\n"
    )
    (folder / "proc" / "cpuinfo").write_text("\n".join(f"processor\t: {number}\n{words}" for number in range(2)))
    return folder


def guest(root: Path, core: str, packages: Sequence[Path], options: Sequence[str] = ()) -> list[str]:
    """Return the command that starts the root's Python on this core. `options` are qemu's.

    Raises:
        DeviceError: no qemu here.
    """
    need("qemu-aarch64", "qemu-user")
    variables = {
        "QEMU_CPU": core,
        "PYTHONPATH": ":".join(map(str, packages)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "ORT_DISABLE_TELEMETRY": "1",
        "HOME": "/nowhere",
    }
    settings = [f"{name}={value}" for name, value in variables.items()]
    return ["env", *settings, "qemu-aarch64", "-L", str(root), *options, str(root / "usr/bin/python3.11")]


def need(program: str, package: str) -> None:
    """Raise DeviceError unless a program is there; `package` is what Debian calls it."""
    if shutil.which(program) is None:
        raise DeviceError(f"expected {program}, found none (Debian: apt-get install {package})")


def _run(command: Sequence[str], expected: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise DeviceError(f"expected {expected}, found {lines[-1].strip() if lines else 'no reason given'}")
