"""Classify a face in five lines.

python examples/predict.py face.jpg
"""

import sys

from feredge import Predictor

predictor = Predictor()
face = predictor(sys.argv[1])
print(f"{face.label} {face.confidence:.2f}")
