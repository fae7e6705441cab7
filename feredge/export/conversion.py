"""One conversion job, as a worker process does it: one variant to one format, in every precision, each verified."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path

from feredge import artifact, files
from feredge.artifact import Card, Entry
from feredge.contract import Images
from feredge.errors import ArtifactError, FeredgeError
from feredge.run import RunFolder


@dataclass(frozen=True, eq=False)
class Job:
    """What a worker is sent.

    Attributes:
        run: the run folder.
        cards: the card of each file to write, by its name; all of one variant and one format.
        calibration: `uint8 (N, H, W, 1)`, of the training split.
        images: to verify on, `uint8 (N, H, W, 1)`.
    """

    run: Path
    cards: dict[str, Card]
    calibration: Images
    images: Images


def start_worker() -> None:
    """Make a worker end with its parent, and keep the converters' talk off the terminal."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)  # they write from C++; what goes wrong comes back as an exception


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()  # also returns when it was killed, where a pool's own workers would wait for ever
        os._exit(1)


def convert(job: Job) -> list[Entry]:
    """Write and verify the job's files. Each gets its name only after it has passed.

    Raises:
        ArtifactError: the converter failed; its own error is the cause.
        VerificationError: see verify.py.
    """
    from feredge.export.verify import verify
    from feredge.train.fitting import compiled

    folder = RunFolder(job.run)
    core, converter = _open(folder, job)
    reference = compiled(core)(job.images[..., 0])
    entries = []
    for name, card in job.cards.items():
        path = folder.artifacts / name
        with files.replacing(path) as temporary:
            try:
                model = converter(card)
            except (FeredgeError, OSError):
                raise
            except Exception as error:  # the converters raise whatever their libraries do
                raise ArtifactError(f"{name}: conversion failed ({' '.join(str(error).split())[:160]})") from error
            temporary.write_bytes(model)
            figures = verify(temporary, card, job.images, reference, name=name)
        if card.precision == "int8":
            figures["calibration_images"] = len(job.calibration)
        entries.append(artifact.entry(path, card, figures))
    return entries


def _open(folder: RunFolder, job: Job) -> tuple[object, Callable[[Card], bytes]]:
    """Return the variant's float network, and the function from a card to the file's bytes."""
    from feredge.export import rounding, variants

    name, first = next(iter(job.cards.items()))
    weights = first.source["weights"]
    core = variants.open_core(folder, first.variant, weights=weights)
    # Weights that were trained under nearest rounding are best rounded so.
    rounded = core if first.variant in variants.QUANTIZED else rounding.with_kept_sums(core)
    cores = {"float32": core, "float16": core, "dynamic-int8": rounded, "int8": rounded}
    if name.endswith(".tflite"):
        from feredge.export.to_tflite import to_tflite

        quantized = variants.open_quantized(folder, first.variant, weights=weights)

        def tflite(card: Card) -> bytes:
            model = to_tflite(cores[card.precision], card.precision, calibration=job.calibration, quantized=quantized)
            return artifact.append_tflite_card(model, card)

        return core, tflite
    from feredge.export import to_onnx

    opset = folder.recipe().export.opset

    def onnx(card: Card) -> bytes:
        graph = to_onnx.core_graph(cores[card.precision], opset=opset)
        return to_onnx.with_card(to_onnx.at_precision(graph, card.precision, calibration=job.calibration), card)

    return core, onnx
