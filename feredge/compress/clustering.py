"""Weight clustering: a kernel has few different values, after Han et al., "Deep compression", 2016.

Batch normalization must be folded into the kernels first: a converter would fold it later, and so scale the clusters
of each channel differently.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from feredge.compress.pruning import kernels
from feredge.keras import KerasModel, tf

KMEANS_ITERATIONS = 50  # at most; it converges in about twenty


def cluster(model: KerasModel, count: int) -> Callable[[], None]:
    """Cluster each kernel of `model` into `count` values, in place. Return the constraint for `finetune`.

    Assignments are fixed and the values are trained: the constraint sets each value to the mean of its weights, so
    that it follows the mean of their gradients.
    """
    clusters = {}
    for name, kernel in kernels(model).items():
        assignments = kmeans_assignments(kernel.numpy().ravel(), count)
        clusters[name] = tf.constant(assignments, tf.int32), int(assignments.max()) + 1

    def constrain() -> None:
        for name, kernel in kernels(model).items():
            assignments, cluster_count = clusters[name]
            means = tf.math.unsorted_segment_mean(tf.reshape(kernel, [-1]), assignments, cluster_count)
            kernel.assign(tf.reshape(tf.gather(means, assignments), kernel.shape))

    constrain()
    return constrain


def kmeans_assignments(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return each value's cluster index, in the order of the centroids, without empty clusters.

    K-means in one dimension, initialized with equidistant centroids, which separate large weights.
    """
    centroids = np.linspace(values.min(), values.max(), count, dtype=np.float64)
    assignments = np.zeros(len(values), np.int64)
    for _ in range(KMEANS_ITERATIONS):
        updated = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)
        if (updated == assignments).all():
            break
        assignments = updated
        sums, sizes = (np.bincount(assignments, weights, count) for weights in (values, None))
        centroids = np.where(sizes > 0, sums / np.maximum(sizes, 1), centroids)
    return np.unique(assignments, return_inverse=True)[1]
