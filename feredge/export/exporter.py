"""Export: a trained run in, a folder of verified files and their manifest out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from concurrent.futures import as_completed
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import feredge.recipes as recipes
from feredge import data, files
from feredge.data.dataset import Dataset, Splits
from feredge.dataclass_io import nearest
from feredge.errors import ArtifactError, RecipeError, VerificationError
from feredge.export import calibration, replacement
from feredge.export.conversion import INTEGER, convert, start_worker
from feredge.export.job import Done, Job
from feredge.export.onnx.ort import required_operators
from feredge.export.parity import IMAGES as RUNTIME_IMAGES
from feredge.inference.artifact import OPERATORS_FILE, RUNTIMES_FILE, Card, Manifest
from feredge.inference.contract import Images, InputContract
from feredge.inference.parallel import processes
from feredge.inspection.probes import add_probes
from feredge.progress import Progress, quiet
from feredge.recipes.schema import Export, Recipe
from feredge.run import RunFolder

PACKAGES = ("feredge", "tensorflow", "tf-keras", "tensorflow-model-optimization", "tf2onnx", "onnx", "onnxruntime")
WORKERS = 2  # each takes 1 GB and imports TensorFlow; a third gains little on the machines this runs on
CHECKED = 1024  # most images a file is verified on
FEWEST_CHECKED = 256
LICENCE = "Weights trained with feredge (MIT); the terms of the data that they were trained on apply to them too."


def export(
    run: RunFolder,
    dataset: Dataset,
    *,
    recipe: Recipe | None = None,
    settings: Export | None = None,
    variants: tuple[str, ...] = (),
    calibrate_on: Dataset | None = None,
    progress: Progress = quiet,
) -> Manifest:
    """Write every variant in every precision and format of the run's recipe, each verified, then the manifest.

    The files are written beside the folder that stands, and take its place when all is done. A file that fails is
    named in the manifest's `failures`, and stops no other. Whatever ends the export leaves what stood before, and an
    old file that the new export has not remains in `artifacts.previous`.

    An export whose manifest stands, fits its files, and was made of the same weights by the same recipe is left
    as it is. One that was stopped goes on after its last fine-tuned variant. Beside the manifest stand
    `runtimes.json`, what every runtime made of every file; `operators.config`, what `.ort` files need; and
    `probes.npz`, every file's answers on fixed pictures.

    Args:
        run: a trained run.
        dataset: what it was trained on.
        recipe: takes the place of the folder's, once nothing of what is asked for was refused.
        settings: in place of the recipe's `[export]`.
        variants: in place of the recipe's.
        calibrate_on: images to calibrate on, in place of the training split's.
        progress: told what is done.

    Raises:
        DataError: calibration images that stand in the test split.
        RecipeError: a precision or format that cannot be written, or a drop to be bounded on the test images.
        RunError: not trained, other data than it was trained on, a recipe that trains in another way, a worker that
            died, or another process at work there; or no validation images to bound a drop on.
        VerificationError: not one file passed. What stood before stands.
    """
    run = RunFolder.open(run.path, trained=True)
    known = run.recipe()
    adopted = recipe or known
    recipe = _changed(adopted, settings, variants)
    cards = _cards(run, recipe, calibrate_on)
    standing = _standing(run, cards)
    if standing is not None and adopted == known:
        return standing if standing.probes else add_probes(run.artifacts, standing)
    run.check_data(dataset)
    _check_layers(run, recipe.export.keep_float)
    splits = data.split(dataset, recipe.data)
    chosen, others = calibration.choose(splits, recipe.export.calibration, seed=recipe.data.seed, own=calibrate_on)
    bounded = calibration.to_choose_on(splits, recipe.data) if recipe.export.max_drop else None
    with run.alone():
        if adopted != known:
            run.adopt(adopted)
        _prepare_variants(run, recipe, splits, cards, progress)
        few = any(card.precision in INTEGER for card in cards.values()) and len(chosen) < calibration.FEWEST
        note = f"calibrated on only {len(chosen)} images" if few else ""
        images = _real_images(splits, recipe)
        labelled = None if bounded is None else (bounded.batch, bounded.labels)
        new = replacement.begin(run.artifacts)
        groups = _groups(cards)
        jobs = [Job(run.path, new, recipe.export, group, chosen, others, images, labelled) for group in groups]
        try:
            done = _convert_all(run, jobs, len(cards), progress, note)
            manifest = _manifest(done, cards)
            _write_operators(new, manifest)
            _write_runtimes(new, manifest, done.runtimes, min(RUNTIME_IMAGES, len(images)))
            replacement.carry_over(run.artifacts)
            manifest = add_probes(new, manifest)
        except BaseException:
            replacement.abandon(run.artifacts)
            raise
        replacement.swap(run.artifacts)
        return manifest


def _changed(recipe: Recipe, settings: Export | None, variants: tuple[str, ...]) -> Recipe:
    if settings is not None:
        recipe = dataclasses.replace(recipe, export=settings)
    if variants:
        recipe = dataclasses.replace(recipe, compression=dataclasses.replace(recipe.compression, variants=variants))
    recipes.check(recipe, "export")
    return recipe


def _cards(run: RunFolder, recipe: Recipe, calibrate_on: Dataset | None) -> dict[str, Card]:
    """Return the card of every file to write, by its name, in the manifest's order."""
    about, trained = run.data(), run.figures()
    source = {"weights": trained["weights"], "data": trained.get("data", about["digest"])}
    if source["data"] != about["digest"]:  # read back from files, on other images than it was trained on
        source["calibration"] = about["digest"]
    if calibrate_on is not None:
        source["calibration"] = calibrate_on.digest
    told = recipe.to_json()
    if "foreign" in trained:  # how it was trained is not known; the fine-tuning of variants is
        told = {key: value for key, value in told.items() if key not in ("schedule", "distillation")}
        if recipe.compression.variants == ("dense",):
            told = {key: value for key, value in told.items() if key not in ("training", "augmentation")}
        told["foreign"] = trained["foreign"]
    versions = {package: version(package) for package in PACKAGES}
    contract = InputContract(recipe.data.size, recipe.data.size, 1)
    cards = {}
    licence = recipe.export.licence or LICENCE
    for variant in recipe.compression.variants:
        for file in recipe.export.files:
            precision = file.rpartition(".")[0]
            cards[f"{variant}.{file}"] = Card(
                variant, precision, tuple(about["classes"]), contract, told, source, versions, licence
            )
    return cards


