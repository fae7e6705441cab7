"""Augmentation: the effect of each transform, its limits, and reproducibility."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from feredge.recipes.schema import Augmentation
from feredge.train import augment as augmenting
from feredge.train.augment import ERASED_AREA, mix

NO_AUGMENTATION = Augmentation(flip=False, shift=0.0, scale=0.0, rotate=0.0, brightness=0.0, erase=0.0)
SHARES = st.floats(0.0, 0.9)


def _faces(count: int = 64, height: int = 20, width: int = 16) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, height, width), np.uint8)


def augment(faces: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
    """Augment gray images `(N, H, W)`, of which the batch has one channel."""
    return augmenting.augment(faces[..., None], *args, **kwargs)[..., 0]


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_no_augmentation_changes_nothing() -> None:
    """Guards against a half-pixel shift in the affine maps, which would blur every training image."""
    for interpolation in ("linear", "cubic"):
        augmentation = dataclasses.replace(NO_AUGMENTATION, interpolation=interpolation)
        np.testing.assert_array_equal(augment(_faces(), augmentation, _rng()), _faces())


def test_cubic_keeps_what_linear_blurs() -> None:
    """Guards small features of shifted faces, which linear interpolation blurs.

    Shifted by half a pixel, a wave of four pixels keeps 0.71 of its height between two pixels, cos(pi / 4), and 0.97
    between the four of OpenCV's cubic, 2 (0.594 cos(pi / 4) - 0.094 cos(3 pi / 4)).
    """
    wave = np.rint(128 + 100 * np.cos(np.arange(48) * np.pi / 2 + 0.5)).astype(np.uint8)
    faces = np.repeat(np.tile(wave, (48, 1))[None], 200, axis=0)
    contrast = {}
    for interpolation in ("linear", "cubic"):
        augmentation = dataclasses.replace(NO_AUGMENTATION, shift=0.1, interpolation=interpolation)
        inner = augment(faces, augmentation, _rng())[:, 8:-8, 8:-8]
        contrast[interpolation] = inner.astype(float).std(axis=(1, 2)) / faces[0].std()
    assert contrast["linear"].min() < 0.72 and contrast["cubic"].min() > 0.96


def test_flip_gives_the_image_or_its_mirror() -> None:
    """Guards the mirror's axis and centre: both kinds must appear, about half and half, and nothing else."""
    faces = _faces(200)
    changed = augment(faces, dataclasses.replace(NO_AUGMENTATION, flip=True), _rng())
    same = (changed == faces).all(axis=(1, 2))
    mirrored = (changed == faces[:, :, ::-1]).all(axis=(1, 2))
    assert (same | mirrored).all()
    assert 60 < mirrored.sum() < 140  # 100 expected; 40 off is under one in ten million


def test_shift_stays_within_its_share() -> None:
    """Guards the unit of `shift` (a share of the width, both ways) by following one bright column."""
    faces = np.zeros((200, 21, 21), np.uint8)
    faces[:, :, 10] = 255
    columns = augment(faces, dataclasses.replace(NO_AUGMENTATION, shift=0.2), _rng()).mean(axis=1) @ np.arange(21) / 255
    shifts = np.abs(columns - 10)
    # Shifts are up to 4.2 pixels; OpenCV places samples on a grid of 1/32 pixel.
    assert 3.5 < shifts.max() < 4.3


def test_scale_enlarges_and_shrinks_about_the_middle() -> None:
    """Guards the direction of the inverse map: zoom 1.5 must widen a centred square at most 1.5 times."""
    faces = np.zeros((200, 41, 41), np.uint8)
    faces[:, 11:30, 11:30] = 255
    sides = np.sqrt(augment(faces, dataclasses.replace(NO_AUGMENTATION, scale=0.5), _rng()).sum(axis=(1, 2)) / 255) / 19
    assert 0.47 < sides.min() < 0.6 and 1.4 < sides.max() < 1.53


def test_zoom_changes_height_and_width_apart() -> None:
    """Guards the published protocols' zoom: a square becomes rectangles of both kinds, within the limits."""
    faces = np.zeros((300, 41, 41), np.uint8)
    faces[:, 11:30, 11:30] = 255
    changed = augment(faces, dataclasses.replace(NO_AUGMENTATION, zoom=0.2), _rng()) / 255
    wide, high = changed[:, 20].sum(axis=1) / 19, changed[:, :, 20].sum(axis=1) / 19
    for sides in (wide, high):
        assert 0.8 < sides.min() < 0.87 and 1.2 < sides.max() < 1.27  # 1 / 1.2 to 1 / 0.8, and half a pixel
    assert abs(np.corrcoef(wide, high)[0, 1]) < 0.2


def test_shear_leans_verticals_only() -> None:
    """Guards shear's axis and unit: horizontals are unchanged, verticals lean by at most the angle, both ways."""
    faces = np.zeros((300, 41, 41), np.uint8)
    faces[:, :, 20] = 255
    changed = augment(faces, dataclasses.replace(NO_AUGMENTATION, shear=20.0), _rng()) / 255
    columns = changed[:, (5, 35)] @ np.arange(41) / changed[:, (5, 35)].sum(axis=2)
    angle = np.rad2deg(np.arctan((columns[:, 1] - columns[:, 0]) / 30))
    assert 18 < angle.max() < 20.5 and -20.5 < angle.min() < -18
    flat = augment(faces.transpose(0, 2, 1).copy(), dataclasses.replace(NO_AUGMENTATION, shear=20.0), _rng())
    np.testing.assert_array_equal(flat, faces.transpose(0, 2, 1))


