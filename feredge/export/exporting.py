"""Export: a trained run in, a folder of verified files and their manifest out."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np

from feredge import data
from feredge.artifact import MANIFEST_FILE, Card, Entry, Manifest
from feredge.contract import Images, InputContract
from feredge.data.dataset import Dataset, Splits
from feredge.errors import ArtifactError, RecipeError, RunError
from feredge.export import calibration
from feredge.export.conversion import Job, convert, start_worker
from feredge.progress import Progress, quiet
from feredge.recipe import Recipe
from feredge.run import RunFolder

PACKAGES = ("feredge", "tensorflow", "tf-keras", "tensorflow-model-optimization", "tf2onnx", "onnx", "onnxruntime")
WORKERS = 2  # each takes 1 GB and imports TensorFlow; a third gains little on the machines this runs on
CHECKED = 1024  # most images a file is verified on
FEWEST_CHECKED = 256
WRITTEN = {
    "tflite": ("float32", "float16", "dynamic-int8", "int8"),
    "onnx": ("float32", "dynamic-int8", "int8"),  # onnxruntime's CPU kernels would widen float16 again
}


def export(run: RunFolder, dataset: Dataset, *, progress: Progress = quiet) -> Manifest:
    """Write every variant in every precision and format of the run's recipe, each verified, then the manifest.

    An export whose manifest stands, fits its files, and was made of the same weights by the same recipe is left
    as it is. One that was stopped goes on after its last fine-tuned variant.

    Raises:
        RecipeError: a precision or format that cannot be written.
        RunError: not trained, other data than it was trained on, or a worker that died.
        ArtifactError: a conversion failed.
        VerificationError: a file left its tolerance. No manifest stands then.
    """
    run = RunFolder.open(run.path, trained=True)
    recipe = run.recipe()
    cards = _cards(run, recipe)
    standing = _standing(run, cards)
    if standing is not None:
        return standing
    if dataset.digest != run.data()["digest"]:
        raise RunError(f"{run.path}: was trained on other data ({run.data()['source']})")
    _clear(run.artifacts)
    splits = data.split(dataset, recipe.data)
    _prepare_variants(run, recipe, splits, cards, progress)
    chosen = calibration.choose(splits.train, recipe.export.calibration, seed=recipe.data.seed)
    few = "int8" in recipe.export.precisions and len(chosen) < calibration.FEWEST
    note = f"calibrated on only {len(chosen)} images" if few else ""
    try:
        entries = _convert_all(run, cards, chosen, _real_images(splits, recipe), progress, note)
    except BaseException:
        _clear(run.artifacts)  # workers that were ended leave their temporary files
        raise
    manifest = Manifest(tuple(entries[name] for name in cards))
    manifest.write(run.artifacts)
    return manifest


def _cards(run: RunFolder, recipe: Recipe) -> dict[str, Card]:
    """Return the card of every file to write, by its name, in the manifest's order."""
    for value, known, key in (
        (recipe.export.formats, WRITTEN, "formats"),
        (recipe.export.precisions, WRITTEN["tflite"], "precisions"),
    ):
        unknown = [item for item in value if item not in known]
        if unknown:
            raise RecipeError(f"export.{key}: expected {', '.join(known)}, found {unknown[0]!r}, not written yet")
    about = run.data()
    source = {"weights": json.loads(run.training.read_text(encoding="utf-8"))["weights"], "data": about["digest"]}
    versions = {package: version(package) for package in PACKAGES}
    contract = InputContract(recipe.data.size, recipe.data.size, 1)
    cards = {}
    for variant in recipe.compression.variants:
        for kind in recipe.export.formats:
            for precision in recipe.export.precisions:
                if precision in WRITTEN[kind]:
                    card = Card(
                        variant, precision, tuple(about["classes"]), contract, recipe.to_json(), source, versions
                    )
                    cards[f"{variant}.{precision}.{kind}"] = card
    return cards


def _standing(run: RunFolder, cards: dict[str, Card]) -> Manifest | None:
    """Return the manifest of an export that is what this one would be."""
    try:
        manifest = Manifest.read(run.artifacts)
    except ArtifactError:
        return None
    same = {entry.file: (entry.card.source, entry.card.recipe) for entry in manifest.entries}
    return manifest if same == {name: (card.source, card.recipe) for name, card in cards.items()} else None


def _clear(folder: Path) -> None:
    """Remove the manifest, which will no longer be true, and what a killed export left under temporary names."""
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    for kind in WRITTEN:
        for path in folder.glob(f".*.{kind}"):
            path.unlink()


def _prepare_variants(
    run: RunFolder, recipe: Recipe, splits: Splits, cards: dict[str, Card], progress: Progress
) -> None:
    weights = next(iter(cards.values())).source["weights"]
    for name in recipe.compression.variants:
        if name == "dense":
            continue
        from feredge.export import variants  # late: TensorFlow is wanted here only where there is something to train

        def tell(share: float, note: str, name: str = name) -> None:
            progress(name, round(100 * share), 100, note)

        variants.prepare(run, name, splits.train, weights=weights, tell=tell)


def _real_images(splits: Splits, recipe: Recipe) -> Images:
    """Return the images that files are verified on: of the validation split, with training ones where it is small."""
    chosen = data.stratified_sample(splits.validation, CHECKED, seed=recipe.data.seed).batch
    if len(chosen) < FEWEST_CHECKED:
        more = data.stratified_sample(splits.train, FEWEST_CHECKED - len(chosen), seed=recipe.data.seed + 1).batch
        chosen = np.concatenate([chosen, more])
    return chosen


def _convert_all(
    run: RunFolder, cards: dict[str, Card], calibrated_on: Images, images: Images, progress: Progress, note: str
) -> dict[str, Entry]:
    """Convert and verify in worker processes, one job a variant and format. Return the entries by file name."""
    groups: dict[tuple[str, str], dict[str, Card]] = {}
    for name, card in cards.items():
        groups.setdefault((card.variant, Path(name).suffix), {})[name] = card
    # TFLite takes several times as long as ONNX: the long jobs first leave no worker idle at the end.
    jobs = [
        Job(run.path, group, calibrated_on, images)
        for _, group in sorted(groups.items(), key=lambda item: item[0][1], reverse=True)
    ]
    entries: dict[str, Entry] = {}
    progress("export", 0, len(cards), note)
    with _workers(len(jobs)) as pool:
        futures: list[Future[list[Entry]]] = [pool.submit(convert, job) for job in jobs]
        try:
            for future in as_completed(futures):
                for entry in future.result():
                    entries[entry.file] = entry
                progress("export", len(entries), len(cards), note)
        except BrokenProcessPool as error:
            raise RunError(f"{run.path}: a conversion ended without a word (out of memory?)") from error
    return entries


@contextmanager
def _workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of fresh processes: TensorFlow survives no fork, and its state is theirs alone."""
    count = max(1, min(WORKERS, jobs, os.cpu_count() or 1))
    spawn = multiprocessing.get_context("spawn")
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(count, mp_context=spawn, initializer=start_worker)
    try:
        yield pool
    except BaseException:  # a failure, or Ctrl-C, waits for no conversion
        for worker in multiprocessing.active_children():
            if worker not in others:
                worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
