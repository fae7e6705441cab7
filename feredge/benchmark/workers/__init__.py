"""Worker processes: each loads one file in one runtime; one at a time is active while calls are timed."""
