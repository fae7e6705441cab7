"""Benchmark candidates, the test sets they are evaluated on, and the candidates of a run or a folder of files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark.alternative_runtimes import ALTERNATIVE_RUNTIMES
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
class Candidate:
    """One thing to measure: a model file in a runtime.

    Attributes:
        opener: `module:name` of a class or function, called as `name(path, threads=..., **options)`, that returns a
            runner.
        classes: in the order of the model's outputs. A candidate whose classes differ from its test set's fails.
        options: further keyword arguments of the opener; JSON values.
        runtime: title of an alternative runtime; empty for the format's default.
        in_browser: whether that runs in Chromium.
        failure: why it cannot be measured, where that is known in advance.
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
    in_browser: bool = False
    failure: str = ""

    @classmethod
    def from_card(
        cls, card: Card, path: Path, *, kind: Kind = "artifact", opener: str = ARTIFACT_RUNNER, name: str = ""
    ) -> Candidate:
        """Return the candidate that a file's card describes; its name is the file's by default."""
        return cls(
            name=name or path.name,
            kind=kind,
            format=path.suffix[1:],
            variant=card.variant,
            precision=card.precision,
            path=path,
            opener=opener,
            contract=card.contract,
            classes=card.classes,
        )


@dataclass(frozen=True, eq=False)
class TestSet:
    """Test images, and the candidates that are evaluated on them together.

    Attributes:
        splits: of the data; the candidates are evaluated on `splits.test`.
        unique: for each test image whether it has no duplicate in the data before it; the first of several counts as
            unique.
        network: name of the network that the candidates are files of; empty where there is one network.
    """

    candidates: tuple[Candidate, ...]
    splits: Splits
    unique: NDArray[np.bool_]
    network: str = ""

    @property
    def images_per_class(self) -> tuple[int, ...]:
        """Number of test images of each class."""
        test = self.splits.test
        return tuple(map(int, np.bincount(test.labels, minlength=len(test.classes))))


def run_candidates(run: RunFolder) -> list[Candidate]:
    """Return a run's float model, then every file in its manifest."""
    view = run.recipe().data
    contract = InputContract(view.size, view.size, view.channels)
    classes = tuple(run.data()["classes"])  # a recipe may select some of the data set's
    return [float_candidate(run.model, contract, classes), *artifact_candidates(run.artifacts)]


def float_candidate(path: Path, contract: InputContract, classes: tuple[str, ...]) -> Candidate:
    """Return a run's float model."""
    return Candidate("float", "float", "keras", "dense", "float32", path, FLOAT_RUNNER, contract, classes)


def artifact_candidates(folder: Path) -> list[Candidate]:
    """Return every file in a folder's manifest, whose digests are verified, then the files whose export failed.

    Raises:
        ArtifactError: the manifest names no verified file, or a file does not match its digest.
    """
    manifest = Manifest.read(folder)
    if not manifest.entries:
        raise ArtifactError(f"{folder}: expected files in its {MANIFEST_FILE}, found none")
    card = manifest.entries[0].card
    return [
        *(Candidate.from_card(entry.card, folder / entry.file) for entry in manifest.entries),
        *(_failed_export(failure, card, folder) for failure in manifest.failures),
    ]


def _failed_export(failure: Failure, card: Card, folder: Path) -> Candidate:
    """Return a file whose export failed; `card` is that of another file of the same export."""
    card = replace(card, variant=failure.variant, precision=failure.precision)
    candidate = Candidate.from_card(card, folder / failure.file)
    return replace(candidate, failure=f"its export failed: {failure.reason}")


def baseline_candidates(run: RunFolder, splits: Splits, progress: Progress) -> list[Candidate]:
    """Fit the baselines to a run's training images, or take those that are cached in the run folder."""
    import feredge.baselines as baselines

    return [
        Candidate.from_card(fitted.entry.card, fitted.path, kind="baseline", opener=BASELINE_RUNNER, name=fitted.id)
        for fitted in baselines.fit(
            baselines.DEFAULT_BASELINES, splits, cache=run.path / "baselines", progress=progress
        )
    ]


def in_alternative_runtimes(
    candidates: Iterable[Candidate], runtimes: Iterable[str], notes: list[str]
) -> Iterator[Candidate]:
    """Yield the candidates' files in other runtimes; for a runtime that is not installed a note is added."""
    for key in runtimes:
        runtime = ALTERNATIVE_RUNTIMES[key]
        if missing := runtime.prepare():
            notes.append(f"{runtime.title} was left out: {missing}.")
            continue
        for candidate in candidates:
            readable = (
                candidate.kind == "artifact"
                and not candidate.failure
                and not candidate.options
                and candidate.format == runtime.format
            )
            if readable and (not runtime.precisions or candidate.precision in runtime.precisions):
                name = f"{candidate.name} ({runtime.title})"
                yield replace(
                    candidate, name=name, opener=runtime.opener, runtime=runtime.title, in_browser=runtime.in_browser
                )
