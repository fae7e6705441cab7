"""The outputs of an ONNX file itself, in onnxruntime, to compare those of the imported network with."""

from __future__ import annotations

from typing import Any

import numpy as np

from feredge.importing.comparison import PixelValue, scale_pixels
from feredge.importing.onnx.file import is_channels_first

NUMPY_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


def run_onnx(path: str, images: str, low: PixelValue, high: PixelValue, output: str) -> dict[str, Any]:
    """Run an audited file on images; in a child process.

    Args:
        path: the file.
        images: a file of `uint8 (N, H, W, C)` images, gray or RGB.
        low: input value of a black pixel, of all channels or of each.
        high: likewise of a white pixel.
        output: name of the output; the first by default.

    Returns:
        `rows`, one of outputs per image, probabilities in place of log-probabilities; and `precision`, in which the
        file computes.
    """
    from feredge.inference.runtimes import onnx_session

    session = onnx_session(path, threads=1)
    (model_input,) = session.get_inputs()
    output = output or session.get_outputs()[0].name
    shape = [size if isinstance(size, int) else 0 for size in model_input.shape]
    channels_first = is_channels_first(shape)
    pixels = scale_pixels(np.load(images), shape[1 if channels_first else 3], low, high)
    tensor = (pixels.transpose(0, 3, 1, 2) if channels_first else pixels).astype(NUMPY_DTYPES[model_input.type])
    batch, rows = shape[0] or 1, []
    for start in range(0, len(tensor), batch):
        part = tensor[start : start + batch]
        filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
        rows.append(session.run([output], {model_input.name: filled})[0][: len(part)].astype(np.float32))
    outputs = np.concatenate(rows)
    if _is_logarithmic(path, output):
        outputs = np.exp(outputs)
    precision = "float16" if model_input.type == "tensor(float16)" else "float32"
    return {"rows": outputs.reshape(len(outputs), -1).tolist(), "precision": precision}


def _is_logarithmic(path: str, output: str) -> bool:
    import onnx

    nodes = onnx.load(path, load_external_data=False).graph.node
    return any(node.op_type == "LogSoftmax" and output in node.output for node in nodes)
