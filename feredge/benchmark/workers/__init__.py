"""Worker processes: one holds one file in one runtime, and the harness wakes one at a time."""
