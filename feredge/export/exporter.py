"""Export: the variants of a trained run as verified model files, with a manifest."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from concurrent.futures import as_completed
from importlib.metadata import version
from pathlib import Path
from typing import Any

import feredge.recipes as recipes
from feredge import data, files
from feredge.data.dataset import Dataset, Splits
from feredge.dataclass_io import nearest
from feredge.errors import ArtifactError, RecipeError, VerificationError
from feredge.export import calibration, replacement
from feredge.export.conversion import CALIBRATED_PRECISIONS, convert, initialize_worker
from feredge.export.conversion_job import ConversionJob, ConversionResult
from feredge.export.onnx.ort import required_operators
from feredge.export.parity import PARITY_IMAGES
from feredge.inference.artifact import OPERATORS_FILE, RUNTIMES_FILE, Card, Manifest
from feredge.inference.contract import Images, InputContract
from feredge.inference.parallel import process_pool
from feredge.inspection.probes import add_probes
from feredge.progress import Progress, quiet
from feredge.recipes.schema import Export, Recipe
from feredge.recipes.variant import MIRROR_VARIANT
from feredge.run import RunFolder

PACKAGE_NAMES = (
    "feredge",
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "tf2onnx",
    "onnx",
    "onnxruntime",
)
MAX_WORKERS = 2  # each imports TensorFlow and takes 1 GB; more workers gain little on 2 to 4 cores
LICENCE_NOTE = "Weights trained with feredge (MIT); the terms of the data that they were trained on apply to them too."


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

    The files are written to a new folder, which replaces the old one when all are verified. If a file fails, the
    others are still written, and the manifest lists it in `failures`. An export that ends with an error leaves the old
    folder unchanged. Old files that the new export does not write again remain in `artifacts.previous`.

    A complete export of the same weights by the same recipe is not repeated. An interrupted one continues after the
    last fine-tuned variant. Next to the manifest are `runtimes.json`, each file's agreement with its float network in
    every runtime; `operators.config`, the operators that `.ort` files need; and `probes.npz`, each file's outputs for
    fixed images.

    Args:
        run: a trained run.
        dataset: the data that it was trained on.
        recipe: replaces the run folder's once it has passed all checks.
        settings: in place of the recipe's `[export]`.
        variants: in place of the recipe's.
        calibrate_on: images to calibrate on, in place of the training split's.
        progress: called with the number of finished files.

    Raises:
        DataError: calibration images that are in the test split.
        RecipeError: a precision or format that cannot be written, or `max_drop` with a recipe that validates on the
            test images.
        RunError: not trained, other data than it was trained on, a recipe that trains in another way, a worker that
            died, or another process using the folder; no validation images for `max_drop`, or too few that chose
            nothing else for `temperature_scaling`.
        VerificationError: no file passed. The old folder is unchanged.
    """
    run = RunFolder.open(run.path, trained=True)
    stored_recipe = run.recipe()
    new_recipe = recipe or stored_recipe
    recipe = _with_settings(new_recipe, settings, variants)
    cards = _cards(run, recipe, calibrate_on)
    existing = _existing_manifest(run, cards)
    if existing is not None and new_recipe == stored_recipe:
        return existing if existing.probes else add_probes(run.artifacts, existing)
    run.check_data(dataset)
    _check_layers(run, recipe.export.keep_float)
    splits = data.split(dataset, recipe.data)
    calibration_sets = calibration.calibration_sets(
        splits, recipe.export.calibration_images, seed=recipe.data.seed, calibrate_on=calibrate_on
    )
    max_drop_split = calibration.layer_choice_split(splits, recipe.data) if recipe.export.max_drop else None
    validation = None if max_drop_split is None else (max_drop_split.images, max_drop_split.labels)
    temperature_images = None
    if recipe.export.temperature_scaling:
        half = calibration.temperature_images(splits, recipe)
        temperature_images = half.images, half.labels
    with run.lock():
        if new_recipe != stored_recipe:
            run.replace_recipe(new_recipe)
        _prepare_variants(run, recipe, splits, cards, progress)
        images = calibration.verification_images(splits, seed=recipe.data.seed)
        folder = replacement.new_folder(run.artifacts)
        jobs = [
            ConversionJob(
                run.path, folder, recipe.export, group, *calibration_sets, images, validation, temperature_images
            )
            for group in _job_groups(cards)
        ]
        try:
            manifest = _write_files(run, jobs, cards, progress)
        except BaseException:
            replacement.discard(run.artifacts)
            raise
        replacement.swap(run.artifacts)
        return manifest


def _with_settings(recipe: Recipe, settings: Export | None, variants: tuple[str, ...]) -> Recipe:
    if settings is not None:
        recipe = dataclasses.replace(recipe, export=settings)
    if variants:
        recipe = dataclasses.replace(recipe, compression=dataclasses.replace(recipe.compression, variants=variants))
    recipes.check(recipe, "export")
    return recipe