def _check_layers(run: RunFolder, wanted: Collection[str]) -> None:
    """Raise RecipeError for a name that no layer has."""
    known = run.layers() if wanted else {}
    for layer in wanted:
        if layer not in known:
            raise RecipeError(f"export.keep_float: unknown layer {layer!r}{nearest(layer, known)}")


def _standing(run: RunFolder, cards: dict[str, Card]) -> Manifest | None:
    """Return the manifest of an export that is what this one would be."""
    try:
        manifest = Manifest.read(run.artifacts)
    except ArtifactError:
        return None
    same = {entry.file: (entry.card.source, entry.card.recipe) for entry in manifest.entries}
    return manifest if same == {name: (card.source, card.recipe) for name, card in cards.items()} else None


def _manifest(done: Done, cards: dict[str, Card]) -> Manifest:
    """Return what was written and what failed, in the order of `cards`; VerificationError where nothing passed."""
    order = list(cards)
    entries = sorted(done.entries, key=lambda entry: order.index(entry.file))
    failures = sorted(done.failures, key=lambda failure: order.index(failure.file))
    if not entries:
        others = f" (and {len(failures) - 1} other files failed)" if len(failures) > 1 else ""
        raise VerificationError(f"{failures[0].file}: {failures[0].reason}{others}")
    return Manifest(tuple(entries), failures=tuple(failures))


def _prepare_variants(
    run: RunFolder, recipe: Recipe, splits: Splits, cards: dict[str, Card], progress: Progress
) -> None:
    weights = next(iter(cards.values())).source["weights"]
    for name in recipe.compression.variants:
        if name == "dense":
            continue
        from feredge.compress import variants  # late: TensorFlow is wanted here only where there is something to train

        def tell(share: float, note: str, name: str = name) -> None:
            progress(name, round(100 * share), 100, note)

        variants.prepare(run, name, splits.train, weights=weights, tell=tell)


def _real_images(splits: Splits, recipe: Recipe) -> Images:
    """Return the images that files are verified on: of the validation split, with training ones where it is small."""
    seed = recipe.data.seed
    chosen = calibration.mixed(data.stratified_sample(splits.validation, CHECKED, seed=seed), seed)
    if len(chosen) < FEWEST_CHECKED:
        more = data.stratified_sample(splits.train, FEWEST_CHECKED - len(chosen), seed=seed + 1)
        chosen = np.concatenate([chosen, calibration.mixed(more, seed)])
    return chosen


def _groups(cards: dict[str, Card]) -> list[dict[str, Card]]:
    """Return the cards of each job: a variant's files of one converter."""
    groups: dict[tuple[bool, str], dict[str, Card]] = {}
    for name, card in cards.items():
        groups.setdefault((name.endswith(".tflite"), card.variant), {})[name] = card
    # TFLite takes longer than ONNX: the long jobs first leave no worker idle at the end.
    return [group for _, group in sorted(groups.items(), key=lambda item: not item[0][0])]


def _convert_all(run: RunFolder, jobs: list[Job], count: int, progress: Progress, note: str) -> Done:
    """Convert and verify in worker processes, and return what all of them sent back."""
    every = Done()
    progress("export", 0, count, note)
    workers = max(1, min(WORKERS, len(jobs), os.cpu_count() or 1))
    with processes(workers, start=start_worker, what=f"{run.path}: a conversion") as pool:
        for future in as_completed([pool.submit(convert, job) for job in jobs]):
            done = future.result()
            every.entries.extend(done.entries)
            every.failures.extend(done.failures)
            every.runtimes.update(done.runtimes)
            progress("export", len(every.entries) + len(every.failures), count, note)
    return every


def _write_operators(folder: Path, manifest: Manifest) -> None:
    paths = [folder / entry.file for entry in manifest.entries if entry.format == "ort"]
    if paths:
        files.write_text(folder / OPERATORS_FILE, required_operators(paths))


def _write_runtimes(folder: Path, manifest: Manifest, found: dict[str, Any], images: int) -> None:
    value = {"schema": 1, "reference": "the variant's float network in TensorFlow", "images": images}
    compared = {entry.file: found[entry.file] for entry in manifest.entries}
    files.write_json(folder / RUNTIMES_FILE, {**value, "artifacts": compared})
