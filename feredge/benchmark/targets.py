"""What `feredge bench` is given, runs, folders of exported files and files, and which test images each is judged on.

A network is judged on its own test split, so that none sees an image that it was trained on: a run by its recipe, an
exported file by the recipe in its card, a foreign file by the data's own split. A network of fewer or grouped classes
is judged on those.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge import dataclass_io
from feredge.benchmark import foreign
from feredge.benchmark.candidates import Group, Subject, artifact_subjects, baseline_subjects, beside, run_subjects
from feredge.benchmark.trial import PATIENCE
from feredge.benchmark.workers.client import Worker, WorkerFailure
from feredge.data.dataset import Dataset, Splits
from feredge.errors import ArtifactError, DataError, NoCardError, RecipeError
from feredge.inference.artifact import Card, Manifest, read_card
from feredge.inference.contract import InputContract
from feredge.paths import ExportPath, ModelFile, RunPath, resolve
from feredge.progress import Progress, quiet
from feredge.recipes.schema import DataView
from feredge.run import RunFolder

EXPECTED = "expected a run folder, a folder of exported files or a model file"


@dataclass(frozen=True)
class Asked:
    """What the user says of the files.

    Attributes:
        also: runtimes beside the files' own, of runners.ALSO.
        classes: of files without a card, or whose card names none of the data's: `happy`, or `name = a + b`.
        low, high: what black and white are to foreign files.
        baselines: whether to fit and measure the classical baselines on the first run's images.
        timeout: seconds in which a file must open and answer.
    """

    also: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    baselines: bool = True
    timeout: float = PATIENCE


@dataclass(frozen=True, eq=False)
class Network:
    """Files of one network, before the data are looked at."""

    name: str
    subjects: tuple[Subject, ...]
    view: DataView
    run: RunFolder | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    made_from: str | None = None
    """Digest of the data that it was trained on, where that is known."""


@dataclass(frozen=True, eq=False)
class Gathered:
    """Everything to measure: groups with names that differ, and what was left out or taken for granted.

    Attributes:
        recipe: of the first network.
        is_run: whether it is one run and nothing else.
    """

    groups: tuple[Group, ...]
    notes: tuple[str, ...]
    recipe: dict[str, Any]
    is_run: bool


def gather(paths: Sequence[Path], source: str | None, asked: Asked, *, progress: Progress = quiet) -> Gathered:
    """Find out what the paths hold, and read the data once for each size of image.

    A file that crashes, hangs or cannot be opened while it is looked at is a subject with its `failure`, beside others
    that can be measured.

    Args:
        source: the data; those of the first run if not given.

    Raises:
        ArtifactError: a path that holds nothing to measure, a file whose classes the data do not have, or none that
            can be opened.
        RunError: a run that was trained on other data.
        DataError: no data, or no labelled test images.
    """
    for path in paths:
        if not path.exists():
            raise ArtifactError(f"{path}: {EXPECTED}, found none")
    notes: list[str] = []
    shelf = _Shelf(source, paths)
    networks = [network for path in paths for network in _networks(path, shelf, asked, notes, alone=len(paths) == 1)]
    networks = _joined(networks)
    if not networks:
        raise ArtifactError(f"{', '.join(map(str, paths))}: expected runs or model files, found none")
    networks = list(_named_apart(networks))
    failed = [network for network in networks if network.subjects[0].failure]
    if len(failed) == len(networks):
        raise ArtifactError(f"{failed[0].subjects[0].path}: {failed[0].subjects[0].failure}")
    groups, fitted = [], not asked.baselines
    for network in networks:
        if network in failed:
            continue
        dataset = shelf.dataset(network.view.size)
        splits, unique = shelf.test(network.view, network.run)
        subjects = list(network.subjects)
        if network.run is not None and not fitted:
            subjects += baseline_subjects(network.run, splits, progress)
            fitted = True
        known = {subject.name for subject in subjects}
        subjects += [one for one in beside(subjects, asked.also, notes) if one.name not in known]
        if network.made_from not in (dataset.digest, None):
            notes.append(f"{network.name} was trained on other data, which may hold the images it is judged on here.")
        groups.append(Group(tuple(subjects), splits, unique, network.name if len(networks) > 1 else ""))
    groups += [_beside(groups[0], network) for network in failed]
    is_run = len(networks) == 1 and networks[0].run is not None
    recipe = next(network.recipe for network in networks if network not in failed)
    return Gathered(tuple(groups), tuple(dict.fromkeys(notes)), recipe, is_run)


def _beside(group: Group, failed: Network) -> Group:
    """Return the group of a file that cannot be opened: it is judged, as far as that goes, on another's images."""
    contract, classes = group.subjects[0].contract, group.splits.test.classes
    subjects = (replace(one, contract=contract, classes=classes) for one in failed.subjects)
    return Group(tuple(subjects), group.splits, group.unique, failed.name)


