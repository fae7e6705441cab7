"""What a conversion's worker is sent, and what it sends back."""

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
class Job:
    """What a worker is sent.

    Attributes:
        run: the run folder.
        folder: where the files are written.
        settings: what is written, and how.
        cards: the card of each file to write, by its name; all of one variant, and all TFLite or none.
        calibration: `uint8 (N, H, W, 1)`, of the training split.
        others: as many again, none of them the same.
        images: to verify on, `uint8 (N, H, W, 1)`.
        validation: images and labels on which a drop is bounded; none where it is not.
    """

    run: Path
    folder: Path
    settings: Export
    cards: dict[str, Card]
    calibration: Images
    others: Images
    images: Images
    validation: tuple[Images, NDArray[np.int8]] | None


@dataclass(frozen=True)
class Done:
    """What a worker sends back: entries and failures of the manifest, and what each runtime made of each file."""

    entries: list[Entry] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    runtimes: dict[str, Any] = field(default_factory=dict)
