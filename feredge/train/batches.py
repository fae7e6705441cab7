"""Training batches: shuffled and augmented, prefetched in a thread while the network trains on earlier ones."""

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

PREFETCHED_BATCHES = 4  # making one takes a few percent of a step's time
_SHUFFLE_STREAM, _AUGMENTATION_STREAM = 0, 1  # part of the seed, so that the two random streams are independent

Targets = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Batches:
    """Training batches. The content of a batch depends on (seed, epoch, batch number) only.

    Attributes:
        images: `uint8 (N, H, W, C)`.
        targets: `float32 (N, classes)`, each row a distribution: one-hot labels, or soft ones; or
            `(N, 2, classes)`, the one-hot label and a teacher's logits of each image.
        batch_size: images per batch. The last, partial batch of an epoch is dropped, because every step needs
            one shape; a data set smaller than one batch is one batch.
        augmentation: applied to the images.
        seed: of order and augmentation.
        epochs: of the whole training; the last `augmentation.full_image_epochs` show full images, and
            `augmentation.progressive_sizes` divide the others.
        balanced: whether each class is drawn equally often, whatever its number of images.
    """

    images: Images
    targets: Targets
    batch_size: int
    augmentation: Augmentation
    seed: int
    epochs: int = 1
    balanced: bool = False

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self.images) // self.shape[0]

    @property
    def shape(self) -> tuple[int, int | None, int | None, int]:
        """Shape of a batch of images in the first epoch, `(B, H, W, C)`; None where progressive sizes change it."""
        return self.shape_in(0)

    def shape_in(self, epoch: int) -> tuple[int, int | None, int | None, int]:
        """Return `shape` in an epoch: the last ones may show full images."""
        augmentation, (_, height, width, channels) = self._augmentation_in(epoch), self.images.shape
        size: tuple[int | None, int | None] = (augmentation.crop_size or height, augmentation.crop_size or width)
        if augmentation.progressive_sizes:
            size = (None, None)
        return (min(self.batch_size, len(self.images)), *size, channels)

    def image_size(self, epoch: int) -> int:
        """Return the height and width that images of an epoch are resized to; 0 for no resizing."""
        sizes, epochs = self.augmentation.progressive_sizes, self._cropped_epochs
        return sizes[min(epoch * len(sizes) // epochs, len(sizes) - 1)] if sizes and epoch < epochs else 0

    @property
    def _cropped_epochs(self) -> int:
        """Epochs before those that show full images."""
        return self.epochs - self.augmentation.full_image_epochs

    def _augmentation_in(self, epoch: int) -> Augmentation:
        return (
            self.augmentation if epoch < self._cropped_epochs else dataclasses.replace(self.augmentation, crop_size=0)
        )

    def epoch(self, epoch: int) -> Iterator[tuple[Images, Targets]]:
        """Yield the batches of one epoch: images `uint8 (B, H, W, C)` and their targets."""
        order = self._order(np.random.default_rng((self.seed, _SHUFFLE_STREAM, epoch)))
        with ThreadPoolExecutor(1, "batches") as thread:
            yield from ordered_results(
                thread, partial(self._batch, order, epoch), range(len(self)), ahead=PREFETCHED_BATCHES
            )

    def _order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the images of an epoch in their order, `int64 (N,)`."""
        if not self.balanced:
            return rng.permutation(len(self.images))
        one_hot = self.targets if self.targets.ndim == 2 else self.targets[:, 0]
        members = [np.flatnonzero(column) for column in (one_hot == one_hot.max(axis=1, keepdims=True)).T]
        members = [indices for indices in members if len(indices)]
        share = -(-len(self.images) // len(members))
        drawn = [np.resize(rng.permutation(indices), share) for indices in members]
        return rng.permutation(np.concatenate(drawn))[: len(self.images)]

    def _batch(self, order: NDArray[np.int64], epoch: int, number: int) -> tuple[Images, Targets]:
        count = self.shape[0]
        indices = order[number * count : (number + 1) * count]
        rng = np.random.default_rng((self.seed, _AUGMENTATION_STREAM, epoch, number))
        images = augment(self.images[indices], self._augmentation_in(epoch), rng, self.image_size(epoch))
        targets = self.targets[indices]
        if self.augmentation.mixup:
            images, targets = mix(images, targets, self.augmentation.mixup, rng)
        return images, targets
