"""Targets of `feredge bench`: runs, folders of exported files and single files, and the data view each is evaluated on.

A run is evaluated on the test split of its recipe, an exported file on that of the recipe in its card, a foreign file
on the data's own split, so that no network is evaluated on images that it was trained on. A network of fewer or grouped
classes is evaluated on those.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from feredge import dataclass_io
from feredge.benchmark import foreign
from feredge.benchmark.candidates import Candidate, artifact_candidates, run_candidates
from feredge.benchmark.config import TIMEOUT_SECONDS
from feredge.benchmark.dataset_cache import DatasetCache
from feredge.benchmark.workers.client import Worker, WorkerFailure
from feredge.errors import ArtifactError, NoCardError, RecipeError
from feredge.inference.artifact import Card, Manifest
from feredge.inference.contract import InputContract
from feredge.inference.embedded_card import read_card
from feredge.inference.foreign import FOREIGN_SUFFIXES, ForeignModel
from feredge.paths import ExportPath, ModelFile, RunPath, resolve
from feredge.recipes.schema import DataView
from feredge.run import RunFolder

ACTIVATION_NOTES = {
    "softmax": ".",
    "logits": "; its outputs are logits, and a softmax is added.",
    "sigmoid": "; its outputs are sigmoids: a single one, p, stands for 1 - p and p; several are divided by their sum.",
}
EXPECTED_TARGETS = "expected a run folder, a folder of exported files or a model file"


@dataclass(frozen=True)
class TargetOptions:
    """Options for all targets, as the user gives them.

    Attributes:
        runtimes: alternative runtimes to measure too, names in ALTERNATIVE_RUNTIMES.
        classes: of files without a card, or whose card has none of the data's classes: `happy`, or `name = a + b`.
        black, white: input values of black and white pixels of foreign files.
        output: name of the output of foreign files that have several.
        foreign: classes, input range and output of single foreign files, by file name, in place of the above.
        baselines: whether to fit and measure the classical baselines on the first run's images.
        timeout_seconds: in which a file must open and respond.
    """

    runtimes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    black: float = 0.0
    white: float = 1.0
    output: str = ""
    foreign: Mapping[str, ForeignModel] = field(default_factory=dict)
    baselines: bool = True
    timeout_seconds: float = TIMEOUT_SECONDS

    def of_file(self, path: Path) -> ForeignModel:
        """Return what is given for a foreign file."""
        default = ForeignModel(self.classes, (self.black, self.white), self.output)
        return self.foreign.get(path.name, default)


@dataclass(frozen=True, eq=False)
class Target:
    """The files of one network, and the view of the data that they are evaluated on.

    Attributes:
        run: the run that they belong to, if they do.
        recipe: of the training, resolved; empty where unknown.
        training_digest: of the training data; None where unknown.
    """

    name: str
    candidates: tuple[Candidate, ...]
    view: DataView
    run: RunFolder | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    training_digest: str | None = None

    @property
    def is_one_file(self) -> bool:
        """Whether it is a single file, which is named as itself."""
        return [candidate.name for candidate in self.candidates] == [self.name]

    @property
    def failure(self) -> str:
        """Why it cannot be opened; empty if it can."""
        return self.candidates[0].failure


def find_targets(
    path: Path, data: DatasetCache, options: TargetOptions, notes: list[str], *, only_path: bool
) -> Iterator[Target]:
    """Yield what `path` holds; of another file among several paths a note is added.

    Raises:
        ArtifactError: an only path that holds nothing to measure, or a file whose classes the data do not have.
        RunError: a run that was trained on other data.
    """
    place = resolve(path)
    if isinstance(place, RunPath):
        run = RunFolder.open(path, trained=True, exported=True)
        recipe = run.recipe()
        dataset = data.dataset(recipe.data)
        run.check_data(dataset)
        yield Target(path.name, tuple(run_candidates(run)), recipe.data, run, recipe.to_json(), dataset.digest)
    elif isinstance(place, ExportPath):
        cards = {entry.file: entry.card for entry in Manifest.read(path).entries}
        candidates = artifact_candidates(path)
        card = cards[candidates[0].name]
        view = _view(card, str(path), data, options)
        yield Target(path.name, tuple(candidates), view, None, card.recipe, card.source.get("data"))
    elif isinstance(place, ModelFile):
        yield _file_target(path, data, options, notes)
    elif only_path:
        raise ArtifactError(f"{path}: {EXPECTED_TARGETS}, found another {'folder' if path.is_dir() else 'file'}")
    else:
        notes.append(f"{path.name} was left out: it is neither a run nor a model file.")


def _file_target(path: Path, data: DatasetCache, options: TargetOptions, notes: list[str]) -> Target:
    try:
        card = read_card(path)
    except NoCardError as error:
        if path.suffix in FOREIGN_SUFFIXES:
            return _foreign_target(path, data, options, notes)
        return _failed_target(path, error)
    except ArtifactError as error:
        return _failed_target(path, error)
    view = _view(card, str(path), data, options)
    return Target(path.name, (Candidate.from_card(card, path),), view, None, card.recipe, card.source.get("data"))


def _failed_target(path: Path, error: Exception) -> Target:
    """Return a file that cannot be opened. Its failure names no folder of this machine, because reports are shared."""
    reason = str(error).replace(str(path.absolute()), path.name).replace(str(path), path.name)
    candidate = Candidate(
        name=path.name,
        kind="artifact",
        format=path.suffix[1:],
        variant="foreign",
        precision="float32",
        path=path,
        opener=foreign.FOREIGN_OPENER,
        contract=InputContract(),
        classes=(),
        failure=reason.removeprefix(f"{path.name}: "),
    )
    return Target(path.name, (candidate,), DataView())


def _foreign_target(path: Path, data: DatasetCache, options: TargetOptions, notes: list[str]) -> Target:
    """Return a foreign file by its signature; a note says what is assumed of it."""
    given = options.of_file(path)
    black, white = given.input_range
    settings: dict[str, Any] = {"black": black, "white": white, "output": given.output}
    try:
        signature, counts = _inspect_foreign(path, settings, options.timeout_seconds)
    except WorkerFailure as error:
        return _failed_target(path, error)
    contract = InputContract(**signature["contract"])
    view = DataView(size=contract.height, channels=contract.channels, classes=given.classes)
    data_classes = data.dataset(view).classes
    classes = tuple(view.groups) or data_classes
    if len(classes) != signature["classes"]:
        raise ArtifactError(
            f"{path}: has {signature['classes']} outputs, expected {len(classes)}: {', '.join(classes)}; "
            "give its classes by --classes"
        )
    present = [index for index, members in enumerate(view.groups.values()) if set(members) <= set(data_classes)]
    if 2 <= len(present) < len(classes):  # the file has classes that the data have not
        view = replace(view, classes=tuple(given.classes[index] for index in present))
        notes.append(f"{path.name} is evaluated on {len(present)} of its {len(classes)} classes: those of the data.")
        settings["columns"], classes = present, tuple(view.groups)
    size = f"{contract.height}x{contract.width} " + ("RGB" if contract.channels == 3 else "gray")
    scaled = f"from {black:g} (black) to {white:g} (white)"
    notes.append(
        f"{path.name} has no feredge card. Assumed: {size} pixels "
        f"{scaled if signature['scaled'] else 'as they are, in integers'}, outputs in the order {', '.join(classes)}"
        + ACTIVATION_NOTES[signature["activation"]]
    )
    candidate = Candidate(
        name=path.name,
        kind="artifact",
        format=path.suffix[1:],
        variant="foreign",
        precision="int8" if counts["integer"] > counts["floating"] else "float32",
        path=path,
        opener=foreign.FOREIGN_OPENER,
        contract=contract,
        classes=classes,
        options={**settings, "activation": signature["activation"]},
    )
    return Target(path.name, (candidate,), view, recipe={"name": path.stem})


def _inspect_foreign(
    path: Path, settings: dict[str, Any], timeout_seconds: float
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return a foreign file's signature and multiply-adds, read in a worker. WorkerFailure if it cannot be opened."""
    deadline = time.monotonic() + timeout_seconds
    with Worker(threads=1) as worker:

        def request(operation: str, **arguments: Any) -> dict[str, Any]:
            remaining_seconds = max(deadline - time.monotonic(), 0.1)
            return worker.request(operation, timeout_seconds=remaining_seconds, **arguments)[0]

        request(
            "open",
            opener=foreign.FOREIGN_OPENER,
            path=str(path.absolute()),
            threads=1,
            options=settings,
            contract={},
            classes=0,
            limited=True,
        )
        signature = request("signature")
        counts = request("macs", path=str(path.absolute()))["macs"]
    return signature, counts or {"integer": 0, "floating": 1}


def _view(card: Card, where: str, data: DatasetCache, options: TargetOptions) -> DataView:
    """Return the view of the data that a file with a card is evaluated on.

    Raises:
        ArtifactError: the data do not have its classes, and the options do not map them.
    """
    try:
        default = {"size": card.contract.height, "channels": card.contract.channels}
        view: DataView = dataclass_io.read(DataView, card.recipe.get("data", default), where)
    except RecipeError as error:
        raise ArtifactError(f"{error} in its card") from error
    data_classes = data.dataset(view).classes
    if card.classes == (tuple(view.groups) or data_classes):
        return view
    mapped_view = replace(view, classes=options.classes)
    if tuple(mapped_view.groups) == card.classes:
        return mapped_view
    if not set(card.classes) <= set(data_classes):
        raise ArtifactError(
            f"{where}: has the classes {', '.join(card.classes)}, expected classes of {data.source} "
            f"({', '.join(data_classes)}); map them by --classes, as "
            f"'{card.classes[0]} = {data_classes[0]} + {data_classes[1]}, ...'"
        )
    return replace(view, classes=card.classes)
