"""Fuzz targets: csv tables, npz archives, results and recipes."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import environment

from fuzzing.mutate_archive import write_zip
from fuzzing.target import NANO_MODEL, Corpus, Run, raise_last_refusal

PROBED_CLASSES = {"dense.int8.onnx": 7, "dense.int8.tflite": 7}


def csv_corpus(_: Path) -> Corpus:
    """Return small tables in FER2013's format, with different columns and line ends."""
    import cv2
    from device_models import faces

    pixels = [" ".join(map(str, cv2.resize(face, (48, 48)).reshape(-1).tolist())) for face in faces(5)]
    usages = ("Training", "Training", "Training", "PublicTest", "PrivateTest")
    rows = [f"{number},{text},{usage}" for number, (text, usage) in enumerate(zip(pixels, usages, strict=True))]
    return {
        "whole.csv": "\n".join(["emotion,pixels,Usage", *rows, ""]).encode(),
        "windows.csv": "\r\n".join(["\ufeffemotion,pixels,Usage", *rows[:3], ""]).encode(),
        "pixels.csv": "\n".join(["id,pixels", *(f'{number},"{text}"' for number, text in enumerate(pixels))]).encode(),
    }


def prepare_csv(_: Path) -> Run:
    """Read a table of pixels, with and without its bad rows."""

    from feredge.data import fer2013_csv

    def run(path: Path, _: bytes) -> None:
        raise_last_refusal(
            lambda: fer2013_csv.read_csv(path),
            lambda: fer2013_csv.read_ids(path),
            lambda: fer2013_csv.read_csv(path, skip_bad_rows=True),
        )

    return run


def votes_corpus(_: Path) -> Corpus:
    """Return a small table in FER+'s format."""
    from feredge.data.votes import VOTE_COLUMNS

    rows = [f"Training,fer{number:07}.png,{','.join('2' * 10)}" for number in range(6)]
    return {"votes.csv": "\n".join([f"Usage,Image name,{','.join(VOTE_COLUMNS)}", *rows, ""]).encode()}


def prepare_votes(_: Path) -> Run:
    """Read a table of votes."""
    from feredge.data.votes import read_votes

    return lambda path, _: read_votes(path)


def soft_label_corpus(folder: Path) -> Corpus:
    """Return a small file of soft labels."""
    import numpy as np

    from feredge.inference.contract import CLASSES
    from feredge.train.soft_labels import SoftLabels

    labels = SoftLabels(np.ones((9, 7), np.float32), np.arange(9), CLASSES, "ab" * 32, ("cd" * 32,))
    labels.write(folder / "labels.npz")
    return {"labels.npz": (folder / "labels.npz").read_bytes()}


def prepare_soft_labels(_: Path) -> Run:
    """Read soft labels."""
    from feredge.train import soft_labels

    return lambda path, _: soft_labels.read(path)


def probes_corpus(_: Path) -> Corpus:
    """Return the reference outputs of two files of the nano model."""
    with zipfile.ZipFile(NANO_MODEL / "probes.npz") as archive:
        names = ["pictures.npy", *(f"{name}.npy" for name in PROBED_CLASSES)]
        members = [(name, archive.read(name), zipfile.ZIP_STORED) for name in names]
    return {"probes.npz": write_zip(members)}


def prepare_probes(_: Path) -> Run:
    """Read reference outputs."""
    from feredge.inspection.probes import read_probes

    return lambda path, _: read_probes(path, PROBED_CLASSES)


def cache_corpus(folder: Path) -> Corpus:
    """Return the cached copy of a small table."""
    from feredge.data import cache, fer2013_csv

    (folder / "whole.csv").write_bytes(csv_corpus(folder)["whole.csv"])
    table = fer2013_csv.read_csv(folder / "whole.csv")
    folder.chmod(0o700)  # required of a cache
    os.environ["FEREDGE_CACHE"] = str(folder)
    cache.store(table)
    return {"cache.npz": next(folder.glob(f"{table.digest}*")).read_bytes()}


def prepare_cache(folder: Path) -> Run:
    """Read the cached copy of a table; a damaged one counts as none."""
    from feredge.data import cache
    from feredge.errors import DataError

    folder.chmod(0o700)
    os.environ["FEREDGE_CACHE"] = str(folder)
    name = cache._table_path("ab" * 32)  # of the csv with this digest

    def run(path: Path, _: bytes) -> None:
        path.replace(name)
        name.chmod(0o600)  # required of a cached file
        if cache.fetch("ab" * 32) is None:
            raise DataError("expected a copy, found none")

    return run


def checkpoint_corpus(_: Path) -> Corpus:
    """Return a small checkpoint, as training writes one."""
    import numpy as np

    from feredge.train.checkpoint import CHECKPOINT_SCHEMA

    buffer = io.BytesIO()
    arrays = {"model_0": np.ones((3, 4), np.float32), "optimizer_0": np.int64(7)}
    np.savez(buffer, schema=CHECKPOINT_SCHEMA, identity="one", precision="float32", history=np.zeros((2, 4)), **arrays)  # type: ignore[arg-type]
    return {"checkpoint.npz": buffer.getvalue()}


def prepare_checkpoint(_: Path) -> Run:
    """Read a checkpoint."""
    from feredge.train import checkpoint

    return lambda path, _: checkpoint.read(path, identity="one")


def results_corpus(_: Path) -> Corpus:
    """Return a few rows of the nano model's results."""
    value = json.loads((NANO_MODEL / "results.json").read_text(encoding="utf-8"))
    return {"results.json": json.dumps({**value, "rows": value["rows"][:5]}).encode()}


def prepare_results(folder: Path) -> Run:
    """Format results in every way of `feredge report`."""
    import feredge.report as report
    from feredge.benchmark import Results

    def run(path: Path, _: bytes) -> None:
        results = Results.read(path)
        report.to_terminal(results)
        report.to_markdown(results)
        report.to_csv(results)
        report.comparison_to_markdown([results, results])
        report.write_html(results, folder / "page.html", run_folder=folder, thumbnails=None)
        report.write_comparison_html([results, results], folder / "page.html")

    return run


def recipe_corpus(_: Path) -> Corpus:
    """Return the recipes that come with feredge."""
    return {path.name: path.read_bytes() for path in sorted((environment.ROOT / "feredge/recipes").glob("*.toml"))}


def prepare_recipe(_: Path) -> Run:
    """Read a recipe, and write it again."""
    import feredge.recipes as recipes

    return lambda path, _: recipes.dump(recipes.load(path))
