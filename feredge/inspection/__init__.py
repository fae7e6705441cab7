"""What model files store and compute; untrusted files are opened in a child process. No TensorFlow."""
