"""What data sets call their splits."""

from __future__ import annotations

TRAINING = ("Training", "train", "")
"""Usages that are trained on; a source without splits has the empty one."""
TESTS = ("PrivateTest", "PublicTest", "test")
"""Usages that final figures are measured on, the first that is there."""
VALIDATION = "validation"

ORDER = (*TRAINING, VALIDATION, "PublicTest", "PrivateTest", "test")
"""Every usage, in the order that people list them."""

_KNOWN = {name.lower(): name for name in ORDER if name}
_KNOWN |= {"val": VALIDATION, "valid": VALIDATION}


def as_usage(name: str) -> str | None:
    """Return how `Dataset.usage` spells a split's name; None when it is no such name."""
    return _KNOWN.get(name.strip().lower())
