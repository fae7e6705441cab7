"""Reproductions of the published classical systems, each by its study's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from feredge import files
from feredge.api.cancel import Cancel, cancellable
from feredge.api.dataframe import to_dataframe
from feredge.api.datasets import load_dataset
from feredge.progress import Progress, quiet

if TYPE_CHECKING:
    import pandas

    from feredge.api.datasets import DataSource
    from feredge.baselines import Reproduction

RESULTS_NAME = "baselines.json"
BASELINES_FOLDER = Path("runs/baselines")


@dataclass(frozen=True)
class BaselinesResult:
    """The reproduced systems, and the results file."""

    systems: tuple[Reproduction, ...]
    results_file: Path

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per system and figure, with the measured and the published value, fit time and size."""
        return to_dataframe(
            {
                "system": one.id,
                "figure": name,
                "measured": value,
                "published": one.published.get(name),
                "fit_seconds": one.seconds,
                "size_bytes": one.bytes,
            }
            for one in self.systems
            for name, value in one.measured.items()
        )


def baselines(
    data: DataSource,
    *,
    only: Sequence[str] = (),
    out: str | PathLike[str] = BASELINES_FOLDER,
    skip_bad_rows: bool = False,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
) -> BaselinesResult:
    """Fit the published classical systems, and measure what their studies published.

    Args:
        data: FER2013.
        only: ids of systems; all by default.
        out: folder for the fitted files; systems already fitted in it on the same data are reused.
        skip_bad_rows: skip invalid csv rows and report how many there were.
        progress: called between systems.
        cancel: polled between systems.

    Raises:
        RecipeError: an unknown id.
        DataError: data without the splits or classes of a protocol.
        Cancelled: `cancel` returned True.
    """
    from feredge.baselines import get_baseline, reproduce

    for name in only:
        get_baseline(name)  # before the slow reading of the data
    dataset = load_dataset(data, skip_bad_rows=skip_bad_rows)
    path = Path(out)
    systems = reproduce(dataset, list(only) or None, cache=path, progress=cancellable(progress, cancel))
    files.write_json(path / RESULTS_NAME, [one.to_json() for one in systems])
    return BaselinesResult(tuple(systems), path / RESULTS_NAME)
