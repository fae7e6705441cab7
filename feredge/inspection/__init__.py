"""What is inside a model file: weights, storage, multiply-adds, requirements. Needs no TensorFlow."""