def _cards(run: RunFolder, recipe: Recipe, calibrate_on: Dataset | None) -> dict[str, Card]:
    """Return the card of each file to write, by its name, in the manifest's order."""
    dataset, training = run.data(), run.training_record()
    source = {"weights": training["weights"], "data": training.get("data", dataset["digest"])}
    if source["data"] != dataset["digest"]:  # imported from exported files, with other data than it was trained on
        source["calibration"] = dataset["digest"]
    if calibrate_on is not None:
        source["calibration"] = calibrate_on.digest
    recipe_table = recipe.to_json()
    if "foreign" in training:  # the training of an imported network is unknown; the fine-tuning of variants is not
        unknown = {"schedule", "distillation"}
        if recipe.compression.variants == ("dense",):
            unknown |= {"training", "augmentation"}
        recipe_table = {key: value for key, value in recipe_table.items() if key not in unknown}
        recipe_table["foreign"] = training["foreign"]
    versions = {package: version(package) for package in PACKAGE_NAMES}
    contract = InputContract(recipe.data.size, recipe.data.size, recipe.data.channels)
    cards = {}
    licence = recipe.export.licence or LICENCE_NOTE
    for variant in recipe.compression.variants:
        for file in recipe.export.files:
            precision = file.rpartition(".")[0]
            cards[f"{variant}.{file}"] = Card(
                variant,
                precision,
                tuple(dataset["classes"]),
                contract,
                recipe_table,
                source,
                versions,
                licence,
                faces=recipe.data.faces,
            )
    return cards


def _check_layers(run: RunFolder, keep_float: Collection[str]) -> None:
    """Raise RecipeError for a name that no layer has."""
    layers = run.layers() if keep_float else {}
    for layer in keep_float:
        if layer not in layers:
            raise RecipeError(f"export.keep_float: unknown layer {layer!r}{nearest(layer, layers)}")


def _existing_manifest(run: RunFolder, cards: dict[str, Card]) -> Manifest | None:
    """Return the manifest of a complete export with the same sources and recipe as `cards`; None without one."""
    try:
        manifest = Manifest.read(run.artifacts)
    except ArtifactError:
        return None
    exported = {entry.file: (entry.card.source, entry.card.recipe) for entry in manifest.entries}
    return manifest if exported == {name: (card.source, card.recipe) for name, card in cards.items()} else None


def to_manifest(result: ConversionResult, cards: dict[str, Card]) -> Manifest:
    """Return the entries and failures in the order of `cards`; VerificationError if every file failed."""
    order = list(cards)
    entries = sorted(result.entries, key=lambda entry: order.index(entry.file))
    failures = sorted(result.failures, key=lambda failure: order.index(failure.file))
    if not entries:
        rest = f" (and {len(failures) - 1} other files failed)" if len(failures) > 1 else ""
        raise VerificationError(f"{failures[0].file}: {failures[0].reason}{rest}")
    return Manifest(tuple(entries), failures=tuple(failures))


def _prepare_variants(
    run: RunFolder, recipe: Recipe, splits: Splits, cards: dict[str, Card], progress: Progress
) -> None:
    weights = next(iter(cards.values())).source["weights"]
    for name in recipe.compression.variants:
        if name in ("dense", MIRROR_VARIANT):
            continue
        from feredge.compress import variants  # late: imports TensorFlow, which is needed only to fine-tune

        def report(share: float, note: str, name: str = name) -> None:
            progress(name, round(100 * share), 100, note)

        variants.prepare(run, name, splits.train, weights=weights, report=report)


def _calibration_note(cards: dict[str, Card], images: Images) -> str:
    """Return a warning if files are calibrated on few images, else an empty text."""
    calibrated = any(card.precision in CALIBRATED_PRECISIONS for card in cards.values())
    few = calibrated and len(images) < calibration.MIN_CALIBRATION_IMAGES
    return f"calibrated on only {len(images)} images" if few else ""


def _job_groups(cards: dict[str, Card]) -> list[dict[str, Card]]:
    """Return the cards of each job: a variant's files of one converter."""
    groups: dict[tuple[bool, str], dict[str, Card]] = {}
    for name, card in cards.items():
        groups.setdefault((name.endswith((".tflite", ".c")), card.variant), {})[name] = card
    # TFLite takes longer than ONNX: with the long jobs first, no worker is idle at the end.
    return [group for _, group in sorted(groups.items(), key=lambda item: not item[0][0])]


def _write_files(run: RunFolder, jobs: list[ConversionJob], cards: dict[str, Card], progress: Progress) -> Manifest:
    """Write all files of the new folder, the manifest last, and return it."""
    folder, note = jobs[0].folder, _calibration_note(cards, jobs[0].calibration_images)
    result = _convert_all(run, jobs, len(cards), progress, note)
    manifest = to_manifest(result, cards)
    _write_operators(folder, manifest)
    _write_runtimes(folder, manifest, result.parity, min(PARITY_IMAGES, len(jobs[0].verification_images)))
    replacement.copy_other_files(run.artifacts)
    return add_probes(folder, manifest)


def _convert_all(
    run: RunFolder, jobs: list[ConversionJob], count: int, progress: Progress, note: str
) -> ConversionResult:
    """Convert and verify in worker processes, and return the results of all jobs together."""
    total = ConversionResult()
    progress("export", 0, count, note)
    workers = max(1, min(MAX_WORKERS, len(jobs), os.cpu_count() or 1))
    with process_pool(workers, initializer=initialize_worker, task=f"{run.path}: a conversion") as pool:
        for future in as_completed([pool.submit(convert, job) for job in jobs]):
            result = future.result()
            total.entries.extend(result.entries)
            total.failures.extend(result.failures)
            total.parity.update(result.parity)
            progress("export", len(total.entries) + len(total.failures), count, note)
    return total


def _write_operators(folder: Path, manifest: Manifest) -> None:
    paths = [folder / entry.file for entry in manifest.entries if entry.format == "ort"]
    if paths:
        files.write_text(folder / OPERATORS_FILE, required_operators(paths))


def _write_runtimes(folder: Path, manifest: Manifest, parity: dict[str, Any], images: int) -> None:
    table = {"schema": 1, "reference": "the variant's float network in TensorFlow", "images": images}
    artifacts = {entry.file: parity[entry.file] for entry in manifest.entries}
    files.write_json(folder / RUNTIMES_FILE, {**table, "artifacts": artifacts})
