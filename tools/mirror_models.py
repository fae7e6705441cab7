"""The mirror files of models/: `dense-mirror` of each network, exported, and compared with the dense files."""

import dataclasses
import json
from pathlib import Path
from typing import Any

MIRROR_FILES = ("int8.tflite", "int8.onnx")
MIRROR_FIGURES = "mirror.json"
"""Of each mirror file: its accuracy, its drop against the dense file, and its time over that of the dense file."""
SUBSET_KEYS = ("correct", "images", "accuracy", "low", "high")
DROP_KEYS = ("lost", "won", "pp", "low", "high", "p", "verdict")
MARGIN_PP, BOOTSTRAP_SEED = 1.0, 1


def export_mirror(folder: Path, dataset: Any, out: Path, progress: Any) -> Any:
    """Export MIRROR_FILES of a network of models/ into the run folder `out`, and return that run."""
    from feredge.export import export
    from feredge.importing.from_onnx import import_exported, read_recipe
    from feredge.inference.artifact import MIRROR_VARIANT

    recipe = read_recipe(folder)
    compression = dataclasses.replace(recipe.compression, variants=(MIRROR_VARIANT,))
    settings = dataclasses.replace(recipe.export, files=MIRROR_FILES)
    recipe = dataclasses.replace(recipe, compression=compression, export=settings)
    run = import_exported(folder, dataset, out, recipe=recipe)
    export(run, dataset, progress=progress).require_complete()
    return run


def add_mirror(folder: Path, dataset: Any, out: Path, progress: Any) -> None:
    """Put the mirror files of a network into its folder in models/, and their figures.

    Args:
        folder: in models/.
        dataset: the training data.
        out: the run folder of the export.
        progress: of the export.
    """
    from feredge import files
    from feredge.inference.artifact import MIRROR_VARIANT, Manifest
    from feredge.inspection.probes import add_probes

    run = export_mirror(folder, dataset, out, progress)
    manifest, mirror = Manifest.read(folder, check=False), Manifest.read(run.artifacts)
    for entry in mirror.entries:
        files.write_bytes(folder / entry.file, (run.artifacts / entry.file).read_bytes())
    dense = tuple(entry for entry in manifest.entries if entry.card.variant != MIRROR_VARIANT)
    add_probes(folder, dataclasses.replace(manifest, entries=(*dense, *mirror.entries)))
    names = [entry.file for entry in mirror.entries]
    files.write_json(folder / MIRROR_FIGURES, measure(folder, names, dataset))


def measure(folder: Path, names: list[str], dataset: Any) -> dict[str, Any]:
    """Compare mirror files of a folder with the dense files: accuracy on the test images, and time."""
    from paired_times import compare_times

    from feredge.data import split, unique_test_mask
    from feredge.importing.from_onnx import read_recipe

    splits = split(dataset, read_recipe(folder).data)
    unique = unique_test_mask(dataset, splits)
    figures = {}
    for name in names:
        ratio = compare_times(folder / dense_file(name), folder / name)[0]
        figures[name] = {**compare(folder, name, splits.test, unique), "time_ratio": round(ratio, 2)}
    return figures


def dense_file(name: str) -> str:
    """Return the name of the dense file of the same precision and format."""
    from feredge.inference.artifact import MIRROR_VARIANT

    return name.replace(MIRROR_VARIANT, "dense")


def compare(folder: Path, file: str, test: Any, unique: Any) -> dict[str, Any]:
    """Return a mirror file's accuracy, and its drop against the dense file on the `unique` test images."""
    from feredge import files
    from feredge.benchmark.accuracy import accuracy, accuracy_drop

    dense, mirror = (predict(folder / name, test.images) for name in (dense_file(file), file))
    whole = dataclasses.asdict(accuracy(mirror, test.labels, unique=unique))
    drop = accuracy_drop(dense[unique], mirror[unique], test.labels[unique], margin=MARGIN_PP, seed=BOOTSTRAP_SEED)
    return {
        "sha256": files.sha256(folder / file),
        **{key: whole[key] for key in SUBSET_KEYS},
        "unique": whole["unique"],
        "drop": {key: value for key, value in dataclasses.asdict(drop).items() if key in DROP_KEYS},
    }


def check_figures(folder: Path, file: str, test: Any, unique: Any) -> tuple[int, list[str]]:
    """Return a mirror file's hits on the test images, and a note where its stored figures differ; times may."""
    stored = json.loads((folder / MIRROR_FIGURES).read_text(encoding="utf-8")).get(file, {})
    figures = compare(folder, file, test, unique)
    same = stored | figures == stored
    return figures["correct"], [] if same else [f"{MIRROR_FIGURES} has other figures"]


def predict(path: Path, images: Any) -> Any:
    """Return a file's probabilities, `float32 (N, classes)`."""
    import numpy as np

    from feredge.inference.runtimes import open_artifact

    runner = open_artifact(path)
    return np.concatenate([runner.predict(images[start : start + 256]) for start in range(0, len(images), 256)])
