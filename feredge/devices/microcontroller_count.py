"""Instructions of one inference of C libraries on emulated Cortex-M cores, which also check their golden vectors."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from feredge import files
from feredge.benchmark.candidates import Candidate
from feredge.benchmark.metrics import Instructions
from feredge.bundles.golden import golden_vectors
from feredge.bundles.mcu.contents import build
from feredge.bundles.mcu.cortex_m import missing_tool, run_on_core
from feredge.bundles.options import BundleOptions
from feredge.bundles.source import Source
from feredge.errors import DeviceError, FeredgeError
from feredge.export.c.artifact_file import check_c_artifact
from feredge.inference.c_source import read_c_source
from feredge.inference.embedded_card import append_tflite_card
from feredge.progress import Progress, quiet


def count_on_microcontroller(
    subjects: Sequence[Candidate], core: str, *, progress: Progress = quiet
) -> dict[str, Instructions]:
    """Return the instructions of each `.c` artifact on a core of `bundles.mcu.cortex_m.CORES`, by the subject's name.

    Raises:
        DeviceError: no C library among the subjects, or qemu-system-arm or Zig is missing.
    """
    libraries = [subject for subject in subjects if subject.path.suffix == ".c"]
    if not libraries:
        raise DeviceError("expected a C library (.c), which microcontrollers run, found none")
    if missing := missing_tool():
        raise DeviceError(missing)
    counts = {}
    for number, subject in enumerate(libraries):
        progress(f"instructions, {core}", number, len(libraries), subject.name)
        try:
            counts[subject.name] = _count(subject.path, core)
        except FeredgeError as error:
            counts[subject.name] = Instructions(core, None, None, str(error))
    progress(f"instructions, {core}", len(libraries), len(libraries))
    return counts


def _count(path: Path, core: str) -> Instructions:
    card, _ = check_c_artifact(path)
    library = read_c_source(path.read_bytes())
    options = BundleOptions("tflm" if library.arithmetic == "tflm" else "xnnpack")
    source = Source(path.with_suffix(".tflite").name, append_tflite_card(library.model, card), card)
    with tempfile.TemporaryDirectory(prefix="feredge-") as name:
        for place, content in build(source, golden_vectors(source, options.arithmetic), options).items():
            files.write_bytes(Path(name, place), content)
        result = run_on_core(Path(name), core)
    if result.unequal_row is not None:
        return Instructions(core, None, None, f"golden image {result.unequal_row} has another answer than in LiteRT")
    return Instructions(core, result.instructions, 0.0)
