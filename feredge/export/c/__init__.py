"""C libraries from int8 TensorFlow Lite files: heap-free C99 for microcontrollers and any CPU. Needs numpy only."""
