"""The training input: shuffled, augmented batches, made in a thread while the network is busy with earlier ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from feredge.inference.contract import Images
from feredge.inference.parallel import ordered_results
from feredge.recipes.schema import Augmentation
from feredge.train.augment import augment, mix

AHEAD = 4  # batches made in advance; one takes a few percent of a step's time, so this covers any hiccup
_ORDER, _CHANGES = 0, 1  # keep the two streams of random numbers apart

Targets = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Batches:
    """Training batches. What stands in one depends on (seed, epoch, number) and on nothing else.

    Attributes:
        images: `uint8 (N, H, W)`.
        targets: `float32 (N, classes)`, each row a distribution: one-hot labels, or soft ones; or
            `(N, 2, classes)`, of an image the label and a teacher's logits.
        size: images a batch; the last, partial batch of each epoch's order is left out, because every step
            then has one shape. A data set smaller than one batch is one batch.
        augmentation: what is done to the images.
        seed: of order and augmentation.
        epochs: of the whole training, whose last ones are `augmentation.whole`; `augmentation.sizes` divide the others.
    """

    images: Images
    targets: Targets
    size: int
    augmentation: Augmentation
    seed: int
    epochs: int = 1

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.images) // self.shape[0]

    @property
    def shape(self) -> tuple[int, int | None, int | None, int]:
        """Shape of a batch of images in the first epoch, `(B, H, W, 1)`; None where `augmentation.sizes` change it."""
        return self.shape_in(0)

    def shape_in(self, epoch: int) -> tuple[int, int | None, int | None, int]:
        """Return `shape` in an epoch: the last ones may show whole images."""
        how, (_, height, width) = self._how(epoch), self.images.shape
        sides = (how.crop or height, how.crop or width)
        return (min(self.size, len(self.images)), *((None, None) if how.sizes else sides), 1)

    def side(self, epoch: int) -> int:
        """Return the height and width that images of an epoch are shrunk to; 0 where they are not."""
        sizes, epochs = self.augmentation.sizes, self._squares
        return sizes[min(epoch * len(sizes) // epochs, len(sizes) - 1)] if sizes and epoch < epochs else 0

    @property
    def _squares(self) -> int:
        """Epochs before those that show whole images."""
        return self.epochs - self.augmentation.whole

    def _how(self, epoch: int) -> Augmentation:
        return self.augmentation if epoch < self._squares else dataclasses.replace(self.augmentation, crop=0)

    def epoch(self, epoch: int) -> Iterator[tuple[Images, Targets]]:
        """Yield the batches of one epoch: images `uint8 (B, H, W, 1)` and their targets."""
        order = np.random.default_rng((self.seed, _ORDER, epoch)).permutation(len(self.images))
        with ThreadPoolExecutor(1, "batches") as thread:
            yield from ordered_results(thread, partial(self._make, order, epoch), range(len(self)), ahead=AHEAD)

    def _make(self, order: NDArray[np.int64], epoch: int, number: int) -> tuple[Images, Targets]:
        count = self.shape[0]
        chosen = order[number * count : (number + 1) * count]
        rng = np.random.default_rng((self.seed, _CHANGES, epoch, number))
        images = augment(self.images[chosen], self._how(epoch), rng, self.side(epoch))
        targets = self.targets[chosen]
        if self.augmentation.mixup:
            images, targets = mix(images, targets, self.augmentation.mixup, rng)
        return images[..., None], targets