def test_zoom_and_shear_leave_the_other_draws() -> None:
    """Guards nano's weights: brightness and erasing are drawn the same with zoom and shear as without."""
    light = dataclasses.replace(NO_AUGMENTATION, brightness=0.3, erase=0.5)
    gray = np.full((50, 16, 16), 128, np.uint8)
    with_both = augment(gray, dataclasses.replace(light, zoom=0.3, shear=9.0), _rng())
    np.testing.assert_array_equal(with_both, augment(gray, light, _rng()))


def test_one_change_switched_off_leaves_the_others() -> None:
    """Guards ablations: without erasing, images that were not erased are unchanged."""
    augmentation = Augmentation(erase=0.5)
    with_patches = augment(_faces(), augmentation, _rng())
    without = augment(_faces(), dataclasses.replace(augmentation, erase=0.0), _rng())
    same = (with_patches == without).all(axis=(1, 2))
    assert 10 < same.sum() < 54  # 32 expected


def test_erased_area_is_bounded() -> None:
    """Guards the documented limit of the erased area, with one pixel of rounding per side."""
    faces = np.zeros((300, 48, 48), np.uint8)
    erased = augment(faces, dataclasses.replace(NO_AUGMENTATION, erase=1.0), _rng()) > 0
    assert erased.any(axis=(1, 2)).all()
    box = erased.any(axis=2).sum(axis=1) * erased.any(axis=1).sum(axis=1)
    assert box.max() <= ERASED_AREA[1] * 48 * 48 * 1.1


@settings(max_examples=40)
@given(
    st.builds(
        Augmentation,
        *(st.booleans(), SHARES, SHARES, st.floats(0, 180), SHARES, SHARES, SHARES, st.floats(0, 80)),
        interpolation=st.sampled_from(("linear", "cubic")),
    ),
    st.integers(0, 9),
)
def test_any_recipe_keeps_shape_and_repeats(augmentation: Augmentation, count: int) -> None:
    """Guards extreme settings, empty batches, and that the result depends on the generator alone."""
    faces = _faces(count)
    before = faces.copy()
    first, second = augment(faces, augmentation, _rng(5)), augment(faces, augmentation, _rng(5))
    assert first.dtype == np.uint8 and first.shape == faces.shape
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(faces, before)


def test_crops_are_squares_of_the_image() -> None:
    """Guards the crop's position: all are drawn, none outside the image, and no pixel is interpolated."""
    faces = np.arange(20 * 16, dtype=np.int64).reshape(20, 16) % 251
    changed = augment(
        np.repeat(faces[None].astype(np.uint8), 400, axis=0), dataclasses.replace(NO_AUGMENTATION, crop_size=12), _rng()
    )
    corners = {
        (y, x)
        for y in range(9)
        for x in range(5)
        for face in [faces[y : y + 12, x : x + 12]]
        if (changed == face).all(axis=(1, 2)).any()
    }
    assert changed.shape == (400, 12, 12) and len(corners) == 45


def test_resized_images_are_centered() -> None:
    """Guards pixel centers: at half the size a pixel is the mean of four, without a shift by half a pixel."""
    faces = _faces(30, 16, 16)
    for augmentation, size in ((NO_AUGMENTATION, 8), (dataclasses.replace(NO_AUGMENTATION, crop_size=12), 6)):
        halves, whole = augment(faces, augmentation, _rng(), size=size), augment(faces, augmentation, _rng())
        # Means are whole numbers in `halves`, and halves of one round either way.
        assert np.abs(halves - whole.reshape(30, size, 2, size, 2).mean(axis=(2, 4))).max() <= 0.75


def test_channels_change_together() -> None:
    """Guards colour: every channel is moved and brightened as a gray image is, and the order stays RGB."""
    gray = _faces(20)
    rgb = np.stack([gray, gray // 2, 255 - gray], axis=3)
    shifted = dataclasses.replace(NO_AUGMENTATION, flip=True, shift=0.2, rotate=20.0)
    for augmentation in (shifted, dataclasses.replace(NO_AUGMENTATION, brightness=0.3)):
        changed = augmenting.augment(rgb, augmentation, _rng())
        assert changed.shape == rgb.shape
        for channel in range(3):
            np.testing.assert_array_equal(changed[..., channel], augment(rgb[..., channel], augmentation, _rng()))


def test_mixing_keeps_images_and_targets_together() -> None:
    """Guards mixup: one share for an image, its label and its teacher's logits, and shares from all of [0, 1]."""
    faces = np.repeat(np.arange(0, 250, 5, dtype=np.uint8), 6).reshape(50, 3, 2)
    targets = np.stack([np.eye(50, dtype=np.float32), -np.eye(50, dtype=np.float32)], axis=1)
    images, mixed = mix(faces, targets, 1.0, _rng())
    np.testing.assert_allclose(mixed.sum(axis=2), [[1, -1]] * 50, atol=1e-6)
    np.testing.assert_allclose(mixed[:, 0], -mixed[:, 1])
    expected = mixed[:, 0] @ np.arange(0, 250, 5)
    assert np.abs(images - expected[:, None, None]).max() <= 0.5 + 1e-3  # pixels are whole numbers
    shares = mixed[:, 0].max(axis=1)
    assert shares.min() < 0.65 and shares.max() > 0.95
