"""The steps of tools/release."""
