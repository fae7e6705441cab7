"""Compression: pruning, clustering, channels, quantization-aware training; and the batch norms and ranges of each."""
