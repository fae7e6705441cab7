"""Export a PyTorch module to verified int8 files. Needs feredge[workshop] and feredge[torch]; run where torch is.

    python examples/from_pytorch.py pictures runs/torch

The module has random weights here: train it where the comment says so.
"""

import sys

import torch

import feredge

data, out = sys.argv[1:]
classes = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # in the order of the outputs
module = torch.nn.Sequential(
    torch.nn.Conv2d(1, 16, 3, stride=2, padding=1),
    torch.nn.BatchNorm2d(16),
    torch.nn.ReLU(),
    torch.nn.Conv2d(16, 32, 3, stride=2, padding=1),
    torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(1),
    torch.nn.Flatten(),
    torch.nn.Linear(32, len(classes)),
)
# Train the module here.

path = feredge.from_torch(module, torch.zeros(1, 1, 48, 48))
exported = feredge.export(
    path,
    data=data,
    input_size=48,
    input_range=(0.0, 1.0),
    classes=classes,
    files=["float32.onnx", "int8.onnx", "int8.tflite"],
    out=out,
)
print(exported.to_dataframe()[["file", "size_bytes"]].to_string(index=False))
