"""`feredge models`: list the available reference models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import feredge
from feredge.commands.shared import JSON_OPTION
from feredge.console import echo_json, echo_table

if TYPE_CHECKING:
    from feredge.api.inspecting import ModelInfo


@click.command("models")
@JSON_OPTION
def command(as_json: bool) -> None:
    """List the available reference models, by the names that Predictor and --model accept."""
    models = feredge.models().models
    if as_json:
        echo_json([_to_json(model) for model in models], indent=2)
        return
    echo_table(("name", "KB", "accuracy", "file"), map(_cells, models), right=("KB",))


def _cells(model: ModelInfo) -> tuple[object, ...]:
    correct = "" if model.accuracy is None else f"{model.accuracy:.2%} of {model.test_images:,} test images"
    return model.name, f"{model.size_bytes / 1e3:,.0f}", correct, model.file


def _to_json(model: ModelInfo) -> dict[str, Any]:
    value: dict[str, Any] = {"name": model.name, "file": str(model.file), "bytes": model.size_bytes}
    if model.accuracy is not None:
        value |= {"accuracy": model.accuracy, "images": model.test_images}
    return value
