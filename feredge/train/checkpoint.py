"""Checkpoints: the complete state of an unfinished training in one npz file, replaced atomically after each epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge import files
from feredge.errors import RunError, one_line

CHECKPOINT_SCHEMA = "feredge checkpoint 1"

Variables = dict[str, list[Any]]


def save(path: Path, variables: Variables, *, identity: str, precision: str, history: NDArray[np.float64]) -> None:
    """Write `variables`, by kind, and one row of `history` per epoch; `identity` is a digest of what is trained."""
    arrays = {f"{kind}_{i}": variable.numpy() for kind, group in variables.items() for i, variable in enumerate(group)}
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, schema=CHECKPOINT_SCHEMA, identity=identity, precision=precision, history=history, **arrays)


def read(path: Path, *, identity: str) -> dict[str, NDArray[Any]]:
    """Return the arrays that `save` wrote.

    Raises:
        RunError: a damaged checkpoint, or one of another training.
    """
    try:
        arrays = files.read_npz(path)
    except Exception as error:  # zipfile and numpy raise a dozen kinds for a dozen kinds of damage
        raise RunError(
            f"{path}: expected a checkpoint, cannot be read ({one_line(error, 120)}); remove it to start over"
        ) from error
    if str(arrays.get("schema")) != CHECKPOINT_SCHEMA:
        raise RunError(
            f"{path}: expected a {CHECKPOINT_SCHEMA!r} file, found another npz file; remove it to start over"
        )
    if str(arrays.get("identity")) != identity:
        raise RunError(f"{path}: belongs to another recipe or other data; remove it to start over")
    return arrays


def restore(path: Path, arrays: dict[str, NDArray[Any]], variables: Variables) -> None:
    """Assign the arrays of a checkpoint to the variables that it was made from.

    Raises:
        RunError: an array is missing, or of another shape or dtype. No variable is assigned then.
    """
    assignments = []
    for kind, group in variables.items():
        for i, variable in enumerate(group):
            value = arrays.get(f"{kind}_{i}")
            expected = tuple(variable.shape), variable.dtype.as_numpy_dtype
            if value is None or (value.shape, value.dtype.type) != expected:
                actual = "none" if value is None else f"{value.dtype} {value.shape}"
                raise RunError(f"{path}: expected {kind}_{i} {np.dtype(expected[1])} {expected[0]}, found {actual}")
            assignments.append((variable, value))
    for variable, value in assignments:
        variable.assign(value)
