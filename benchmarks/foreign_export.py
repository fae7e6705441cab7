"""Time of `feredge export` of a ResNet-18-like ONNX file of 224x224 pixels in colour.

    python benchmarks/foreign_export.py [--size 224] [--work FOLDER]

The network has random weights, its pictures random shapes, 200 for calibration and 200 for verification. It is
imported, compared with onnxruntime, and exported to int8.onnx and int8.tflite, each verified. Printed are seconds of
wall time and of CPU time (of all processes together), and the files' agreement with the float network. The target is a
wall time of 180 s on two cores that nothing else uses.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ("circle", "square", "stripes", "noise")
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels and stride of each stage, of two blocks."""
CALIBRATION_IMAGES = 200
TARGET_SECONDS = 180.0


def main() -> None:
    """Write the file and its pictures, export it, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224, help="height and width in pixels")
    parser.add_argument("--work", type=Path, help="keep the files here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        export(arguments.work or Path(temporary), arguments.size)


def export(folder: Path, size: int) -> None:
    """Export the network, and print times and agreement."""
    import feredge

    folder.mkdir(parents=True, exist_ok=True)
    network = write_network(folder / "resnet18.onnx", size)
    write_pictures(folder / "pictures", size)
    begin, cpu_begin = time.perf_counter(), cpu_seconds()
    result = feredge.export(
        network,
        data=str(folder / "pictures"),
        files=["int8.onnx", "int8.tflite"],
        calibration_images=CALIBRATION_IMAGES,
        input_size=size,
        input_range="imagenet",
        classes=CLASSES,
        out=folder / "run",
    )
    wall, cpu = time.perf_counter() - begin, cpu_seconds() - cpu_begin
    for entry in result.manifest.entries:
        checked = entry.verification
        print(f"{entry.file}: {checked['agreement']:.1%} of {checked['images']} images as the float network")
    for failure in result.failures:
        print(f"{failure.file}: {failure.reason}")
    print(f"wall {wall:.0f} s (target {TARGET_SECONDS:.0f} s), CPU {cpu:.0f} s, {os.cpu_count()} cores")


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def write_network(path: Path, size: int) -> Path:
    """Write a ResNet-18 with random weights, steep enough to tell pictures apart (He et al., 2016)."""
    import onnx
    from onnx import TensorProto, helper

    graph = _Graph()
    x = graph.conv("image", 3, 64, 7, stride=2, relu=True)
    x = graph.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for filters, stride in STAGES:
        for block in range(2):
            step = stride if block == 0 else 1
            y = graph.conv(graph.conv(x, channels, filters, 3, stride=step, relu=True), filters, filters, 3)
            if step != 1 or channels != filters:
                x = graph.conv(x, channels, filters, 1, stride=step)
            x, channels = graph.node("Relu", graph.node("Add", x, y)), filters
    x = graph.node("Flatten", graph.node("GlobalAveragePool", x))
    kernel = graph.random(len(CLASSES), channels, scale=0.3)
    graph.node("Gemm", x, kernel, graph.random(len(CLASSES), scale=0.0), transB=1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, size, size])
    output = helper.make_tensor_value_info(graph.nodes[-1].output[0], TensorProto.FLOAT, ["batch", len(CLASSES)])
    proto = helper.make_graph(graph.nodes, "resnet18", [image], [output], graph.constants)
    onnx.save(helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


class _Graph:
    """Nodes and random weights of a network."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._rng = np.random.default_rng(0)

    def random(self, *shape: int, scale: float) -> str:
        from onnx import numpy_helper

        values = self._rng.normal(0, scale, shape).astype(np.float32)
        self.constants.append(numpy_helper.from_array(values, f"constant_{len(self.constants)}"))
        return str(self.constants[-1].name)

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def conv(self, x: str, inputs: int, outputs: int, size: int, *, stride: int = 1, relu: bool = False) -> str:
        kernel = self.random(outputs, inputs, size, size, scale=float(np.sqrt((1 + relu) / (inputs * size**2))))
        pads = [size // 2] * 4
        x = self.node("Conv", x, kernel, self.random(outputs, scale=0.1), strides=[stride, stride], pads=pads)
        return self.node("Relu", x) if relu else x


def write_pictures(folder: Path, size: int) -> None:
    """Write 104 training and 26 test pictures of each class as PNG files."""
    import cv2

    rng = np.random.default_rng(1)
    for split, count in (("train", 104), ("test", 26)):
        for label in CLASSES:
            (folder / split / label).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                cv2.imwrite(str(folder / split / label / f"{number}.png"), _picture(label, size, rng))


def _picture(label: str, size: int, rng: np.random.Generator) -> Any:
    import cv2

    color = tuple(map(int, rng.integers(0, 256, 3)))
    # Soft backgrounds: as in photographs most of the contrast is in large areas, which the search for duplicates uses.
    image = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (size, size), interpolation=cv2.INTER_CUBIC)
    center, radius = tuple(map(int, rng.integers(size // 4, 3 * size // 4, 2))), int(rng.integers(size // 8, size // 4))
    if label == "circle":
        cv2.circle(image, center, radius, color, -1)
    elif label == "square":
        cv2.rectangle(
            image, (center[0] - radius, center[1] - radius), (center[0] + radius, center[1] + radius), color, -1
        )
    elif label == "stripes":
        image[:: max(2, radius // 4)] = color
    else:
        image = image // 2 + rng.integers(0, 128, image.shape, np.uint8)
    return image


if __name__ == "__main__":
    main()