class _Shelf:
    """The data, read once a size, and test splits, cut once a view."""

    def __init__(self, source: str | None, paths: Sequence[Path]) -> None:
        runs = [RunFolder(path) for path in paths if _is_run(path)]
        if source is None and not runs:
            raise DataError("expected the data that the files are judged on (--data PATH), found none")
        self.source = source or runs[0].source()
        self._skip = any(run.data()["skipped_rows"] for run in runs)
        self._datasets: dict[int, Dataset] = {}
        self._tests: dict[str, tuple[Splits, NDArray[np.bool_]]] = {}

    def dataset(self, size: int) -> Dataset:
        from feredge.data import load

        if size not in self._datasets:
            self._datasets[size] = load(self.source, size=size, skip_bad_rows=self._skip)
        return self._datasets[size]

    def test(self, view: DataView, run: RunFolder | None) -> tuple[Splits, NDArray[np.bool_]]:
        from feredge.data import split, unique_images

        dataset = self.dataset(view.size)
        if run is not None:
            dataset = run.hold_back(dataset)  # baselines learn from what the run did
        held = [] if dataset.held_back is None else dataset.held_back.tolist()
        key = json.dumps([dataclass_io.to_plain(view), held], sort_keys=True)
        if key not in self._tests:
            splits = split(dataset, view)
            if not len(splits.test):
                raise DataError(f"{dataset.source}: expected labelled test images, found none")
            self._tests[key] = splits, unique_images(dataset, splits)
        return self._tests[key]


def _networks(path: Path, shelf: _Shelf, asked: Asked, notes: list[str], *, alone: bool) -> Iterator[Network]:
    if _is_run(path):
        run = RunFolder.open(path, trained=True, exported=True)
        recipe = run.recipe()
        dataset = shelf.dataset(recipe.data.size)
        run.check_data(dataset)
        yield Network(path.name, tuple(run_subjects(run)), recipe.data, run, recipe.to_json(), dataset.digest)
    elif isinstance(resolve(path), ExportPath):
        cards = {entry.file: entry.card for entry in Manifest.read(path).entries}
        subjects = artifact_subjects(path)
        card = cards[subjects[0].name]
        view = _view(card, str(path), shelf, asked)
        yield Network(path.name, tuple(subjects), view, None, card.recipe, card.source.get("data"))
    elif isinstance(resolve(path), ModelFile):
        yield _file(path, shelf, asked, notes)
    elif alone:
        raise ArtifactError(f"{path}: {EXPECTED}, found another {'folder' if path.is_dir() else 'file'}")
    else:
        notes.append(f"{path.name} was left out: it is no run and no model file.")


def _file(path: Path, shelf: _Shelf, asked: Asked, notes: list[str]) -> Network:
    try:
        card = read_card(path)
    except NoCardError as error:
        return _foreign(path, shelf, asked, notes) if path.suffix in foreign.SUFFIXES else _unopened(path, error)
    except ArtifactError as error:
        return _unopened(path, error)
    view = _view(card, str(path), shelf, asked)
    return Network(path.name, (Subject.of(card, path),), view, None, card.recipe, card.source.get("data"))


def _unopened(path: Path, error: Exception) -> Network:
    """Return a file that cannot be measured. Reports travel, so no folder of this machine goes with its reason."""
    reason = str(error).replace(str(path.absolute()), path.name).replace(str(path), path.name)
    subject = Subject(
        name=path.name,
        kind="artifact",
        format=path.suffix[1:],
        variant="foreign",
        precision="float32",
        path=path,
        opener=foreign.OPENER,
        contract=InputContract(),
        classes=(),
        failure=reason.removeprefix(f"{path.name}: "),
    )
    return Network(path.name, (subject,), DataView())


