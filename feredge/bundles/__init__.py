"""Bundles: folders with all that a device needs of an int8 file, and with its answers to check it there.

One module or folder a target, in the table of `bundles.targets`. Needs numpy and LiteRT, not TensorFlow.
"""
