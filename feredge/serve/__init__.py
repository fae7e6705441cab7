"""The Predictor as an HTTP service. Needs the extra `feredge[serve]`."""
