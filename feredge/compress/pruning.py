"""Magnitude pruning: which weights go, and when; gone, they stay zero, also under quantization-aware training.

tensorflow-model-optimization prunes too, but cuts every kernel by the same share, cannot go on to quantization
without losing zeros or whole 1x1 kernels, and its wrappers cost a fifth of a step. A mask a kernel needs none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.keras import tf

RAMP = 0.6  # share of the fine-tuning over which weights are removed; the rest mends what is left
CUTS = 30  # times at which weights are removed
EXPONENT = 3  # of the schedule: most are removed early, while there is much to spare (Zhu and Gupta, 2017)

Kernels = dict[str, NDArray[np.float32]]
Masks = dict[str, NDArray[np.bool_]]


def kernels(model: Any) -> dict[str, Any]:
    """Return the variables that are counted as weights, by name: kernels of convolutions and dense layers.

    Wrappers keep the names of what they wrap, so a network and its quantization-aware copy have the same.
    """
    return {variable.name: variable for variable in model.trainable_variables if "kernel" in variable.name}


def weight_count(model: Any) -> int:
    """Return how many weights a network's kernels have."""
    return int(sum(kernel.shape.num_elements() for kernel in kernels(model).values()))


def smallest(weights: Kernels, share: float) -> Masks:
    """Return which weights to keep, so that at least `share` of all are left out, none of the kernels wholly.

    A weight's score is its square, as a share of the squares in its kernel that are not smaller: what the layer's
    output loses by it, beside what stays (LAMP: Lee et al., "Layer-adaptive sparsity for the magnitude-based
    pruning", 2021). So layers with weights to spare give more, and small ones are left nearly whole.
    """
    scores = {name: _scores(values) for name, values in weights.items()}
    every = np.concatenate([score.ravel() for score in scores.values()])
    count = min(int(np.ceil(share * every.size)), every.size - len(weights))
    gone = np.zeros(every.size, np.bool_)
    gone[np.argsort(every, kind="stable")[:count]] = True
    masks, at = {}, 0
    for name, score in scores.items():
        masks[name] = ~gone[at : at + score.size].reshape(score.shape)
        at += score.size
    return masks


def _scores(values: NDArray[np.float32]) -> NDArray[np.float64]:
    squares = np.square(values.astype(np.float64)).ravel()
    order = np.argsort(squares, kind="stable")
    left = np.cumsum(squares[order][::-1])[::-1]  # of each and all that are larger
    scores = np.empty_like(squares)
    scores[order] = squares[order] / np.maximum(left, np.finfo(np.float64).tiny)
    scores[order[-1]] = np.inf  # so that some weight is left of each kernel
    return scores.reshape(values.shape)


class Pruner:
    """Removes weights of `model` while it is fine-tuned: `before` and `hold` are for `finetune`."""

    def __init__(self, model: Any, share: float) -> None:
        self._kernels, self._share = kernels(model), share
        self._cuts = tf.Variable(0, trainable=False)
        self._masks = {
            name: tf.Variable(tf.ones(kernel.shape, kernel.dtype), trainable=False)
            for name, kernel in self._kernels.items()
        }

    @property
    def state(self) -> list[Any]:
        """What a stopped pruning needs to go on, beside the weights."""
        return [self._cuts, *self._masks.values()]

    def before(self, done: float) -> None:
        """Remove weights where it is time: CUTS times up to RAMP, by a polynomial of degree three."""
        cuts = min(CUTS, 1 + int(done / RAMP * CUTS))
        if cuts > int(self._cuts):
            self._cuts.assign(cuts)
            self.cut(self._share * (1.0 - (1.0 - cuts / CUTS) ** EXPONENT))

    def cut(self, share: float) -> None:
        """Leave out `share` of all weights."""
        masks = smallest({name: kernel.numpy() for name, kernel in self._kernels.items()}, share)
        for name, mask in masks.items():
            self._masks[name].assign(mask.astype(np.float32))
        self.hold()

    def hold(self) -> None:
        """Set to zero what is left out."""
        for name, kernel in self._kernels.items():
            kernel.assign(kernel * self._masks[name])


def hold_zeros(model: Any) -> Callable[[], None]:
    """Return a function that sets the kernels' weights that are zero now to zero again."""
    masks = {name: tf.constant(kernel.numpy() != 0, tf.float32) for name, kernel in kernels(model).items()}

    def hold() -> None:
        for name, kernel in kernels(model).items():
            kernel.assign(kernel * masks[name])

    return hold
