"""Magnitude pruning: which weights are set to zero, and when; they stay zero under quantization-aware training too.

tensorflow-model-optimization's pruning is not used: it prunes every kernel by the same share, loses zeros or whole
1x1 kernels in quantization-aware training, and its wrappers make a step a fifth slower. Masks need no wrappers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.keras import KerasModel, tf

PRUNING_SHARE = 0.6  # of the fine-tuning, over which weights are pruned; the rest recovers the accuracy
PRUNING_STEPS = 30
SPARSITY_EXPONENT = 3  # of the schedule: most weights are pruned early (Zhu and Gupta, 2017)

Kernels = dict[str, NDArray[np.float32]]
Masks = dict[str, NDArray[np.bool_]]


def kernels(model: KerasModel) -> dict[str, Any]:
    """Return the kernels of convolutions and dense layers by name: the variables that are counted as weights.

    Quantization-aware wrappers keep variable names, so a network and its quantization-aware copy have the same.
    """
    return {variable.name: variable for variable in model.trainable_variables if "kernel" in variable.name}


def weight_count(model: KerasModel) -> int:
    """Return the number of weights in a network's kernels."""
    return int(sum(kernel.shape.num_elements() for kernel in kernels(model).values()))


def lamp_masks(weights: Kernels, sparsity: float) -> Masks:
    """Return masks of the weights to keep, with at least `sparsity` of all weights pruned, but no whole kernel.

    A weight's score is its square divided by the sum of the squares in its kernel that are not smaller (LAMP: Lee et
    al., "Layer-adaptive sparsity for the magnitude-based pruning", 2021). So redundant layers are pruned more, and
    small ones hardly.
    """
    scores = {name: _lamp_scores(values) for name, values in weights.items()}
    all_scores = np.concatenate([score.ravel() for score in scores.values()])
    count = min(int(np.ceil(sparsity * all_scores.size)), all_scores.size - len(weights))
    pruned = np.zeros(all_scores.size, np.bool_)
    pruned[np.argsort(all_scores, kind="stable")[:count]] = True
    masks, start = {}, 0
    for name, score in scores.items():
        masks[name] = ~pruned[start : start + score.size].reshape(score.shape)
        start += score.size
    return masks


def _lamp_scores(values: NDArray[np.float32]) -> NDArray[np.float64]:
    squares = np.square(values.astype(np.float64)).ravel()
    order = np.argsort(squares, kind="stable")
    remaining = np.cumsum(squares[order][::-1])[::-1]  # of a weight and all larger ones
    scores = np.empty_like(squares)
    scores[order] = squares[order] / np.maximum(remaining, np.finfo(np.float64).tiny)
    scores[order[-1]] = np.inf  # so that at least one weight of each kernel is kept
    return scores.reshape(values.shape)


class Pruner:
    """Prunes `model` during fine-tuning: `before_step` and `apply_masks` are for `finetune`."""

    def __init__(self, model: KerasModel, sparsity: float) -> None:
        self._kernels, self._sparsity = kernels(model), sparsity
        self._steps_done = tf.Variable(0, trainable=False)
        self._masks = {
            name: tf.Variable(tf.ones(kernel.shape, kernel.dtype), trainable=False)
            for name, kernel in self._kernels.items()
        }

    @property
    def state(self) -> list[Any]:
        """Variables that resuming needs besides the weights."""
        return [self._steps_done, *self._masks.values()]

    def before_step(self, share_done: float) -> None:
        """Prune further if it is due: in PRUNING_STEPS steps up to PRUNING_SHARE, by a polynomial schedule."""
        steps = min(PRUNING_STEPS, 1 + int(share_done / PRUNING_SHARE * PRUNING_STEPS))
        if steps > int(self._steps_done):
            self._steps_done.assign(steps)
            self.prune(self._sparsity * (1.0 - (1.0 - steps / PRUNING_STEPS) ** SPARSITY_EXPONENT))

    def prune(self, sparsity: float) -> None:
        """Prune `sparsity` of all weights."""
        masks = lamp_masks({name: kernel.numpy() for name, kernel in self._kernels.items()}, sparsity)
        for name, mask in masks.items():
            self._masks[name].assign(mask.astype(np.float32))
        self.apply_masks()

    def apply_masks(self) -> None:
        """Set the pruned weights to zero."""
        for name, kernel in self._kernels.items():
            kernel.assign(kernel * self._masks[name])


def zero_constraint(model: KerasModel) -> Callable[[], None]:
    """Return a function that sets the weights to zero that are zero at the time of this call."""
    masks = {name: tf.constant(kernel.numpy() != 0, tf.float32) for name, kernel in kernels(model).items()}

    def constrain() -> None:
        for name, kernel in kernels(model).items():
            kernel.assign(kernel * masks[name])

    return constrain
