"""Measurements on other devices: bundles, benchmarks over ssh, and instruction counts of emulated Arm cores."""
