"""Conversion to TensorFlow Lite, static int8 and metadata."""
