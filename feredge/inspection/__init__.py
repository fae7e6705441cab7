"""What is inside a model file, and what it answers. No TensorFlow."""
