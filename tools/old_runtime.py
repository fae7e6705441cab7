"""Run one model file in an old runtime: `python old_runtime.py MODEL PICTURES.npy ANSWERS.npy`. Python 3.7 and on."""

import sys

import numpy as np


def tflite(path, pictures):
    """Return the answers of TensorFlow Lite, picture by picture, as real numbers."""
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf  # noqa: TID251 - the old release

        Interpreter = tf.lite.Interpreter
    interpreter = Interpreter(model_path=path)
    interpreter.allocate_tensors()
    image, output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for picture in pictures:
        interpreter.set_tensor(image["index"], picture[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(output["index"])[0])
    scale, zero_point = output["quantization"]
    values = np.array(rows).astype(np.float32)
    return (values - zero_point) * scale if scale else values


def onnx(path, pictures):
    """Return onnxruntime's answers."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: picture[None]})[0] for picture in pictures])


if __name__ == "__main__":
    model, pictures_file, answers_file = sys.argv[1:]
    run = tflite if model.endswith(".tflite") else onnx
    np.save(answers_file, run(model, np.load(pictures_file)))
