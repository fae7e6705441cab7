"""The benchmark's data, read once for each shape of images, and test splits, made once for each view of the data."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feredge import dataclass_io
from feredge.data.dataset import Dataset, Splits
from feredge.errors import DataError
from feredge.recipes.schema import DataView
from feredge.run import RunFolder


class DatasetCache:
    """Data sets by image size and channels, and their splits by view.

    Args:
        source: of the data; that of the first run by default.
        runs: the runs that are measured.

    Raises:
        DataError: neither a source nor a run.
    """

    def __init__(self, source: str | None, runs: Sequence[RunFolder]) -> None:
        if source is None and not runs:
            raise DataError("expected the data that the files are evaluated on (--data PATH), found none")
        self.source = source or runs[0].source()
        self._skip_bad_rows = any(run.data()["skipped_rows"] for run in runs)
        self._datasets: dict[tuple[int, int], Dataset] = {}
        self._splits: dict[str, tuple[Splits, NDArray[np.bool_]]] = {}

    def dataset(self, view: DataView) -> Dataset:
        """Return the data with images of the view's size and channels."""
        from feredge.data import load

        shape = view.size, view.channels
        if shape not in self._datasets:
            size, channels = shape
            self._datasets[shape] = load(self.source, size=size, channels=channels, skip_bad_rows=self._skip_bad_rows)
        return self._datasets[shape]

    def splits(self, view: DataView, run: RunFolder | None) -> tuple[Splits, NDArray[np.bool_]]:
        """Return the splits by `view`, and for each test image whether it has no duplicate in the data.

        Images that `run` left out of its training are left out of the training split, which baselines are fitted to.

        Raises:
            DataError: no labelled test images.
        """
        from feredge.data import split, unique_test_mask

        dataset = self.dataset(view)
        if run is not None:
            dataset = run.exclude_rows(dataset)
        excluded = [] if dataset.excluded_rows is None else dataset.excluded_rows.tolist()
        key = json.dumps([dataclass_io.to_plain(view), excluded], sort_keys=True)
        if key not in self._splits:
            splits = split(dataset, view)
            if not len(splits.test):
                raise DataError(f"{dataset.source}: expected labelled test images, found none")
            self._splits[key] = splits, unique_test_mask(dataset, splits)
        return self._splits[key]
