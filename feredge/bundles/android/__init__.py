"""The Android bundle: the C library for three ABIs, a Java class over it, and its Kotlin extension for bitmaps."""
