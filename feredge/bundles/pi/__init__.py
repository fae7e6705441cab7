"""Bundles for Raspberry Pis and other Arm Linux: compiled libraries, for which the Predictor needs numpy alone."""
