"""Conversion to ONNX and to ORT format, and static int8 for both."""
