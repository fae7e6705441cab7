"""A minimal Debian root for arm64, with the wheels that a Raspberry Pi gets, and its Python under qemu's user mode.

No root rights and no Raspberry Pi are needed. Latencies under emulation are meaningless.
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

BASE_PACKAGES = ("python3", "libstdc++6", "libgcc-s1")
WHEEL_PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")
EMULATED_CORES = {
    "cortex-a72": ("fp asimd evtstrm crc32 cpuid", "0x0", "0xd08"),
    "cortex-a76": (
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
        "0x4",
        "0xd0b",
    ),
}
"""Features, variant and part of a core in /proc/cpuinfo, by which runtimes choose their kernels. qemu 7 shows the
host's instead, which makes onnxruntime fail at import."""


def make_root(cache: Path, name: str = "bookworm-lite", extra: Sequence[str] = ()) -> Path:
    """Return a root with Python 3.11, made once as `cache/name`; `extra` are further Debian packages.

    Raises:
        DeviceError: a program is missing, or packages could not be fetched.
    """
    root = cache / name
    if not (root / "usr/bin/python3.11").exists():
        require_program("mmdebstrap", "mmdebstrap")
        cache.mkdir(parents=True, exist_ok=True)
        command = ["mmdebstrap", "--quiet", "--mode=chrootless", "--variant=extract", "--architectures=arm64"]
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            new_root = Path(temporary) / "root"
            _run(
                [*command, f"--include={','.join([*BASE_PACKAGES, *extra])}", "bookworm", str(new_root)],
                "a Debian for arm64",
            )
            shutil.rmtree(root, ignore_errors=True)
            new_root.rename(root)
    return root


def install(root: Path, packages: Sequence[str], constraints: Sequence[str] = ()) -> Path:
    """Return a folder in the root with `packages`, installed once from arm64 wheels only.

    Raises:
        DeviceError: a package could not be fetched, or has no wheel for arm64.
    """
    text = "".join(f"{line}\n" for line in constraints)
    digest = hashlib.sha256(f"{sorted(packages)}{text}".encode()).hexdigest()
    target = root / "opt" / f"packages-{digest[:12]}"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as name:
            (Path(name) / "constraints.txt").write_text(text)
            new_target = Path(name) / "packages"
            command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
            command += ["--only-binary", ":all:", "--python-version", "3.11", "--target", str(new_target)]
            command += [f"--platform={platform}" for platform in WHEEL_PLATFORMS]
            command += ["--constraint", f"{name}/constraints.txt", *packages]
            _run(command, f"arm64 wheels of {', '.join(packages)}")
            new_target.rename(target)
    return target


def root_with_cpuinfo(root: Path, core: str, folder: Path) -> Path:
    """Return `folder` as a root of links to `root`, with a /proc/cpuinfo that shows two cores of this kind."""
    features, variant, part = EMULATED_CORES[core]
    for entry in root.iterdir():
        if entry.name != "proc":
            (folder / entry.name).symlink_to(entry.resolve())
    (folder / "proc").mkdir()
    lines = (
        f"BogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        f"CPU variant\t: {variant}\nCPU part\t: {part}\nCPU revision\t: 1\n"
    )
    (folder / "proc" / "cpuinfo").write_text("\n".join(f"processor\t: {number}\n{lines}" for number in range(2)))
    return folder


def guest_command(root: Path, core: str, packages: Sequence[Path], options: Sequence[str] = ()) -> list[str]:
    """Return the command that starts the root's Python on an emulated core. `options` are qemu's.

    Raises:
        DeviceError: qemu is not installed.
    """
    require_program("qemu-aarch64", "qemu-user")
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


def require_program(program: str, package: str) -> None:
    """Raise DeviceError unless a program is installed; `package` is its Debian package."""
    if shutil.which(program) is None:
        raise DeviceError(f"expected {program}, found none (Debian: apt-get install {package})")


def _run(command: Sequence[str], expected: str) -> None:
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    if completed.returncode:
        lines = [line for line in completed.stderr.splitlines() if line.strip()]
        raise DeviceError(f"expected {expected}, found {lines[-1].strip() if lines else 'no reason given'}")
