"""Opening of an ONNX file from elsewhere as a Keras network."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from feredge.errors import ArtifactError, UnsupportedNetworkError
from feredge.importing.comparison import OriginalOutputs
from feredge.importing.onnx.decomposed import join_decomposed
from feredge.importing.onnx.file import audit_onnx, is_channels_first, simplify
from feredge.importing.onnx.graph import OnnxGraph, UnsupportedOperatorError, parse_graph
from feredge.importing.onnx.network_builder import NetworkBuilder, Value
from feredge.importing.onnx.original import run_onnx
from feredge.importing.onnx.translators import ONNX_TRANSLATORS
from feredge.inference.contract import Images
from feredge.inspection.child import ChildProcess
from feredge.inspection.limits import TENSORFLOW_LIMITS
from feredge.keras import KerasModel, keras

if TYPE_CHECKING:
    from feredge.importing.network import NetworkInput


def open_onnx(
    path: Path, images: Images, network_input: NetworkInput, *, output: str = ""
) -> tuple[OriginalOutputs, KerasModel]:
    """Return the outputs of an ONNX file for images, in onnxruntime, and its network in Keras.

    The file is audited, then simplified, translated and run in a child process with limits, which can write to a
    temporary folder only. What it simplified and could translate is translated again here.

    Args:
        path: the file; its weights may be in files beside it.
        images: `uint8 (N, H, W, C)`, gray or RGB.
        network_input: its input.
        output: name of the output; required of a file that has several.

    Returns:
        The outputs, and the network: `float32 (N, H, W, C)` to `float32 (N, classes)`. Its input values are those of
        the file; only the order of the axes may differ.

    Raises:
        UnsupportedNetworkError: an operator that no Keras layer computes.
        ArtifactError: a file that fails the audit, or a graph that is not translated: see `simplify`, `read_network`.
    """
    audit_onnx(path)
    with tempfile.TemporaryDirectory() as folder:
        simplified, saved_images = Path(folder, "simplified.onnx"), Path(folder, "images.npy")
        np.save(saved_images, images)
        size = {"height": network_input.height, "width": network_input.width}
        low, high = network_input.low, network_input.high
        with ChildProcess(TENSORFLOW_LIMITS, writable=Path(folder)) as child:
            child.call(_try_open, path, path=path.absolute(), simplified=simplified, output=output, **size)
            original = child.call(
                run_onnx, path, path=path.absolute(), images=saved_images, low=low, high=high, output=output
            )
        outputs = np.asarray(original["rows"], np.float32)  # one row per image
        return OriginalOutputs(outputs, original["precision"]), read_network(simplified)


def _try_open(path: str, simplified: str, output: str, height: int, width: int) -> None:
    """Simplify a file and translate it, in a child process, so that a crash or endless loop stays there."""
    simplify(Path(path), Path(simplified), height=height, width=width, output=output)
    try:
        read_network(Path(simplified))
    except ArtifactError as error:
        error_class = UnsupportedNetworkError if isinstance(error, UnsupportedNetworkError) else ArtifactError
        raise error_class(f"{path}: {error}") from error


def read_network(path: Path) -> KerasModel:
    """Return the network of a file that `simplify` wrote.

    Raises:
        ArtifactError: an operator, or a form of one, that no Keras layer computes.
    """
    import onnx

    graph = parse_graph(onnx.load(path))
    join_decomposed(graph)
    pixels = _input(graph)
    network = NetworkBuilder(graph, pixels)
    for node in graph.nodes:
        translate = ONNX_TRANSLATORS.get(node.operator)
        if translate is None:
            raise UnsupportedOperatorError(node)
        try:
            values = translate(node, network)
        except ArtifactError:
            raise
        except Exception as error:  # Keras and numpy raise errors of any type for settings that do not fit
            raise UnsupportedOperatorError(node, f"settings that no layer has ({type(error).__name__})") from error
        results = values if isinstance(values, list) else [values]
        network.values |= dict(zip(node.outputs, results, strict=False))
    output = network.values[graph.output]
    if len(output.axes) != 2:  # such as (N, classes, 1, 1)
        raise ArtifactError(f"expected one output (N, classes), found {('N', *output.shape[1:])}")
    return keras.Model(pixels.tensor, output.tensor)


def _input(graph: OnnxGraph) -> Value:
    """Return the input in the order (N, H, W, C)."""
    channels_first = is_channels_first(graph.input_shape)
    axes = (0, 2, 3, 1) if channels_first else (0, 1, 2, 3)
    shape = [graph.input_shape[axis] for axis in axes[1:]]
    return Value(keras.Input(shape, name="pixels"), axes)
