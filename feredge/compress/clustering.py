"""Weight clustering: a kernel holds a few values only, after Han et al., "Deep compression", 2016.

The values are of what is stored: batch normalization is folded into the convolutions first, because a converter
would do it afterwards, and give every channel values of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.compress.pruning import kernels
from feredge.keras import tf

ROUNDS = 50  # of k-means at most; it settles in about twenty


def cluster(model: Any, count: int) -> Callable[[], None]:
    """Put the weights of each kernel of `model` into `count` clusters. Return what keeps them there, for `finetune`.

    A weight stays in its cluster; the clusters' values are trained: after a step each is the mean of its weights,
    so that it moves by the mean of their gradients.
    """
    members = {}
    for name, kernel in kernels(model).items():
        places = nearest_centres(kernel.numpy().ravel(), count)
        members[name] = tf.constant(places, tf.int32), int(places.max()) + 1

    def hold() -> None:
        for name, kernel in kernels(model).items():
            places, number = members[name]
            flat = tf.reshape(kernel, [-1])
            means = tf.math.unsorted_segment_mean(flat, places, number)
            kernel.assign(tf.reshape(tf.gather(means, places), kernel.shape))

    hold()
    return hold


def nearest_centres(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return for each value the number of its cluster, from 0 in the order of their centres, none of them empty.

    K-means in one dimension, from centres spread evenly over the range, which keep the large weights apart.
    """
    centres = np.linspace(values.min(), values.max(), count, dtype=np.float64)
    places = np.zeros(len(values), np.int64)
    for _ in range(ROUNDS):
        found = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
        if (found == places).all():
            break
        places = found
        sums, sizes = (np.bincount(places, weights, count) for weights in (values, None))
        centres = np.where(sizes > 0, sums / np.maximum(sizes, 1), centres)
    return np.unique(places, return_inverse=True)[1]
