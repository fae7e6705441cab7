"""FER+ votes as a teacher: the probability of each label given the votes on an image.

FER2013's labels are the search words that its images were collected by; for FER+, ten people judged each image. The
votes are privileged information: available in training, not at inference (generalized distillation, Lopez-Paz et
al., 2016). Votes on test images are not used.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import Dataset
from feredge.data.votes import VOTERS
from feredge.errors import DataError

MAX_ITERATIONS = 3000  # of the solver; some hundred are needed


def label_log_probabilities(dataset: Dataset) -> NDArray[np.float32]:
    """Return the log-probability of each label given an image's votes, `float32 (N, classes)`.

    A logistic regression on the vote shares and their square roots; the root separates 0 votes from 1 more than 9
    from 10. It is fitted to the same images that it then predicts: with about a hundred weights it cannot overfit
    them.

    Args:
        dataset: labelled images with votes.

    Raises:
        DataError: no votes, or a class without images.
    """
    from sklearn.linear_model import LogisticRegression

    present = len(np.unique(dataset.labels))
    if dataset.votes is None or present < len(dataset.classes):
        actual = "none" if dataset.votes is None else f"{present} of {len(dataset.classes)} classes"
        raise DataError(f"{dataset.source}: expected votes on images of every class, found {actual}")
    shares = dataset.votes / VOTERS
    features = np.concatenate([shares, np.sqrt(shares)], axis=1)
    model = LogisticRegression(max_iter=MAX_ITERATIONS).fit(features, dataset.labels)
    log_probabilities: NDArray[np.float32] = model.predict_log_proba(features).astype(np.float32)
    return log_probabilities


def votes_digest(dataset: Dataset) -> str:
    """Return the identity of votes as a teacher: `votes` and the SHA-256 of the votes."""
    assert dataset.votes is not None
    return f"votes {hashlib.sha256(dataset.votes.tobytes()).hexdigest()}"
