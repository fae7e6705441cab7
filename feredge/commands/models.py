"""`feredge models`: the reference models that are here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from feredge.commands.shared import AS_JSON
from feredge.console import echo, echo_json, visible


@click.command("models")
@AS_JSON
def command(as_json: bool) -> None:
    """List the reference models that are here, by the names that Predictor and --model take."""
    from feredge.inference import model_zoo

    rows = [_about(name, place) for name, place in model_zoo.models().items()]
    if as_json:
        echo_json(rows, indent=2)
        return
    for row in rows:
        right = f"{row['accuracy']:.2%} of {row['images']:,} test images" if "accuracy" in row else ""
        echo(f"{visible(row['name']):<8} {row['bytes'] / 1e3:7,.0f} KB  {right:<28} {row['file']}")


def _about(name: str, place: Path) -> dict[str, Any]:
    """Return what is known of the file that a name opens; its accuracy where results stand beside it."""
    from feredge.benchmark.results import Results
    from feredge.files import sha256
    from feredge.inference.runtimes import find_model
    from feredge.run import RunFolder

    file = find_model(place)
    row: dict[str, Any] = {"name": name, "file": str(file), "bytes": file.stat().st_size}
    results = RunFolder(place).results
    if results.is_file():
        for measured in Results.read(results).rows:
            if measured.sha256 == sha256(file) and measured.accuracy is not None:
                row |= {"accuracy": measured.accuracy.accuracy, "images": measured.accuracy.images}
    return row
