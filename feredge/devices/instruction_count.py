"""Instructions of one inference on an emulated Arm core, for each file of a run: `add_counts`, and Cortex-A cores.

Counts are reproducible, and show the cost of instructions that a core lacks: without the dot product an int8 file may
take more instructions than a float one. They are no latencies.
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
from feredge.bundles.mcu.cortex_m import CORES as MICROCONTROLLER_CORES
from feredge.data.cache import make_cache_folder
from feredge.devices import arm64
from feredge.devices.bundle import sources
from feredge.devices.microcontroller_count import count_on_microcontroller
from feredge.errors import DeviceError
from feredge.inference.contract import Images
from feredge.progress import Progress, quiet

COUNTED_CORES = (*arm64.EMULATED_CORES, *MICROCONTROLLER_CORES)
WARMUP_INFERENCES, COUNTED_INTERVALS, INTERVAL_INFERENCES = 8, 5, 4
GUEST_PACKAGES = ("numpy", "onnxruntime", "ai-edge-litert")
GUEST_TIMEOUT_SECONDS = 900.0  # of one file


def check_core(core: str) -> None:
    """Raise DeviceError for a core that is not one of COUNTED_CORES."""
    if core not in COUNTED_CORES:
        raise DeviceError(f"expected a core among {', '.join(COUNTED_CORES)}, found {core}")


def add_counts(
    results: Results, subjects: Sequence[Candidate], images: Images, cores: Sequence[str], *, progress: Progress = quiet
) -> Results:
    """Return `results` with the instructions of the files among `subjects` on each of `cores`, Cortex-A or Cortex-M.

    Where they cannot be counted, a note says why.
    """
    artifacts = [
        subject
        for subject in subjects
        if subject.opener == ARTIFACT_RUNNER and not subject.options and not subject.failure
    ]
    counts: dict[str, tuple[Instructions, ...]] = {}
    notes = list(results.notes)
    for core in cores:
        try:
            core_counts = count_instructions(artifacts, images, core, progress=progress)
        except DeviceError as error:
            notes.append(f"Instructions on {core} were not counted: {error}.")
            continue
        counts = {name: (*counts.get(name, ()), result) for name, result in core_counts.items()}
        notes += [
            f"Instructions of {name} on {core} were not counted: {result.failure}."
            for name, result in core_counts.items()
            if result.failure is not None
        ]
    rows = tuple(replace(row, instructions=counts.get(row.name, row.instructions)) for row in results.rows)
    return replace(results, rows=rows, notes=tuple(dict.fromkeys(notes)))


def count_instructions(
    subjects: Sequence[Candidate], images: Images, core: str, *, cache: Path | None = None, progress: Progress = quiet
) -> dict[str, Instructions]:
    """Return the instructions of each artifact on `core`, one of COUNTED_CORES, by the subject's name.

    On a Cortex-M those of the C libraries. On a Cortex-A the guest's packages have the versions of this environment;
    the first call makes the root and fetches them.

    Args:
        images: `uint8 (N, H, W, C)`, of which the first INTERVAL_INFERENCES are used; on a Cortex-M none.
        cache: where the root is kept; `arm64` in feredge's cache folder if not given.

    Raises:
        DeviceError: a program is missing, the root or its packages cannot be made, or no C library for a Cortex-M.
    """
    check_core(core)
    if core in MICROCONTROLLER_CORES:
        return count_on_microcontroller(subjects, core, progress=progress)
    arm64.require_program("qemu-aarch64", "qemu-user")
    arm64.require_program("gcc", "gcc")
    task = f"instructions, {core}"
    progress(task, 0, len(subjects))
    with tempfile.TemporaryDirectory(prefix="feredge-") as name:
        work = Path(name)
        plugin = build_plugin(work)
        base_root = arm64.make_root(cache or make_cache_folder() / "arm64")
        packages = arm64.install(base_root, _installed_versions())
        (work / "root").mkdir()
        root = arm64.root_with_cpuinfo(base_root, core, work / "root")
        for path, content in sources().items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_bytes(content)
        np.save(work / "images.npy", images[:INTERVAL_INFERENCES])

        def count_one(numbered: tuple[int, Candidate]) -> Instructions:
            number, subject = numbered
            options = ["-plugin", f"{plugin},out={work}/{number}"]
            command = arm64.guest_command(root, core, (work, packages), options)
            command += [
                "-m",
                "feredge.devices.instruction_count_guest",
                str(subject.path.absolute()),
                str(work / "images.npy"),
            ]
            command += [str(WARMUP_INFERENCES), str(COUNTED_INTERVALS), str(INTERVAL_INFERENCES)]
            return _run_guest(core, command, work / str(number))

        counts = {}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for index, (subject, result) in enumerate(
                zip(subjects, pool.map(count_one, enumerate(subjects)), strict=True)
            ):
                counts[subject.name] = result
                progress(task, index + 1, len(subjects), subject.name)
        return counts


def build_plugin(folder: Path) -> Path:
    """Compile count.c for the installed qemu, and return the library.

    Raises:
        DeviceError: gcc fails, or this qemu takes no plugins.
    """
    version, options = (
        subprocess.run(["qemu-aarch64", option], capture_output=True, text=True, check=False).stdout
        for option in ("--version", "--help")
    )
    api = plugin_api(version, options)
    library = folder / "libcount.so"
    source = Path(__file__).parent / "count.c"
    command = ["gcc", "-O2", "-shared", "-fPIC", f"-DPLUGIN_API={api}", "-o", str(library), str(source)]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    if completed.returncode:
        raise DeviceError(f"expected gcc to compile {source.name}, found {completed.stderr.strip()[:200]}")
    return library


def plugin_api(version: str, options: str) -> int:
    """Return the version of the plugin API, from the output of `qemu-aarch64 --version` and `--help`.

    Raises:
        DeviceError: a qemu that was built without plugins.
    """
    match = re.search(r"version (\d+)\.", version)
    if match is None or "-plugin" not in options:
        line = (version.splitlines() or ["no version"])[0]
        raise DeviceError(f"expected a qemu-aarch64 that takes plugins, as Debian 12's does, found {line[:80]}")
    return 1 if int(match[1]) < 9 else 2


def parse_markers(text: str) -> list[int]:
    """Return the counts at markers 0, 1, 2, and on, as the plugin wrote them; DeviceError for anything else."""
    matches = [re.fullmatch(r"(\d{1,20}) (\d{1,20})", line, re.ASCII) for line in text.splitlines()]
    counts = [int(match[2]) for match in matches if match]
    numbers = [int(match[1]) for match in matches if match]
    if len(counts) < len(matches) or numbers != list(range(len(counts))) or sorted(counts) != counts:
        raise DeviceError(f"expected markers in order, found {text[:60]!r}")
    return counts


def _run_guest(core: str, command: Sequence[str], markers: Path) -> Instructions:
    """Run a guest, and return the count of its markers, or as `failure` that it ended early or timed out."""
    try:
        completed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GUEST_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return Instructions(core, None, None, f"no result within {GUEST_TIMEOUT_SECONDS:.0f} s")
    counts = parse_markers(markers.read_text() if markers.exists() else "")
    if completed.returncode or len(counts) != COUNTED_INTERVALS + 1:
        lines = [line.strip() for line in completed.stderr.splitlines() if line.strip()]
        return Instructions(core, None, None, f"ended with {completed.returncode}: {lines[-1][:200] if lines else ''}")
    per_inference = [(after - before) / INTERVAL_INFERENCES for before, after in pairwise(counts)]
    return Instructions(core, statistics.median(per_inference), max(per_inference) / min(per_inference) - 1)


def _installed_versions() -> list[str]:
    """Return GUEST_PACKAGES in the versions that are installed here, as pip's requirements."""
    requirements = []
    for package in GUEST_PACKAGES:
        try:
            requirements.append(f"{package}=={metadata.version(package)}")
        except metadata.PackageNotFoundError:  # a file that needs it fails by itself
            continue
    return requirements
