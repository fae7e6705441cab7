"""Other machines: a bundle that a device measures itself by, the way there over ssh, and emulated Arm cores."""
