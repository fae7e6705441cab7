"""Checks of a Keras network's input and outputs."""

from __future__ import annotations

from pathlib import Path

from feredge.errors import ArtifactError
from feredge.importing.layers import output_names
from feredge.keras import KerasModel


def check_input(network: KerasModel, height: int, width: int, path: Path) -> None:
    """Raise ArtifactError unless a network takes one image of the given size: (N, H, W, 1 or 3), (N, H, W) or flat."""
    shape = network.input_shape
    if not isinstance(shape, tuple) or len(shape) not in (2, 3, 4) or (len(shape) == 4 and shape[-1] not in (1, 3)):
        raise ArtifactError(f"{path}: expected one input (N, H, W, 1 or 3), (N, H, W) or (N, H * W), found {shape}")
    sides = (shape[1:3], (height, width)) if len(shape) > 2 else (shape[1:], (height * width,))
    if any(side not in (None, given) for side, given in zip(*sides, strict=True)):
        found = "x".join(map(str, sides[0]))
        raise ArtifactError(f"{path}: expected the input {height}x{width} of --input-size, found {found}")


def choose_output(network: KerasModel, output: str, path: Path) -> str:
    """Return the name of a network's output that is chosen; empty for its only one.

    Raises:
        ArtifactError: several outputs and none chosen, another name, or an output that is not (N, classes).
    """
    names = output_names(network)
    if len(names) == 1 and not output:
        shapes = [network.output_shape]
    else:
        listed = network.output_shape.values() if isinstance(network.output_shape, dict) else network.output_shape
        shapes = list(listed) if len(names) > 1 else [listed]
        if output not in names:
            described = ", ".join(f"{name} {shape}" for name, shape in zip(names, shapes, strict=True))
            raise ArtifactError(
                f"{path}: expected one of its outputs as --output, {described}, found {output or 'none'}"
            )
    shape = shapes[names.index(output)] if output else shapes[0]
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise ArtifactError(f"{path}: expected the output (N, classes), found {shape}")
    return output if len(names) > 1 else ""
