"""Files of feredge's first format (schema 1) in the words of the second: which keys changed, and how values follow.

The package itself knows the new keys only. What a file computes does not change: only cards, recipes and tables of
figures do.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

Table = dict[str, Any]

RECIPE_KEYS: dict[str, dict[str, str]] = {
    "data": {"first": "limit_per_class", "of": "split_rows"},
    "network": {"repeat": "input_channels", "standardise": "standardize"},
    "training": {
        "batch": "batch_size",
        "rate": "learning_rate",
        "warmup": "warmup_epochs",
        "averaging": "ema_decay",
    },
    "schedule": {
        "watch": "monitor",
        "lower_after": "lr_patience",
        "lower_by": "lr_factor",
        "lowest": "min_lr",
        "stop_after": "early_stopping_patience",
        "stop_watch": "early_stopping_monitor",
        "keep": "keep_weights",
    },
    "augmentation": {"crop": "crop_size", "whole": "full_image_epochs", "sizes": "progressive_sizes"},
    "compression": {"rate": "learning_rate", "pruning_rate": "pruning_learning_rate"},
    "export": {"calibration": "calibration_images", "method": "calibration_method"},
}
"""Keys of a recipe's sections that have another name now. [export] has further changes: see `_export`."""
RESULTS_KEYS = {"again": "command", "effort": "config"}
ROW_KEYS = {"beside": "reference_row", "judged": "test_set_digest", "cold": "cold_start"}

EXPORT_LISTS = ("precisions", "formats", "also", "full_range")
PRECISIONS = ["float32", "float16", "dynamic-int8", "int8"]
FORMATS = ["tflite", "onnx"]
WRITTEN = {
    "tflite": ("float32", "float16", "dynamic-int8", "int8", "int16x8"),
    "onnx": ("float32", "dynamic-int8", "int8"),
    "ort": ("float32", "int8"),
}
"""What schema 1's `precisions` and `formats` meant together, and their defaults."""


def migrate_recipe(recipe: Mapping[str, Any]) -> Table:
    """Return a recipe of plain values with its new keys, in the same order; of one that has them, an equal one."""
    migrated = {
        section: renamed(value, RECIPE_KEYS.get(section, {})) if isinstance(value, dict) else value
        for section, value in recipe.items()
    }
    if isinstance(migrated.get("export"), dict):
        migrated["export"] = _export(migrated["export"])
    return migrated


def migrate_card(card: Mapping[str, Any]) -> Table:
    """Return a card of schema 2."""
    return {**card, "schema": 2, "recipe": migrate_recipe(card["recipe"])}


def migrate_results(results: Mapping[str, Any], new_files: Mapping[str, tuple[str, int]]) -> Table:
    """Return results of schema 2.

    Args:
        results: plain values, as a results file has them.
        new_files: SHA-256 and bytes of files that got a new card, by the SHA-256 that they had.
    """
    rows = []
    for row in results["rows"]:
        row = renamed(row, ROW_KEYS)
        if row["sha256"] in new_files:
            row["sha256"], row["bytes"] = new_files[row["sha256"]]
        rows.append(row)
    table = renamed({**results, "schema": 2, "rows": rows}, RESULTS_KEYS)
    table["recipe"] = migrate_recipe(table["recipe"])
    return table


def migrate_toml(text: str) -> str:
    """Return a recipe's file with its new keys; comments and order stay.

    Raises:
        ValueError: not TOML, or a file that writes its keys in another way than one a line.
    """
    parts = re.split(r"(?m)^(?=\s*\[)", text)
    for number, part in enumerate(parts):
        heading = re.match(r"\s*\[(\w+)\]", part)
        for old, new in RECIPE_KEYS.get(heading[1] if heading else "", {}).items():
            part = re.sub(rf"(?m)^(\s*){old}(\s*=)", rf"\g<1>{new}\g<2>", part)
        if heading and heading[1] == "export":
            part = _export_text(part)
        parts[number] = part
    migrated = "".join(parts)
    if tomllib.loads(migrated) != migrate_recipe(tomllib.loads(text)):
        raise ValueError("expected one key a line, in sections of their own")
    return migrated


def _export_text(part: str) -> str:
    files = _export(tomllib.loads(part)["export"]).get("files")
    keys = re.compile(r"(?m)^\s*(precisions|formats|also|full_range)\s*=\s*(\[[^\]]*\]|\S+)(.*\n?)")
    if files is None or not keys.search(part):
        return part
    exact = "reduce_range = false\n" * bool(tomllib.loads(part)["export"].get("full_range"))
    lines = iter([f"files = {json.dumps(files)}\n{exact}"])
    return keys.sub(lambda _: next(lines, ""), part)


def renamed(table: Mapping[str, Any], names: Mapping[str, str]) -> Table:
    """Return a table with other names for some of its keys, in the same order."""
    return {names.get(key, key): value for key, value in table.items()}


def _export(section: Mapping[str, Any]) -> Table:
    """Return [export] with one list of files, and onnxruntime's word for the range of 8-bit kernels."""
    if {*EXPORT_LISTS}.isdisjoint(section):
        return dict(section)
    precisions, formats = section.get("precisions", PRECISIONS), section.get("formats", FORMATS)
    usual = [f"{each}.{kind}" for kind in formats for each in precisions if each in WRITTEN[kind]]
    files = list(dict.fromkeys([*usual, *section.get("also", ())]))
    table: Table = {"files": files}
    table |= {key: value for key, value in section.items() if key not in EXPORT_LISTS}
    if section.get("full_range"):
        table["reduce_range"] = False
    return table
