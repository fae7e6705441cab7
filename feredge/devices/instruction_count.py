"""`count`: the instructions that one inference takes on an emulated Arm core, for each file of a run.

They repeat where times do not, and show what a core's missing instructions cost: without the dot product an int8 file
may take more of them than a float one. How long they take, they do not say.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import numpy as np

from feredge.benchmark.candidates import ARTIFACT_RUNNER, Candidate
from feredge.benchmark.metrics import Instructions
from feredge.benchmark.results import Results
from feredge.data.cache import make_cache_folder
from feredge.devices import arm64
from feredge.devices.bundle import sources
from feredge.errors import DeviceError
from feredge.inference.contract import Images
from feredge.progress import Progress, quiet

WARM, STRETCHES, LENGTH = 8, 5, 4
"""Inferences before the first mark; stretches between marks; inferences in each."""
PACKAGES = ("numpy", "onnxruntime", "ai-edge-litert")
PATIENCE = 900.0
"""Seconds that one file may take under emulation."""


def add_counts(
    results: Results, subjects: Sequence[Candidate], images: Images, cores: Sequence[str], *, progress: Progress = quiet
) -> Results:
    """Return `results` with the instructions that the files among `subjects` take on each of `cores`.

    A core on which they cannot be counted is a note that says why.
    """
    mine = [one for one in subjects if one.opener == ARTIFACT_RUNNER and not one.options and not one.failure]
    counted: dict[str, tuple[Instructions, ...]] = {}
    notes = list(results.notes)
    for core in cores:
        try:
            found = count(mine, images, core, progress=progress)
        except DeviceError as error:
            notes.append(f"Instructions on {core} were not counted: {error}.")
            continue
        counted = {name: (*counted.get(name, ()), one) for name, one in found.items()}
        failed = {name: one.failure for name, one in found.items() if one.failure is not None}
        notes += [f"Instructions of {name} on {core} were not counted: {failure}." for name, failure in failed.items()]
    rows = tuple(replace(row, instructions=counted.get(row.name, row.instructions)) for row in results.rows)
    return replace(results, rows=rows, notes=tuple(dict.fromkeys(notes)))


def count(
    subjects: Sequence[Candidate], images: Images, core: str, *, cache: Path | None = None, progress: Progress = quiet
) -> dict[str, Instructions]:
    """Count the instructions of each artifact on `core`, one of arm64.CORES; return them by the subject's name.

    The packages there have the versions that are installed here. The first call makes the root and fetches them.

    Args:
        images: `uint8 (N, H, W, C)`, of which the first few are looked at.
        cache: where the root is kept; `arm64` in feredge's cache folder if not given.

    Raises:
        DeviceError: qemu, gcc or mmdebstrap is missing, or the root or its packages cannot be made.
    """
    if core not in arm64.CORES:
        raise DeviceError(f"expected a core among {', '.join(arm64.CORES)}, found {core}")
    arm64.need("qemu-aarch64", "qemu-user")
    arm64.need("gcc", "gcc")
    task = f"instructions, {core}"
    progress(task, 0, len(subjects))
    with tempfile.TemporaryDirectory(prefix="feredge-") as name:
        work = Path(name)
        plugin = build_plugin(work)
        bare = arm64.make_root(cache or make_cache_folder() / "arm64")
        packages = arm64.install(bare, _versions())
        (work / "root").mkdir()
        root = arm64.with_core(bare, core, work / "root")
        for path, content in sources().items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_bytes(content)
        np.save(work / "images.npy", images[:LENGTH])

        def one(numbered: tuple[int, Candidate]) -> Instructions:
            number, subject = numbered
            options = ["-plugin", f"{plugin},out={work}/{number}"]
            command = arm64.guest(root, core, (work, packages), options)
            command += [
                "-m",
                "feredge.devices.instruction_count_guest",
                str(subject.path.absolute()),
                str(work / "images.npy"),
            ]
            return _count(core, [*command, str(WARM), str(STRETCHES), str(LENGTH)], work / str(number))

        found = {}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for index, (subject, counted) in enumerate(zip(subjects, pool.map(one, enumerate(subjects)), strict=True)):
                found[subject.name] = counted
                progress(task, index + 1, len(subjects), subject.name)
        return found


def build_plugin(folder: Path) -> Path:
    """Compile count.c for the qemu that is here, and return the library.

    Raises:
        DeviceError: gcc cannot, or this qemu takes no plugins.
    """
    version, options = (
        subprocess.run(["qemu-aarch64", one], capture_output=True, text=True, check=False).stdout
        for one in ("--version", "--help")
    )
    api = plugin_api(version, options)
    library = folder / "libcount.so"
    source = Path(__file__).parent / "count.c"
    command = ["gcc", "-O2", "-shared", "-fPIC", f"-DPLUGIN_API={api}", "-o", str(library), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeviceError(f"expected gcc to compile {source.name}, found {done.stderr.strip()[:200]}")
    return library


def plugin_api(version: str, options: str) -> int:
    """Return the plugin interface's number for what `qemu-aarch64 --version` and `--help` say.

    Raises:
        DeviceError: a qemu that was built without plugins.
    """
    found = re.search(r"version (\d+)\.", version)
    if found is None or "-plugin" not in options:
        line = (version.splitlines() or ["no version"])[0]
        raise DeviceError(f"expected a qemu-aarch64 that takes plugins, as Debian 12's does, found {line[:80]}")
    return 1 if int(found[1]) < 9 else 2


def parse_marks(text: str) -> list[int]:
    """Return the counts of marks 0, 1, 2, and on, as the plugin wrote them; DeviceError for anything else."""
    found = [re.fullmatch(r"(\d{1,20}) (\d{1,20})", line, re.ASCII) for line in text.splitlines()]
    counts = [int(mark[2]) for mark in found if mark]
    numbers = [int(mark[1]) for mark in found if mark]
    if len(counts) < len(found) or numbers != list(range(len(counts))) or sorted(counts) != counts:
        raise DeviceError(f"expected marks in order, found {text[:60]!r}")
    return counts


def _count(core: str, command: Sequence[str], marks: Path) -> Instructions:
    """Run the guest, and return what its marks say; a guest that ends early or hangs is this file's failure alone."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return Instructions(core, None, None, f"no answer within {PATIENCE:.0f} s")
    counts = parse_marks(marks.read_text() if marks.exists() else "")
    if done.returncode or len(counts) != STRETCHES + 1:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return Instructions(core, None, None, f"ended with {done.returncode}: {lines[-1][:200] if lines else ''}")
    each = [(after - before) / LENGTH for before, after in pairwise(counts)]
    return Instructions(core, statistics.median(each), max(each) / min(each) - 1)


def _versions() -> list[str]:
    """Return the packages that files run by, in the versions that are installed here."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package}=={metadata.version(package)}")
        except metadata.PackageNotFoundError:  # a file that needs it will say so
            continue
    return found
