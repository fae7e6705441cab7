"""The outputs of an ONNX file itself, in onnxruntime, to compare those of the imported network with."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.importing.onnx.file import is_channels_first
from feredge.inference.contract import Images
from feredge.inspection.child import run_in_child

DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


def run_original(path: Path, images: Images, *, low: Any, high: Any) -> dict[str, Any]:
    """Return the outputs of an audited file for images, computed by onnxruntime in a child process with limits.

    Args:
        path: the file.
        images: `uint8 (N, H, W)` gray, or `(N, H, W, 3)` RGB.
        low: input value of a black pixel, of all channels or of each.
        high: likewise of a white pixel.

    Returns:
        `rows`, one of outputs per image, probabilities in place of log-probabilities; and `precision`, in which the
        file computes.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "images.npy")
        np.save(saved, images)
        return run_in_child(_run, path, path=path.absolute(), images=saved, low=low, high=high)


def _run(path: str, images: str, low: Any, high: Any) -> dict[str, Any]:
    import onnx

    from feredge.inference.runtimes import onnx_session

    session = onnx_session(path, threads=1)
    (model_input,) = session.get_inputs()
    shape = [size if isinstance(size, int) else 0 for size in model_input.shape]
    channels_first = is_channels_first(shape)
    pixels = _with_channels(np.load(images), shape[1 if channels_first else 3])
    pixels = pixels * np.float32(np.subtract(high, low) / 255) + np.float32(low)
    tensor = (pixels.transpose(0, 3, 1, 2) if channels_first else pixels).astype(DTYPES[model_input.type])
    batch = shape[0] or 1
    rows = []
    for start in range(0, len(tensor), batch):
        part = tensor[start : start + batch]
        filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
        rows.append(session.run(None, {model_input.name: filled})[0][: len(part)].astype(np.float32))
    outputs = np.concatenate(rows)
    graph = onnx.load(path, load_external_data=False).graph
    if any(node.op_type == "LogSoftmax" and graph.output[0].name in node.output for node in graph.node):
        outputs = np.exp(outputs)
    precision = "float16" if model_input.type == "tensor(float16)" else "float32"
    return {"rows": outputs.tolist(), "precision": precision}


def _with_channels(images: Images, channels: int) -> NDArray[np.float32]:
    """Return images as `float32 (N, H, W, channels)`, gray ones repeated."""
    return (
        np.repeat(images[..., None], channels, axis=3).astype(np.float32)
        if images.ndim == 3
        else images.astype(np.float32)
    )
