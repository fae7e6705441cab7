"""What a benchmark can measure, and what a run, a folder of files and the baselines hold of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark import alternative_runtimes
from feredge.benchmark.results import Kind
from feredge.data.dataset import Splits
from feredge.errors import ArtifactError
from feredge.inference.artifact import MANIFEST_FILE, Card, Failure, Manifest
from feredge.inference.contract import InputContract
from feredge.progress import Progress
from feredge.run import RunFolder

FLOAT_RUNNER = "feredge.train.runner:KerasRunner"
ARTIFACT_RUNNER = "feredge.inference.runtimes:open_artifact"
BASELINE_RUNNER = "feredge.baselines:open_baseline"


@dataclass(frozen=True)
class Subject:
    """Something to measure.

    Attributes:
        opener: `module:name` of a class or function, called `name(path, threads=...)`, that returns a runner.
        classes: as the file orders them; other classes than those it is judged on are a failure.
        options: what the opener is called with beside path and threads; plain values.
        runtime: where it is another than the format's own.
        failure: why it cannot be measured, where that was seen before anything was.
    """

    name: str
    kind: Kind
    format: str
    variant: str
    precision: str
    path: Path
    opener: str
    contract: InputContract
    classes: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    runtime: str = ""
    failure: str = ""

    @classmethod
    def of(
        cls, card: Card, path: Path, *, kind: Kind = "artifact", opener: str = ARTIFACT_RUNNER, name: str = ""
    ) -> Subject:
        """Return a file by what its card says of it, under its own name if no other is given."""
        plain = card.variant, card.precision, path, opener, card.contract, card.classes
        return cls(name or path.name, kind, path.suffix[1:], *plain)


@dataclass(frozen=True, eq=False)
class Group:
    """Subjects that are judged on the same test images; `unique` ones stand nowhere else in the data."""

    subjects: tuple[Subject, ...]
    splits: Splits
    unique: NDArray[np.bool_]
    network: str = ""

    @property
    def images(self) -> tuple[int, ...]:
        """Test images of each class."""
        test = self.splits.test
        return tuple(map(int, np.bincount(test.labels, minlength=len(test.classes))))


def run_subjects(run: RunFolder) -> list[Subject]:
    """Return what a run holds: its float model, then every file in its manifest."""
    size = run.recipe().data.size
    classes = tuple(run.data()["classes"])  # a recipe may have chosen among the data set's
    return [float_subject(run.model, InputContract(size, size, 1), classes), *artifact_subjects(run.artifacts)]


def float_subject(path: Path, contract: InputContract, classes: tuple[str, ...]) -> Subject:
    """Return a run's float model."""
    return Subject("float", "float", "keras", "dense", "float32", path, FLOAT_RUNNER, contract, classes)


def artifact_subjects(folder: Path) -> list[Subject]:
    """Return every file in a folder's manifest, after holding it against its digest there; then what failed its export.

    Raises:
        ArtifactError: a manifest that names no verified file, or that its files do not fit.
    """
    manifest = Manifest.read(folder)
    if not manifest.entries:
        raise ArtifactError(f"{folder}: expected files in its {MANIFEST_FILE}, found none")
    card = manifest.entries[0].card
    return [
        *(Subject.of(entry.card, folder / entry.file) for entry in manifest.entries),
        *(_failed(failure, card, folder) for failure in manifest.failures),
    ]


def _failed(failure: Failure, card: Card, folder: Path) -> Subject:
    """Return a file that failed its export; `card` is another's of the same export."""
    asked = replace(card, variant=failure.variant, precision=failure.precision)
    return replace(Subject.of(asked, folder / failure.file), failure=f"its export failed: {failure.reason}")


def baseline_subjects(run: RunFolder, splits: Splits, progress: Progress) -> list[Subject]:
    """Fit the baselines to a run's training images, or take those that are kept with it."""
    import feredge.baselines as baselines

    return [
        Subject.of(fitted.entry.card, fitted.path, kind="baseline", opener=BASELINE_RUNNER, name=fitted.id)
        for fitted in baselines.fit(baselines.DEFAULT, splits, cache=run.path / "baselines", progress=progress)
    ]


def beside(subjects: Iterable[Subject], also: Iterable[str], notes: list[str]) -> Iterator[Subject]:
    """Yield the same files in other runtimes; what is not installed here becomes a note."""
    for key in also:
        runtime = alternative_runtimes.ALSO[key]
        if runtime.missing:
            notes.append(f"{runtime.title} was left out: its package {runtime.needs[1]} is not installed here.")
            continue
        for subject in subjects:
            fits = (
                subject.kind == "artifact"
                and not subject.failure
                and not subject.options
                and subject.format == runtime.format
            )
            if fits and (not runtime.precisions or subject.precision in runtime.precisions):
                name = f"{subject.name} ({runtime.title})"
                yield replace(subject, name=name, opener=runtime.opener, runtime=runtime.title)
