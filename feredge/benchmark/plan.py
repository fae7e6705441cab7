"""The benchmark plan: the candidates among all targets, by the test set that they are evaluated on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from feredge.benchmark.candidates import Candidate, TestSet, baseline_candidates, in_alternative_runtimes
from feredge.benchmark.dataset_cache import DatasetCache
from feredge.benchmark.targets import EXPECTED_TARGETS, Target, TargetOptions, find_targets
from feredge.data.source_pictures import color_note
from feredge.errors import ArtifactError
from feredge.paths import RunPath, resolve
from feredge.progress import Progress, quiet
from feredge.run import RunFolder


@dataclass(frozen=True, eq=False)
class BenchmarkPlan:
    """Everything to measure.

    Attributes:
        test_sets: with their candidates, whose names differ.
        notes: what was left out or assumed, in a sentence each.
        recipe: of the first network.
        is_run: whether it is one run and nothing else.
    """

    test_sets: tuple[TestSet, ...]
    notes: tuple[str, ...]
    recipe: dict[str, Any]
    is_run: bool


def collect_candidates(
    paths: Sequence[Path], source: str | None, options: TargetOptions, *, progress: Progress = quiet
) -> BenchmarkPlan:
    """Collect the candidates in `paths`, and read the data once for each image size.

    A file that crashes, hangs or cannot be opened is a candidate with a `failure`, as long as another can be measured.

    Args:
        source: of the data; that of the first run by default.

    Raises:
        ArtifactError: a path that holds nothing to measure, a file whose classes the data do not have, or no file that
            can be opened.
        RunError: a run that was trained on other data.
        DataError: no data, or no labelled test images.
    """
    for path in paths:
        if not path.exists():
            raise ArtifactError(f"{path}: {EXPECTED_TARGETS}, found none")
    notes: list[str] = []
    data = DatasetCache(source, [RunFolder(path) for path in paths if isinstance(resolve(path), RunPath)])
    targets = _all_targets(paths, data, options, notes)
    failed = [target for target in targets if target.failure]
    valid = [target for target in targets if not target.failure]
    if not valid:
        raise ArtifactError(f"{failed[0].candidates[0].path}: {failed[0].failure}")
    first_run = next((target.run for target in valid if target.run is not None), None)
    baseline_run = first_run if options.baselines else None
    test_sets = []
    for target in valid:
        splits, unique = data.splits(target.view, target.run)
        candidates = list(target.candidates)
        if target.run is not None and target.run is baseline_run:
            candidates += baseline_candidates(target.run, splits, progress)
        candidates += _alternatives(candidates, options, notes)
        if target.training_digest not in (data.dataset(target.view).digest, None):
            notes.append(f"{target.name} was trained on other data, which may include its test images here.")
        if note := color_note(data.dataset(target.view).pictures, target.view.channels):
            notes.append(f"{target.name}: {note}.")
        test_sets.append(TestSet(tuple(candidates), splits, unique, target.name if len(targets) > 1 else ""))
    test_sets += [_failed_test_set(target, test_sets[0]) for target in failed]
    return BenchmarkPlan(
        test_sets=tuple(test_sets),
        notes=tuple(dict.fromkeys(notes)),
        recipe=valid[0].recipe,
        is_run=len(targets) == 1 and targets[0].run is not None,
    )


def _all_targets(paths: Sequence[Path], data: DatasetCache, options: TargetOptions, notes: list[str]) -> list[Target]:
    """Return the targets in all paths, with distinct names; ArtifactError if there are none."""
    targets: list[Target] = []
    for path in paths:
        targets += find_targets(path, data, options, notes, only_path=len(paths) == 1)
    if not targets:
        raise ArtifactError(f"{', '.join(map(str, paths))}: expected runs or model files, found none")
    return list(_with_distinct_names(_join_files(targets)))


def _alternatives(candidates: Sequence[Candidate], options: TargetOptions, notes: list[str]) -> list[Candidate]:
    """Return the candidates in alternative runtimes, without those that would repeat a name."""
    names = {candidate.name for candidate in candidates}
    alternatives = in_alternative_runtimes(candidates, options.runtimes, notes)
    return [candidate for candidate in alternatives if candidate.name not in names]


def _failed_test_set(target: Target, test_set: TestSet) -> TestSet:
    """Return the test set of files that cannot be opened: nominally another target's, as their own is not known."""
    contract, classes = test_set.candidates[0].contract, test_set.splits.test.classes
    candidates = (replace(candidate, contract=contract, classes=classes) for candidate in target.candidates)
    return TestSet(tuple(candidates), test_set.splits, test_set.unique, target.name)


def _join_files(targets: Sequence[Target]) -> list[Target]:
    """Join single files of one folder and recipe, under its name, so that they are compared with their float32 file."""
    joined: dict[str, Target] = {}
    for index, target in enumerate(targets):
        first = target.candidates[0]
        is_artifact = target.run is None and first.name == target.name and "data" in target.recipe
        key = (
            json.dumps([str(first.path.parent.absolute()), target.recipe, first.classes]) if is_artifact else str(index)
        )
        candidates = joined[key].candidates if key in joined else ()
        name = str(target.recipe.get("name", target.name)) if is_artifact else target.name
        joined[key] = replace(target, name=name, candidates=(*candidates, *target.candidates))
    return list(joined.values())


def _with_distinct_names(targets: Sequence[Target]) -> Iterator[Target]:
    """Make target names differ; with several targets their candidates' names begin with the target's name."""
    if len(targets) == 1:
        yield targets[0]
        return
    counts = Counter(target.name for target in targets)
    names: set[str] = set()
    for target in targets:
        path = target.candidates[0].path
        location = target.run.path if target.run is not None else path if target.is_one_file else path.parent
        name = target.name
        if counts[name] > 1:
            name = "/".join([*location.absolute().parent.parts[-1:], name])
        while name in names:
            name += "'"
        names.add(name)
        candidates = (
            replace(candidate, name=name if target.is_one_file else f"{name}/{candidate.name}")
            for candidate in target.candidates
        )
        yield replace(target, name=name, candidates=tuple(candidates))
