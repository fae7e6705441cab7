"""Import of ONNX networks: audit and simplification in a child process, then operators to Keras layers."""
