"""Audit of an ONNX file from elsewhere, and its simplification by onnxslim.

A graph is simplified with a batch of one and the size of the images, so that shapes that it computes from its input
become constants.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from feredge import files
from feredge.errors import ArtifactError
from feredge.inference.onnx_check import check_onnx, read_onnx
from feredge.inspection.external_data import external_files

MODEL_BYTES = 1 << 30  # with external data
SKIPPED_FUSIONS = ["FusionGemm", "FusionGemmMul"]
"""They join the batch with other axes."""
IMAGE_CHANNELS = (1, 3)


def audit_onnx(path: Path) -> None:
    """Check an ONNX file before any library opens it.

    Raises:
        ArtifactError: no ONNX model; control flow, functions, or operators of a domain that onnxruntime does not
            implement; external data that are missing, too large or outside of its folder.
    """
    if not path.is_file():
        raise ArtifactError(f"{path}: expected an ONNX file, found none")
    with path.open("rb") as content:
        if files.is_lfs_pointer(content.read(64)):
            raise ArtifactError(f"{path}: expected an ONNX file, found {files.LFS_ADVICE}")
    sizes = [path.stat().st_size]
    if sizes[0] <= MODEL_BYTES:
        sizes += [file.stat().st_size for file in external_files(path)]
    if sum(sizes) > MODEL_BYTES:
        raise ArtifactError(
            f"{path}: expected a network of at most {MODEL_BYTES >> 20} MiB, found {sum(sizes):,} bytes"
        )
    try:
        check_onnx(dataclasses.replace(read_onnx(path.read_bytes()), external_data=[]))
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error


def simplify(path: Path, target: Path, *, height: int, width: int, output: str = "") -> None:
    """Write the simplified graph of an audited file, of one input and one output, to `target`.

    Args:
        path: the file.
        target: the file to write.
        height: of the images, in pixels.
        width: likewise.
        output: name of the output; required if there are several.

    Raises:
        ArtifactError: several inputs, an input of another kind or size, or another output.
    """
    import onnx
    import onnxslim

    model = onnx.load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise ArtifactError(f"{path}: expected one input, found {len(inputs)} ({_names(inputs)})")
    outputs = [value for value in model.graph.output if output in ("", value.name)]
    if len(outputs) != 1:
        names = _names(model.graph.output)
        raise ArtifactError(f"{path}: expected one of its outputs as --output, {names}, found {output or 'none'}")
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    _fix_input(inputs[0], (height, width), path)
    onnx.save(onnxslim.slim(model, skip_fusion_patterns=SKIPPED_FUSIONS), target)


def onnx_channels(path: Path) -> int:
    """Return the number of channels of an audited file's input; 1 where it has none."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if value.name not in constants and len(shape) == 4:
            return int(shape[1] if is_channels_first(shape) else shape[3])
    return 1


def _names(values: Iterable[Any]) -> str:
    return ", ".join(value.name[:40] for value in list(values)[:5])


def _fix_input(value: Any, size: tuple[int, int], path: Path) -> None:
    """Set the free dimensions of a model's input."""
    from onnx import TensorProto

    tensor = value.type.tensor_type
    dims = tensor.shape.dim
    shape = [dim.dim_value for dim in dims]
    types = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8)
    if tensor.elem_type not in types or len(shape) != 4 or not {*IMAGE_CHANNELS} & {shape[1], shape[3]}:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        found = [dim.dim_param or dim.dim_value for dim in dims]
        raise ArtifactError(
            f"{path}: expected an input of images, float32 (N, 1 or 3, H, W) or (N, H, W, 1 or 3), "
            f"found {kind} {found!s:.60}"
        )
    start = 2 if is_channels_first(shape) else 1
    found_size = shape[start], shape[start + 1]
    if any(length not in (0, side) for length, side in zip(found_size, size, strict=True)):
        raise ArtifactError(
            f"{path}: expected the input {size[0]}x{size[1]} of --input-size, found {found_size[0]}x{found_size[1]}"
        )
    for index, length in ((0, shape[0] or 1), (start, size[0]), (start + 1, size[1])):
        dims[index].dim_value = length


def is_channels_first(shape: Sequence[int]) -> bool:
    """Return whether an input of four dimensions is (N, C, H, W): images have one channel or three."""
    return shape[3] not in IMAGE_CHANNELS and shape[1] in IMAGE_CHANNELS
