"""Compression: pruning of weights and channels, clustering, quantization-aware training; calibration and rounding."""
