"""Names of splits in data sets: FER2013's `Usage` column, and folders."""

from __future__ import annotations

TRAINING_SPLITS = ("Training", "train", "")
"""Usages of training images; a source without splits has the empty one."""
TEST_SPLITS = ("PrivateTest", "PublicTest", "test")
"""Usages of test images, in order of preference."""
VALIDATION_SPLIT = "validation"

SPLIT_ORDER = (*TRAINING_SPLITS, VALIDATION_SPLIT, "PublicTest", "PrivateTest", "test")
"""Every usage, in display order."""

_CANONICAL_NAMES = {name.lower(): name for name in SPLIT_ORDER if name}
_CANONICAL_NAMES |= {"val": VALIDATION_SPLIT, "valid": VALIDATION_SPLIT}


def parse_split_name(name: str) -> str | None:
    """Return the spelling of a split's name in `Dataset.usage`; None if it is no such name."""
    return _CANONICAL_NAMES.get(name.strip().lower())
