"""What is inside a model file, and what it answers; files of others are opened in a child process. No TensorFlow."""
