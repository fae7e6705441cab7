"""A conversion job: the arguments that a worker process gets, and the result that it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.inference.artifact import Card, Entry, Failure
from feredge.inference.contract import Images
from feredge.recipes.schema import Export


@dataclass(frozen=True, eq=False)
class ConversionJob:
    """The conversion of one variant by one converter.

    Attributes:
        run: the run folder.
        folder: where the files are written.
        settings: the recipe's `[export]`.
        cards: the card of each file to write, by its name; all of one variant and one converter, TFLite and C
            or ONNX.
        calibration_images: `uint8 (N, H, W, 1)`, of the training split.
        second_calibration_images: a disjoint set of the same size, or an empty one: calibrating on either must
            give files that agree.
        verification_images: `uint8 (N, H, W, 1)`.
        validation: images and labels on which the accuracy drop is bounded; None sets no bound.
        temperature_images: images and labels that the temperature is chosen on; None for no temperature scaling.
    """

    run: Path
    folder: Path
    settings: Export
    cards: dict[str, Card]
    calibration_images: Images
    second_calibration_images: Images
    verification_images: Images
    validation: tuple[Images, NDArray[np.int8]] | None
    temperature_images: tuple[Images, NDArray[np.int8]] | None = None


@dataclass(frozen=True)
class ConversionResult:
    """Manifest entries and failures of a job's files, and each file's runtime parity by name."""

    entries: list[Entry] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    parity: dict[str, Any] = field(default_factory=dict)
