"""`feredge inspect`: what a model file says of itself, and what can be read from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from feredge.commands.shared import AS_JSON, PATH, note_unread
from feredge.console import echo, echo_json


@click.command("inspect")
@click.argument("model", type=PATH)
@AS_JSON
def command(model: Path, as_json: bool) -> None:
    """Show what a model file says of itself: classes, input, weights, size, and the oldest runtime seen to answer it.

    MODEL is a file, an exported folder or a name, as --model of other commands takes it.
    """
    from feredge.inspection.child import run_in_child

    found = run_in_child(_read, model, model=model)
    note_unread()
    if as_json:
        echo_json(found, indent=2)
        return
    width = max(map(len, found))
    for name, value in found.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        if isinstance(value, dict):
            shown = json.dumps(value)
        echo(f"{name.replace('_', ' '):{width}}  {shown}")


def _read(model: str) -> dict[str, Any]:
    """Return what is printed; run in a child process, because nobody knows who wrote the file."""
    from feredge import files
    from feredge.inference.artifact import Manifest
    from feredge.inference.runtimes import open_checked
    from feredge.inspection import macs

    runner = open_checked(model)
    file, card = runner.path, runner.card
    found: dict[str, Any] = {
        "file": file.name,
        "sha256": files.sha256(file),
        "bytes": file.stat().st_size,
        "network": card.recipe.get("name", ""),
        "variant": card.variant,
        "precision": card.precision,
        "float_layers": list(card.float_layers),
        "classes": list(card.classes),
        "input": "uint8 (N, {}, {}, {}), 0 to 255".format(*card.contract.shape),
        "licence": card.licence,
    }
    try:
        from feredge.inspection import requirements, weights

        inside = weights.read(file)
        found |= requirements.of_file(file, inside)
        found["weights"] = sum(int(kernel.size) for kernel in inside.kernels.values())
        found["sparsity"] = round(inside.sparsity, 4)
    except ModuleNotFoundError:  # the readers of the formats come with the workshop
        pass
    if Path(model).is_dir():
        failures = Manifest.read(file.parent, check=False).failures
        found["not_exported"] = [f"{failure.file}: {failure.reason}" for failure in failures]
    work = macs.count(file)
    if work is not None:
        found["multiply_adds"] = work.floating + work.integer
    found |= {"source": card.source, "made_with": card.versions}
    return {name: value for name, value in found.items() if value not in ("", [], {})}
