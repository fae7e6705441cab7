"""The Predictor behind HTTP. Needs the extra `feredge[serve]`."""
