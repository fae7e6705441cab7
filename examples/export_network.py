"""Export a network trained elsewhere to verified int8 files, and measure them. Needs feredge[workshop].

    python examples/export_network.py net.h5 fer2013.csv runs/net

A model object of Keras can be given in place of the path. Test images are those of the data set: the classes must be
its classes, in the order of the network's outputs.
"""

import sys

import feredge

path, data, out = sys.argv[1:]
exported = feredge.export(
    path,
    data=data,
    classes=feredge.CLASSES,
    input_size=48,
    input_range=(0.0, 1.0),  # of a pixel, black to white, as the network was trained
    files=["int8.tflite", "int8.onnx"],
    out=out,
)
for failure in exported.failures:
    print(f"{failure.file}: {failure.reason}", file=sys.stderr)
measured = feredge.benchmark(out, effort="quick", baselines=False, faces=False)
print(measured.to_dataframe()[["name", "size_bytes", "median_ms"]].to_string(index=False))
