"""Bundles for microcontrollers: the C library of an int8 file, golden vectors, and projects that build it."""
