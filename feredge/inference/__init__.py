"""The device side: an exported network, from its file to answers. Needs numpy, onnxruntime and opencv only."""
