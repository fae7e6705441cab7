"""Run one model file in an old runtime: `python old_runtime.py MODEL IMAGES.npy OUTPUTS.npy`. Python 3.7 and newer."""

import sys
from typing import Any

import numpy as np


def run_tflite(path: str, images: Any) -> Any:
    """Return the dequantized outputs of TensorFlow Lite, run image by image."""
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf  # noqa: TID251 - the old release

        Interpreter = tf.lite.Interpreter
    interpreter = Interpreter(model_path=path)
    interpreter.allocate_tensors()
    image, output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for pixels in images:
        interpreter.set_tensor(image["index"], pixels[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(output["index"])[0])
    scale, zero_point = output["quantization"]
    values = np.array(rows).astype(np.float32)
    return (values - zero_point) * scale if scale else values


def run_onnx(path: str, images: Any) -> Any:
    """Return the outputs of onnxruntime, run image by image."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: pixels[None]})[0] for pixels in images])


if __name__ == "__main__":
    model, images_file, outputs_file = sys.argv[1:]
    run = run_tflite if model.endswith(".tflite") else run_onnx
    np.save(outputs_file, run(model, np.load(images_file)))