def _foreign(path: Path, shelf: _Shelf, asked: Asked, notes: list[str]) -> Network:
    """Ask the file, in a process of its own, what it takes and gives."""
    options = {"low": asked.low, "high": asked.high}
    deadline = time.monotonic() + asked.timeout
    with Worker(threads=1) as worker:

        def ask(do: str, **arguments: Any) -> dict[str, Any]:
            return worker.ask(do, timeout=max(deadline - time.monotonic(), 0.1), **arguments)[0]

        try:
            ask(
                "open",
                opener=foreign.OPENER,
                path=str(path.absolute()),
                threads=1,
                options=options,
                contract={},
                classes=0,
                limited=True,
            )
            found = ask("signature")
            macs = ask("macs", path=str(path.absolute()))
        except WorkerFailure as error:
            return _unopened(path, error)
    contract = InputContract(**found["contract"])
    view = DataView(size=contract.height, classes=asked.classes)
    classes = tuple(view.groups) or shelf.dataset(view.size).classes
    if len(classes) != found["classes"]:
        raise ArtifactError(
            f"{path}: answers with {found['classes']} classes, expected {len(classes)}: {', '.join(classes)}; "
            "say what its classes are by --classes"
        )
    counted = macs["macs"] or {"integer": 0, "floating": 1}
    integer = counted["integer"] > counted["floating"]
    sides = "x".join(map(str, contract.shape[:2])) + (" RGB" if contract.channels == 3 else " gray")
    scale = f"from {asked.low:g} (black) to {asked.high:g} (white)" if found["scaled"] else "as they are, in integers"
    notes.append(
        f"{path.name} has no feredge card. Taken for granted: {sides} pixels {scale}, answers in the order "
        f"{', '.join(classes)}" + ("; it answers with logits, and a softmax is added." if found["logits"] else ".")
    )
    subject = Subject(
        name=path.name,
        kind="artifact",
        format=path.suffix[1:],
        variant="foreign",
        precision="int8" if integer else "float32",
        path=path,
        opener=foreign.OPENER,
        contract=contract,
        classes=classes,
        options={**options, "logits": found["logits"]},
    )
    return Network(path.name, (subject,), view, recipe={"name": path.stem})


def _view(card: Card, where: str, shelf: _Shelf, asked: Asked) -> DataView:
    """Return which images of the data a file with a card is judged on.

    Raises:
        ArtifactError: it names classes that the data do not have, and nobody says what they are made of.
    """
    try:
        view: DataView = dataclass_io.read(DataView, card.recipe.get("data", {"size": card.contract.height}), where)
    except RecipeError as error:
        raise ArtifactError(f"{error} in its card") from error
    known = shelf.dataset(view.size).classes
    if card.classes == (tuple(view.groups) or known):
        return view
    asked_view = replace(view, classes=asked.classes)
    if tuple(asked_view.groups) == card.classes:
        return asked_view
    if not set(card.classes) <= set(known):
        raise ArtifactError(
            f"{where}: names {', '.join(card.classes)}, expected classes of {shelf.source} ({', '.join(known)}); "
            f"say what they are made of: --classes '{card.classes[0]} = {known[0]} + {known[1]}, ...'"
        )
    return replace(view, classes=card.classes)


def _joined(networks: Sequence[Network]) -> list[Network]:
    """Put single files of one recipe together, under its name, so that they are measured against their float32."""
    joined: dict[str, Network] = {}
    for index, network in enumerate(networks):
        single = network.run is None and network.subjects[0].name == network.name and "data" in network.recipe
        folder = str(network.subjects[0].path.parent.absolute())
        key = json.dumps([folder, network.recipe, network.subjects[0].classes]) if single else str(index)
        before = joined[key].subjects if key in joined else ()
        name = str(network.recipe.get("name", network.name)) if single else network.name
        joined[key] = replace(network, name=name, subjects=(*before, *network.subjects))
    return list(joined.values())


def _named_apart(networks: Sequence[Network]) -> Iterator[Network]:
    """Give networks names that differ, and their rows too: by the network's name before them, where there are many."""
    if len(networks) == 1:
        yield networks[0]
        return
    counts = Counter(network.name for network in networks)
    taken: set[str] = set()
    for network in networks:
        alone = [subject.name for subject in network.subjects] == [network.name]
        first = network.subjects[0].path
        place = network.run.path if network.run is not None else first if alone else first.parent
        name = network.name
        if counts[name] > 1:
            name = "/".join([*place.absolute().parent.parts[-1:], name])
        while name in taken:
            name += "'"
        taken.add(name)
        subjects = (replace(one, name=name if alone else f"{name}/{one.name}") for one in network.subjects)
        yield replace(network, name=name, subjects=tuple(subjects))


def _is_run(path: Path) -> bool:
    return isinstance(resolve(path), RunPath)
