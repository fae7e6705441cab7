"""Training batches: their images, independent of timing."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from feredge.recipes.schema import Augmentation
from feredge.train.batches import Batches

NO_AUGMENTATION = Augmentation(flip=False, shift=0.0, scale=0.0, rotate=0.0, brightness=0.0, erase=0.0)


def _batches(
    count: int = 70, batch_size: int = 16, augmentation: Augmentation = NO_AUGMENTATION, seed: int = 3
) -> Batches:
    images = np.repeat(np.arange(count, dtype=np.uint8), 64).reshape(count, 8, 8, 1)
    return Batches(images, np.eye(count, dtype=np.float32), batch_size, augmentation, seed)


def test_an_epoch_is_a_permutation_without_the_last_partial_batch() -> None:
    """Guards against an image seen twice in an epoch, and against a step of another shape."""
    batches = _batches()
    epoch = list(batches.epoch(0))
    assert len(epoch) == len(batches) == 4
    assert {images.shape for images, _ in epoch} == {batches.shape} == {(16, 8, 8, 1)}
    indices = np.concatenate([images[:, 0, 0, 0] for images, _ in epoch])
    assert len(set(indices.tolist())) == 64


def test_targets_stay_with_their_images() -> None:
    """Guards the shuffle: images and labels must take the same order."""
    for images, targets in _batches().epoch(2):
        np.testing.assert_array_equal(images[:, 0, 0, 0], targets.argmax(axis=1))


def test_content_depends_on_seed_epoch_and_number_only() -> None:
    """Guards resuming: an epoch read slowly, in part, or on its own is the same epoch."""
    batches = _batches(augmentation=Augmentation())
    whole = [images for images, _ in batches.epoch(5)]
    slow = []
    for images, _ in batches.epoch(5):
        time.sleep(0.01)
        slow.append(images)
    np.testing.assert_array_equal(whole, slow)
    np.testing.assert_array_equal(next(batches.epoch(5))[0], whole[0])
    assert not np.array_equal(next(batches.epoch(6))[0], whole[0])
    assert not np.array_equal(next(_batches(augmentation=Augmentation(), seed=4).epoch(5))[0], whole[0])


def test_balanced_classes_are_drawn_equally_often() -> None:
    """Guards rare classes: their images are repeated, all of them appear, and an epoch has as many images as before."""
    images = np.arange(64, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 8, 8, 1), np.uint8)
    labels = np.array([0] * 58 + [1] * 6)
    batches = Batches(images, np.eye(3, dtype=np.float32)[labels], 16, NO_AUGMENTATION, 1, balanced=True)
    epoch = [(part[:, 0, 0, 0], targets.argmax(axis=1)) for part, targets in batches.epoch(0)]
    drawn, classes = (np.concatenate(parts) for parts in zip(*epoch, strict=True))
    assert np.bincount(classes).tolist() == [32, 32] and set(range(58, 64)) <= set(drawn.tolist())
    assert (labels[drawn] == classes).all()
    with_logits = dataclasses.replace(batches, targets=np.stack([batches.targets, -batches.targets], axis=1))
    np.testing.assert_array_equal(next(with_logits.epoch(0))[0][:, 0, 0, 0], epoch[0][0])


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    """Guards tiny data sets, which would otherwise have no step."""
    batches = _batches(count=5)
    assert [images.shape for images, _ in batches.epoch(0)] == [(5, 8, 8, 1)]


def test_sizes_divide_the_epochs() -> None:
    """Guards progressive resizing: the smallest first, equal parts, and the remainder with the last."""
    growing = Augmentation(progressive_sizes=(8, 10, 12), crop_size=14)
    images = np.zeros((5, 16, 16, 1), np.uint8)
    batches = Batches(images, np.eye(5, dtype=np.float32), 2, growing, seed=1, epochs=7)
    assert [batches.image_size(epoch) for epoch in range(7)] == [8, 8, 8, 10, 10, 12, 12]
    assert [next(batches.epoch(epoch))[0].shape for epoch in (2, 3, 6)] == [(2, s, s, 1) for s in (8, 10, 12)]
    assert batches.shape == (2, None, None, 1) and _batches().image_size(0) == 0


def test_the_last_epochs_show_full_images() -> None:
    """Guards the images of inference: not cropped, not resized, and the sizes divide the other epochs."""
    ending = Augmentation(progressive_sizes=(8, 12), crop_size=14, full_image_epochs=2)
    images = np.zeros((5, 16, 16, 1), np.uint8)
    batches = Batches(images, np.eye(5, dtype=np.float32), 2, ending, seed=1, epochs=6)
    assert [next(batches.epoch(epoch))[0].shape[1] for epoch in range(6)] == [8, 8, 12, 12, 16, 16]
    cropped = dataclasses.replace(batches, augmentation=Augmentation(crop_size=14, full_image_epochs=2))
    shapes = [cropped.shape_in(epoch) for epoch in range(6)]
    assert shapes == [(2, 14, 14, 1)] * 4 + [(2, 16, 16, 1)] * 2
    assert shapes == [next(cropped.epoch(epoch))[0].shape for epoch in range(6)]


def test_an_error_in_the_thread_reaches_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a training that waits forever for a thread that has ended."""

    def fail(*_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr("feredge.train.batches.augment", fail)
    with pytest.raises(ValueError, match="broken"):
        next(_batches().epoch(0))
