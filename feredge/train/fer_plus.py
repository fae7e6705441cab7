"""People as teachers: what the votes on a picture say of its label.

FER2013's labels came with the search words that found the pictures; FER+ asked ten people what each face shows.
Both look at the same face, so what people saw says how likely each label was (generalized distillation, Lopez-Paz et
al., 2016: the teacher sees more than its pupil ever will). Test pictures' votes are never looked at.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import Dataset
from feredge.data.votes import VOTERS_PER_IMAGE
from feredge.errors import DataError

STEPS = 3000  # at most; some hundred are needed


def log_shares(images: Dataset) -> NDArray[np.float32]:
    """Return the logarithm of each label's share among pictures with such votes, `float32 (N, classes)`.

    It is a logistic regression from the votes and their square roots, which tell no vote from one more sharply than
    nine from ten. Its hundred weights are fitted to the pictures that it then speaks of: so few learn none by heart.

    Args:
        images: labelled pictures with their votes.

    Raises:
        DataError: no votes, or pictures of one class only.
    """
    from sklearn.linear_model import LogisticRegression

    if images.votes is None or len(np.unique(images.labels)) < len(images.classes):
        found = "none" if images.votes is None else f"{len(np.unique(images.labels))} of {len(images.classes)} classes"
        raise DataError(f"{images.source}: expected votes on pictures of every class, found {found}")
    shares = images.votes / VOTERS_PER_IMAGE
    told = np.concatenate([shares, np.sqrt(shares)], axis=1)
    fitted = LogisticRegression(max_iter=STEPS).fit(told, images.labels)
    logs: NDArray[np.float32] = fitted.predict_log_proba(told).astype(np.float32)
    return logs


def digest(images: Dataset) -> str:
    """Return a name for the people who voted: the SHA-256 of what they said."""
    assert images.votes is not None
    return f"votes {hashlib.sha256(images.votes.tobytes()).hexdigest()}"
