"""Names of splits in data sets: FER2013's `Usage` column, and folders."""

from __future__ import annotations

TRAINING_USAGES = ("Training", "train", "")
"""Usages of training images; a source without splits has the empty one."""
TEST_USAGES = ("PrivateTest", "PublicTest", "test")
"""Usages of test images, in order of preference."""
VALIDATION_USAGE = "validation"

USAGE_ORDER = (*TRAINING_USAGES, VALIDATION_USAGE, "PublicTest", "PrivateTest", "test")
"""Every usage, in display order."""

_CANONICAL_NAMES = {name.lower(): name for name in USAGE_ORDER if name}
_CANONICAL_NAMES |= {"val": VALIDATION_USAGE, "valid": VALIDATION_USAGE}


def parse_usage(name: str) -> str | None:
    """Return the spelling of a split's name in `Dataset.usage`; None if it is no such name."""
    return _CANONICAL_NAMES.get(name.strip().lower())
